"""The C source of Spikformers, compiled: every spike and whole logit, in all layouts, schemes and sizes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import WATCHED, build, c_agrees, compile_c, have_gcc
from firing_models import counts, digits_folder, firing_folder
from sifted import slow_but
from torch import nn

from snnq.base.errors import PackedError, SnnqError, UsageError, VerificationError
from snnq.exporting.c_names import c_name
from snnq.exporting.c_source import c_source, write_c
from snnq.network.folding import ChannelAffine
from snnq.packed.arrays import open_arrays
from snnq.runtime import Engine
from snnq.schemes.scheme import scheme_names

NAMES = scheme_names()

pytestmark = pytest.mark.skipif(not have_gcc(), reason="there is no gcc to compile the exported C source with")

MIXED = ("uniform-4", "power-of-two-2", "uniform-2", "float32", "power-of-two-4", "uniform-3", "power-of-two-8")
# Nothing in them is a multiple of eight; images are not square.
ODD: dict[str, Any] = {"dim": 27, "heads": 3, "image_size": [9, 13], "in_channels": 3, "classes": 5, "mlp_ratio": 1.3}


def written(folder: Path, place: Path) -> tuple[Path, Path]:
    return write_c(c_source(open_arrays(folder), c_name(folder.name)), place)


def check_random(tmp_path: Path, layout: str, schemes: tuple[str, ...], *options: str, **changes: Any) -> None:
    folder = firing_folder(tmp_path / "packed", layout, schemes, **changes)
    frames = counts(open_arrays(folder).config.config, 3, seed=1)
    frames[2, 0, 0, 0, :3] = 4095, 4096, 65535
    _, spikes = c_agrees(folder, tmp_path / "c", frames, *options)
    rates = [float(part.mean()) for part in spikes]
    assert min(rates) >= 0.04, rates
    assert max(rates) <= 0.6, rates


@pytest.mark.parametrize(
    ("layout", "steps"), slow_but({("cifar10", 5)}, [("cifar10dvs", 1), ("cifar10", 5), ("imagenet", 5)])
)
def test_layouts_and_odd_sizes_under_the_sanitizers(tmp_path: Path, layout: str, steps: int) -> None:
    check_random(tmp_path, layout, MIXED, *WATCHED, steps=steps, **ODD)


# One of each family; others take the same code, and are mixed in the other tests.
_QUICK = {"uniform-4", "power-of-two-8", "ternary", "float32"}


@pytest.mark.parametrize("name", slow_but(_QUICK, NAMES))
def test_every_scheme_in_every_layer(tmp_path: Path, name: str) -> None:
    check_random(tmp_path, "cifar10dvs", (name,), depth=2)


@pytest.mark.parametrize(
    "changes",
    slow_but(
        ({"depth": 2, "attention_scale": 0.7}, {"pooling": [False] * 4, "image_size": [5, 4]}),
        [
            {"pooling": [False] * 4, "image_size": [5, 4]},
            {"pooling": [True] * 4, "image_size": [33, 18]},
            {"pooling": [False, True, True, False], "image_size": [1, 12]},
            {"steps": 16, "dim": 72, "heads": 8},
            {"steps": 19, "image_size": [8, 8]},
            {"depth": 3, "heads": 16, "classes": 1},
            {"depth": 2, "attention_scale": 0.7},
        ],
    ),
    ids=str,
)
def test_other_sizes(tmp_path: Path, changes: dict[str, Any]) -> None:
    check_random(tmp_path, "cifar10", MIXED, **changes)


def make_faint(folded: nn.Module) -> None:
    """In each norm let one channel through by hardly anything, and another by nothing."""
    for norm in folded.modules():
        if isinstance(norm, ChannelAffine):
            norm.multiplier[:2] *= torch.tensor([1e-9, 0])


@pytest.mark.parametrize(
    "schemes",
    [
        ("uniform-2", "power-of-two-7", "float32"),
        pytest.param(("uniform-3", "power-of-two-4"), marks=pytest.mark.slow),
    ],
)
def test_channels_that_need_64_bits_or_are_idle(tmp_path: Path, schemes: tuple[str, ...]) -> None:
    folder = firing_folder(tmp_path / "packed", "imagenet", schemes, change=make_faint)
    c_agrees(folder, tmp_path / "c", counts(open_arrays(folder).config.config, 3, seed=1), *WATCHED)
    assert "sum_32" not in (tmp_path / "c/packed.c").read_text()


@pytest.mark.slow
def test_all_test_digits(tmp_path: Path) -> None:
    schemes = ("uniform-4", "power-of-two-4", "uniform-4", "float32", "uniform-5", "power-of-two-6", "uniform-3")
    data = digits_folder(tmp_path / "digits", schemes)
    samples = [data.test[i] for i in range(len(data.test))]
    frames = np.stack([np.asarray(sample[0]) for sample in samples]).astype(np.uint16)
    labels = np.array([int(sample[1]) for sample in samples])
    assert len(frames) == 359
    arrays, due = open_arrays(tmp_path / "digits"), Engine(tmp_path / "digits")(frames)
    logits, predictions = build(*written(tmp_path / "digits", tmp_path / "c"), 10, 4, "-O2")(frames)
    assert np.array_equal((logits * arrays.head().scale).astype(np.float32), due)
    assert (predictions == labels).mean() > 0.9


@torch.no_grad()
def make_twins(folded: nn.Module) -> None:
    """Give all classes the same logit."""
    for value in folded.get_submodule("head").parameters():
        value.copy_(value[:1].expand_as(value).clone())


def test_the_first_of_equal_classes_wins(tmp_path: Path) -> None:
    folder = firing_folder(tmp_path / "packed", "cifar10", ("float32",), change=make_twins)
    program = build(*written(folder, tmp_path / "c"), 3, 3)
    logits, predictions = program(counts(open_arrays(folder).config.config, 2, seed=1))
    assert np.ptp(logits, 1).tolist() == [0, 0]
    assert predictions.tolist() == [0, 0]


# Neurons of small numbers, where rounding v down is seen: in a network it is far below what makes a spike.
_NEURONS = """
#include <stdio.h>
#include "packed.c"

int main(void)
{
    const uint8_t gain[1] = {1};
    const int32_t offset[1] = {1}, threshold[1] = {4};
    const layer l = {.outputs = 1, .gain = gain, .offset_32 = offset, .threshold_32 = threshold};
    const operation one = {.l = &l, .gives = 0, .held = NONE, .leak = 2};
    const place here[1] = {{0, 0}};
    static int32_t sums[PACKED_STEPS * TILE];
    uint8_t fired[2];
    signed char sum[PACKED_STEPS];
    const pass p = {NULL, fired, here, PACKED_STEPS, 2, 1};
    while (fread(sum, sizeof sum, 1, stdin) == 1) {
        for (int32_t step = 0; step < PACKED_STEPS; step++)
            sums[step * TILE] = sum[step];
        spike_32(&p, &one, 0, 0, 1, sums);
        fwrite(fired, sizeof fired, 1, stdout);
    }
    return 0;
}
"""


def test_neurons_round_down(tmp_path: Path) -> None:
    written(firing_folder(tmp_path / "packed", "cifar10dvs", ("uniform-2",), steps=16), tmp_path)
    (tmp_path / "neurons.c").write_text(_NEURONS)
    compile_c(tmp_path, "neurons.c", "-o", "neurons", *WATCHED)
    sums = np.random.default_rng(0).integers(-5, 6, (2000, 16), dtype=np.int8)
    out = subprocess.run([tmp_path / "neurons"], input=sums.tobytes(), capture_output=True, check=True).stdout
    voltage, due = np.zeros(len(sums), int), np.zeros(sums.shape, bool)
    for step in range(16):
        u = voltage + sums[:, step].astype(int) * 2 + 1
        due[:, step], voltage = u >= 4, np.where(u >= 4, 0, u >> 1)
    found = np.unpackbits(np.frombuffer(out, np.uint8).reshape(-1, 2), axis=1, bitorder="little")
    assert np.array_equal(found, due)


def code_of(path: Path) -> str:
    """Return a C file without its comments and with its line breaks."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(encoding="ascii"), flags=re.DOTALL)


def test_integers_only_and_no_library_but_memory_functions(tmp_path: Path) -> None:
    folder = firing_folder(tmp_path / "packed", "cifar10", MIXED)
    code = "".join(code_of(path) for path in written(folder, tmp_path / "c"))
    assert not re.search(r"\b(float|double|malloc|calloc|free)\b|[0-9]\.[0-9]", code)
    assert re.findall(r"#include (.*)", code) == ["<stdint.h>", '"packed.h"', "<string.h>"]
    assert set(re.findall(r"\bmem\w+(?=\()", code)) <= {"memset", "memcpy", "memmove"}


def test_sizes_in_the_header(tmp_path: Path) -> None:
    folder = firing_folder(tmp_path / "packed", "cifar10dvs", MIXED)
    header, source = written(folder, tmp_path / "c")
    text, code = header.read_text(), source.read_text()
    sizes = {"int8_t": 1, "uint8_t": 1, "int32_t": 4, "int64_t": 8}
    arrays = re.findall(r"^static const (\w+) \w+\[(\d+)\]", code, re.MULTILINE)
    rom = sum({**sizes, "stream": 16, "place": 8}.get(kind, 0) * int(count) for kind, count in arrays)
    assert f"#define PACKED_ROM_BYTES {rom}\n" in text
    head = open_arrays(folder).head()
    bits, summands = (int(re.findall(rf"LOGIT_{name} (-?\d+)", text)[0]) for name in ("BITS", "SUMMANDS"))
    assert head.scale == pytest.approx(2.0**-bits / summands, rel=1e-15)


def test_names_of_strangers_stay_in_their_comments(tmp_path: Path) -> None:
    labels = ["*/ int evil; /*", "??/", "\\", "line\n#error evil", "größe", "x" * 500, "// ok", '"']
    folder = tmp_path / '9 *evil; #"\\\n??/'
    firing_folder(folder, "cifar10dvs", MIXED, labels=labels, classes=8)
    header, source = written(folder, tmp_path / "c")
    assert header.name == "net_9_evil.h"
    assert "evil;" not in code_of(header) + code_of(source)
    assert max(map(len, header.read_text().splitlines())) <= 130
    build(header, source, 8, 3)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("digits", "digits"),
        ("Größe-2 (b)", "gr_e_2_b"),
        ("", "network"),
        ("__", "network"),
        ("2x", "net_2x"),
        ("stdint", "net_stdint"),
        ("a" * 99, "a" * 20),
        ("int8", "net_int8"),
        ("Main", "net_main"),
        ("all", "net_all"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert c_name(text) == name


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["sha256"].pop("config.json")
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda c: c["config"].update(dim=32), PackedError, "its model needs"),
        (lambda c: c["config"].update(depth=2), PackedError, "is missing"),
        (lambda c: c["config"].update(steps=2**40), UsageError, "32 bits"),
        (lambda c: c["config"].update(image_size=[2**40, 2**40]), UsageError, "too many for 32 bits"),
        (lambda c: c["sha256"].update({"model.safetensors": "0" * 64}), VerificationError, "sha256"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], error: type[SnnqError], words: str
) -> None:
    folder = firing_folder(tmp_path / "packed", "cifar10dvs", MIXED)
    edit_config(folder, change)
    with pytest.raises(error, match=words):
        written(folder, tmp_path / "c")
    assert not (tmp_path / "c").exists()
