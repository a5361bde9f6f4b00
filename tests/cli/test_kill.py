"""kill -9 at random moments: what is resumed gives the very bytes of the undisturbed run. Minutes long."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from snnq.checkpoints.opening import save_checkpoint
from snnq.models.registry import build

CONFIG = {"in_channels": 2, "image_size": [16, 16], "dim": 32, "depth": 1, "heads": 2, "steps": 4, "classes": 4}
SEARCH = ("search", "float.safetensors", "--epochs", "6", "--batch-size", "8")
FINALIZE = ("finalize", "--plan", "plan.json", "--epochs", "6", "--batch-size", "8")
PACKED = ("config.json", "model.safetensors", "plan.json", "report.json", "README.md")
CUTS = 10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def start(folder, command):
    code = "from snnq.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, command):
    begun = time.monotonic()
    _, errors = start(folder, command).communicate()
    return time.monotonic() - begun, errors


def prepare(folder):
    folder.mkdir()
    torch.manual_seed(3)
    model = build("spikformer-cifar10dvs", CONFIG | {"pooling": [False, False, True, True]})
    facts = {"data": "random,classes=4,samples=96"}
    save_checkpoint(folder / "float.safetensors", model, architecture="spikformer-cifar10dvs", facts=facts)


def result(folder):
    return [(folder / "plan.json").read_bytes(), *((folder / "packed" / name).read_bytes() for name in PACKED)]


def cut_and_resume(folder, command, whole_seconds, draw):
    """Kill the command at a random moment, once or twice, then let it end; return how often it was really cut."""
    cuts = 0
    for _ in range(draw.randint(1, 2)):
        process = start(folder, command)
        time.sleep(draw.uniform(0.2, 1.0) * whole_seconds)
        cuts += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    _, errors = finish(folder, command)
    assert "Error" not in errors
    return cuts


def test_killed_runs_resume_to_the_same_bytes(tmp_path):
    prepare(tmp_path / "whole")
    finish(tmp_path / "whole", SEARCH)  # fills the data cache, so that the timed runs are alike
    (tmp_path / "whole/plan.json").unlink()
    shutil.rmtree(tmp_path / "whole/plan.json.run")
    seconds = [finish(tmp_path / "whole", command)[0] for command in (SEARCH, FINALIZE)]
    wanted = result(tmp_path / "whole")
    draw, cuts = random.Random(2026), 0
    for i in range(CUTS):
        folder = tmp_path / f"cut{i}"
        prepare(folder)
        cuts += cut_and_resume(folder, SEARCH, seconds[0], draw)
        cuts += cut_and_resume(folder, FINALIZE, seconds[1], draw)
        assert result(folder) == wanted, f"run {i} differs"
    assert cuts >= CUTS
