"""Cores of a weight: they multiply out to what they should, at every rank, and their numbers are counted right."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import UsageError
from snnq.structure.cores import MODES, core_shapes, count, decompose, kept, merge
from snnq.structure.ranks import largest, rank_rule, variational_rank

CROSS = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.bool)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(12, 7, 3, 3), (7, 12, 3, 3), (8, 8, 3, 3)])
def test_full_rank_is_the_dense_weight(shape: tuple[int, ...]) -> None:
    weight = draw(*shape)
    for mode in ("stt", "svd"):
        torch.testing.assert_close(merge(mode, decompose(weight, mode, 999)), weight, atol=1e-12, rtol=0)
    cross = merge("ptt", decompose(weight, "ptt", 999))
    torch.testing.assert_close(cross, weight * CROSS, atol=1e-12, rtol=0)
    assert not cross[..., ~CROSS].any()  # exactly


def test_the_smaller_kernel_of_htt_is_the_middle() -> None:
    weight = draw(8, 8, 3, 3) * 0.1
    weight[..., 1, 1] += torch.linalg.qr(draw(8, 8, seed=1))[0]
    cores = decompose(weight, "htt", 8)
    torch.testing.assert_close(merge("htt", cores), weight * CROSS, atol=1e-12, rtol=0)
    small = cores["expand"][..., 0, 0] @ cores["reduce"][..., 0, 0]
    torch.testing.assert_close(small, weight[..., 1, 1], atol=1e-12, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(MODES), st.integers(2, 9), st.integers(2, 9), st.integers(1, 12), st.integers(0, 99))
def test_shapes_and_errors(mode: str, rows: int, columns: int, rank: int, seed: int) -> None:
    weight = draw(rows, columns, 3, 3, seed=seed)
    cores = decompose(weight, mode, rank)
    assert {name: tuple(core.shape) for name, core in cores.items()} == core_shapes(mode, weight.shape, rank)
    assert count(mode, weight.shape, rank) == sum(core.numel() for core in cores.values())
    if rank > 1 and mode != "stt":
        assert kept(weight, mode, rank) >= kept(weight, mode, rank - 1) - 1e-6


def test_what_is_cut_off_is_least() -> None:
    """SVD: the smallest singular values (Eckart-Young). TT-SVD: at most what its three cuts cut off (Oseledets)."""
    weight = draw(10, 6, 3, 3)
    values = torch.linalg.svdvals(weight.flatten(1))
    lost = weight - merge("svd", decompose(weight, "svd", 4))
    assert float(lost.square().sum()) == pytest.approx(float(values[4:].square().sum()))
    tensor = weight.permute(1, 2, 3, 0)
    cuts = sum(float(torch.linalg.svdvals(tensor.reshape(6 * 3**axis, -1))[4:].square().sum()) for axis in range(3))
    lost = weight - merge("stt", decompose(weight, "stt", 4))
    assert float(lost.square().sum()) <= cuts + 1e-9


def test_cross_is_no_worse_than_a_descent_by_gradient() -> None:
    weight = draw(6, 5, 3, 3)
    ours = float((weight * CROSS - merge("ptt", decompose(weight, "ptt", 3))).square().sum())
    for seed in range(3):
        shapes = core_shapes("ptt", weight.shape, 3)
        cores = {name: (draw(*one, seed=seed + 9) * 0.5).requires_grad_() for name, one in shapes.items()}
        optimizer = torch.optim.LBFGS(list(cores.values()), max_iter=300, line_search_fn="strong_wolfe")

        def loss(cores: dict[str, torch.Tensor] = cores, optimizer: torch.optim.Optimizer = optimizer) -> float:
            optimizer.zero_grad()
            middle = F.pad(cores["vertical"], (1, 1)) + F.pad(cores["horizontal"], (0, 0, 1, 1))
            dense = torch.einsum("oc,cahw,ai->oihw", cores["expand"][..., 0, 0], middle, cores["reduce"][..., 0, 0])
            error = (weight * CROSS - dense).square().sum()
            error.backward()
            return float(error.detach())

        optimizer.step(loss)
        assert ours <= loss() + 1e-4


def test_rules() -> None:
    weight = draw(16, 16, 3, 3)
    assert rank_rule("5")("x", weight, "stt") == 5
    assert rank_rule("999")("x", weight, "ptt") == largest("ptt", weight) == 16
    for mode in MODES:
        rank = rank_rule("ratio:4")("x", weight, mode)
        assert count(mode, weight.shape, rank) <= weight.numel() / 4 < count(mode, weight.shape, rank + 1)
        rank = rank_rule("energy:0.6")("x", weight, mode)
        assert kept(weight, mode, rank) >= 0.6 > kept(weight, mode, rank - 1)
    for word in ("0", "-1", "energy:1.5", "energy", "ratio:1", "ratio:x", "vbmf:2", "nan", "ratio:inf"):
        with pytest.raises(UsageError, match="it must be vbmf"):
            rank_rule(word)
    with pytest.raises(UsageError, match="ratio:1000: x has 2304 weights, its cores 38 or more"):
        rank_rule("ratio:1000")("x", weight, "stt")


@pytest.mark.parametrize(("rows", "columns", "rank"), [(40, 200, 5), (60, 60, 3), (200, 40, 8)])
def test_variational_rank_finds_what_is_not_noise(rows: int, columns: int, rank: int) -> None:
    generator = np.random.default_rng(rows)
    noise = generator.standard_normal((rows, columns))
    signal = generator.standard_normal((rows, rank)) @ generator.standard_normal((rank, columns))
    assert variational_rank(signal * 3 / math.sqrt(rank) + 0.3 * noise) == rank
    assert variational_rank(noise) == 0
    assert variational_rank(1e-9 * (signal + 0.1 * noise)) == rank
    assert variational_rank(np.zeros((rows, columns))) == 0


def test_noise_has_no_rank() -> None:
    with pytest.raises(UsageError, match="nothing of conv is more than noise"):
        rank_rule("vbmf")("conv", draw(32, 32, 3, 3), "stt")
