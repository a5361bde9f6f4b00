"""The documents stay true: every command that they type works, in their order and in one folder; all Python runs."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import PAGES, README, Page

from snnq.adapting.settings import AdaptSettings
from snnq.bench import memory
from snnq.calibrating import steering
from snnq.checkpoints.keymaps import every_keys
from snnq.checkpoints.opening import BUILTIN, open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.data.sources import SOURCES
from snnq.finalizing.settings import FinalizeSettings
from snnq.models.registry import build
from snnq.packed.loading import load_packed
from snnq.packed.readers import NUMPY_READERS
from snnq.plan import Plan
from snnq.reconstructing.settings import PtqSettings
from snnq.searching import finishing
from snnq.searching.settings import SearchSettings
from snnq.training.finetune import Finetune

# A small model of upstream's DVS layout: T and heads are asked for by the README's commands, the rest is inferred.
CONFIG = {"image_size": [16, 16], "dim": 16, "depth": 1, "heads": 16, "steps": 16, "classes": 2}
NETWORK = "# network.py"


def save_upstream(path):
    """Save a checkpoint as upstream's CIFAR10-DVS script does, under upstream's names."""
    torch.manual_seed(0)
    state = build("spikformer-cifar10dvs", CONFIG).state_dict()
    state = {re.sub(r"\.(q|k|v|proj|fc1|fc2)\.(weight|bias)$", r".\1_conv.\2", key): v for key, v in state.items()}
    torch.save({"model": state | {"pos_embed": torch.zeros(1, 1, 16)}, "epoch": 5}, path)


def save_digits(path: Path) -> None:
    """Save a checkpoint of the built-in model's layers, a quarter as wide and with random weights."""
    whole = open_checkpoint("digits")
    torch.manual_seed(0)
    model = build(whole.architecture, {**whole.config, "dim": 16})
    save_checkpoint(path, model, architecture=whole.architecture, facts={"data": "digits"})


def save_frames(folder):
    """Save SpikingJelly's tree of frame files: 16 frames a sample, two classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for label in ("left", "right"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                frames = draw.poisson(0.5, (16, 2, 16, 16)).astype(np.float32)
                np.savez(folder / split / label / f"{i}.npz", frames=frames)


def save_network(folder):
    """Save the documents' own network, and a checkpoint of it."""
    code = next(block for page in PAGES for block in page.blocks("python") if block.startswith(NETWORK))
    (folder / "network.py").write_text(code)
    torch.save(executed(code)["build"]().state_dict(), folder / "network.pth")


def save_recording(folder):
    """Save one recording of a sensor of 16×16 pixels, 0.2 s long."""
    draw = np.random.default_rng(1)
    x, y, p = draw.integers(0, (16, 16, 2), (900, 3)).T
    np.savez(folder / "recording.npz", t=np.sort(draw.integers(0, 200_000, 900)), x=x, y=y, p=p)


def save_clips(folder):
    """Save videos of two classes, as arrays, and a hybrid model under the names of upstream's file."""
    draw = np.random.default_rng(2)
    for label in ("jump", "run"):
        (folder / "clips" / label).mkdir(parents=True)
        for number in range(10):
            video = draw.integers(0, 256, (9, 16, 16, 3)).astype(np.uint8)
            np.save(folder / "clips" / label / f"{number}.npy", video)
    torch.manual_seed(0)
    keys = next(one for one in every_keys() if one.architecture == "respike-cross")
    sizes = {"dim": 32, "ann_width": 4, "depth": 10, "blocks": 1, "classes": 2, "steps": 4, "image_size": [16, 16]}
    state = build("respike-cross", sizes).state_dict()
    torch.save({keys.upstream_name(key): one for key, one in state.items()}, folder / "hybrid.pth")


def executed(code: str) -> dict:
    found: dict = {}
    exec(compile(code, "documents", "exec"), found)
    return found


def type_commands(page: Page, known: set[str], capsys) -> None:
    """Type a page's commands, each once in all pages; what follows ``>`` is the file that stdout goes to."""
    for command in page.typed:
        if command in known:
            continue
        known.add(command)
        words, _, file = command.partition(" > ")
        capsys.readouterr()
        code = run(shlex.split(words))
        said = capsys.readouterr()
        assert code == 0, f"{page.name}: snnq {command}\n{said.err}"
        if file:
            Path(file).write_text(said.out, encoding="utf-8")


def shorten(monkeypatch: pytest.MonkeyPatch, record: type, **fewer: int) -> None:
    """Give the fields of a record of settings smaller defaults."""
    names = [field.name for field in fields(record)]
    given = record.__init__.__defaults__
    assert given is not None
    defaults: dict[str, Any] = dict(zip(names, given, strict=True)) | fewer
    monkeypatch.setattr(record.__init__, "__defaults__", tuple(defaults.values()))


@pytest.mark.timeout(1500)
def test_every_command_works_in_the_order_of_the_documents(tmp_path, monkeypatch, capsys):
    shorten(monkeypatch, SearchSettings, epochs=1, calibration=8)
    shorten(monkeypatch, FinalizeSettings, epochs=1)
    shorten(monkeypatch, PtqSettings, samples=32)
    shorten(monkeypatch, Finetune, epochs=1)
    shorten(monkeypatch, AdaptSettings, epochs=1)
    save_digits(tmp_path / "digits.safetensors")
    monkeypatch.setitem(BUILTIN, "digits", tmp_path / "digits.safetensors")
    monkeypatch.setattr(finishing, "FRONT_POINTS", 2)
    monkeypatch.setattr(finishing, "BASELINES", ("float32", "power-of-two-2"))
    monkeypatch.setattr(steering, "ROUNDS", 1)
    for name, limit in (("digits", "32"), ("letters", "26")):
        found = SOURCES[name]
        monkeypatch.setitem(SOURCES, name, replace(found, options={**found.options, "limit": limit}))
    monkeypatch.setattr(memory, "tells", lambda: False)  # four more processes; tests/bench starts them
    type_all(tmp_path, monkeypatch, capsys)
    assert Plan.read("plan.json").totals.avg_bits <= 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_readme_keeps_its_promise(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in README.typed[:3]:
        assert run(shlex.split(command)) == 0
    accuracy = json.loads(Path("packed/report.json").read_text())["accuracy"]
    assert Plan.read("plan.json").totals.avg_bits <= 2.6
    assert accuracy["float"]["test"] >= 0.96
    assert accuracy["plan"]["test"] >= accuracy["float"]["test"] - 0.03


def type_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_upstream(tmp_path / "spikformer.pth")
    save_frames(tmp_path / "dvs-frames")
    save_network(tmp_path)
    save_recording(tmp_path)
    save_clips(tmp_path)
    assert README.typed[:3] == ["search", "finalize --plan plan.json", "report"]
    known: set[str] = set()
    for page in PAGES:
        type_commands(page, known, capsys)
        for block in page.blocks("python"):
            if block not in known | set(NUMPY_READERS.values()) and not block.startswith(NETWORK):
                known.add(block)
                executed(block)

    weights = executed(NUMPY_READERS["coded"])["weights"]
    for name, module in load_packed("packed", "float").named_modules():
        if name in weights:
            assert np.array_equal(weights[name], module.get_parameter("weight").numpy())
    assert weights.keys() == Plan.read("plan.json").schemes().keys()
