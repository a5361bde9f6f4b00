"""Which weights stay: by hand, as properties, and against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnq.network.readers import Chain
from snnq.pruning.masks import HeldMasks, channel_masks, largest, pattern_masks, share_after, weight_masks


def test_by_hand() -> None:
    weights = {"a": torch.tensor([[1.0, -5.0], [0.5, 2.0]]), "b": torch.tensor([[3.0, -0.25]])}
    both = weight_masks(weights, 0.5, "global")
    assert both["a"].tolist() == [[False, True], [False, True]]
    assert both["b"].tolist() == [[True, False]]
    each = weight_masks(weights, 0.5, "layer")
    assert each["a"].tolist() == [[False, True], [False, True]]
    assert each["b"].tolist() == [[True, False]]
    two = pattern_masks({"a": torch.tensor([[1.0, -5.0, 0.5, 2.0, 0.1]])}, 2, 4)
    assert two["a"].tolist() == [[False, True, False, True, True]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 500), share=st.floats(0, 0.99), scope=st.sampled_from(["global", "layer"]))
def test_against_numpy(seed: int, share: float, scope: str) -> None:
    draw = np.random.default_rng(seed)
    weights = {name: draw.normal(size=shape) for name, shape in (("a", (5, 7)), ("b", (3, 4, 2)))}
    found = weight_masks({name: torch.from_numpy(one) for name, one in weights.items()}, share, scope)
    pools = [["a", "b"]] if scope == "global" else [["a"], ["b"]]
    for pool in pools:
        sizes = np.sort(np.abs(np.concatenate([weights[name].ravel() for name in pool])))
        kept = len(sizes) - round(share * len(sizes))
        least = sizes[-kept] if kept else np.inf
        for name in pool:
            due = np.abs(weights[name]) >= least
            due.ravel()[np.abs(weights[name]).argmax()] = True
            assert np.array_equal(found[name].numpy(), due)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), pattern=st.sampled_from([(1, 4), (2, 4), (3, 8)]))
def test_a_pattern_leaves_the_largest_of_every_group(seed: int, pattern: tuple[int, int]) -> None:
    left, group = pattern
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 10)))
    mask = pattern_masks({"a": weight}, left, group)["a"]
    for start in range(0, 10, group):
        part, kept = weight[:, start : start + group].abs(), mask[:, start : start + group]
        assert torch.equal(kept.sum(1), torch.full((4,), min(left, part.shape[1])))
        assert bool((part.masked_fill(~kept, torch.inf).amin(1) >= part.masked_fill(kept, -1).amax(1)).all())


def test_what_was_pruned_before_stays_pruned() -> None:
    weight = torch.tensor([[0.0, 0.0, 1.0, 2.0]])
    assert weight_masks({"a": weight}, 0.25, "layer")["a"].tolist() == [[False, False, True, True]]
    assert pattern_masks({"a": weight}, 3, 4)["a"].tolist() == [[False, False, True, True]]


def test_no_layer_is_cut_through() -> None:
    small, large = torch.full((2, 2), 1e-6), torch.ones(100)
    assert [int(one.sum()) for one in largest([small, large], 0.5)] == [1, 52]


def test_rounds_leave_equal_shares() -> None:
    left = [1 - share_after(0.9, round, 3) for round in (1, 2, 3)]
    assert left == pytest.approx([0.1 ** (1 / 3), 0.1 ** (2 / 3), 0.1])
    assert share_after(0.9, 0, 0) == 0.9


def test_a_channel_goes_with_its_row_its_column_and_its_norm() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 4), "n": nn.BatchNorm1d(4), "b": nn.Linear(4, 2)})
    with torch.no_grad():
        model.get_parameter("a.weight").copy_(torch.tensor([4.0, 1.0, 3.0, 2.0])[:, None].expand(4, 3))
        model.get_parameter("b.weight").fill_(1.0)
    found = channel_masks(model, [Chain("a", "n", "", "b")], 0.5, "global")
    stays = [True, False, True, False]
    assert {name: mask.reshape(-1, 4)[0].tolist() for name, mask in found.items() if mask.shape[-1] == 4} == {
        "a.bias": stays,
        "n.weight": stays,
        "n.bias": stays,
        "b.weight": stays,
    }
    assert found["a.weight"][:, 0].tolist() == stays
    assert set(found) == {"a.weight", "a.bias", "n.weight", "n.bias", "b.weight"}


def test_an_optimizer_leaves_masked_weights_at_exactly_zero() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    held = HeldMasks(model, {})
    held.set({"0.weight": torch.rand(5, 6) < 0.5})
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    before = model.get_parameter("0.weight").detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()
    weight, mask = model.get_parameter("0.weight").detach(), held.masks["0.weight"]
    assert bool((weight[~mask] == 0).all())
    assert bool((weight[mask] != before[mask]).all())
    with pytest.raises(ValueError, match="has no such mask"):
        held.load_state_dict({"0.weight": torch.ones(2, 2, dtype=torch.bool)})
