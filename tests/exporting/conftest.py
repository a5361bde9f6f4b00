"""Packed folders of a tiny model, and a target that needs no library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "packed"))  # for packed_samples

from packed_samples import Sample, make_sample

from snnq.exporting.source import Source, read_source
from snnq.exporting.targets import TARGETS, ExportedLayer, Facts, Target

UNIFORM = ("uniform-4", "uniform-2", "float32", "uniform-3", "uniform-8", "uniform-7", "uniform-5", "uniform-6")


@pytest.fixture(scope="session")
def mixed() -> Sample:
    return make_sample()


@pytest.fixture(scope="session")
def uniform() -> Sample:
    return make_sample(schemes=UNIFORM)


@pytest.fixture
def folder(mixed: Sample, tmp_path: Path) -> Path:
    return mixed.write(tmp_path / "packed")


@pytest.fixture
def uniform_folder(uniform: Sample, tmp_path: Path) -> Path:
    return uniform.write(tmp_path / "packed")


@pytest.fixture
def source(folder: Path) -> Source:
    return read_source(folder)


@pytest.fixture
def note_target(monkeypatch: pytest.MonkeyPatch) -> str:
    """A target that writes one text file."""

    def export(folder: Path, out: Path) -> Facts:
        out.write_text("written", encoding="utf-8")
        layers = tuple(ExportedLayer(one.name, one.scheme, "text", one.bits) for one in read_source(folder).layers)
        return Facts(layers, ("a note",), ("the network",))

    module = ModuleType("snnq_note_target")
    module.export = export  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TARGETS, "note", Target(module.__name__, ".txt", "a text"))
    return "note"
