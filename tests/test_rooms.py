"""The house keeps its order: imports go down only, and only the console prints."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "snnq"
# From the ground up. A room may import rooms of its own floor and of those below.
FLOORS = (
    {"base"},
    {"schemes"},
    {"network"},
    {"cost"},
    {"hardware"},
    {"plan"},
    {"structure"},
    {"models"},
    {"arithmetic"},
    {"checkpoints", "data"},
    {"training"},
    {"packed"},
    {"runtime"},
    {"assessing"},
    {"packing"},
    # The jobs: each has a floor of its own, so that none imports another's neighbour back.
    {"searching"},
    {"finalizing"},
    {"reconstructing"},
    {"calibrating"},
    {"pruning"},
    {"reusing"},
    {"adapting"},
    {"exporting"},
    {"reporting"},
    {"bench"},
    {"console"},
    {"commands"},
    {"cli", "__main__"},
)
JOBS = {"searching", "finalizing", "reconstructing", "calibrating", "pruning", "reusing", "adapting"}
JOBS |= {"exporting", "reporting"}
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "snnq":
                yield parts[1]


def test_every_room_has_its_floor():
    assert {room_of(path) for path in FILES} == FLOOR.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    mine = room_of(path)
    above = [room for room in imported_rooms(path) if FLOOR[room] > FLOOR[mine]]
    assert above == []
    assert mine not in JOBS or not JOBS & set(imported_rooms(path)) - {mine}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_console_prints_and_nothing_imports_click_or_unpickles(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if room_of(path) != "console":
                assert called != "print"
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called == "torch.load":
                assert keywords["weights_only"] == "True"
            if called in ("np.load", "numpy.load"):
                assert keywords["allow_pickle"] == "False"
            assert called not in ("pickle.load", "pickle.loads")
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            forbidden = {"click", "torchvision", "torchaudio"}
            assert not any(module.split(".")[0] in forbidden for module in modules)
            assert not any(module.startswith("spikingjelly.datasets") for module in modules)


def test_a_public_class_has_its_name_alone():
    names = Counter(
        node.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, times in names.items() if times > 1] == []
