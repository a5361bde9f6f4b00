"""Prompts in whole numbers: numbers typed by hand, an oracle of Python's own numbers, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_adapters import random_slots

from snnq.arithmetic.prompts import Slots, prefix, slots_of, weights
from snnq.runtime.adapted_reference import sample_prefix, slot_weights


def test_weights_and_spikes_by_hand() -> None:
    keys = np.array([[3, 4], [0, 1], [0, 0]], np.int8)
    prompts = np.array([[[100, -100], [0, 50]], [[-100, 100], [60, 0]], [[9, 9], [9, 9]]], np.int8)
    slots = Slots(keys, prompts, None, 200_000)
    # cos((4, 3), (3, 4)) = 24/25, cos((4, 3), (0, 1)) = 3/5, none without a key: in parts of 4096, rounded down.
    assert weights(slots, np.array([[4, 3]])).tolist() == [[4096 * 24 // 25, 4096 * 3 // 5, 0]]
    # 3932·100 − 2457·100 = 147 500 and less; 2457·60 = 147 420, 2457·50 = 122 850: all below 200 000.
    found = prefix(slots, np.array([[4, 3]]))
    assert [part.tolist() for part in found] == [[[[False, False]]], [[[False, False]]]]
    lower = Slots(keys, prompts, None, 147_420)
    assert [part.tolist() for part in prefix(lower, np.array([[4, 3]]))] == [[[[True, False]]], [[[True, True]]]]
    # CODA: (4, 3) ⊙ (0, 2) = (0, 6) points along (0, 1) exactly, and 4/5 along (3, 4).
    attended = Slots(keys, prompts, np.array([[0, 2], [0, 2], [1, 1]], np.int8), 0)
    assert weights(attended, np.array([[4, 3]])).tolist() == [[4096 * 4 // 5, 4096, 0]]
    # L2P: the two largest of equal ones are the first two; keys are the first halves, one after the other.
    same = Slots(np.array([[1, 0], [1, 0], [2, 0]], np.int8), prompts, None, 50, top=2)
    chosen = prefix(same, np.array([[5, 0]]))
    assert [part.tolist() for part in chosen] == [[[[True, False], [False, True]]], [[[False, True], [True, False]]]]


@given(
    st.integers(0, 40),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
    st.integers(0, 50),
)
def test_numpy_and_pythons_own_numbers_agree(
    seed: int, slots: int, half: int, channels: int, coda: bool, selected: bool, bits: int
) -> None:
    pool = random_slots(seed, slots, 2 * half, channels, coda=coda, top=min(2, slots) if selected else None)
    draw = np.random.default_rng(seed)
    sums = draw.integers(-(2**bits), 2**bits, (3, channels), endpoint=True)
    sums[0] = 0
    assert weights(pool, sums).tolist() == [slot_weights(pool, one) for one in sums.tolist()]
    for number, one in enumerate(sums.tolist()):
        due = sample_prefix(pool, one)
        assert [part[number].tolist() for part in prefix(pool, sums)] == [part.astype(bool).tolist() for part in due]


@given(st.integers(0, 20), st.integers(1, 12))
def test_weights_are_cosines_and_the_batch_does_not_matter(seed: int, channels: int) -> None:
    draw = np.random.default_rng(seed)
    keys = draw.normal(size=(4, channels))
    pool = slots_of(keys, draw.normal(size=(4, 2, channels)), None, None, 0.1)
    sums = draw.integers(1, 1000, (5, channels))
    found = weights(pool, sums) / 4096
    stored = pool.keys.astype(float)
    due = sums @ stored.T / np.linalg.norm(sums, axis=1)[:, None] / np.linalg.norm(stored, axis=1)
    assert np.abs(found - due).max() < 2 / 4096 + 1e-3
    for number in range(5):
        assert np.array_equal(weights(pool, sums[number : number + 1])[0], weights(pool, sums)[number])


@pytest.mark.parametrize("top", [None, 2])
def test_whole_prompts_fire_where_floats_do_but_near_the_threshold(top: int | None) -> None:
    draw = np.random.default_rng(0)
    keys, prompts = draw.normal(size=(8, 32)), draw.normal(size=(8, 4, 32))
    sums = draw.integers(0, 500, (6, 32))
    pool = slots_of(keys, prompts, None, top, 0.5)
    cosines = sums @ keys.T / np.linalg.norm(sums, axis=1)[:, None] / np.linalg.norm(keys, axis=1)
    if top is None:
        potentials = np.einsum("bm,mlc->blc", cosines, prompts)
    else:
        potentials = prompts[np.argsort(-cosines, axis=1)[:, :top]]  # (B, top, L, C)
        potentials = np.concatenate(
            (potentials[:, :, :2].reshape(6, -1, 32), potentials[:, :, 2:].reshape(6, -1, 32)), 1
        )
    found, far = np.concatenate(prefix(pool, sums), 1), np.abs(potentials - 0.5) > 0.06
    assert np.array_equal(found[far], (potentials >= 0.5)[far])
    assert far.mean() > 0.8
    assert 0.05 < found.mean() < 0.6
