"""Augmentations of frames: their text, what each one does, and that only the place in a run decides what is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from two_processes import in_two

from snnq.base.errors import UsageError
from snnq.data import open_data
from snnq.training.augmentation import (
    CHANGES,
    Flip,
    Mixup,
    Shift,
    Thin,
    augment,
    changes_text,
    mix,
    parse_changes,
    training_share,
)
from snnq.training.seeding import generator

ALL = "flip,shift:pixels=2,thin,snn-wide,mixup:probability=1"


def counts(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).poisson(2.0, shape).astype(np.float32))


def changed(text, frames, labels, seed=0, along=0.0):
    return augment(frames, labels, parse_changes(text), classes=5, along=along, draw=generator(seed))


def test_text_and_back():
    assert parse_changes("") == ()
    assert parse_changes(" flip , mixup:alpha=0.2 : until=0.7") == (Flip(), Mixup(0.2, 0.5, 0.7))
    assert changes_text((Flip(), Shift(1), Thin(0.5), Mixup(until=0.7))) == "flip,shift,thin:most=0.5,mixup:until=0.7"
    assert changes_text(()) == ""


@given(st.lists(st.sampled_from(["flip", "shift", "thin", "snn-wide"]), unique=True), st.floats(0, 1), st.booleans())
def test_every_text_is_read_back(names, number, mixed):
    changes = [Flip(number) if name == "flip" else CHANGES[name]() for name in names] + [Mixup(until=number)] * mixed
    assert parse_changes(changes_text(changes)) == tuple(changes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flpi", "did you mean 'flip'"),
        ("mixup=0.5", "did you mean 'mixup'"),
        ("flip,,thin", "found ''"),
        ("mixup:alhpa=1", "did you mean 'alpha'"),
        ("snn-wide:p=1", "it takes none"),
        ("mixup:alpha=much", "a number"),
        ("shift:pixels=1.5", "a whole number"),
        ("shift:pixels=-1", "0 or more"),
        ("flip:probability=1.1", "between 0 and 1"),
        ("thin:most=nan", "between 0 and 1"),
        ("mixup:alpha=0", "greater than 0"),
        ("mixup:until=2", "between 0 and 1"),
        ("flip:probability=0:probability=1", "twice"),
        ("flip,flip", "twice"),
        ("mixup,flip", "last"),
    ],
)
def test_mistakes_are_named(text, said):
    with pytest.raises(UsageError, match=said):
        parse_changes(text)


def test_flip_by_hand():
    frames = torch.arange(6.0).reshape(1, 1, 1, 2, 3)
    assert Flip(1.0)(frames, generator(0)).flatten().tolist() == [2, 1, 0, 5, 4, 3]
    assert torch.equal(Flip(0.0)(frames, generator(0)), frames)
    many = Flip()(frames.expand(2000, -1, -1, -1, -1), generator(0))
    assert 900 < int((many[:, 0, 0, 0, 0] == 2).sum()) < 1100


def test_shift_moves_within_its_reach():
    frames = torch.zeros(200, 1, 1, 5, 5)
    frames[:, 0, 0, 2, 2] = 100
    moved = Shift(1)(frames, generator(0))
    assert torch.equal(moved.sum((1, 2, 3, 4)), frames.sum((1, 2, 3, 4)))
    assert int((moved.sum(0)[0, 0] > 0).sum()) == 9
    assert torch.equal(Shift(0)(frames, generator(0)), frames)


def test_thin_loses_events_and_invents_none():
    frames = torch.full((500, 1, 1, 4, 4), 50.0)
    thinned = Thin(0.5)(frames, generator(0))
    kept = thinned.sum((1, 2, 3, 4)) / 800
    assert bool(((thinned <= frames) & (thinned >= 0) & (thinned == thinned.round())).all())
    assert kept.mean() == pytest.approx(0.75, abs=0.02)  # uniform between a half and all of them
    assert 0.4 < kept.min() < 0.6
    assert torch.equal(Thin(0.0)(frames, generator(0)), frames)


def test_mix_by_hand():
    frames = torch.tensor([[1.0], [2.0], [4.0]])
    mixed, targets = mix(frames, torch.tensor([0, 1, 2]), 0.75, 4)
    assert mixed.flatten().tolist() == [1.75, 2.0, 3.25]
    assert targets.tolist() == [[0.75, 0, 0.25, 0], [0, 1, 0, 0], [0.25, 0, 0.75, 0]]


def test_soft_targets_are_smoothed_as_labels_are():
    logits, labels = torch.randn(6, 4, generator=generator(0)), torch.tensor([0, 1, 2, 3, 0, 1])
    soft = F.cross_entropy(logits, F.one_hot(labels, 4).float(), label_smoothing=0.1)
    assert soft.item() == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=0.1).item(), rel=1e-6)


def test_mixups_share_is_of_the_beta_distribution():
    drawn = np.array([Mixup(0.5, 1.0).share(generator(i)) for i in range(2000)])
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.var() == pytest.approx(1 / 8, abs=0.01)  # Beta(α, α): 1 / (4 (2α + 1))
    halves = [Mixup(0.5, 0.5).share(generator(i)) for i in range(1000)]
    assert 430 < sum(share == 1 for share in halves) < 570


def test_mixup_ends():
    frames, labels = counts(4, 2, 1, 3, 3), torch.tensor([0, 1, 2, 3])
    text = "mixup:probability=1:until=0.5"
    assert changed(text, frames, labels, along=0.4999)[1].shape == (4, 5)
    kept, targets = changed(text, frames, labels, along=0.5)
    assert torch.equal(kept, frames)
    assert torch.equal(targets, labels)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(8, 8), (7, 12)]), st.integers(1, 6))
def test_counts_stay_counts_and_time_is_one(seed, size, batch):
    frames, labels = counts(batch, 1, 2, *size, seed=seed).repeat(1, 3, 1, 1, 1), torch.arange(batch) % 5
    before = frames.clone()
    moved, targets = changed("flip,shift,snn-wide", frames, labels, seed)
    assert torch.equal(frames, before)
    assert moved.shape == frames.shape
    assert bool((moved == moved.round()).all())
    assert bool((moved >= 0).all())
    assert bool((moved == moved[:, :1]).all())  # the steps were alike, and still are
    assert torch.equal(targets, labels)
    mixed, targets = changed(ALL, frames, labels, seed)
    assert bool((mixed >= 0).all())
    torch.testing.assert_close(targets.sum(1), torch.ones(batch))


def test_the_place_alone_decides():
    frames, labels = counts(6, 2, 2, 8, 8), torch.arange(6) % 5
    one, other = changed(ALL, frames, labels, 3), changed(ALL, frames, labels, 3)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert not torch.equal(changed(ALL, frames, labels, 4)[0], one[0])


def shares(*texts):
    """Return what this process gets of a batch of six under each of the augmentations."""
    data = open_data("random,classes=5,samples=10", steps=2, image_size=(8, 8))
    given = {"classes": 5, "along": 0.0, "device": torch.device("cpu")}
    indices = [9, 3, 0, 4, 8, 1]
    return [
        training_share(data.train, indices, parse_changes(text), draw=generator(1, "augmentation", 7), **given)
        for text in texts
    ]


def test_processes_share_one_augmented_batch():
    texts = ("", ALL)
    whole = shares(*texts)
    for rank, parts in enumerate(in_two(shares, *texts)):
        for (frames, targets, indices), (ours, mine, own) in zip(whole, parts, strict=True):
            assert indices == [9, 3, 0, 4, 8, 1]
            assert own == indices[rank::2]
            assert torch.equal(ours, frames[rank::2])
            assert torch.equal(mine, targets[rank::2])


def test_every_augmentation_is_a_frozen_record_that_works_as_it_comes():
    for kind in CHANGES.values():
        assert dataclasses.is_dataclass(kind)
        assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(kind))
