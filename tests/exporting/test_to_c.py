"""The C export compiles without a warning and computes the very logits of the integer arithmetic."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lively import write_lively
from rounded_digits import write_digits

from snnq.cli.main import run
from snnq.data import open_data
from snnq.exporting.c_names import c_name, c_note
from snnq.exporting.run import export
from snnq.packed.loading import load_packed

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="there is no gcc on this machine")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]
MIXED = ["uniform-4", "power-of-two-2", "uniform-2", "float32", "power-of-two-4", "uniform-3", "power-of-two-8"]
NARROW = ["uniform-2", "power-of-two-3", "uniform-5", "power-of-two-5", "uniform-6", "uniform-7", "uniform-8"]
MAIN = """\
#include <stdio.h>
#include "NAME.h"
static NAME_workspace w;
static uint16_t counts[UPPER_STEPS * UPPER_CHANNELS * UPPER_HEIGHT * UPPER_WIDTH];
int main(void)
{
    int64_t logits[UPPER_CLASSES];
    while (fread(counts, sizeof counts, 1, stdin) == 1) {
        int i, best = NAME_run(counts, logits, &w);
        printf("%d", best);
        for (i = 0; i < UPPER_CLASSES; i++)
            printf(" %lld", (long long)logits[i]);
        printf("\\n");
    }
    return 0;
}
"""


def run_c(folder: Path, frames: np.ndarray, *flags: str) -> tuple[np.ndarray, np.ndarray]:
    """Export, compile and run; return predictions (B,) and integer logits (B, classes)."""
    out = folder.with_name(f"{folder.name}-c")
    export(folder, "c", force=True)
    name = c_name(folder.name)
    main = folder.with_name("main.c")
    main.write_text(MAIN.replace("NAME", name).replace("UPPER", name.upper()))
    program = folder.with_name("program")
    command = [
        str(GCC),
        *STRICT,
        *(flags or ("-O2",)),
        f"-I{out}",
        str(out / f"{name}.c"),
        str(main),
        "-o",
        str(program),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    ran = subprocess.run([str(program)], input=frames.astype("=u2").tobytes(), capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    found = np.array([line.split() for line in ran.stdout.decode().splitlines()], np.int64)
    return found[:, 0], found[:, 1:]


def run_torch(folder: Path, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and integer logits of the torch module."""
    model, sums = load_packed(folder), []
    head: Any = model.get_submodule("head")
    head.register_forward_hook(lambda head, mean, _: sums.append((mean[0].double() * head.summands).round()))
    with torch.inference_mode():
        logits = model(torch.from_numpy(frames.astype(np.float32)))
    whole = (sums[0] @ head.weight.T + head.bias).to(torch.int64)
    return logits.argmax(1).numpy(), whole.numpy()


def agree(folder: Path, frames: np.ndarray, *flags: str) -> None:
    predictions, logits = run_c(folder, frames, *flags)
    due, whole = run_torch(folder, frames)
    assert np.array_equal(logits, whole)
    assert np.array_equal(predictions, whole.argmax(1))
    assert np.array_equal(predictions, due)
    assert len(np.unique(logits)) > logits.shape[1]  # the samples differ, so something has fired


@needs_gcc
@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
@pytest.mark.parametrize("schemes", [MIXED, NARROW], ids=["wide", "narrow"])
def test_the_logits_of_the_integer_arithmetic(layout: str, schemes: list[str], tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", schemes, layout)
    agree(tmp_path / "packed", frames)


@needs_gcc
@pytest.mark.parametrize(
    "sizes",
    [
        {"steps": 1},
        {"dim": 72, "heads": 3, "mlp_ratio": 2.5, "steps": 5},
        {"image_size": [7, 13], "pooling": [False, False, False, False], "attention_scale": 0.7},
        {"image_size": [33, 21], "pooling": [True, False, True, True], "in_channels": 5, "depth": 1},
        {"one_sign": True, "depth": 1, "steps": 2},
    ],
    ids=str,
)
def test_odd_sizes_and_zero_points_without_undefined_behaviour(sizes: dict[str, Any], tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED, **({"seed": 3} | sizes))
    agree(tmp_path / "packed", frames, "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")


@needs_gcc
@pytest.mark.slow  # tests/exporting/test_c_source.py runs them, too
def test_every_test_digit(tmp_path: Path) -> None:
    write_digits(tmp_path / "packed", ["uniform-4", "uniform-2", "power-of-two-2", "uniform-2"])
    samples = open_data("digits", steps=4, image_size=(16, 16)).test
    assert len(samples) == 359
    agree(tmp_path / "packed", np.asarray(samples.frames), "-O2")


def test_names_of_strangers_stay_in_their_comments(tmp_path: Path) -> None:
    assert c_name("../My Mödel*/ v2") == "my_m_del_v2"
    assert c_name("2-bit") == "net_2_bit"
    assert c_name("***") == "network"
    for text in ("a */ int main() {", "x \\", "// y", "??/", "line\nbreak", "café"):
        found = c_note(text)
        assert "*/" not in found
        assert "\n" not in found
        assert "??" not in found
        assert not found.endswith("\\")
        assert found.isascii()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lively(tmp_path / "my model", ["uniform-2"])
    assert run(["export", str(tmp_path / "my model"), "--to", "c"]) == 0
    assert sorted(path.name for path in (tmp_path / "my model-c").iterdir()) == ["my_model.c", "my_model.h"]
    assert "working memory" in "".join(capsys.readouterr())
    assert run(["export", str(tmp_path / "my model"), "--to", "c"]) == 2
