"""Patterns of reusing blocks: typed by hand for six blocks, and what holds for all."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.reusing.patterns import PATTERNS, patterns

SIX = {
    0: {"strided": ()},
    1: {"strided": (3,), "continuous": (5,)},
    2: {"strided": (1, 4), "continuous": (4, 5), "pyramid": (3, 5)},
    3: {"strided": (1, 3, 5), "continuous": (3, 4, 5), "pyramid": (2, 4, 5)},
    4: {"strided": (1, 2, 4, 5), "continuous": (2, 3, 4, 5), "pyramid": (1, 3, 4, 5)},
    5: {"strided": (1, 2, 3, 4, 5)},
}


@pytest.mark.parametrize("reusing", SIX)
def test_six_blocks(reusing: int) -> None:
    assert patterns(6, reusing) == SIX[reusing]


@given(st.integers(1, 40).flatmap(lambda blocks: st.tuples(st.just(blocks), st.integers(0, blocks - 1))))
def test_as_many_as_asked_for_and_never_the_first(sizes: tuple[int, int]) -> None:
    blocks, reusing = sizes
    found = patterns(blocks, reusing)
    assert list(found) == [name for name in PATTERNS if name in found]
    assert len(set(found.values())) == len(found)
    for name, places in found.items():
        assert len(set(places)) == len(places) == reusing
        assert all(0 < place < blocks for place in places)
        kinds = ["reuse" if place in places else "own" for place in range(blocks)]
        runs = [len(list(group)) for kind, group in groupby(kinds) if kind == "reuse"]
        if name == "continuous":
            assert runs == [reusing] * bool(reusing)
        if name == "pyramid":
            assert runs == sorted(runs)
        if name == "strided":
            assert not runs or max(runs) <= -(-reusing // (blocks - reusing))
