"""Checkpoints of Meta-SpikeFormer, E-SpikeFormer and QSD-Transformer, as upstream's MAE-style script saves them."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from metaformer_weights import images, our_model, upstream_state

import snnq
from snnq.base.errors import CheckpointError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.models.metaformer.sizes import LAYOUTS, QSD, V2, V2_PARTS, V3, V3_LARGE, MetaFormerConfig

CONFIG = MetaFormerConfig(V2, 3, (32, 32), 24, 4, 8, 4.0, 5, 2, 8, 12, 16)
MADE = {
    V2: CONFIG,
    V3: MetaFormerConfig(**vars(CONFIG) | {"layout": V3, "substeps": 4, "steps": 1}),
    V3_LARGE: MetaFormerConfig(
        **vars(CONFIG) | {"layout": V3_LARGE, "substeps": 4, "steps": 1, "dim": 16, "mixed": True}
    ),
    QSD: MetaFormerConfig(**vars(CONFIG) | {"layout": QSD, "substeps": 4, "steps": 1}),
}
GIVEN: dict[str, Any] = {"image_size": (32, 32)}


def saved(path: Path, state: dict[str, torch.Tensor], **settings: Any) -> Path:
    torch.save({"model": state, "epoch": 9, "scaler": {}, "args": Namespace(**settings)}, path)
    return path


def upstream(name: str) -> dict[str, torch.Tensor]:
    state = upstream_state(MADE[name], 1)
    if name == QSD:  # never used, and so not in ours
        state |= {f"block3.0.mlp.fc1_conv.act.{part}": torch.zeros(1) for part in ("alpha", "signed")}
    return state


@pytest.mark.parametrize("name", MADE)
def test_upstreams_containers_open_with_the_logits_of_its_weights(name: str, tmp_path: Path) -> None:
    # Upstream's script records its image size; V2 its time steps.
    path = saved(tmp_path / "best.pth", upstream(name), input_size=32, time_steps=2, model="metaspikformer_8_384")
    found = snnq.inspect(path, substeps=4 if name == V3_LARGE else None)
    opened = found.checkpoint
    assert (opened.architecture, opened.config) == (name, MADE[name].to_dict())
    assert len(opened.dropped) == (2 if name == QSD else 0)
    frames = images(MADE[name], 2, 1)
    with torch.no_grad():
        assert torch.equal(load_model(opened)(frames), our_model(MADE[name], upstream_state(MADE[name], 1))(frames))
    assert found.wiring.arithmetic == "integer"
    assert len(found.attentions) == 4


def test_a_repconv_is_kept_where_its_user_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path / "v2.pth", upstream(V2))
    opened = open_checkpoint(path, architecture=V2_PARTS, steps=2, **GIVEN)
    assert (opened.architecture, opened.layout) == (V2_PARTS, V2_PARTS)
    frames = images(CONFIG, 2, 1)
    with torch.no_grad():
        whole = load_model(open_checkpoint(path, steps=2, **GIVEN))
        torch.testing.assert_close(load_model(opened)(frames), whole(frames), rtol=0, atol=1e-5)
    assert {*whole.state_dict()} != {*opened.state_dict}


def test_a_distilled_head_is_the_mean_of_both(tmp_path: Path) -> None:
    state = upstream(V2) | {"head_kd.weight": torch.ones(5, 24), "head_kd.bias": torch.full((5,), 2.0)}
    opened = open_checkpoint(saved(tmp_path / "kd.pth", state), steps=2, **GIVEN)
    assert opened.config["distilled"] is True
    assert torch.equal(opened.state_dict["head.weight"], (state["head.weight"] + 1) / 2)
    assert torch.equal(opened.state_dict["head.bias"], (state["head.bias"] + 2) / 2)


def test_four_bits_are_what_qsds_layers_compute_with(tmp_path: Path) -> None:
    state = upstream(QSD)
    state["block3.0.mlp.fc1_conv.weight"][0, :4, 0] = torch.tensor([-9.0, 0.26, 0.74, 5.0])
    state["block3.0.mlp.fc1_conv.alpha"][0] = 0.5
    weights = open_checkpoint(saved(tmp_path / "q.pth", state), **GIVEN).state_dict
    # Codes -8, 1, 1 and 7 at a step of 1/2, for spikes of 1/4 each.
    assert weights["block3.0.mlp.fc1_conv.weight"][0, :4, 0].tolist() == [-1.0, 0.125, 0.125, 0.875]
    notes = open_checkpoint(tmp_path / "q.pth", **GIVEN).notes
    assert "a quantised model in float32: taken are the 4-bit weights that it computes with" in notes
    layers = [name for name, one in weights.items() if name.endswith("weight") and one.ndim > 1]
    assert max(len(row.unique()) for name in layers for row in weights[name].flatten(1)) <= 16


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        (QSD, "head.alpha", None, r"missing: 'head\.alpha'"),
        (QSD, "head.init_state", 0.0, r"'head\.init_state' is 0: its steps were never set"),
        (QSD, "block4.0.attn.q_conv.0.body.2.1.alpha", -1.0, r"alpha' holds -1, a step is greater than 0"),
        (V2, "block3.0.attn.q_conv.0.body.2.0.weight", None, r"missing: 'block3\.0\.attn\.q_conv\.0\.body\.2\.0"),
        (V2, "block3.0.attn.q_conv.0.body.1.bn.running_var", -1.0, "a variance is never negative"),
        (V3, "block3.0.conv.dwconv.0.weight", None, r"missing: 'block3\.0\.conv\.dwconv\.0\.weight'"),
    ],
)
def test_what_is_not_whole_is_named_by_upstreams_name(
    name: str, key: str, value: float | None, said: str, tmp_path: Path
) -> None:
    state = upstream(name)
    if value is None:
        del state[key]
    else:
        state[key] = torch.full_like(state[key], value)
    given: dict[str, Any] = GIVEN | ({"steps": 2} if name == V2 else {})
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(saved(tmp_path / "odd.pth", state), **given)


@pytest.mark.parametrize("name", MADE)
def test_a_plain_state_dict_is_asked_for_what_it_cannot_tell(name: str, tmp_path: Path) -> None:
    torch.save(upstream(name), tmp_path / "plain.pth")
    wanted = (r"time steps \(--steps\), " if name == V2 else "") + r"image size \(--image-size\)"
    wanted += r", most spikes of a neuron in a time step, D \(--substeps\)" if name == V3_LARGE else ""
    with pytest.raises(CheckpointError, match=f"does not say its {wanted}$"):
        open_checkpoint(tmp_path / "plain.pth")


@pytest.mark.parametrize("name", [V3, V3_LARGE, QSD])
def test_another_d_is_believed(name: str, tmp_path: Path) -> None:
    opened = open_checkpoint(saved(tmp_path / "d.pth", upstream(name)), substeps=8, **GIVEN)
    assert opened.config["substeps"] == 8
    eight = replace(MADE[name], substeps=8)
    frames = images(eight, 2, 1)
    with torch.no_grad():
        assert torch.equal(load_model(opened)(frames), our_model(eight, upstream_state(eight, 1))(frames))


def test_every_layout_is_here() -> None:
    assert {*MADE, V2_PARTS} == {*LAYOUTS}
