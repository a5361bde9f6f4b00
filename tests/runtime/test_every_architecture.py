"""Every architecture in whole numbers: torch, engine, reference and C agree, and are close to the float form."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import c_agrees, have_gcc
from lively import write_lively
from small_architectures import NAMES, ONE_EACH, small
from test_engine import MIXED, all_agree

from snnq.base.errors import PackedError, UsageError
from snnq.models.metaformer.sizes import QSD
from snnq.models.registry import architecture
from snnq.network.wiring import FloatWiring, Wiring
from snnq.packed.config import CONFIG_FILE, read_config
from snnq.packed.converting import convert
from snnq.packed.loading import load_packed
from snnq.packed.wired import EARLIER, wiring_of
from snnq.runtime import Engine
from snnq.runtime.comparing import compare_engines
from snnq.runtime.reference import Reference


@pytest.mark.parametrize("name", ONE_EACH)
def test_all_four_agree(name: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    schemes = MIXED[:4] if one.startswith("sdt-v2") or one == QSD else MIXED  # many layers: a moment each
    frames = write_lively(tmp_path / "packed", schemes, one, **sizes)
    rates = all_agree(tmp_path / "packed", frames, threads=2)
    wiring = wiring_of(read_config(tmp_path / "packed"))
    assert isinstance(wiring, Wiring)
    if have_gcc():
        source, _ = c_agrees(tmp_path / "packed", tmp_path / "c", frames)
        assert (source.stream_ram is None) == bool(sizes.get("chunk") or sizes.get("key_stride"))
    assert not rates or sorted(rates.values())[len(rates) // 8] > 0.03, rates
    assert all(rates[mixing.fires.neuron] > 0.01 for mixing in wiring.mixings), rates
    assert Engine(tmp_path / "packed", 1)(frames[:0]).shape == (0, sizes["classes"])
    # Before a spike turns over for a rounding, logits are equal but for the head's. More do so behind potentials.
    exact, rounded = (load_packed(tmp_path / "packed", kind) for kind in ("integer", "float"))
    given = torch.from_numpy(np.minimum(frames, 4095).astype(np.float32))
    with torch.no_grad():
        due = rounded(given)
        far = 0.05 if wiring.beyond else 0.02
        far = 0.2 if one == "respike-dense" else far  # of six pixels in its last stage, one spike
        assert float((exact(given) - due).abs().max()) < far * float(due.max() - due.min())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_four_agree_on_many_samples(name: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", MIXED, one, samples=64, **sizes)
    given = torch.from_numpy(np.minimum(frames, 4095).astype(np.float32))
    with torch.no_grad():
        due = load_packed(tmp_path / "packed")(given).numpy()
    assert len(np.unique(due, axis=0)) > 1
    assert np.array_equal(Reference(tmp_path / "packed")(frames), due)
    for threads in (1, 2, 4):
        engine = Engine(tmp_path / "packed", threads)
        assert np.array_equal(engine(frames), due)
        assert np.array_equal(np.concatenate([engine(one[None]) for one in frames[::-1]])[::-1], due)
    if have_gcc():
        c_agrees(tmp_path / "packed", tmp_path / "c", frames)


def test_what_does_not_run_in_whole_numbers_says_why() -> None:
    one = "respike-key"
    sizes = architecture(one).default_config() | {"depth": 10, "dim": 32, "image_size": [32, 32], "steps": 8}
    wiring = architecture(one).wiring(sizes)
    assert isinstance(wiring, FloatWiring)
    said: Any = SimpleNamespace(
        architecture=one, config=sizes, quantization_config=SimpleNamespace(arithmetic="integer", pixels=None)
    )
    with pytest.raises(PackedError, match="was evaluated in whole numbers, but"):
        wiring_of(said)


@pytest.mark.parametrize("schemes", [["float32"], ["ternary", "binary"]], ids=lambda s: s[0])
def test_other_formats_of_potentials(schemes: list[str], tmp_path: Path) -> None:
    one, sizes = small("sdt-static")
    all_agree(tmp_path / "packed", write_lively(tmp_path / "packed", schemes, one, **sizes))
    assert compare_engines(tmp_path / "packed").spikes > 0


@pytest.mark.parametrize("name", ["qkformer-dvs", "maxformer-spikingjelly", "sdt-dvs, leaks learned"])
def test_a_folder_that_says_nothing_stays_what_it_was(name: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes)
    assert read_config(tmp_path / "packed").quantization_config.arithmetic == "integer"
    path = tmp_path / "packed" / CONFIG_FILE
    said: dict[str, Any] = json.loads(path.read_text())
    del said["quantization_config"]["arithmetic"], said["sha256"][CONFIG_FILE]  # as early versions wrote it
    said["quantization_config"].pop("leaks", None)
    path.write_text(json.dumps(said))
    model = load_packed(tmp_path / "packed")
    assert model.arithmetic == "float"
    given = torch.from_numpy(frames.astype(np.float32))
    assert torch.equal(model(given), load_packed(tmp_path / "packed", "float")(given))
    with pytest.raises(UsageError, match="does not run in whole numbers, because it was packed when") as caught:
        Engine(tmp_path / "packed")
    assert EARLIER in caught.value.message
    convert(tmp_path / "packed", tmp_path / "fixed", "fixed")
    assert load_packed(tmp_path / "fixed").arithmetic == "float"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda leaks: leaks.update({"head_lif": 2**16}), "less than 65536"),
        (lambda leaks: leaks.update({"head_lif": -1}), "greater than or equal to 0"),
        (lambda leaks: leaks.pop("head_lif"), "quantization_config.leaks: 'head_lif' is missing"),
        (lambda leaks: leaks.update(other=1), "leaks: 'other' are no neurons whose leak was learned"),
        (lambda leaks: leaks.update({"head_lif": 1}), None),
    ],
)
def test_leaks_that_were_learned_stand_in_the_config(
    change: Callable[[dict[str, int]], object], said: str | None, tmp_path: Path
) -> None:
    one, sizes = small("statten-static, its own leaks learned")
    frames = write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes)
    path, given = tmp_path / "packed" / CONFIG_FILE, torch.from_numpy(np.minimum(frames, 4095).astype(np.float32))
    found: dict[str, Any] = json.loads(path.read_text())
    leaks = found["quantization_config"]["leaks"]
    w = float(load_packed(tmp_path / "packed", "float").get_submodule("head_lif").get_parameter("w"))
    assert leaks["head_lif"] == round(2**16 * (1 - 1 / (1 + math.exp(-w))))
    due = load_packed(tmp_path / "packed")(given)
    convert(tmp_path / "packed", tmp_path / "fixed", "fixed")
    assert torch.equal(load_packed(tmp_path / "fixed")(given), due)
    change(leaks)
    del found["sha256"][CONFIG_FILE]
    path.write_text(json.dumps(found))
    if said is None:  # what stands there is what is run, everywhere
        other = load_packed(tmp_path / "packed")(given)
        assert not torch.equal(other, due)
        assert np.array_equal(Engine(tmp_path / "packed")(frames), other.numpy())
        return
    for opening in (load_packed, Engine, Reference):
        with pytest.raises(PackedError, match=said):
            opening(tmp_path / "packed")


def test_a_spikformers_folder_says_nothing(tmp_path: Path) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"])
    assert "arithmetic" not in json.loads((tmp_path / "packed" / CONFIG_FILE).read_text())["quantization_config"]
    assert load_packed(tmp_path / "packed").arithmetic == "integer"
