"""Images in whole numbers: bytes become parts of 2^-f, the same in torch, in the engine, its reference and C."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import c_agrees, have_gcc
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import write_lively
from sifted import slow_but
from small_architectures import small
from test_engine import MIXED

from snnq.arithmetic.fixed_point import POTENTIAL_LIMIT
from snnq.arithmetic.whole_modules import WHOLE_NEURONS
from snnq.base.errors import PackedError, UsageError
from snnq.data.pixels import DEVIATIONS, MEANS, Pixels
from snnq.network.combining import Residual
from snnq.network.neurons import is_neuron
from snnq.network.stages import Potential
from snnq.network.streams import COUNT_LIMIT, Stream
from snnq.network.wiring import PIXEL_LIMIT, READ_LIMIT
from snnq.packed.arrays import open_arrays
from snnq.packed.config import CONFIG_FILE
from snnq.packed.input import as_input, input_of
from snnq.packed.loading import load_packed
from snnq.runtime import Engine, reference
from snnq.runtime.comparing import compare_engines
from snnq.runtime.reference import Reference

IMAGENET = Pixels(MEANS["imagenet"], DEVIATIONS["imagenet"], "RGB")
# The first layer of the last is max-pooled before its neurons.
CASES = ["sdt-v3-imagenet", "spikformer-cifar10", "qkformer-imagenet"]
CLIPS = ["respike-residual", "respike-dense", "sdt-v3-imagenet", "respike-key, quantised", "respike-concat, quantised"]


def on_images(name: str) -> tuple[str, dict[str, Any]]:
    """Return an architecture and small sizes of it, for images."""
    one, sizes = small(name)
    return one, {**sizes, "in_channels": 3}


def first_spikes(folder: Path, arithmetic: str, reals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of the torch module, and the spikes of its first neurons."""
    model, seen = load_packed(folder, arithmetic), []
    for module in model.modules():
        if is_neuron(module) or isinstance(module, WHOLE_NEURONS):
            module.register_forward_hook(lambda _, given, spikes: seen.append(spikes.numpy().copy()))
    with torch.no_grad():
        return model(torch.from_numpy(reals)).numpy(), seen[0]


@pytest.mark.parametrize("name", slow_but(CASES[:1], CASES))
def test_all_four_agree_on_images(name: str, tmp_path: Path) -> None:
    one, sizes = on_images(name)
    folder, pixels = tmp_path / "packed", input_of(IMAGENET)
    images = write_lively(folder, MIXED[:4], one, pixels=pixels, **sizes)
    reals = pixels.reals(images)
    due, whole = first_spikes(folder, "integer", reals)
    _, floating = first_spikes(folder, "float", reals)
    assert np.ptp(due) > 0
    engine = Engine(folder, 1)
    for given_frames in (images, reals):
        assert np.array_equal(engine(given_frames), due)
        assert np.array_equal(Reference(folder)(given_frames), due)
    if have_gcc():
        source, _ = c_agrees(folder, tmp_path / "c", images)
        assert source.rom > 2 * 3 * 256  # the table of what bytes are
        assert "const uint8_t *image" in source.header
    # What is far behind the first neurons hangs on single spikes in a model of random weights.
    assert 0.02 < np.count_nonzero(floating) / floating.size < 0.98
    assert np.count_nonzero(whole != floating) <= 0.002 * floating.size
    assert compare_engines(folder).spikes > 0


@pytest.mark.parametrize("name", slow_but(CLIPS[3:], CLIPS))
def test_all_four_agree_on_clips(name: str, tmp_path: Path) -> None:
    one, sizes = on_images(name)
    folder, pixels = tmp_path / "packed", input_of(replace(IMAGENET, still=False))
    clips = write_lively(folder, MIXED[:4], one, pixels=pixels, **sizes)
    assert bool((clips[:, 0] != clips[:, 1]).any())
    reals = pixels.reals(clips)
    with torch.no_grad():
        due, floating = (load_packed(folder, kind)(torch.from_numpy(reals)).numpy() for kind in ("integer", "float"))
    assert np.ptp(due) > 0
    for given_frames in (clips, reals):
        assert np.array_equal(Engine(folder, 1)(given_frames), due)
        assert np.array_equal(Reference(folder)(given_frames), due)
    if have_gcc():
        source, _ = c_agrees(folder, tmp_path / "c", clips)
        assert "const uint8_t *clip" in source.header
    assert (compare_engines(folder).spikes > 0) == (one != "respike-key")
    if one.startswith("respike"):
        assert np.abs(floating - due).max() < 0.1 * np.ptp(floating)


def test_a_key_frame_is_taken_away_as_whole_numbers(tmp_path: Path) -> None:
    """Both frames are rounded before they are subtracted: 18423 - (-17379) of a white frame behind a black one."""
    one, sizes = on_images("respike-residual")
    write_lively(tmp_path / "packed", ["uniform-4"], one, pixels=input_of(replace(IMAGENET, still=False)), **sizes)
    reference_ = Reference(tmp_path / "packed")
    frames = np.zeros((1, sizes["steps"], 3, *sizes["image_size"]), np.uint8)
    frames[:, 1] = 255
    whole = reference_.arrays.frames(frames).astype(np.int64)
    cut = reference._RUN[Residual](reference_, None, whole[:, :3])  # pyright: ignore[reportArgumentType]
    assert cut[0, :, 0, 0, 0].tolist() == [round(0.515 / 0.229 * 8192) + round(0.485 / 0.229 * 8192), 0]
    assert reference_.wiring.graph.streams["residual frames"].bound == 2 * PIXEL_LIMIT


@pytest.mark.parametrize("frame", [0, 255])
def test_no_image_makes_a_number_too_large(frame: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Potentials stay within what their readers are made for, those that layers multiply within 2^22."""
    one, sizes = on_images("sdt-v2-imagenet-repconv")
    sizes["steps"] = 1
    images = write_lively(tmp_path / "packed", MIXED[:2], one, pixels=input_of(IMAGENET), **sizes)
    kept, most = Reference._potential, {}

    def watched(self: Reference, step: Potential, x: np.ndarray) -> np.ndarray:
        found = kept(self, step, x)
        most[step.gives] = int(np.abs(found).max())
        return found

    monkeypatch.setitem(reference._RUN, Potential, watched)
    Reference(tmp_path / "packed")(np.full_like(images, frame))
    wiring = open_arrays(tmp_path / "packed").wiring
    read = {one.gives for one in wiring.potentials if one.chain in wiring.read_chains}
    limits = {one.gives: READ_LIMIT if one.gives in read else POTENTIAL_LIMIT for one in wiring.potentials}
    assert {limits[name] for name in most} == {READ_LIMIT, POTENTIAL_LIMIT}
    assert all(found < limits[name] for name, found in most.items())
    assert max(most[name] for name in read) > 2**12


def test_by_hand() -> None:
    """f = 13 for ImageNet: the largest, a white blue pixel, is (1 - 0.406)/0.225 = 2.64, and 2.64 · 2^13 < 2^15."""
    pixels = input_of(IMAGENET)
    assert pixels.bits == 13
    stream = Stream("pixels", 3, (1, 2), PIXEL_LIMIT, 2.0**-13)
    frames = np.zeros((1, 1, 3, 1, 2), np.uint8)
    frames[0, 0, :, 0, 1] = 255
    found = as_input(frames, stream, pixels)[0, 0, :, 0]
    black = [round(-mean / std * 8192) for mean, std in zip(IMAGENET.mean, IMAGENET.std, strict=True)]
    white = [round((1 - mean) / std * 8192) for mean, std in zip(IMAGENET.mean, IMAGENET.std, strict=True)]
    assert found.tolist() == [list(pair) for pair in zip(black, white, strict=True)]
    assert white == [18423, 19895, 21627]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.lists(st.floats(0.01, 2), min_size=3, max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_bytes_and_normalised_pixels_are_the_same_numbers(mean: list[float], std: list[float], seed: int) -> None:
    pixels = Pixels(tuple(mean), tuple(std), "")
    packed = input_of(pixels)
    stream = Stream("pixels", 3, (4, 4), PIXEL_LIMIT, 2.0**-packed.bits)
    frames = np.random.default_rng(seed).integers(0, 256, (2, 1, 3, 4, 4)).astype(np.uint8)
    reals = pixels.reals(torch.from_numpy(frames)).numpy()
    assert np.array_equal(packed.reals(frames), reals)
    found = as_input(frames, stream, packed)
    assert np.array_equal(found, as_input(reals, stream, None))
    assert np.abs(found * stream.unit - reals).max() <= stream.unit / 2 * (1 + 1e-6)
    assert np.abs(found).max() <= PIXEL_LIMIT


def test_a_folder_of_other_channels_is_refused(tmp_path: Path) -> None:
    one, sizes = on_images("spikformer-cifar10")
    write_lively(tmp_path / "p", ["uniform-2"], one, pixels=input_of(IMAGENET), **sizes)
    path = tmp_path / "p" / CONFIG_FILE
    said = json.loads(path.read_text())
    said["quantization_config"]["pixels"]["std"].pop()
    del said["sha256"][CONFIG_FILE]
    path.write_text(json.dumps(said))
    with pytest.raises(PackedError, match="found 3 means and 2 deviations, its images have 3 channels"):
        Engine(tmp_path / "p")


def test_what_is_no_image_is_refused() -> None:
    pixels = Stream("pixels", 3, (1, 1), PIXEL_LIMIT, 2.0**-13)
    for frames in (np.full((1, 1, 3, 1, 1), np.nan, np.float32), np.ones((1, 1, 3, 1, 1), np.uint16)):
        with pytest.raises(UsageError, match="frames must be images: bytes, or normalised pixels"):
            as_input(frames, pixels, input_of(IMAGENET))
    counts = Stream("counts", 3, (1, 1), COUNT_LIMIT)
    with pytest.raises(UsageError, match="frames must be event counts"):
        as_input(np.full((1, 1, 3, 1, 1), 0.5), counts, None)
