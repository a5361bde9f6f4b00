"""In Python, a word that a function does not take is refused by name, with the place where it belongs."""

from __future__ import annotations

import re

import pytest

import snnq


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: snnq.search("digits", epochs=1), r"'epochs' by itself.*settings=.*SearchSettings\(epochs=…\)"),
        (lambda: snnq.finalize(epochs=1), r"settings=.*FinalizeSettings\(epochs=…\)"),
        (lambda: snnq.ptq(rounds=10), r"settings=.*PtqSettings\(rounds=…\)"),
        (lambda: snnq.search("digits", devices=2), r"compute=snnq.training.devices.Compute\(devices=…\)"),
        (
            lambda: snnq.search("digits", image_sise=16),
            r"takes no 'image_sise' \(did you mean 'image_size'",
        ),
        (lambda: snnq.report(path="packed"), r"takes no 'path'.*; it takes folder"),
        (lambda: snnq.eval("digits", path_="x"), r"takes no 'path_' \(did you mean 'path'"),
    ],
)
def test_it_says_where_a_word_belongs(call, said):
    with pytest.raises(TypeError) as caught:
        call()
    assert re.search(said, str(caught.value))


def test_the_functions_keep_their_documentation():
    assert snnq.search.__doc__.startswith("Search a number format")
    assert snnq.search is snnq.search
