"""One layer and its tensors: values by hand, exact round trips for every scheme, and what cannot be stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import PackedError, VerificationError
from snnq.packed.coding import Coded, is_canonical, other_tensors, pack_layer, read_layer, read_weight, weight_sha256
from snnq.packed.config import PackedLayer
from snnq.packed.safefile import TensorFile
from snnq.schemes.scheme import scheme, scheme_names

NAMES = scheme_names()


def entry(name: str, shape: tuple[int, ...]) -> PackedLayer:
    one = scheme(name)
    return PackedLayer(scheme=name, family=one.family, bits=one.bits, shape=shape, weight_sha256="")


def file_of(tensors: dict[str, np.ndarray]) -> TensorFile:
    return TensorFile(Path("model.safetensors"), tensors, 0)


def test_uniform_by_hand() -> None:
    # Levels ½·(q - 1½): -¾, -¼, ¼, ¾.
    params = {"scale": torch.tensor([[0.5]]), "zero_point": torch.tensor([[1.5]])}
    tensors = pack_layer("fc", Coded("uniform-2", torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8), params))
    assert {name: value.tolist() for name, value in tensors.items()} == {
        "fc.weight_packed": [[0b11100100]],
        "fc.weight_scale": [[0.5]],
        "fc.weight_zero_point_halves": [[3]],
        "fc.weight_shape": [1, 4],
    }
    dtypes = {name.removeprefix("fc.weight_"): value.dtype.name for name, value in tensors.items()}
    assert dtypes == {
        "packed": "int32",
        "scale": "float32",
        "zero_point_halves": "int8",
        "shape": "int64",
    }
    weight = read_weight("fc", entry("uniform-2", (1, 4)), file_of(tensors))
    assert weight.tolist() == [[-0.75, -0.25, 0.25, 0.75]]


def test_power_of_two_by_hand() -> None:
    # α = 2^-3; codes of 4 bits: sign 8, k - 7 octaves below α.
    codes = torch.tensor([[0, 7, 15, 6, 9, 1]], dtype=torch.uint8)
    tensors = pack_layer("fc", Coded("power-of-two-4", codes, {"log2_scale": torch.tensor([[-3.0]])}))
    assert tensors["fc.weight_pot_packed"].tolist() == [[0x196F70]]
    assert tensors["fc.weight_scale_exp"].tolist() == [[-3]]
    assert tensors["fc.weight_scale_exp"].dtype == np.int8
    weight = read_weight("fc", entry("power-of-two-4", (1, 6)), file_of(tensors))
    assert weight.tolist() == [[0.0, 2.0**-3, -(2.0**-3), 2.0**-4, -(2.0**-9), 2.0**-9]]


def test_tensors_of_no_layer() -> None:
    layers, tensors = {"f": entry("float32", (2, 5))}, {"f.weight": np.zeros((2, 5)), "f.bias": np.zeros(2)}
    for name in NAMES[1:]:
        one = scheme(name)
        weight = torch.randn(2, 5)
        params = one.stored(one.fit(weight))
        tensors |= pack_layer(name, Coded(name, one.encode(weight, params), params))
        layers[name] = entry(name, (2, 5))
    assert set(other_tensors(file_of(tensors), layers)) == {"f.bias"}


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(NAMES[1:]),
    st.sampled_from([(3, 4), (2, 5, 1), (4, 3, 3, 3), (1, 1), (5, 33)]),
    st.integers(0, 2**32 - 1),
    st.integers(-30, 30),
)
def test_every_scheme_comes_back_bit_for_bit(name: str, shape: tuple[int, ...], seed: int, octave: int) -> None:
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy((rng.normal(rng.normal(), 1, size=shape) * 2.0**octave).astype(np.float32))
    one = scheme(name)
    params = one.stored(one.fit(weight))
    codes = one.encode(weight, params)
    file = file_of(pack_layer("fc", Coded(name, codes, params)))
    stored = read_layer("fc", entry(name, shape), file)
    assert is_canonical("fc", entry(name, shape), stored, file)
    assert np.array_equal(stored.codes, codes.numpy())
    assert all(np.array_equal(stored.params[key], params[key].numpy()) for key in params)
    found = read_weight("fc", entry(name, shape), file)
    assert found.shape == shape
    assert found.tobytes() == one.decode(codes, params).numpy().tobytes()


@pytest.mark.parametrize(
    ("zero_point", "dtype"),
    [(63.5, "int8"), (-63.5, "int8"), (64.0, "int16"), (127.5, "int16"), (16384.0, "int32")],
)
def test_zero_points_take_the_integer_they_need(zero_point: float, dtype: str) -> None:
    params = {"scale": torch.ones(2, 1), "zero_point": torch.tensor([[0.5], [zero_point]])}
    tensors = pack_layer("fc", Coded("uniform-8", torch.zeros(2, 3, dtype=torch.uint8), params))
    assert tensors["fc.weight_zero_point_halves"].dtype.name == dtype
    assert read_layer("fc", entry("uniform-8", (2, 3)), file_of(tensors)).params["zero_point"][1] == zero_point


def test_what_cannot_be_stored_is_refused() -> None:
    codes = torch.zeros(1, 3, dtype=torch.uint8)
    for scheme_name, params, words in (
        ("uniform-2", {"scale": torch.ones(1, 1), "zero_point": torch.tensor([[1.3]])}, "zero-point is not a whole"),
        ("uniform-2", {"scale": torch.ones(1, 1), "zero_point": torch.tensor([[2.0**31]])}, "zero-point is 4.2949"),
        ("power-of-two-2", {"log2_scale": torch.tensor([[0.5]])}, "exponent is not a whole"),
        ("power-of-two-2", {"log2_scale": torch.tensor([[128.0]])}, "exponent is 128, at most 127"),
        ("power-of-two-2", {"log2_scale": torch.tensor([[float("nan")]])}, "exponent is not a whole"),
    ):
        with pytest.raises(VerificationError, match=f"layer fc: .*{words}"):
            pack_layer("fc", Coded(scheme_name, codes, params))


def test_tensors_that_do_not_fit_the_config() -> None:
    params = {"scale": torch.ones(2, 1), "zero_point": torch.ones(2, 1)}
    good = pack_layer("fc", Coded("uniform-2", torch.zeros(2, 20, dtype=torch.uint8), params))
    layer = entry("uniform-2", (2, 20))
    for key, value, words in (
        ("weight_packed", good["fc.weight_packed"][:, :1], r"shape \[2, 1\], it must be \[2, 2\]"),
        ("weight_packed", good["fc.weight_packed"].astype(np.float32), "is float32, it must be int32"),
        ("weight_scale", np.ones(2, np.float32), r"shape \[2\], it must be \[2, 1\]"),
        ("weight_scale", np.array([[1.0], [float("inf")]], np.float32), "not finite"),
        ("weight_zero_point_halves", np.ones((2, 1), np.float32), "is float32, it must be int8 or int16 or int32"),
        ("weight_shape", np.array([2, 21]), r"is \[2, 21\], the config says \[2, 20\]"),
        ("weight_shape", None, "is missing"),
    ):
        tensors = {k: v for k, v in (good | {f"fc.{key}": value}).items() if v is not None}
        with pytest.raises(PackedError, match=words):
            read_layer("fc", layer, file_of(tensors))


def test_padding_that_holds_something_is_not_canonical() -> None:
    params = {"scale": torch.ones(1, 1), "zero_point": torch.ones(1, 1)}
    for name, n, bit in (("uniform-2", 3, 6), ("uniform-3", 10, 30)):
        tensors = pack_layer("fc", Coded(name, torch.zeros(1, n, dtype=torch.uint8), params))
        tensors["fc.weight_packed"] = tensors["fc.weight_packed"] | 2**bit
        file, layer = file_of(tensors), entry(name, (1, n))
        assert not is_canonical("fc", layer, read_layer("fc", layer, file), file)
    # A fourth trit, a byte that no five trits give, a fourth bit.
    for name, key, bit in (("ternary", "trits", 3**3), ("ternary", "trits", 125), ("binary", "signs", 2**3)):
        tensors = pack_layer("fc", Coded(name, torch.ones(1, 3, dtype=torch.uint8), {"scale": torch.ones(1, 1)}))
        file, layer = file_of(tensors), entry(name, (1, 3))
        assert is_canonical("fc", layer, read_layer("fc", layer, file), file)
        tensors[f"fc.weight_{key}"] += bit
        assert not is_canonical("fc", layer, read_layer("fc", layer, file), file)


def test_weight_hash_by_hand() -> None:
    # sha256 of the bytes 00 00 80 3f 00 00 00 c0 (1.0 and -2.0, little-endian).
    import hashlib

    due = hashlib.sha256(bytes.fromhex("0000803f000000c0")).hexdigest()
    assert weight_sha256(np.array([[1.0], [-2.0]], np.float32)) == due
    assert weight_sha256(np.array([[1.0], [-2.5]], np.float32)) != due
