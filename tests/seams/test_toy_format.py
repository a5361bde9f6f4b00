"""A format of 1.6 bits, made up here, goes through every command without a line of it in the package.

To add a number format:

1. Write one file in ``snnq/schemes``: its equation, the torch and numpy functions and one ``Format`` record of them.
   Its tensors are the words, one for each parameter, and the shape if need be. A parameter ``scale`` multiplies every
   level, or the record says ``factor`` and ``with_factor``.
2. Register the record at the end of ``schemes/scheme.py``; a number in ``variants`` comes back as ``width``.
3. Say what it costs: ``bits`` of a shape, and the ``operation`` of ``OPERATIONS`` that a cost table prices.
4. Test it: a vector typed by hand, and its names in the parametrised tests of ``tests/schemes``.
5. Only for speed: a table builder in ``runtime/weights.py`` or a row decoder in ``exporting/c_layers.py``.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from agreeing import engines_agree
from tiny_checkpoints import CONFIG, save_tiny
from torch import Tensor

from snnq.base.errors import UsageError
from snnq.cli.main import run
from snnq.network.layers import frames_shape
from snnq.packed.loading import load_packed
from snnq.packed.opening import open_tensors
from snnq.packed.verification import verify
from snnq.plan import Plan
from snnq.runtime import Engine
from snnq.schemes.format import INTEGER_OPERATION, Arrays, Format, Label, Params, Stored, Take, round_ste
from snnq.schemes.scheme import register, scheme, scheme_names, unregister
from snnq.schemes.whole import Whole

TRITS = 5  # in a byte: 3^5 = 243
PLACES = 3 ** np.arange(TRITS)


def position(weight: Tensor, params: Params) -> Tensor:
    return weight / params["scale"]


def project(weight: Tensor, params: Params, width: int) -> tuple[Tensor, Tensor]:
    found = position(weight, params)
    return params["scale"] * found.round().clamp(-1, 1), found.abs() <= 1.5


def candidates(weight: Tensor, width: int) -> Iterator[Params]:
    largest = weight.abs().amax(1, keepdim=True).clamp_min(1e-18)
    yield from ({"scale": largest * share / 8} for share in range(1, 9))


def best_of(weight: Tensor, tried: Sequence[Params]) -> Params:
    errors = [(project(weight, params, 3)[0] - weight).square().sum(1) for params in tried]
    at = torch.stack(errors, 1).argmin(1, keepdim=True)
    return {"scale": torch.cat([params["scale"] for params in tried], 1).gather(1, at)}


def columns(shape: Sequence[int]) -> int:
    return -(-math.prod(shape[1:]) // TRITS)


def write(codes: np.ndarray, params: Arrays, width: int) -> Arrays:
    out, n = codes.shape
    trits = np.zeros((out, columns(codes.shape) * TRITS), np.int64)
    trits[:, :n] = codes
    octets = (trits.reshape(out, -1, TRITS) * PLACES).sum(2).astype(np.uint8)
    return {"weight_trits": octets.view(np.int8), "weight_scale": params["scale"]}


def read(take: Take, shape: tuple[int, ...], width: int) -> Stored:
    out, n = shape[0], math.prod(shape[1:])
    octets = take("weight_trits", (out, columns(shape)), "int8").view(np.uint8).astype(np.int64)
    trits = octets[:, :, None] // PLACES % 3
    codes = trits.reshape(out, -1)[:, :n].astype(np.uint8)
    return Stored(codes, {"scale": take("weight_scale", (out, 1), "float32")})


TOY = Format(
    name="toy",
    variants={"toy": 3},
    parameters={"scale": 1.0},
    operation=INTEGER_OPERATION,
    label=Label("y", hue=120, saturation=40, formula="toy: ŵ = s · (q − 1), q = 0, 1, 2"),
    fit=lambda weight, width: best_of(weight, list(candidates(weight, width))),
    cover=lambda weight, width: {"scale": weight.abs().amax(1, keepdim=True).clamp_min(1e-18)},
    candidates=candidates,
    refine=lambda weight, params, width: best_of(weight, [{"scale": params["scale"] * by} for by in (1, 0.95, 1.05)]),
    moved=lambda params, shifts: {"scale": params["scale"] * torch.exp(shifts["scale"])},
    stored=lambda params: dict(params),
    quantize=lambda weight, params, width: params["scale"] * round_ste(position(weight, params)).clamp(-1, 1),
    project=project,
    codes=lambda weight, params, width: position(weight, params).round().clamp(-1, 1) + 1,
    values=lambda codes, params, width: params["scale"] * (codes.to(params["scale"].dtype) - 1),
    grid=lambda params, width: params["scale"] * torch.tensor([-1.0, 0.0, 1.0], device=params["scale"].device),
    tensors={"weight_trits": "words", "weight_scale": "scales"},
    write=write,
    read=read,
    decode=lambda codes, params, width: params["scale"] * (codes.astype(np.float32) - 1),
    word_bits=lambda shape, width: 8 * shape[0] * columns(shape),
    valid_codes=lambda width: np.arange(3),
    whole=lambda codes, params, width, bound: Whole(codes.astype(np.int64) - 1, params["scale"][:, 0].astype(float)),
    bits=lambda shape, width: math.prod(shape) * 8 / TRITS,
)

TINY = ("--batch-size", "8")


@pytest.fixture
def toy() -> Iterator[None]:
    register(TOY)
    yield
    unregister(TOY)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: None) -> Path:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path, "float.safetensors", "random,classes=3,samples=16", awake=True)
    return tmp_path


def test_by_hand(toy: None) -> None:
    one, params = scheme("toy"), {"scale": torch.tensor([[0.5]])}
    assert one.encode(torch.tensor([[-0.7, 0.2, 0.3, 9.0, 0.0, -0.3]]), params).tolist() == [[0, 1, 2, 2, 1, 0]]
    # 0 + 1·3 + 2·9 + 2·27 + 1·81 = 156; the sixth trit begins a byte.
    tensors = one.write(Stored(np.array([[0, 1, 2, 2, 1, 0]], np.uint8), {"scale": np.array([[0.5]], np.float32)}))
    assert tensors["weight_trits"].view(np.uint8).tolist() == [[156, 0]]
    assert (one.bits, one.storage_bits((4, 5)), one.word_bits((4, 6)), one.code_bits) == (1.6, 32.0, 64, 2)


def test_it_is_there_while_it_is_registered(toy: None) -> None:
    assert "toy" in scheme_names()
    with pytest.raises(UsageError, match=r"did you mean 'toy'\?\); allowed: float32, ternary, binary, toy, uniform-b"):
        scheme("toys")
    with pytest.raises(ValueError, match="there is a scheme 'toy' already"):
        register(TOY)


def test_it_is_gone_afterwards() -> None:
    assert "toy" not in scheme_names()
    with pytest.raises(UsageError, match="unknown scheme 'toy'"):
        scheme("toy")


def test_an_operation_that_no_table_prices_is_refused() -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="unknown operation 'thought'; allowed: float32, uniform, power-of-two"):
        register(replace(TOY, operation="thought"))


@pytest.mark.timeout(400)
def test_search_to_report_and_export(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = ["--space", "toy,uniform-4,float32", "--budget", "avg-bits=1.7"]
    assert run(["search", "float.safetensors", "--method", "sensitivity", *space, *TINY]) == 0
    assert "y toy" in capsys.readouterr().out
    plan = Plan.read(place / "plan.json")
    chosen = [layer for layer in plan.layers if layer.scheme == "toy"]
    assert len(chosen) > len(plan.layers) // 2
    assert [layer.bits for layer in chosen] == [math.prod(layer.shape) * 8 / 5 for layer in chosen]
    assert run(["finalize", "--plan", "plan.json", "--epochs", "1", *TINY]) == 0
    capsys.readouterr()
    _packed_as_planned(place / "packed", plan, capsys)
    engines_agree(place / "packed", frames_shape(CONFIG), capsys)
    _reports(place, capsys)
    _exports(place / "packed")


def _packed_as_planned(folder: Path, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    checks = {one["name"]: one for one in shown["layers"]}
    for layer in plan.layers:
        one = checks[layer.name]
        assert one["bits_in_plan"] == layer.bits
        if layer.scheme == "toy":
            assert one["bits_on_disk"] <= layer.bits * 1.02  # coded, log2(3) bits at most
            assert one["codes"] == 3
    assert 8 * shown["file_bytes"] == pytest.approx(shown["weights_bits"] + sum(shown["overhead_bits"].values()))
    said = json.loads((folder / "config.json").read_text())["quantization_config"]["layers"]
    assert {one["bits"] for one in said.values() if one["family"] == "toy"} == {1.6}


def _reports(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert any(one["scheme"] == "toy" and one["bits"] == 1.6 for one in shown["layers"])
    levels = [one for one in shown["levels"] if one["scheme"] == "toy"]
    assert levels
    assert all(sum(level["share"] for level in one["levels"]) == pytest.approx(1) for one in levels)
    assert any("toy: ŵ = s · (q − 1)" in one for one in shown["formulas"])
    page = (place / "packed" / "report.html").read_text()
    assert "y1.6" in page
    assert "hsl(120,40%,38%)" in page


def _exports(folder: Path) -> None:
    assert run(["export", str(folder), "--to", "c"]) == 0
    for target in ("qonnx", "compressed-tensors"):
        assert run(["export", str(folder), "--to", target]) == 2


@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on this machine")
def test_the_c_program_computes_the_same(tmp_path: Path, toy: None) -> None:
    from c_programs import build as compiled
    from lively import write_lively

    from snnq.exporting.c_source import c_source, write_c
    from snnq.packed.arrays import open_arrays

    frames = write_lively(tmp_path / "packed", ["toy", "toy", "uniform-4"], depth=1)
    model = load_packed(tmp_path / "packed")
    due = model(torch.from_numpy(frames.astype(np.float32))).numpy()
    arrays = open_arrays(tmp_path / "packed")
    paths = write_c(c_source(arrays, "toy"), tmp_path / "c")
    whole, best = compiled(*paths, due.shape[1], frames.shape[1])(frames)
    assert np.array_equal((whole * arrays.head().scale).astype(np.float32), due)
    assert np.array_equal(best, due.argmax(1))
    assert np.array_equal(Engine(tmp_path / "packed")(frames), due)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_trained_search_and_ptq_take_it_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "float.safetensors", "--epochs", "1", "--space", "toy,float32", *TINY]) == 0
    assert run(["ptq", "float.safetensors", "--scheme", "toy", "--out", "reconstructed"]) == 0
    assert run(["verify", "reconstructed"]) == 0


@pytest.mark.timeout(300)
def test_damage_is_named(tmp_path: Path, toy: None) -> None:
    from lively import write_lively

    from snnq.base.errors import PackedError, VerificationError
    from snnq.packed.coding import is_canonical, read_layer
    from snnq.packed.config import read_config
    from snnq.packed.safefile import TensorFile

    write_lively(tmp_path / "packed", ["toy"], depth=1)
    verify(tmp_path / "packed")
    config = read_config(tmp_path / "packed")
    file, layer = open_tensors(tmp_path / "packed", config), config.layers["head"]
    trits = file.tensors["head.weight_trits"].copy()
    trits[0, 0] = -1  # 255 is more than five trits say
    damaged = TensorFile(file.path, {**file.tensors, "head.weight_trits": trits}, 0)
    assert not is_canonical("head", layer, read_layer("head", layer, damaged), damaged)
    unregister(TOY)
    try:  # the folder of a format that is not there is refused by its name
        with pytest.raises((PackedError, VerificationError), match="unknown scheme 'toy'"):
            load_packed(tmp_path / "packed")
    finally:
        register(TOY)
