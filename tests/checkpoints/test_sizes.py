"""Sizes as typed and as recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.base.errors import UsageError
from snnq.base.parsing import parse_image_size
from snnq.checkpoints.sizes import Recorded, given_sizes, parse_pooling, recorded_sizes, shown, typed_again

SIDES = st.integers(1, 9999)


@pytest.mark.parametrize(("text", "size"), [("128", (128, 128)), ("96x128", (96, 128)), (" 5X7 ", (5, 7))])
def test_image_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_image_size(text) == size


@given(st.tuples(SIDES, SIDES), st.tuples(*[st.booleans()] * 4))
def test_what_is_shown_reads_back(size: tuple[int, int], pooling: tuple[bool, ...]) -> None:
    assert parse_image_size(shown("image_size", size)) == size
    assert parse_pooling(shown("pooling", pooling)) == pooling


@pytest.mark.parametrize("text", ["", "0", "12x", "x12", "1x2x3", "-4", "a", "1.5", "²"])
def test_other_text_is_no_image_size(text: str) -> None:
    with pytest.raises(UsageError, match="image size"):
        parse_image_size(text)


@pytest.mark.parametrize("text", ["", "001", "00111", "0021", "yes"])
def test_other_text_is_no_pooling(text: str) -> None:
    with pytest.raises(UsageError, match="--pooling"):
        parse_pooling(text)


def test_options_become_arguments() -> None:
    assert given_sizes(architecture="sdt-dvs", steps=3, image_size="8", pooling="0011") == {
        "architecture": "sdt-dvs",
        "steps": 3,
        "heads": None,
        "image_size": (8, 8),
        "pooling": (False, False, True, True),
        "chunk": None,
        "key_stride": None,
        "substeps": None,
    }


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"T": 16, "lr": 0.1}, {"steps": Recorded(16, "args.T")}),
        ({"steps": 100_000}, {}),  # of an optimiser, as likely
        ({"time_step": np.int64(4)}, {"steps": Recorded(4, "args.time_step")}),
        (
            {"num_heads": 8, "img_size": 32},
            {"heads": Recorded(8, "args.num_heads"), "image_size": Recorded((32, 32), "args.img_size")},
        ),
        ({"chunk_size": 5}, {"chunk": Recorded(5, "args.chunk_size")}),
        ({"T": 2, "time_step": 4}, {}),  # one of them is no number of steps
        ({"T": "16", "num_heads": [1, 2], "img_size": None, "steps": True}, {}),
    ],
)
def test_settings(settings: dict[str, Any], found: dict[str, Recorded]) -> None:
    assert recorded_sizes(settings) == found


def test_what_was_given_is_typed_again():
    sizes = {"steps": 3, "image_size": "8x16", "pooling": "0011"}
    own = {"model": "network.py:build", "model_arg": ["dim=64", "kind=plain"], "group": ["*.mix=attention"]}
    words = typed_again(given_sizes(**sizes, **own))
    assert words[:6] == ("--steps", "3", "--image-size", "8x16", "--pooling", "0011")
    assert words[6:] == (
        *("--model", "network.py:build", "--model-arg", "dim=64", "--model-arg", "kind=plain"),
        *("--group", "*.mix=attention"),
    )
    assert typed_again(given_sizes()) == ()
    given = given_sizes(architecture="statten-dvs", chunk=4)
    assert typed_again(given) == ("--architecture", "statten-dvs", "--chunk", "4")
