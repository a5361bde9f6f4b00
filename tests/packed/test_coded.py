"""Coded storage: numbers and tensors come back bit for bit, sizes add up, and what is damaged or hostile is refused."""

from __future__ import annotations

import json
import random
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_samples import Sample, make_sample

from snnq.base.errors import PackedError, VerificationError
from snnq.packed import contexts, reals
from snnq.packed.coded import MOST_NUMBERS, STREAM, stream_of, tensors_of
from snnq.packed.config import PackedLayer, PackedTensor, read_config
from snnq.packed.numbers import NumberReader, NumberWriter
from snnq.packed.opening import open_tensors
from snnq.packed.safefile import TensorFile, safetensors_bytes
from snnq.packed.verification import verify
from snnq.schemes import entropy
from snnq.schemes.bits import BitReader
from snnq.schemes.scheme import scheme

PATH = Path("model.safetensors")


def layer(name: str, shape: tuple[int, ...]) -> PackedLayer:
    one = scheme(name)
    return PackedLayer(scheme=name, family=one.family, bits=one.bits, shape=shape, weight_sha256="")


def test_a_stream_by_hand() -> None:
    """Three times as many 3 as 4, in one lane."""
    writer = NumberWriter()
    writer.whole(np.array([[3, 3, 4, 3] * 16]))
    # lowest 3 is the seventh whole number: 001 11; no lower bits: 000000; two symbols: 01 0; the table's frequencies
    # in two bits: 0100; two bits of each as they are: 0100; 3 of 4: 1 11, and what is left.
    bits = "00111" + "000000" + "010" + "0100" + "0100" + "111"
    due = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    x, words = 2**16, []
    for symbol in reversed([0, 0, 1, 0] * 16):
        f, c = ((3072, 0), (1024, 3072))[symbol]
        if x >= f * 2**20:
            x, words = x >> 16, [x & 0xFFFF, *words]
        x = x // f * 4096 + c + x % f
    stream = b"".join(word.to_bytes(2, "little") for word in words)
    found = writer.bytes()
    assert found == bytes([1, 0, len(due), 0, 0, 0]) + due + x.to_bytes(4, "little") + stream
    assert len(words) == 3
    reader = NumberReader(found)
    numbers, taken = reader.whole(1, 64)
    reader.close()
    assert numbers.tolist() == [[3, 3, 4, 3] * 16]
    assert (taken.content, taken.tables) == (52, len(bits))  # 48 · log2(4/3) + 16 · 2


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Whole numbers (rows, n) of kernels of some taps, of which rows, columns or neighbours resemble each other."""
    rng, taps = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from([1, 1, 4, 9]))
    rows, n, top = draw(st.integers(1, 40)), draw(st.integers(1, 12)) * taps, draw(st.sampled_from([0, 1, 3, 15, 255]))
    spread = rng.gamma(1.0, 1.0, (rows, 1)) if draw(st.booleans()) else rng.gamma(1.0, 1.0, (1, n))
    values = rng.normal(size=(rows, n)) * spread * top / 4
    if draw(st.booleans()):
        values = np.cumsum(values.reshape(rows, -1, taps), 2).reshape(rows, n)
    return np.clip(np.rint(values + top / 2), 0, top).astype(np.int64), taps


@settings(max_examples=60, deadline=None)
@given(st.lists(matrices(), min_size=1, max_size=4))
def test_codes_come_back(given_matrices: list[tuple[np.ndarray, int]]) -> None:
    writer = NumberWriter()
    for codes, taps in given_matrices:
        writer.whole(codes, taps=taps)
    reader = NumberReader(writer.bytes())
    for codes, _ in given_matrices:
        found, taken = reader.whole(*codes.shape, codes=True)
        assert np.array_equal(found, codes)
        assert taken.content >= 0
    reader.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(2**55), 2**55), min_size=1, max_size=30),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.integers(0, 23),
)
def test_numbers_of_any_size_come_back(whole: list[int], real: list[float], zeros: int) -> None:
    numbers = np.array([whole])
    reals_given = (np.array([real], np.float32).view(np.int32) >> zeros << zeros).view(np.float32)
    writer = NumberWriter()
    writer.whole(numbers)
    writer.real(reals_given)
    writer.real(np.zeros((1, 0), np.float32))
    reader = NumberReader(writer.bytes())
    assert np.array_equal(reader.whole(1, len(whole))[0], numbers)
    assert reader.real(1, len(real))[0].tobytes() == reals_given.tobytes()
    assert reader.real(1, 0)[0].shape == (1, 0)
    reader.close()


def tried_all(rest: np.ndarray) -> tuple[float, int]:
    """The bits of the best split of whole numbers from 0 on, and its lower bits, after every one was tried."""
    found = []
    for low in range(max(int(rest.max()).bit_length() - 9, 0), int(rest.max()).bit_length() + 1):
        counts = np.bincount(rest.ravel() >> low)
        table = entropy.fitted(counts)
        spent = table.bits + entropy.cost(counts, table.frequencies) if len(counts) > 1 else 0.0
        found.append((rest.size * low + spent, low))
    return min(found)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.sampled_from([0.02, 0.3, 0.9]), st.integers(0, 20))
def test_the_split_is_the_best_of_all(seed: int, n: int, share: float, wide: int) -> None:
    numbers = np.random.default_rng(seed).geometric(share, (1, n)) << wide
    numbers ^= np.random.default_rng(seed + 1).integers(2**wide, size=(1, n)) & 5
    writer = NumberWriter()
    writer.whole(numbers)
    reader = BitReader(writer.bits.bytes())
    assert reader.signed() == numbers.min()
    assert reader.number(6) == tried_all(numbers - numbers.min())[1]


def test_both_forms_of_real_numbers_by_hand() -> None:
    numbers = np.array([[1.5, -0.25, 0.0]], np.float32)
    exponent, found = reals.fixed(numbers) or (None, None)
    assert (exponent, np.asarray(found).tolist()) == (-2, [[6, -1, 0]])
    # 1.5 = 0x3fc00000: exponent 127, mantissa ½; −0.25 = 0xbe800000: exponent 125; all below bit 22 is zero.
    zeros, found = reals.pattern(numbers)
    assert (zeros, found.tolist()) == (22, [[127 << 2 | 0b01, 125 << 2 | 0b10, 0]])
    assert reals.fixed(np.array([-0.0], np.float32)) is None
    assert reals.fixed(np.array([1e30, 1.0], np.float32)) is None
    with pytest.raises(ValueError, match="no float32"):
        reals.from_pattern(23, np.array([1 << 10]))


def kind_of(codes: np.ndarray, taps: int) -> int:
    return contexts.best(codes, taps).kind


def test_the_context_that_suits() -> None:
    rng = np.random.default_rng(0)
    plain = rng.choice(4, (64, 90), p=[0.1, 0.4, 0.4, 0.1])
    assert kind_of(plain, 9) == contexts.ONE
    narrow = rng.choice(4, (64, 90), p=[0.01, 0.49, 0.49, 0.01])
    halves = np.where(np.arange(64)[:, None] % 2, plain, narrow)
    assert kind_of(halves, 1) == contexts.ROWS
    assert kind_of(halves.T.copy(), 1) == contexts.COLUMNS
    smooth = np.repeat(rng.integers(4, size=(64, 10, 1)), 9, 2)
    smooth = np.where(rng.random(smooth.shape) < 0.1, rng.integers(4, size=smooth.shape), smooth).reshape(64, 90)
    assert kind_of(smooth, 9) == contexts.BEFORE
    assert kind_of(smooth, 1) != contexts.BEFORE


@pytest.mark.parametrize("name", ["uniform-2", "uniform-4", "power-of-two-2", "power-of-two-4"])
def test_within_a_hundredth_of_the_entropy(name: str) -> None:
    """Codes of a Gaussian weight: their entropy, tables and states of lanes on top."""
    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    one = scheme(name)
    codes = one.encode(weight, one.stored(one.fit(weight))).numpy()
    writer = NumberWriter()
    writer.whole(codes, taps=1)
    counts = np.bincount(codes.ravel())
    assert 8 * len(writer.bytes()) <= 1.01 * entropy.cost(counts, counts)


def coded(tensors: dict[str, np.ndarray], layers: dict[str, PackedLayer]) -> tuple[bytes, dict[str, PackedTensor]]:
    return stream_of(TensorFile(PATH, tensors, 0), layers)


def test_tensors_of_no_layer_of_every_type() -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "floats": rng.normal(size=(3, 5)).astype(np.float32),
        "one": np.array(2.5, np.float32),
        "none": np.zeros((0, 4), np.float32),
        "steps": rng.integers(-9, 9, (2, 3), np.int8),
        "wide": rng.integers(-(2**50), 2**50, (7,), np.int64),
    }
    stream, others = coded(tensors, {})
    found = tensors_of(PATH, stream, 0, {}, others)
    assert found.tensors.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found.tensors[name].dtype == array.dtype
        assert found.tensors[name].shape == array.shape
        assert found.tensors[name].tobytes() == array.tobytes()
        assert not found.tensors[name].flags.writeable
    with pytest.raises(PackedError, match=r"damaged \(wide is no int8\)"):
        tensors_of(PATH, stream, 0, {}, others | {"wide": PackedTensor(dtype="int8", shape=(7,))})
    with pytest.raises(VerificationError, match="far: it cannot be coded"):
        coded({"far": np.array([2**62])}, {})


def test_both_storages_hold_the_same(sample: Sample, folder: Path, fixed: Path) -> None:
    found, due = (open_tensors(one, read_config(one)) for one in (folder, fixed))
    assert found.tensors.keys() == due.tensors.keys()
    for name, array in due.tensors.items():
        assert found.tensors[name].dtype == array.dtype
        assert found.tensors[name].shape == array.shape
        assert found.tensors[name].tobytes() == array.tobytes(), name
    sizes = [(one / "model.safetensors").stat().st_size for one in (folder, fixed)]
    assert sizes[0] < sizes[1] * 0.6
    config = json.loads((fixed / "config.json").read_text())["quantization_config"]
    assert config.keys() == {"quant_method", "layers"}  # what early versions read


def test_sizes_of_a_coded_file_add_up(sample: Sample, folder: Path) -> None:
    found = verify(folder)
    shown, size = found.to_dict(), (folder / "model.safetensors").stat().st_size
    assert shown["weights_bits"] + sum(shown["overhead_bits"].values()) == 8 * size
    assert sum(one.bits_on_disk for one in found.layers) == found.sizes.weights
    assert found.sizes.padding == found.sizes.shapes == 0
    assert found.avg_bits == sample.plan.totals.avg_bits
    assert found.coded_avg_bits == found.sizes.weights / found.weights
    assert all(one.padding_bits == 0 for one in found.layers)


def test_a_file_that_is_no_stream(folder: Path) -> None:
    config = read_config(folder)
    for tensors in ({}, {STREAM: torch.zeros(8, dtype=torch.int8)}, {"head.bias": torch.zeros(3)}):
        (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors, {}))
        with pytest.raises(PackedError, match="tensor 'coded' of bytes must be all that it holds"):
            open_tensors(folder, config)


def stream_in(folder: Path) -> bytes:
    content = (folder / "model.safetensors").read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_damaged_streams_are_refused_or_give_other_numbers(folder: Path) -> None:
    """Nothing but a PackedError comes of any damage; what it lets pass, hashes find."""
    said, stream, draw = read_config(folder).quantization_config, stream_in(folder), random.Random(0)
    for _ in range(150):
        damaged = bytearray(stream)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.choice([draw.randrange(len(stream)), draw.randrange(200)])] = draw.randrange(256)
        end = draw.choice([len(stream), len(stream), draw.randrange(len(stream))])
        with suppress(PackedError):
            tensors_of(PATH, bytes(damaged[:end]), 0, said.layers, said.tensors)


def test_sizes_that_a_stream_cannot_hold(folder: Path) -> None:
    stream = stream_in(folder)
    for shape in ((2**40, 2**40), (2**20, 2**20)):
        with pytest.raises(PackedError, match="bytes are too few for layer fc"):
            tensors_of(PATH, stream, 0, {"fc": layer("uniform-2", shape)}, {})


def test_a_model_without_content_is_filled_up() -> None:
    shape = (256, 1024)
    one = scheme("uniform-2")
    stored = one.read(lambda key, shape, *dtypes: np.full(shape, "scale" in key, dtypes[0]), shape)
    tensors = {f"fc.{key}": array for key, array in one.write(stored).items()}
    stream, others = coded(tensors, {"fc": layer("uniform-2", shape)})
    assert len(stream) == -(-256 * 1024 // MOST_NUMBERS)
    found = tensors_of(PATH, stream, 0, {"fc": layer("uniform-2", shape)}, others)
    assert all(np.array_equal(found.tensors[name], array) for name, array in tensors.items())


@pytest.mark.slow
def test_opening_takes_less_than_half_a_second() -> None:
    """2.5 million codes, as of the reference model."""
    writer, draw = NumberWriter(), np.random.default_rng(0)
    shapes = [(256, 256)] * 8 + [(1024, 256)] * 4 + [(64, 288), (128, 576), (256, 1152), (256, 2304)]
    for shape in shapes:
        writer.whole(np.clip(np.rint(draw.normal(1.5, 0.9, shape)), 0, 3), taps=1)
    stream, times = writer.bytes(), []
    for _ in range(3):
        began, reader = time.perf_counter(), NumberReader(stream)
        for shape in shapes:
            reader.whole(*shape, codes=True)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5


def test_equal_models_give_equal_streams() -> None:
    found = [coded_sample(make_sample()) for _ in range(2)]
    assert found[0] == found[1]


def coded_sample(sample: Sample) -> bytes:
    from snnq.packed.coding import pack_layer

    shapes = {name: tuple(sample.model.get_parameter(f"{name}.weight").shape) for name in sample.layers}
    layers = {name: layer(one.scheme, shapes[name]) for name, one in sample.layers.items()}
    tensors = {key: array for name, one in sample.layers.items() for key, array in pack_layer(name, one).items()}
    return coded(tensors, layers)[0]
