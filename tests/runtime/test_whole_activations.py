"""Quantised activations in whole numbers: by hand, where they have none, and what a folder says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import WATCHED, c_agrees, have_gcc
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import write_lively
from sifted import slow_but
from small_architectures import quantised, small
from test_engine import MIXED, all_agree

from snnq.arithmetic.integers import Codes, WholeHead, codes, head
from snnq.base.errors import PackedError, UsageError
from snnq.models.registry import architecture
from snnq.network.activations import Hold, KeyFrames, Quantise
from snnq.network.operations import LayerOperation
from snnq.network.streams import FRAMES, Stream
from snnq.network.wiring import FloatWiring, Wiring
from snnq.packed.config import CONFIG_FILE, read_config
from snnq.packed.converting import convert
from snnq.packed.loading import load_packed
from snnq.packed.wired import EARLIER, wiring_of
from snnq.runtime import Engine
from snnq.runtime.reference import Reference

KEY, CONCAT = "respike-key, quantised", "respike-concat, quantised"


def test_codes_by_hand() -> None:
    """Of a step of 4 parts: a half is rounded up, and what lies beyond is cut off."""
    found = codes(4.0, 100.0, (-7, 7))
    assert (found.multiplier, found.shift) == (2**15, 17)
    x = np.array([-100, -30, -7, -6, -2, 1, 2, 5, 6, 26, 30, 100])
    assert found.of(x).tolist() == [-7, -7, -2, -1, 0, 0, 1, 1, 2, 7, 7, 7]
    assert codes(0.25, 100.0, (0, 255)).of(np.array([-3, 0, 5, 70])).tolist() == [0, 0, 20, 255]


@settings(max_examples=100, deadline=None)
@given(st.floats(2.0**-10, 2.0**30), st.integers(0, 44), st.booleans(), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_codes_are_the_nearest_whole_numbers(per: float, width: int, signed: bool, bits: int, seed: int) -> None:
    least, most = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    found = codes(per, 2.0**width, (least, most))
    x = np.random.default_rng(seed).integers(-(2**width), 2**width, 200, endpoint=True)
    q, exact = found.of(x), np.clip(x / per, least, most)
    assert np.abs(q - exact).max() <= 0.5 + most * 2.0**-15
    assert torch.equal(found.of(torch.from_numpy(x)), torch.from_numpy(q))


def test_steps_that_are_far_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="have no whole numbers"):
        codes(2.0**-17, 100.0, (0, 255))
    with pytest.raises(UsageError, match="have no whole numbers"):
        codes(1.0, 2.0**60, (0, 255))


def test_a_head_quantises_the_mean_before_it_multiplies() -> None:
    weight, bias = np.array([[0.5, -1.0]], np.float32), np.array([0.25], np.float32)
    whole = head(weight, bias, 1 / 0.1, 7)
    whole = WholeHead(whole.weight, whole.bias, whole.scale, codes=Codes(1, 2, 0, 7))
    # Sums of 4 parts: 10/4 = 2.5 is 3, and 100/4 is cut off at 7, of 0.1 each.
    assert whole.logits(np.array([[10, 100]]))[0].tolist() == pytest.approx([0.5 * 0.3 - 0.7 + 0.25])


def test_what_streams_carry() -> None:
    streams = {FRAMES: Stream("counts", 2, (4, 4), 4095), "x": Stream("reals", 3, (2, 2), None, 1.0, 4)}
    assert KeyFrames((FRAMES,), "k", "given").carries(streams).kind == "pixels"
    assert Hold(("x",), "h", 3).carries(streams) == streams["x"]
    found = Quantise("layer", ("x",), "q", 4, True, 0.25).carries(streams)
    assert (found.kind, found.bound, found.unit, found.parts) == ("codes", 7, 0.25, 1)


def why(name: str, structure: list[dict[str, Any]]) -> str:
    """Return why a model with such edits has no whole numbers."""
    one, sizes = small(name)
    found = architecture(one).wiring(sizes | {"structure": structure} if structure else sizes)
    assert isinstance(found, FloatWiring)
    return found.reason


def test_real_activations_are_named_with_what_helps() -> None:
    for one in ("respike-key", "respike-concat"):
        assert "ann.layer1.0.conv1 is given real activations; snnq quantise-activations" in why(one, [])
    edit = small(KEY)[1]["structure"][0]
    some = {name: how for name, how in edit["layers"].items() if name != "ann.layer3.0.conv2"}
    assert "ann.layer3.0.conv2 is given real" in why("respike-key", [{**edit, "layers": some}])
    cores = {"edit": "factored", "mode": "stt", "ranks": {"ann.layer3.0.conv2": 2}}
    assert "ann.layer3.0.conv2, whose activations are quantised, was made several" in why("respike-key", [edit, cores])
    every = [*quantised(["snn.conv1", "head"], [])["structure"]]
    assert "head is given quantised activations after all time steps" in why("respike-dense", every)
    one, sizes = small("respike-dense")
    found = architecture(one).wiring(sizes | quantised(["snn.conv1"], []))
    assert isinstance(found, Wiring)


def test_a_later_edit_replaces_an_earlier_one() -> None:
    one, sizes = small(KEY)
    edits = [*sizes["structure"], *quantised(["head"], ["ann.conv1"], 4)["structure"]]
    graph = architecture(one).graph(sizes | {"structure": edits})
    assert graph is not None
    made = {op.layer: (op.bits, op.signed) for op in graph.operations if isinstance(op, Quantise)}
    assert (made["ann.conv1"], made["ann.layer1.0.conv1"]) == ((4, False), (8, False))
    assert graph.head.quantised is not None
    assert (graph.head.quantised.bits, graph.head.quantised.signed) == (4, True)
    with pytest.raises(UsageError, match="'other', whose activations are quantised, is no layer of the graph"):
        architecture(one).graph(sizes | quantised([], ["other"]))


@pytest.mark.parametrize("sizes", [{"steps": 8, "key_stride": 8}, {"key_stride": 2, "image_size": [33, 21]}], ids=str)
@pytest.mark.parametrize("name", slow_but((CONCAT,), [KEY, CONCAT]))
def test_other_segments(name: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    one, usual = small(name)
    frames = write_lively(tmp_path / "packed", ["uniform-4", "ternary"], one, **usual | sizes)
    all_agree(tmp_path / "packed", frames, threads=1)
    if have_gcc():
        c_agrees(tmp_path / "packed", tmp_path / "c", frames, *WATCHED)


def test_bottlenecks(tmp_path: Path) -> None:
    """A ResNet-50, whose blocks of 1×1, 3×3 and 1×1 the others have not: torch and the reference agree."""
    one, sizes = small("respike-key")
    sizes |= {"depth": 50, "image_size": [16, 16]}
    found = architecture(one).graph(sizes)
    assert found is not None
    layers = [op.layer for op in found.operations if isinstance(op, LayerOperation)]
    frames = write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes | quantised([], [*layers, "head"]))
    given_frames = torch.from_numpy(np.minimum(frames, 4095).astype(np.float32))
    with torch.no_grad():
        exact, floating = (load_packed(tmp_path / "packed", kind)(given_frames) for kind in ("integer", "float"))
    assert np.array_equal(Reference(tmp_path / "packed")(frames), exact.numpy())
    assert float((exact - floating).abs().max()) < 0.1 * float(floating.max() - floating.min())


def test_roundings_alone_are_between_both_forms(tmp_path: Path) -> None:
    """In 4 bits an activation is hardly ever on the other side of a rounding: logits differ by the head's alone."""
    one, sizes = small("respike-key, in 4 bits")
    frames = write_lively(tmp_path / "packed", MIXED, one, samples=4, **sizes)
    given_frames = torch.from_numpy(np.minimum(frames, 4095).astype(np.float32))
    with torch.no_grad():
        exact, floating = (load_packed(tmp_path / "packed", kind)(given_frames) for kind in ("integer", "float"))
    assert float(floating.max() - floating.min()) > 0.1
    assert float((exact - floating).abs().max()) < 1e-5 * float(floating.abs().max())


def test_a_folder_that_says_nothing_runs_in_floating_point(tmp_path: Path) -> None:
    one, sizes = small(CONCAT)
    frames = write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes)
    given_frames, path = torch.from_numpy(frames.astype(np.float32)), tmp_path / "packed" / CONFIG_FILE
    due = load_packed(tmp_path / "packed", "float")(given_frames)
    convert(tmp_path / "packed", tmp_path / "fixed", "fixed")
    assert np.array_equal(Engine(tmp_path / "fixed", 1)(frames), Reference(tmp_path / "packed")(frames))
    said: dict[str, Any] = json.loads(path.read_text())
    del said["quantization_config"]["arithmetic"], said["quantization_config"]["activations"]
    del said["sha256"][CONFIG_FILE]  # as versions before wrote it
    path.write_text(json.dumps(said))
    model = load_packed(tmp_path / "packed")
    assert model.arithmetic == "float"
    assert torch.equal(model(given_frames), due)
    found = wiring_of(read_config(tmp_path / "packed"))
    assert isinstance(found, FloatWiring)
    assert found.reason == EARLIER


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda steps: steps.pop("head"), "quantization_config.activations: 'head' is missing"),
        (lambda steps: steps.update(other=0.5), "activations: 'other' is no layer whose activations are quantised"),
        (lambda steps: steps.update(head=0.0), "greater than 0"),
        (lambda steps: steps.update(head="wide"), "number"),
    ],
)
def test_steps_stand_in_the_config(change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path) -> None:
    one, sizes = small(KEY)
    write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes)
    path = tmp_path / "packed" / CONFIG_FILE
    config: dict[str, Any] = json.loads(path.read_text())
    model = load_packed(tmp_path / "packed", "float")
    reach = float(model.get_submodule("head").get_parameter("input_range").exp())
    assert config["quantization_config"]["activations"]["head"] == pytest.approx(reach / 255, rel=1e-6)
    change(config["quantization_config"]["activations"])
    del config["sha256"][CONFIG_FILE]
    path.write_text(json.dumps(config))
    with pytest.raises(PackedError, match=said):
        Reference(tmp_path / "packed")
