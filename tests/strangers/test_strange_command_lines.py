"""Strange words on the command line, and paths of another kind than the command takes."""

from __future__ import annotations

import json
from pathlib import Path

from strange_inputs import Row, check, rows

from snnq.cost.table import TABLES
from snnq.searching.uniform import uniform_plan


def typed(*words):
    return lambda folder: list(words)


def plan_in(*words):
    """Return what writes a plan without a checkpoint as plan.json, and the words to type."""

    def make(folder):
        uniform_plan("uniform-2", architecture="spikformer-cifar10dvs").write(folder / "plan.json")
        return list(words)

    return make


def packed_in(*words):
    """Return what writes what a packed folder has at least, and the words to type."""

    def make(folder):
        (folder / "packed").mkdir()
        for name in ("config.json", "model.safetensors", "plan.json"):
            (folder / "packed" / name).write_text("{}")
        return list(words)

    return make


def has_toml(folder: Path, output: str) -> None:
    assert output.strip() == (TABLES / "horowitz-45nm.toml").read_text().strip()


def names_folder(folder: Path, output: str) -> None:
    assert json.loads(output.partition("\nNext:")[0])["folder"] == str(TABLES)


def plan_elsewhere(folder):
    """A plan in another folder that names its checkpoint relatively."""
    (folder / "old").mkdir()
    plan = uniform_plan("uniform-2", architecture="spikformer-cifar10dvs")
    named = plan.model.model_copy(update={"checkpoint": "w.pth", "sha256": "0" * 64})
    plan.model_copy(update={"model": named}).write(folder / "old/plan.json")
    return ["finalize", "old/plan.json"]


def plan_beside(folder):
    """The same, and a file of that name beside it, which was found if it is refused for what it holds."""
    words = plan_elsewhere(folder)
    (folder / "old/w.pth").write_bytes(b"something else")
    return words


UNIFORM = ("plan", "uniform", "--architecture", "spikformer-cifar10dvs", "--out", "u.json", "--scheme")
TABLE = (
    Row("a checkpoint that is not there", typed("inspect", "nowhere.pth"), 2, "nowhere.pth: no such file"),
    Row("that in little memory", typed("inspect", "nowhere.pth"), 2, "no such file", memory_mib=500),
    Row("bits", typed("search", "--bits", "2"), 2, "no option --bits.*--budget avg-bits=2.2"),
    Row("bits with an equals sign", typed("finalize", "--bits=2"), 2, "no option --bits"),
    Row("a dataset", typed("search", "--dataset", "digits"), 2, "no option --dataset Hint: --data SPEC"),
    Row("a plan in place", plan_in("finalize", "plan.json"), 2, "plan.json names no float checkpoint"),
    Row("two plans", plan_in("finalize", "plan.json", "--plan", "b.json"), 2, "two plans are named: plan.json and"),
    Row("storage without its sign", typed("search", "--budget", "storage=7"), 2, "did you mean storage=7%?"),
    Row("energy of nothing", typed("search", "--budget", "energy=0"), 2, "give a number above 0 per cent of float32"),
    Row("one bit", typed(*UNIFORM, "uniform-1"), 2, "'uniform-1'; allowed: float32, .*uniform-b.* from 2 to 8"),
    Row("nine bits", typed("search", "--lock", "head=power-of-two-9"), 2, "'power-of-two-9'; allowed: float32"),
    Row("a misspelt family", typed(*UNIFORM, "unifrm-4"), 2, "did you mean 'uniform-4'"),
    Row("time steps for an optimizer", typed("ptq", "--scheme", "uniform-2", "--steps", "10"), 2, "--steps-per-round"),
    Row("a plan to verify", plan_in("verify", "plan.json"), 2, "is a plan: snnq plan show plan.json, or snnq finalize"),
    Row("a plan to report", plan_in("report", "plan.json"), 2, "plan.json is a plan: snnq plan show plan.json"),
    Row("a plan to evaluate", plan_in("eval", "plan.json"), 2, "is a plan: snnq plan show plan.json"),
    Row("a plan to export", plan_in("export", "plan.json", "--to", "c"), 2, "is a plan"),
    Row("a plan to search", plan_in("search", "plan.json"), 2, "plan.json is a plan"),
    Row("a packed folder to search", packed_in("search", "packed"), 2, "packed is a packed folder: snnq report packed"),
    Row("a plan of another folder", plan_elsewhere, 2, "checkpoint w.pth is neither here nor beside"),
    Row(
        "a plan whose checkpoint lies beside it",
        plan_beside,
        2,
        "old/w.pth is not the checkpoint the plan",
    ),
    Row("a packed folder as plan", packed_in("plan", "show", "packed"), 2, "is a packed folder"),
    Row("a table to edit", typed("cost", "show", "horowitz-45nm", "--toml"), 0, "name =", has_toml),
    Row("where tables lie", typed("cost", "list", "--json"), 0, '"folder"', names_folder),
    Row("a report as JSON of nothing", typed("report", "--json"), 2, "packed: there is no such packed folder"),
)


@rows(*TABLE)
def test_it_is_answered_in_words(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)
