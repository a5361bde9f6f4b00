"""Names of number formats, and the one error a wrong name gives."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch

from snnq.base.errors import UsageError
from snnq.schemes.names import BITS, PAPER_SPACE
from snnq.schemes.scheme import scheme, scheme_names

NAMES = scheme_names()


def test_every_name_by_hand() -> None:
    assert BITS == (2, 3, 4, 5, 6, 7, 8)
    assert NAMES[0] == "float32"
    assert NAMES[-2:] == ("ternary", "binary")
    assert len(NAMES) == 17
    assert set(PAPER_SPACE) <= set(NAMES)
    assert (scheme("float32").family, scheme("float32").bits) == ("float32", 32)
    assert (scheme("uniform-2").family, scheme("uniform-2").bits) == ("uniform", 2)
    assert (scheme("power-of-two-8").family, scheme("power-of-two-8").bits) == ("power-of-two", 8)
    assert (scheme("ternary").family, scheme("ternary").bits) == ("ternary", 1.6)
    assert (scheme("binary").family, scheme("binary").bits) == ("binary", 1)


@pytest.mark.parametrize("name", NAMES)
def test_schemes_are_what_their_name_says(name: str) -> None:
    one = scheme(name)
    assert one.name == name
    assert isinstance(one.bits, float if name == "ternary" else int)
    assert name in (one.family, f"{one.family}-{one.bits}")
    assert one.is_float == (name == "float32")
    assert one is scheme(name)
    assert one is copy.deepcopy(one)
    assert one is pickle.loads(pickle.dumps(one))
    assert one in {one}


@pytest.mark.parametrize("name", ["uniform-1", "unifrom-2", "power-of-two", "ternary-2", "binary-1", "float16", ""])
def test_an_unknown_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="unknown scheme") as caught:
        scheme(name)
    assert caught.value.exit_code == 2
    assert "allowed: float32, ternary, binary, uniform-b, power-of-two-b with b from 2 to 8" in caught.value.message


@pytest.mark.parametrize(
    ("name", "due"),
    [("unifrom-2", "uniform-2"), ("ternery", "ternary"), ("ternary-2", "ternary"), ("binary-1", "binary")],
)
def test_the_nearest_name_is_offered(name: str, due: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{due}'"):
        scheme(name)


def test_float32_leaves_weights_alone() -> None:
    one, weight = scheme("float32"), torch.randn(2, 3, 1)
    params = one.fit(weight)
    assert params == {}
    assert one.parameters == ()
    assert one.moved(params, {}) == one.stored(params) == {}
    assert torch.equal(one.quantize(weight, params), weight)
    value, inside = one.project(weight, params)
    assert torch.equal(value, weight)
    assert inside.shape == weight.shape
    assert bool(inside.all())
    for call in (lambda: one.encode(weight, {}), lambda: one.decode(weight[..., 0], {}), lambda: one.grid({})):
        with pytest.raises(ValueError, match="float32 has no"):
            call()


def test_names_are_read_without_torch() -> None:
    code = "import sys, snnq.schemes.scheme; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
