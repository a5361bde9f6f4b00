"""A packed folder damaged anywhere is refused, or the damage is proved to say the same."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_samples import Sample

from snnq.errors import PackedError, PlanError, SnnqError, VerificationError
from snnq.packed.arrays import open_arrays
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed
from snnq.packed.verification import verify
from snnq.plan.files import read_json

FILES = ("config.json", "model.safetensors", "plan.json", "report.json", "README.md")


def meaning(folder: Path) -> tuple[Any, ...]:
    """All that a folder says: its config, its plan, every tensor, the results and the model card."""
    tensors = open_arrays(folder).tensors
    return (
        read_config(folder).model_dump(),
        read_json(folder / "plan.json"),
        {name: (str(one.dtype), one.shape, one.tobytes()) for name, one in tensors.items()},
        json.loads((folder / "report.json").read_text()),
        (folder / "README.md").read_text(),
    )


def damage_often(folder: Path, times: int, seed: int = 0) -> Counter[str]:
    """Change single bytes at random, a fifth of the times in each file; return what became of them."""
    draw, found, due = random.Random(seed), Counter(), meaning(folder)
    for i in range(times):
        path = folder / FILES[i % len(FILES)]
        content = path.read_bytes()
        at = draw.randrange(len(content))
        other = draw.choice([byte for byte in range(256) if byte != content[at]])
        path.write_bytes(content[:at] + bytes([other]) + content[at + 1 :])
        found[outcome(folder, path.name, due)] += 1
        path.write_bytes(content)
    return found


def outcome(folder: Path, name: str, due: tuple[Any, ...]) -> str:
    try:
        verify(folder)
    except (PackedError, PlanError, VerificationError):
        if name in ("config.json", "model.safetensors"):  # what is run
            for run in (load_packed, open_arrays):
                with pytest.raises((PackedError, VerificationError)):
                    run(folder)
        return f"{name}: refused"
    assert meaning(folder) == due, f"a damage in {name} was not seen"
    return f"{name}: harmless"


def test_single_bytes(folder: Path) -> None:
    found = damage_often(folder, 300)
    assert sum(found.values()) == 300
    for name in ("model.safetensors", "plan.json", "report.json", "README.md"):
        assert found[f"{name}: refused"] == 60
    assert found["config.json: refused"] > 30


@pytest.mark.slow
def test_ten_thousand_single_bytes(folder: Path) -> None:
    found = damage_often(folder, 10_000, seed=1)
    print(dict(found))
    assert sum(found.values()) == 10_000


def config_text(change: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(change((folder / "config.json").read_text()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "model.safetensors", 1000),
        lambda folder: os.truncate(folder / "model.safetensors", 0),
        lambda folder: os.truncate(folder / "config.json", 100),
        lambda folder: os.truncate(folder / "plan.json", 100),
        lambda folder: os.truncate(folder / "report.json", 10),
        lambda folder: (folder / "README.md").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "plan.json").read_bytes()),
        lambda folder: os.truncate(folder / "model.safetensors", 1 + (folder / "model.safetensors").stat().st_size),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 7 + b"\x7f" + b"{}"),
        lambda folder: (folder / "report.json").write_bytes(b"[" * 100_000),
        config_text(lambda text: text.replace('"architecture"', '"architecture": "a", "architecture"', 1)),
        config_text(lambda text: text.replace('"steps": 2', '"steps": 3')),
        config_text(lambda text: text.replace('"attention_scale": 0.25', '"attention_scale": 0.5')),
        config_text(lambda text: text.replace('"attention_scale": 0.25', '"attention_scale": NaN')),
        config_text(lambda text: text.replace('"spec": "random"', '"spec": "digits"')),
        config_text(lambda text: text.replace('"report.json"', '"report.jsn"')),
    ],
    ids=lambda _: "damage",
)
def test_larger_damage(folder: Path, damage: Callable[[Path], object]) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} != before
    with pytest.raises(SnnqError) as caught:
        verify(folder)
    assert caught.value.exit_code in (2, 4)
    assert "\n" not in caught.value.message


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    for name in ("config.json", "model.safetensors", "report.json"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).mkdir()
        with pytest.raises(PackedError, match=name):
            verify(folder)
        (folder / name).rmdir()
        (folder / name).write_bytes(content)


def test_folders_of_early_versions_open(sample: Sample, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["sha256"] = {name: config["sha256"][name] for name in ("model.safetensors", "plan.json")}
    (folder / "config.json").write_text(json.dumps(config))
    assert verify(folder).unprotected == ("report.json", "README.md", "config.json")
    due = load_packed(sample.write(folder.parent / "new"))(sample.frames)
    assert torch.equal(load_packed(folder)(sample.frames), due)


def test_what_became_of_the_source(sample: Sample, tmp_path: Path) -> None:
    from snnq.packed.config import file_sha256

    source = tmp_path / "float.pth"
    source.write_bytes(b"weights")
    info = sample.plan.model.model_copy(update={"checkpoint": str(source), "sha256": file_sha256(source)})
    folder = sample.write(tmp_path / "packed", plan=sample.plan.model_copy(update={"model": info}))
    assert verify(folder).source == "same"
    source.write_bytes(b"others")
    assert verify(folder).source == "changed"
    source.unlink()
    assert verify(folder).to_dict()["source"] == "absent"
    assert verify(sample.write(tmp_path / "other")).source == "unnamed"
