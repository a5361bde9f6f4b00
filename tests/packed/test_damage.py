"""Single bytes of a packed folder are damaged: each is refused by verify, or proved to change nothing that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from damaging import FILES, Outcome, damage_often, draw_places, early
from packed_samples import Sample
from sifted import slow_but

from snnq.packed.loading import load_packed
from snnq.packed.verification import verify

CONTENT = ("model.safetensors", "plan.json", "report.json", "README.md")


def check(found: Outcome, times: int) -> None:
    assert sum(found.counts.values()) == times
    for name in CONTENT:  # hashed byte by byte
        assert all(said.startswith("refused") for said in found.of(name)), found.of(name)
    assert {said.partition(":")[0] for said in found.of("config.json")} <= {"refused", "harmless"}
    assert found.slowest < 10
    assert found.grown_mib < 64


@pytest.mark.parametrize("storage", slow_but(("coded",), ["coded", "fixed"]))
def test_single_bytes(storage: str, sample: Sample, tmp_path: Path) -> None:
    found = damage_often(sample.write(tmp_path / "packed", storage=storage), 100)
    check(found, 100)
    assert all(sum(found.of(name).values()) >= 7 for name in FILES)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_single_bytes(folder: Path) -> None:
    found = damage_often(folder, 10_000, seed=1)
    check(found, 10_000)
    print({name: found.of(name) for name in FILES})


def test_every_file_is_damaged_often_enough() -> None:
    import random

    places = list(draw_places({"small": 10, "large": 10_000}, 1000, random.Random(0)))
    assert sum(name == "small" for name, _ in places) >= 250
    assert sum(name == "large" for name, _ in places) >= 700
    assert all(at < {"small": 10, "large": 10_000}[name] for name, at in places)


def test_white_space_and_ways_to_write_a_number_are_harmless(folder: Path) -> None:
    path = folder / "config.json"
    text = path.read_text()
    for a, b in (("\n  ", "\n\t"), ('"dim": 16', '"dim":\n16'), ("4.0", "4e0"), ("0.25", "2.5E-1")):
        assert a in text
        path.write_text(text.replace(a, b))
        assert path.read_text() != text
        verify(folder)


def test_folders_of_early_versions_open_and_verify(sample: Sample, fixed: Path) -> None:
    early(fixed)
    assert "storage" not in (fixed / "config.json").read_text()
    assert verify(fixed).unprotected == ("report.json", "README.md", "config.json")
    due = load_packed(sample.write(fixed.parent / "new"))(sample.frames)
    assert torch.equal(load_packed(fixed)(sample.frames), due)


def test_what_is_said_of_the_model_is_protected_in_early_folders_too(folder: Path) -> None:
    early(folder)
    found = damage_often(folder, 50, seed=2, unprotected=("tool", "report.json", "README.md"))
    assert sum(found.counts.values()) == 50
    assert found.of("README.md") == {"unprotected: README.md": sum(found.of("README.md").values())}
    assert all(said.startswith("refused") for name in CONTENT[:2] for said in found.of(name))


@pytest.mark.parametrize(("key", "value"), [("steps", 3), ("attention_scale", 0.5), ("heads", 4), ("dim", 17)])
def test_an_early_config_that_is_not_the_plan_s(folder: Path, key: str, value: float) -> None:
    early(folder)
    config = json.loads((folder / "config.json").read_text())
    config["config"][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Exception, match=rf"do not agree on config\.{key}|config\.json: dim: found 17") as caught:
        verify(folder)
    assert caught.value.exit_code in (2, 4)  # pyright: ignore[reportAttributeAccessIssue]
