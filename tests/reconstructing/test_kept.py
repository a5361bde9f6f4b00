"""A model that is quantised already is packed as it is: QSD's own codes and steps, equal weights, equal logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import write_images
from metaformer_weights import images, upstream_state

import snnq
from snnq.base.errors import UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.models.metaformer.sizes import QSD, MetaFormerConfig
from snnq.packed.arrays import open_arrays
from snnq.runtime import Engine

CONFIG = MetaFormerConfig(QSD, 3, (32, 32), 16, 1, 4, 4.0, 3, 1, 8, 12, 16, substeps=4)
GIVEN: dict[str, Any] = {"image_size": (32, 32), "heads": 4, "steps": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as upstream's script writes it, and images."""
    folder = tmp_path_factory.mktemp("qsd")
    torch.save({"model": upstream_state(CONFIG, 3)}, folder / "qsd.pth")
    write_images(folder / "images", 3, {"train": 10, "test": 2})
    return folder


@pytest.fixture(scope="module")
def packed(place: Path) -> Path:
    out = place / "packed"
    snnq.ptq(place / "qsd.pth", scheme="uniform-4", method="kept", data=f"images:{place / 'images'}", out=out, **GIVEN)
    return out


def test_weights_and_logits_are_those_of_the_file(place: Path, packed: Path) -> None:
    opened = open_checkpoint(place / "qsd.pth", **GIVEN)
    model, frames = load_model(opened), images(CONFIG, 3, 3)
    floating = snnq.load_packed(packed, "float")
    layers = [name for name in opened.state_dict if name.endswith("weight") and opened.state_dict[name].ndim > 1]
    assert len(layers) == 5 + 4 * 5 + 4 * 3 + 2 + 1
    for name in layers:
        assert torch.equal(floating.state_dict()[name], opened.state_dict[name]), name
    with torch.no_grad():
        torch.testing.assert_close(floating(frames), model(frames), rtol=0, atol=1e-5)


def test_codes_and_steps_are_its_own(place: Path, packed: Path) -> None:
    """By QSD's rule, in numpy: q = round(clamp(W/alpha, -8, 7)), for spikes of 1/4, behind attention of 2/4."""
    state, arrays = upstream_state(CONFIG, 3), open_arrays(packed)
    for name, theirs, unit in (
        ("block4.0.mlp.fc1_conv", "block4.0.mlp.fc1_conv", 0.25),
        ("block4.0.attn.proj_conv.body.0", "block4.0.attn.proj_conv.0.body.0", 0.5),
        ("ConvBlock1_1.0.conv1", "ConvBlock1_1.0.conv1", 0.25),
        ("downsample1_1.encode_conv", "downsample1_1.encode_conv", 1.0),
    ):
        weight, alpha = state[f"{theirs}.weight"].numpy(), state[f"{theirs}.alpha"].numpy()
        codes = np.rint(np.clip(weight.reshape(len(weight), -1) / alpha[:, None], -8, 7))
        stored = arrays.stored(name)
        found = stored.codes - stored.params["zero_point"]
        times = np.rint(stored.params["scale"][:, 0] / (alpha * unit))
        assert np.array_equal(found * times[:, None], codes), name
        assert np.count_nonzero(times == 1) > 0.7 * len(times)
        assert np.allclose(stored.params["scale"][:, 0], alpha * unit * times, rtol=1e-6, atol=0)


def test_it_is_a_folder_like_any_other(place: Path, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = snnq.verify(packed)
    assert found.engines is not None
    assert found.engines.spikes > 0
    spec = f"images:{place / 'images'}"
    both = [snnq.eval(packed, data=spec, engine=engine) for engine in ("torch", "integer")]
    assert (both[0].accuracy, both[0].loss) == (both[1].accuracy, both[1].loss)
    said = json.loads((packed / "report.json").read_text())["ptq"]
    assert (said["method"], said["blocks"], said["batchnorm_reestimated"]) == ("kept", [], False)
    assert "snnq ptq --method kept" in str(snnq.report(packed))
    assert Engine(packed).pixels is not None


def test_weights_on_no_grid_are_refused_by_name(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"layer downsample1_1\.encode_conv: the weights of \d+ of its 4 channels"):
        snnq.ptq(
            place / "qsd.pth",
            scheme="uniform-2",
            method="kept",
            data=f"images:{place / 'images'}",
            out=tmp_path / "packed",
            **GIVEN,
        )
