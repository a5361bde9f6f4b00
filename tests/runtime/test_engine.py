"""Spike for spike: the engine, the plain numpy reference and the torch module agree on every neuron."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import lively
import numpy as np
import pytest
import torch
from lively import write_lively
from sifted import slow_but

from snnq.arithmetic.whole_modules import WHOLE_NEURONS
from snnq.base.errors import PackedError, UsageError, VerificationError
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed
from snnq.packed.opening import open_tensors
from snnq.runtime import Engine, unpack
from snnq.runtime.reference import Reference

MIXED = [*lively.MIXED, "power-of-two-5"]
LAYOUTS = ("cifar10dvs", "cifar10", "imagenet")
FORMATS = (MIXED, ["uniform-2"], ["power-of-two-4"], ["float32"], ["ternary"], ["binary"])


def torch_spikes(folder: Path, frames: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits and every neuron's spikes (pixels, steps, channels) of the torch module."""
    model, seen = load_packed(folder), {}
    for name, module in model.named_modules():
        if isinstance(module, WHOLE_NEURONS):
            by_pixel = module.by_pixel
            module.register_forward_hook(
                lambda _, __, spikes, *, name=name, by_pixel=by_pixel: seen.__setitem__(name, by_pixel(spikes))
            )
    with torch.no_grad():
        logits = model(torch.from_numpy(frames.astype(np.float32)))
    return logits.numpy(), seen


def all_agree(folder: Path, frames: np.ndarray, threads: int | None = None) -> dict[str, float]:
    """Compare the three on one batch; return every neuron's firing rate."""
    due, torch_logits = {}, None
    torch_logits, seen = torch_spikes(folder, frames)
    reference = Reference(folder)(frames, lambda name, spikes: due.__setitem__(name, spikes))
    mine: dict[str, np.ndarray] = {}
    logits = Engine(folder, threads)(frames, lambda name, spikes: mine.__setitem__(name, spikes.copy()))
    assert due.keys() == seen.keys() == mine.keys()
    for name, spikes in due.items():
        spikes = spikes.reshape(-1, *spikes.shape[2:])
        assert np.array_equal(seen[name], spikes), name
        assert np.array_equal(unpack(mine[name], spikes.shape[-1]), spikes), name
    assert np.array_equal(reference, torch_logits)
    assert np.array_equal(logits, torch_logits)
    return {name: float(spikes.mean()) for name, spikes in due.items()}


@pytest.mark.parametrize(
    ("layout", "schemes"),
    slow_but([("imagenet", MIXED), *((LAYOUTS[0], one) for one in FORMATS)], itertools.product(LAYOUTS, FORMATS)),
    ids=lambda given: given if isinstance(given, str) else given[0],
)
def test_all_three_agree(layout: str, schemes: list[str], tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", schemes, layout)
    rates = all_agree(tmp_path / "packed", frames)
    assert all(0 < rate < 0.9 for rate in rates.values()), rates
    assert sorted(rates.values())[2] > 0.01, rates


def test_all_three_agree_on_zero_points_far_outside_the_codes(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-8", "uniform-2", "uniform-5"], one_sign=True)
    rates = all_agree(tmp_path / "packed", frames)
    assert sorted(rates.values())[2] > 0.01, rates
    tensors = open_tensors(tmp_path / "packed", read_config(tmp_path / "packed")).tensors
    assert min(int(value.min()) for name, value in tensors.items() if name.endswith("_halves")) < -4000


@pytest.mark.parametrize(
    "sizes",
    slow_but(
        ({"steps": 17, "depth": 1}, {"dim": 72, "heads": 3, "mlp_ratio": 2.5}),
        [
            {"steps": 1},
            {"steps": 17, "depth": 1},
            {"dim": 72, "heads": 3, "mlp_ratio": 2.5},
            {"dim": 96, "heads": 1, "depth": 3},
            {"dim": 200, "heads": 8, "depth": 1, "classes": 70},
            {"image_size": [7, 13], "pooling": [False, False, False, False]},
            {"image_size": [33, 21], "pooling": [True, False, True, True], "in_channels": 5},
        ],
    ),
    ids=str,
)
def test_odd_sizes(sizes: dict[str, Any], tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED, seed=3, **sizes)
    all_agree(tmp_path / "packed", frames, threads=3)


def test_integers_stay_close_to_floats(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-2", "uniform-4"])
    given = torch.from_numpy(np.minimum(frames, 9).astype(np.float32))
    exact, rounded = load_packed(tmp_path / "packed")(given), load_packed(tmp_path / "packed", "float")(given)
    assert torch.allclose(exact, rounded, atol=1e-5)


def test_a_sample_does_not_depend_on_its_batch_nor_on_the_threads(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED)
    together = Engine(tmp_path / "packed", 1)(frames)
    alone = [Engine(tmp_path / "packed", 4)(frames[i : i + 1]) for i in range(len(frames))]
    assert np.array_equal(together, np.concatenate(alone))
    assert not np.array_equal(together[0], together[1])
    assert Engine(tmp_path / "packed", 2)(frames[:0]).shape == (0, 5)


def test_weights_stay_packed(tmp_path: Path) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"], dim=128, depth=1)
    engine = Engine(tmp_path / "packed", 1)
    assert engine.weight_bytes <= 1.1 * (tmp_path / "packed" / "model.safetensors").stat().st_size


def test_frames_that_are_no_counts(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-2"])
    engine = Engine(tmp_path / "packed", 1)
    for kind in (np.float32, np.int64, np.float16):
        assert np.array_equal(engine(frames), engine(frames.astype(kind)))
    few = np.minimum(frames, 127)
    for kind in (np.uint8, np.int8):
        assert np.array_equal(engine(few), engine(few.astype(kind)))
    for bad in (frames[:, :1], frames + 0.5, -frames.astype(np.int32), frames * np.float32(np.nan)):
        with pytest.raises(UsageError, match="frames"):
            engine(bad)


def test_damage_is_never_run(tmp_path: Path) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"])
    file = tmp_path / "packed" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(VerificationError, match="sha256"):
        Engine(tmp_path / "packed")
    (tmp_path / "packed" / "config.json").unlink()
    with pytest.raises(PackedError, match=r"config\.json"):
        Engine(tmp_path / "packed")


def test_no_torch_is_needed() -> None:
    import subprocess
    import sys

    found = subprocess.run(
        [sys.executable, "-c", "import sys, snnq.runtime; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False"
