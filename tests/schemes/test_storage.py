"""Every format in numpy beside torch: decoded weights, bit for bit, and whole numbers, beside what they stand for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import VerificationError
from snnq.schemes.format import Arrays, Stored, Take
from snnq.schemes.power_of_two import MAX_NARROW_BITS
from snnq.schemes.scheme import Scheme, formats, scheme, scheme_names
from snnq.schemes.uniform import factor_and_origin
from snnq.schemes.words import as_integers

CODED = [name for name in scheme_names() if name != "float32"]


def made(one: Scheme, seed: int, rows: int, n: int) -> Stored:
    """Every valid code may occur, under parameters as they are stored."""
    draw = np.random.default_rng(seed)
    codes = draw.choice(one.valid_codes, (rows, n)).astype(np.uint8)
    if one.family == "uniform":
        halves = draw.integers(-300, 600, (rows, 1)).astype(np.float32)
        return Stored(
            codes, {"scale": draw.random((rows, 1), np.float32) + 1e-6, "zero_point": halves.astype(np.float32) / 2}
        )
    if one.parameters == ("scale",):
        return Stored(codes, {"scale": draw.random((rows, 1), np.float32) * (draw.random((rows, 1)) < 0.8)})
    return Stored(codes, {"log2_scale": draw.integers(-128, 128, (rows, 1)).astype(np.float32)})


def taking(tensors: Arrays) -> Take:
    def take(key: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        assert tensors[key].shape == shape
        assert tensors[key].dtype.name in dtypes
        return tensors[key]

    return take


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(CODED), st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 70))
def test_numpy_and_torch_decode_the_same_bits_and_words_come_back(name: str, seed: int, rows: int, n: int) -> None:
    one = scheme(name)
    stored = made(one, seed, rows, n)
    params = {key: torch.from_numpy(value) for key, value in stored.params.items()}
    found = one.weight(stored)
    assert found.dtype == np.float32
    assert found.tobytes() == one.decode(torch.from_numpy(stored.codes), params).numpy().tobytes()
    tensors = one.write(stored)
    assert tensors.keys() == one.format.tensors.keys()
    again = one.read(taking(tensors), (rows, n))
    assert np.array_equal(again.codes, stored.codes)
    assert all(np.array_equal(again.params[key], stored.params[key]) for key in stored.params)
    words = sum(8 * tensors[key].nbytes for key, kind in one.format.tensors.items() if kind == "words")
    assert words == one.word_bits((rows, n)) >= one.storage_bits((rows, n))
    assert one.storage_bits((rows, n)) == rows * n * {"ternary": 16, "binary": 10}.get(name, 10 * one.width) / 10


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(CODED), st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4095))
def test_whole_numbers_times_their_unit_are_the_weight(name: str, seed: int, n: int, bound: int) -> None:
    one = scheme(name)
    stored = made(one, seed, 3, n)
    whole = one.whole(stored, bound)
    # An oracle from the equations alone, in float64.
    q, bits = stored.codes.astype(np.float64), one.width
    if one.family in ("ternary", "binary"):
        due = stored.params["scale"].astype(np.float64) * (q - 1 if one.family == "ternary" else 2 * q - 1)
    elif one.family == "uniform":
        due = stored.params["scale"].astype(np.float64) * (q - stored.params["zero_point"])
    else:
        half, top = 2.0 ** (bits - 1), 2.0 ** (bits - 1) - 1
        k, sign = q % half, np.where(q >= half, -1.0, 1.0)
        due = np.where(k == 0, 0.0, sign * 2.0 ** (stored.params["log2_scale"].astype(np.float64) + k - top))
    found = whole.values * whole.unit[:, None]
    assert whole.values.dtype == np.int64
    assert whole.wide == (one.family == "power-of-two" and bits > MAX_NARROW_BITS)
    if whole.wide:  # cut off below a unit, and the largest sums stay exact
        assert (np.abs(found - due) < whole.unit[:, None]).all()
        assert float(np.abs(whole.values).sum(1).max()) * bound < 2**52
    else:
        np.testing.assert_allclose(found, due, rtol=1e-15)


def test_whole_numbers_by_hand() -> None:
    # z = 1½: W = 2q - 3 in halves of the scale; z = 1: W = q - 1.
    uniform = Stored(np.array([[0, 1, 3]] * 2, np.uint8), {"scale": np.full((2, 1), 0.5, np.float32)})
    uniform.params["zero_point"] = np.array([[1.5], [1.0]], np.float32)
    whole = scheme("uniform-2").whole(uniform, 1)
    assert whole.values.tolist() == [[-3, -1, 3], [-1, 0, 2]]
    assert whole.unit.tolist() == [0.25, 0.5]
    # K = 3, α = 2^1: code 3 is α, 1 is α/4, 6 is minus α/2.
    power = Stored(np.array([[0, 3, 1, 6]], np.uint8), {"log2_scale": np.array([[1]], np.float32)})
    whole = scheme("power-of-two-3").whole(power, 1)
    assert (whole.values.tolist(), whole.unit.tolist()) == ([[0, 4, 1, -2]], [0.5])
    assert [part.tolist() for part in factor_and_origin(np.array([[1.5], [-2]], np.float32))] == [
        [[2], [1]],
        [[3], [-2]],
    ]


def test_valid_codes_by_hand() -> None:
    assert scheme("uniform-2").valid_codes.tolist() == [0, 1, 2, 3]
    assert scheme("power-of-two-3").valid_codes.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert scheme("float32").valid_codes.tolist() == []
    assert scheme("ternary").valid_codes.tolist() == [0, 1, 2]
    assert scheme("binary").valid_codes.tolist() == [0, 1]
    assert [scheme(name).code_bits for name in ("float32", "uniform-2", "power-of-two-8")] == [0, 2, 8]


@pytest.mark.parametrize(
    ("values", "dtype"), [([0, -127], "int8"), ([128], "int16"), ([], "int8"), ([40000, 1], "int32")]
)
def test_integers_take_the_room_they_need(values: list[int], dtype: str) -> None:
    assert as_integers(np.array(values, np.float32), "it", "int8", "int16", "int32").dtype.name == dtype


@pytest.mark.parametrize(("value", "words"), [(0.5, "it is not a whole number"), (200.0, "it is 200, at most 127 can")])
def test_what_no_integer_holds_is_refused(value: float, words: str) -> None:
    with pytest.raises(VerificationError, match=words):
        as_integers(np.array([value]), "it", "int8")


@pytest.mark.parametrize("one", formats(), ids=lambda one: one.name)
def test_a_record_is_whole(one) -> None:
    assert set(one.tensors.values()) <= {"words", "scales", "zero_points", "shapes"}
    assert "words" in one.tensors.values()
    slots: list[Callable] = [one.fit, one.codes, one.write, one.read, one.whole]
    assert all(map(callable, slots))
    assert len(one.label.letter) == 1
