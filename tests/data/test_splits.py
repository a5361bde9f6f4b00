from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snnq.data.splits import limited, stratified

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=120).map(lambda labels: np.array(labels, dtype=np.int64))


@given(LABELS)
def test_groups_are_disjoint_and_complete(labels: np.ndarray) -> None:
    groups = stratified(labels, (0.2, 0.15))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(labels)))
    # The last group, training, has every class.
    assert set(labels[groups[-1]].tolist()) == set(labels.tolist())


@given(LABELS)
def test_shares_hold_class_by_class(labels: np.ndarray) -> None:
    (part, _) = stratified(labels, (0.25,))
    for label, total in zip(*np.unique(labels, return_counts=True), strict=True):
        assert np.count_nonzero(labels[part] == label) == min(max(1, round(0.25 * total)), total - 1)


def test_golden_split() -> None:
    labels = np.repeat([0, 1], [20, 10])
    test, validation, train = stratified(labels, (0.2, 0.1))
    assert [np.bincount(labels[group]).tolist() for group in (test, validation, train)] == [[4, 2], [2, 1], [14, 7]]
    assert test.tolist() == sorted(test.tolist())
    again = stratified(labels, (0.2, 0.1))
    assert [group.tolist() for group in again] == [test.tolist(), validation.tolist(), train.tolist()]


def test_the_choice_is_not_the_first_files() -> None:
    validation, _ = stratified(np.zeros(100, dtype=np.int64), (0.15,))
    assert len(validation) == 15
    assert validation.tolist() != list(range(15))


def test_limit_golden() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    indices = np.array([0, 1, 2, 4, 5, 6])
    assert limited(indices, labels, 4).tolist() == [0, 1, 4, 6]
    assert limited(indices, labels, None).tolist() == indices.tolist()
    assert limited(indices, labels, 99).tolist() == indices.tolist()


@given(LABELS, st.integers(1, 150))
def test_limit_keeps_classes_even(labels: np.ndarray, limit: int) -> None:
    kept = limited(np.arange(len(labels)), labels, limit)
    assert len(kept) == min(limit, len(labels)) == len(set(kept.tolist()))
    counts, totals = (np.bincount(part, minlength=5) for part in (labels[kept], labels))
    open_classes = counts[counts < totals]
    assert (counts <= open_classes.min(initial=10**6) + 1).all()
