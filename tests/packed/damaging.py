"""Damages single bytes of a packed folder and sees what becomes of each.

    python tests/packed/damaging.py FOLDER --times 10000

works on a copy. Every damage is refused by a known check, or changes nothing of what the folder says.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from snnq.base.errors import PackedError, PlanError, SnnqError, VerificationError
from snnq.packed.arrays import open_arrays
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed
from snnq.packed.verification import verify
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan

FILES = ("config.json", "model.safetensors", "plan.json", "report.json", "README.md")
# What a refusal says → the check that found the damage; the first that fits.
CHECKS = (
    ("no file", "is missing: |cannot be read|there is no such"),
    ("whole safetensors", "not a whole safetensors file"),
    ("coded stream", "its coded tensors are damaged|bytes are too few for layer|of bytes must be all"),
    ("text or JSON", "not valid JSON|not the config of|not a plan: "),
    ("layer against the plan", "^layer .*(plan.json|config.json)"),
    ("codes of a layer", "^layer "),
    ("tensors of the model", r"tensor '|weight_shape' is|holds a number that is not finite"),
    ("config against the plan", "do not agree"),
    ("own hash", "what it says has the sha256"),
    ("hash of the file", ": sha256 is "),
    ("keys and values", r"\.json: "),
)


@dataclass
class Outcome:
    """What became of many damages: counts by file and by what verify said, the slowest (s), and memory grown (MiB)."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: float = 0.0
    grown_mib: float = 0.0

    def of(self, name: str) -> dict[str, int]:
        return {said: count for (file, said), count in sorted(self.counts.items()) if file == name}


def bits_of(model: Any) -> dict[str, Any]:
    """Return every tensor of a loaded model bit for bit, and its sizes."""
    state: dict[str, Tensor] = model.state_dict()
    found = {name: (str(one.dtype), tuple(one.shape), one.numpy().tobytes()) for name, one in state.items()}
    return found | {"config": model.config}


def arrays_of(folder: Path) -> dict[str, Any]:
    """Return what the torch-free reader gives."""
    opened = open_arrays(folder)
    return {name: (str(one.dtype), one.shape, one.tobytes()) for name, one in opened.file.tensors.items()} | {
        "config": opened.config.config,
        "layers": opened.config.layers,
    }


# What is run, by who reads it. The integer model is made of the float one; it is compared where verify accepts.
RUNS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "float": lambda folder: bits_of(load_packed(folder, "float")),
    "arrays": arrays_of,
}


def meaning(folder: Path) -> dict[str, Any]:
    """Return all that a folder says: config and plan as they are read, results and model card as they lie there."""
    config = read_config(folder).model_dump()
    return {
        "tool": config.pop("tool"),
        "config": config,
        "plan": parse_plan(read_json(folder / "plan.json"), "plan.json"),
        "plan.json": read_json(folder / "plan.json"),
        "report.json": (folder / "report.json").read_bytes(),
        "README.md": (folder / "README.md").read_bytes(),
    }


def early(folder: Path) -> None:
    """Leave only the two hashes that the folders of early versions have."""
    config = json.loads((folder / "config.json").read_text())
    config["sha256"] = {name: config["sha256"][name] for name in ("model.safetensors", "plan.json")}
    (folder / "config.json").write_text(json.dumps(config))


def draw_places(sizes: dict[str, int], times: int, draw: random.Random) -> Iterator[tuple[str, int]]:
    """Choose files and offsets: half of the times every file alike, half in proportion to their sizes."""
    names = list(sizes)
    for i in range(times):
        name = names[i // 2 % len(names)] if i % 2 else draw.choices(names, list(sizes.values()))[0]
        yield name, draw.randrange(sizes[name])


def damage_often(folder: Path, times: int, seed: int = 0, unprotected: tuple[str, ...] = ()) -> Outcome:
    """Change single bytes of a folder, one at a time, and put each back; raises AssertionError for a damage unseen.

    ``unprotected`` are the parts of ``meaning`` that a damage may change without being seen.
    """
    draw, found = random.Random(seed), Outcome()
    whole = {name: (folder / name).read_bytes() for name in FILES}
    due = {name: run(folder) for name, run in RUNS.items()}
    due |= {"integer": bits_of(load_packed(folder)), "meaning": meaning(folder)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, at in draw_places({name: len(content) for name, content in whole.items()}, times, draw):
        content, byte = whole[name], draw.randrange(255)
        byte += byte >= content[at]  # another one
        (folder / name).write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
        began = time.perf_counter()
        found.counts[name, said_of(folder, due, unprotected, f"{name}, byte {at} is {byte}")] += 1
        found.slowest = max(found.slowest, time.perf_counter() - began)
        (folder / name).write_bytes(content)
    found.grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def said_of(folder: Path, due: dict[str, Any], unprotected: tuple[str, ...], where: str) -> str:
    """Return the check by which verify refused a folder, or "harmless" where that is proved."""
    refused = refusal(verify, folder)
    if refused and unprotected:  # only verify compares an early config with the plan
        return f"refused: {refused}"
    for name, run in RUNS.items():
        model: list[Any] = []
        if refusal(lambda path, run=run, model=model: model.append(run(path)), folder) is None:
            assert model[0] == due[name], f"{where}: another model is run ({name})"
        else:
            assert refused, f"{where}: verify accepts what is not run ({name})"
    if refused:
        return f"refused: {refused}"
    assert bits_of(load_packed(folder)) == due["integer"], where
    said = meaning(folder)
    changed = [part for part in said if said[part] != due["meaning"][part]]
    assert set(changed) <= set(unprotected), f"{where}: verify does not see it"
    return f"unprotected: {changed[0]}" if changed else "harmless"


def refusal(run: Callable[[Path], Any], folder: Path) -> str | None:
    """Return the check that refuses a folder, None where it is accepted; whatever else is raised is a mistake."""
    try:
        run(folder)
    except (PackedError, PlanError, VerificationError) as problem:
        return check_of(problem)
    return None


def check_of(problem: SnnqError) -> str:
    assert problem.exit_code in (2, 4)
    assert problem.hint
    assert problem.message.isprintable()
    return next(name for name, words in CHECKS if re.search(words, problem.message))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(given.folder, Path(place) / "packed"))
        found = damage_often(folder, given.times, given.seed)
    for name in FILES:
        print(name, sum(found.of(name).values()), json.dumps(found.of(name)))
    print(f"{sum(found.counts.values())} damages, slowest {found.slowest:.2f} s, memory grew {found.grown_mib:.0f} MiB")


if __name__ == "__main__":
    main()
