"""Dynamic time steps: entropies by hand and by scipy; a run that ends when it is sure is the whole one's beginning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lively import write_lively
from scipy.stats import entropy
from sifted import slow_but
from small_architectures import small

from snnq.runtime import Engine
from snnq.runtime.exits import entropies, first_sure, run_until_sure
from snnq.runtime.reference import Reference


def test_entropies_by_hand() -> None:
    logits = np.log(np.array([[1, 1, 1, 1], [1, 1, 1e-30, 1e-30], [2, 1, 1, 1e-30]]), dtype=np.float64)
    # ln 4 / ln 4; ln 2 / ln 4; (½ ln 2 + ½ ln 4) / ln 4
    assert entropies(logits) == pytest.approx([1.0, 0.5, 0.75], abs=1e-12)
    assert entropies(np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32)).tolist() == [0.0, 0.0]
    assert entropies(np.zeros((2, 1), np.float32)).tolist() == [0.0, 0.0]


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(0.01, 30))
def test_entropies_by_scipy(seed: int, classes: int, size: float) -> None:
    logits = (size * np.random.default_rng(seed).normal(size=(5, 3, classes))).astype(np.float32)
    p = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    due = entropy(p, axis=-1) / np.log(classes)
    found = entropies(logits)
    assert found == pytest.approx(due, abs=1e-12)
    assert ((found >= 0) & (found <= 1)).all()


def test_where_a_sample_ends() -> None:
    unsure = np.array([[0.1, 0.9, 0.9], [0.5, 0.2, 0.9], [0.2, 0.5, 0.4], [0.5, 0.5, 0.5]])
    assert first_sure(unsure, 0.2).tolist() == [0, 2, 2, 2]  # below, not at
    assert first_sure(unsure, 0.3).tolist() == [0, 1, 0, 2]
    assert first_sure(unsure, 0.0).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("name", ["spikformer-cifar10", "statten-static"])
@pytest.mark.parametrize("share", slow_but((0.3, 1.0), [0.0, 0.3, 0.8, 1.0]))
def test_a_run_that_ends_is_the_beginning_of_the_whole(name: str, share: float, tmp_path: Path) -> None:
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes | {"steps": 4, "one_sign": False})
    frames = np.concatenate([frames, frames[::-1, ::-1], np.roll(frames, 5, -1)])
    for runner in (Engine(tmp_path / "packed", 1), Reference(tmp_path / "packed")):
        whole = runner.stream()
        every = [whole.steps(frames[:, t : t + whole.chunk]) for t in range(0, 4, whole.chunk)]
        logits = np.stack(every, 1)
        threshold = float(np.quantile(entropies(logits), share))
        ended = first_sure(entropies(logits), threshold)
        found, taken = run_until_sure(runner.stream(), frames, threshold)
        assert taken.tolist() == ((ended + 1) * whole.chunk).tolist()
        assert np.array_equal(found, logits[np.arange(len(frames)), ended])
        assert len(np.unique(taken)) > 1 or share in (0.0, 1.0)
