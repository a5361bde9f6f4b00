"""Spike-Driven Transformer and STAtten against logits of upstream's own code; what chunks do and what they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikformer_weights import fill_model, make_frames

from snnq.base.errors import UsageError
from snnq.models.attention import mix_chunks, mix_keys_first
from snnq.models.registry import architecture
from snnq.models.sdt.sizes import SDTConfig
from snnq.network.layers import layer_table

# Written by running upstream's own files (BICLab/Spike-Driven-Transformer, Intelligent-Computing-Lab-Yale/STAtten, with
# spikingjelly 0.0.0.0.12) on the weights and frames of spikformer_weights.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "sdt_logits.json").read_text())
SEEDS = st.integers(0, 2**32 - 1)
SMALL: dict[str, Any] = {"dim": 16, "depth": 1, "heads": 2, "steps": 4, "classes": 3, "image_size": [16, 16]}


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['architecture']}-{case['seed']}")
def test_logits_equal_upstreams(case: dict[str, Any]) -> None:
    one = architecture(case["architecture"])
    model = fill_model(one.build(case["changes"]).eval(), case["seed"])
    frames = make_frames(one.config(case["changes"]), case["samples"], case["seed"])
    with torch.no_grad():
        torch.testing.assert_close(model(frames), torch.tensor(case["logits"]), rtol=0, atol=1e-5)


def draw(seed: int, steps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = ((torch.rand((steps, 2, 3, 5, 4), generator=generator) < 0.4).float() for _ in range(3))
    return q, k, v


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_a_chunk_of_one_step_is_spatial_attention(seed: int) -> None:
    q, k, v = draw(seed, 6)
    assert torch.equal(mix_chunks(q, k, v, 0.25, 1), mix_keys_first(q, k, v, 0.25))


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_chunks_are_independent(seed: int) -> None:
    q, k, v = draw(seed, 6)
    whole = mix_chunks(q, k, v, 0.5, 3)
    parts = [mix_chunks(q[i : i + 3], k[i : i + 3], v[i : i + 3], 0.5, 3) for i in (0, 3)]
    assert torch.equal(whole, torch.cat(parts))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.permutations(range(4)))
def test_steps_of_a_chunk_permuted_permute_the_output(seed: int, order: list[int]) -> None:
    q, k, v = draw(seed, 4)
    assert torch.equal(mix_chunks(q[order], k[order], v[order], 0.5, 4), mix_chunks(q, k, v, 0.5, 4)[order])


def test_chunks_add_no_parameter() -> None:
    plain, chunked = architecture("sdt-dvs").build(SMALL), architecture("statten-dvs").build(SMALL | {"chunk": 4})
    assert plain.state_dict().keys() == chunked.state_dict().keys()
    spikformer = architecture("spikformer-cifar10dvs")
    assert spikformer.build(SMALL).state_dict().keys() == spikformer.build(SMALL | {"chunk": 2}).state_dict().keys()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("statten-dvs", {"chunk": 3}, "chunk: found 3, it must divide the 4 time steps evenly: 1, 2, 4"),
        ("sdt-dvs", {"chunk": 2}, "sdt-dvs has none"),
        ("sdt-dvs", {"neuron": "plf"}, "did you mean 'plif'"),
        ("sdt-static", {"heads": 3}, "multiple of heads"),
        ("statten-static", {"attention_scale": 0.0}, "attention_scale"),
    ],
)
def test_impossible_sizes_are_named(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        architecture(name).config(SMALL | changes)


@pytest.mark.parametrize("name", ["sdt-static", "sdt-dvs", "statten-static", "statten-dvs"])
def test_the_layer_table(name: str) -> None:
    config: Any = architecture(name).config(SMALL)
    assert SDTConfig.from_dict(config.to_dict()) == config
    table = layer_table(architecture(name).build(SMALL), config.frames_shape)
    kinds = {layer.name: layer.input for layer in table}
    assert kinds.pop("patch_embed.proj_conv") == "counts"
    assert kinds.pop("head") == "reals"
    assert kinds.pop("block.0.attn.proj") == ("integers" if name == "statten-dvs" else "spikes")
    assert set(kinds.values()) == {"spikes"}
    assert {layer.group for layer in table} == {"tokenizer", "attention", "mlp", "head"}
