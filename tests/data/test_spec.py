from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.base.errors import DataError
from snnq.data import DataSpec, parse_spec


def test_name_path_and_options() -> None:
    spec = parse_spec("n-mnist:DIR,steps=8,by=time")
    assert spec == DataSpec("n-mnist", "DIR", {"steps": "8", "by": "time"})
    assert (spec.integer("steps"), spec.by, spec.limit("train")) == (8, "time", None)


def test_limit_is_for_every_split_or_for_each() -> None:
    splits = ("train", "validation", "test")
    assert [parse_spec("digits,limit=030").limit(split) for split in splits] == [30, 30, 30]
    assert [parse_spec("digits,limit=60+20+100").limit(split) for split in splits] == [60, 20, 100]


def test_defaults_come_from_the_source() -> None:
    assert parse_spec("digits").by == "time"
    assert parse_spec("n-mnist:DIR").by == "count"
    assert parse_spec("digits").image_size == (16, 16)
    assert parse_spec("frames:DIR").image_size is None


def test_path_may_hold_commas_colons_and_equals() -> None:
    spec = parse_spec("frames:C:/a,b=1/c,d,limit=3")
    assert (spec.path, spec.options) == ("C:/a,b=1/c,d", {"limit": "3"})


def test_values_become_canonical() -> None:
    assert (
        str(parse_spec("frames:x, image-size = 034, steps=08".replace("034", "34")))
        == "frames:x,image_size=34x34,steps=8"
    )


@given(
    path=st.text("ab/,.: -é", min_size=1).map(str.strip).filter(bool),
    options=st.dictionaries(st.sampled_from(["steps", "limit"]), st.integers(1, 10**6).map(str)),
)
def test_round_trip(path: str, options: dict[str, str]) -> None:
    spec = DataSpec("frames", path, options)
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digit", ["unknown source 'digit'", "did you mean 'digits'?", "n-mnist"]),
        ("", ["unknown source ''"]),
        ("n-mnist:x,stepz=3", ["no option 'stepz'", "did you mean 'steps'?", "limit"]),
        ("frames:x,by=time", ["'frames' has no option 'by'"]),
        ("n-mnist:x,by=number", ["option 'by' is 'number'", "'count' or 'time'"]),
        ("digits,steps=0", ["option 'steps' is '0'", "at least 1"]),
        ("digits,steps=²", ["option 'steps' is '²'"]),
        ("digits,image_size=16x", ["option 'image_size' is '16x'", "HEIGHTxWIDTH"]),
        ("digits,limit=4+5", ["option 'limit' is '4+5'", "train + validation + test"]),
        ("digits,limit=4+5+0", ["option 'limit' is '4+5+0'", "at least 1"]),
        ("digits,steps=4,steps=5", ["'steps' is given twice"]),
        ("n-mnist", ["'n-mnist' needs the folder"]),
        ("digits:somewhere", ["'digits' takes no path"]),
    ],
)
def test_mistakes_say_what_was_found_and_allowed(text: str, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        parse_spec(text)
    assert caught.value.exit_code == 2
    for word in words:
        assert word in caught.value.message
