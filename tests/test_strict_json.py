from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.base.strict_json import MAX_DEPTH, strict_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=10,
)


@given(PLAIN, st.booleans())
def test_what_json_can_say_is_read_as_python_reads_it(data: object, ascii_only: bool) -> None:
    text = json.dumps(data, ensure_ascii=ascii_only)
    assert strict_json(text) == json.loads(text) == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"a": 1}, "a": 1}', "the key 'a' is given twice in one object"),
        ("[NaN]", "NaN is not a number of JSON"),
        ("[-Infinity]", "-Infinity is not a number"),
        ("[1e999]", "1e999 is too large a number"),
        ("[-1e999]", "-1e999 is too large"),
        (str(2**64), "too large"),
        (str(-(2**64)), "too large"),
        ("1" * 5000, "too large"),
        (r'["\ud800"]', r"'\\ud800' holds half a surrogate pair"),
        (r'{"\udc00": 1}', "half a surrogate pair"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested more than 64 deep"),
        ("[" * 500 + "]" * 500, "nested more than 64 deep"),
        ('{"a":' * 100_000, "nested more than 64 deep"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_what_python_would_let_pass_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        strict_json(text)


def test_the_limits_themselves() -> None:
    assert strict_json(str(2**64 - 1)) == 2**64 - 1
    assert strict_json("1.7976931348623157e308") == 1.7976931348623157e308
    deep = strict_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert json.dumps(deep) == "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert strict_json(r'"\ud83d\ude00"') == "😀"
    assert strict_json("{}") == {}
