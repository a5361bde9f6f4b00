"""Checkpoints of SpikingJelly 2's own Spikformer: q, k and v are cut out of one layer, sizes known or asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from spikingjelly.activation_based.model import spikformer
from torch import Tensor
from upstream_files import dvs_container

import snnq
from snnq.base.errors import CheckpointError
from snnq.checkpoints.fused import cut, join
from snnq.checkpoints.opening import load_model, open_checkpoint

SIZES: dict[str, Any] = {"embed_dims": 16, "depths": 2, "num_heads": 2, "num_classes": 3, "in_channels": 2}
GIVEN: dict[str, Any] = {"steps": 4, "heads": 2, "image_size": (16, 16), "pooling": (False, False, True, True)}
QKV = "blocks.1.attn.qkv_conv_bn.0.weight"


def state_of(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return spikformer.Spikformer(patch_size=4, img_size_h=16, img_size_w=16, **SIZES).state_dict()


def test_q_k_and_v_are_rows_of_one_tensor(tmp_path: Path) -> None:
    state = state_of()
    state["blocks.0.attn.qkv_conv_bn.1.num_batches_tracked"] += 7
    save_file(state, tmp_path / "a.safetensors")
    found = snnq.inspect(tmp_path / "a.safetensors", **GIVEN)
    assert (found.checkpoint.architecture, found.checkpoint.layout) == ("spikformer-spikingjelly", "spikingjelly")
    assert (found.checkpoint.dropped, len(found.layers)) == ((), 5 + 2 * 6 + 1)
    loaded = load_model(found.checkpoint).state_dict()
    for part, name in enumerate("qkv"):
        rows = slice(16 * part, 16 * part + 16)
        assert torch.equal(loaded[f"block.1.attn.{name}.weight"], state[QKV][rows])
        running = state["blocks.0.attn.qkv_conv_bn.1.running_var"][rows]
        assert torch.equal(loaded[f"block.0.attn.{name}_bn.running_var"], running)
        assert loaded[f"block.0.attn.{name}_bn.num_batches_tracked"] == 7
    pairs = {
        "patch_embed.proj_conv.weight": "patch_embed.stages.0.conv_bn.block.0.weight",
        "patch_embed.proj_bn3.bias": "patch_embed.stages.3.conv_bn.block.1.bias",
        "patch_embed.rpe_bn.running_mean": "patch_embed.positional_encoding.conv_bn.block.1.running_mean",
        "block.1.attn.proj.weight": "blocks.1.attn.proj_conv_bn.0.weight",
        "block.0.attn.proj_bn.weight": "blocks.0.attn.proj_conv_bn.1.weight",
        "block.0.mlp.fc1.weight": "blocks.0.mlp.fc1.0.weight",
        "block.1.mlp.fc2_bn.running_var": "blocks.1.mlp.fc2.1.running_var",
        "head.bias": "head.bias",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(loaded[ours], state[theirs]), ours


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (spikformer.spikformer_cifar10, (12, [False, False, True, True], [32, 32])),
        (spikformer.spikformer_ti, (8, [True] * 4, [64, 64])),
        (spikformer.spikformer_s, (12, [True] * 4, [64, 64])),
    ],
)
def test_spikingjellys_constructors_are_known(make: Any, known: tuple[Any, ...], tmp_path: Path) -> None:
    torch.save(dvs_container(make().state_dict(), T=6), tmp_path / "a.pth")
    given: dict[str, Any] = {} if make is spikformer.spikformer_cifar10 else {"image_size": (64, 64)}
    config = open_checkpoint(tmp_path / "a.pth", **given).config
    assert (config["heads"], config["pooling"], config["image_size"]) == known
    assert config["steps"] == 6


def test_other_sizes_are_asked_for(tmp_path: Path) -> None:
    torch.save(state_of(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "a.pth")
    for words in ("(--steps)", "(--heads)", "(--image-size)", "pooling (--pooling)"):
        assert words in caught.value.message
    assert "--image-size 32x32 --pooling 0011" in caught.value.hint


def refusal(path: Path, state: dict[str, Tensor]) -> str:
    torch.save(state, path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, **GIVEN)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_what_does_not_fit_is_named_as_the_file_has_it(tmp_path: Path) -> None:
    path, state = tmp_path / "a.pth", state_of()
    assert f"key '{QKV}' has shape (47, 16, 1), " in refusal(path, state | {QKV: torch.zeros(47, 16, 1)})
    assert "needs (48, 16, 1)" in refusal(path, state | {QKV: torch.zeros(47, 16, 1)})
    assert f"key '{QKV}' has 2 dimensions" in refusal(path, state | {QKV: torch.zeros(48, 16)})
    infinite = state[QKV].clone()
    infinite[20] = torch.inf
    assert f"key '{QKV}[16:32]' holds values that are infinite" in refusal(path, state | {QKV: infinite})
    assert "unexpected: 'blocks.0.attn.scale'" in refusal(path, state | {"blocks.0.attn.scale": torch.ones(1)})
    del state[QKV]
    assert f"key missing: '{QKV}' (compared with spikformer-spikingjelly of depth 2)" in refusal(path, state)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_joined_tensors_are_cut_again(rows: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    state = {f"part{i}": torch.randn((count, 3), generator=draw) for i, count in enumerate(rows)}
    state |= {"count": torch.tensor(3), "other_count": torch.tensor(3), "alone": torch.randn(4, generator=draw)}
    names = {name: "whole" if name.startswith("part") else name.replace("other_", "") for name in state}
    joined = join(state, names)
    assert joined.keys() == {"whole", "count", "alone"}
    assert joined["whole"].shape == (sum(rows), 3)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    tensors, found = cut("file", joined, shapes, names, "the model")
    assert all(torch.equal(tensors[found[name]], tensor) for name, tensor in state.items())
