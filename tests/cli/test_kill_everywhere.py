"""kill -9 before every file operation of every long command: resumed to the same bytes, with nothing left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import limited
import pytest
from tiny_checkpoints import DATA, TINY, save_tiny

BATCH = ("--batch-size", "8")


@dataclass(frozen=True)
class Job:
    """A command, and the commands that must have run before it."""

    name: str
    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()


SEARCH = ("search", TINY, "--epochs", "2", "--space", "uniform-2,uniform-4", *BATCH)
FINALIZE = ("finalize", "--epochs", "2", "--measure", "4", *BATCH)
PTQ = ("ptq", TINY, "--scheme", "uniform-4", "--method", "tesseraq", "--steps-per-round", "1", "--samples", "8")
PTQ = (*PTQ, "--measure", "4", *BATCH)
PREPARE = ("data", "prepare", DATA, "--steps", "2", "--image-size", "8", "--workers", "1")
C = ("export", "packed", "--to", "c")
JOBS = (
    Job("data", PREPARE),
    Job("search", SEARCH, (PREPARE,)),
    Job("search anew", (*SEARCH, "--seed", "1", "--force"), (PREPARE, SEARCH)),
    Job("finalize", FINALIZE, (PREPARE, SEARCH)),
    Job("finalize anew", (*FINALIZE, "--seed", "1", "--force"), (PREPARE, SEARCH, FINALIZE)),
    Job("ptq", PTQ, (PREPARE,)),
    Job("report", ("report", "packed"), (PREPARE, PTQ)),
    Job("export", C, (PREPARE, PTQ)),
    Job("export anew", (*C, "--force"), (PREPARE, PTQ, C)),
    Job("graft", ("graft", TINY, "--chunk", "2", "--out", "grafted.safetensors")),
    Job("uniform", ("plan", "uniform", TINY, "--scheme", "uniform-2", "--out", "uniform.json")),
    Job(
        "solve",
        ("plan", "solve", "plan.json.run", "--budget", "avg-bits=6", "--out", "solved.json"),
        (PREPARE, SEARCH),
    ),
)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return every file's bytes and every folder below ``folder``; None for what is not the same in two equal runs.

    A state's bytes are torch's own business, and a cache entry's stamps are the times at which its files were written.
    The cache notes where a run lies: the folder's own place is left out.
    """
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        same = path.is_file() and path.suffix != ".pt" and path.name != "stamps.json"
        content = path.read_bytes().replace(str(folder).encode(), b"") if same else None
        found[str(path.relative_to(folder))] = content
    return found


def run(words: tuple[str, ...], folder: Path, **given) -> tuple[int, str]:
    return limited.run(list(words), folder, environment={"SNNQ_CACHE": str(folder / "cache")}, **given)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Job], Path]:
    """Give a folder in which all that must come before a job has run."""
    root = tmp_path_factory.mktemp("before")
    made: dict[tuple[tuple[str, ...], ...], Path] = {}

    def folder_of(before: tuple[tuple[str, ...], ...]) -> Path:
        if before not in made:
            folder = made[before] = root / str(len(made))
            if before:
                shutil.copytree(folder_of(before[:-1]), folder)
                code, said = run(before[-1], folder, seconds=120)
                assert code == 0, said
            else:
                folder.mkdir()
                save_tiny(folder)
        return made[before]

    return lambda job: folder_of(job.before)


def again(job: Job, folder: Path) -> None:
    """Type the command again, as it says after Ctrl-C; where that is refused because all is done, with --force."""
    code, said = run(tuple(word for word in job.words if word != "--force"), folder, seconds=120)
    if code == 2 and "already" in said:
        code, said = (
            run((*job.words, "--force"), folder, seconds=120)
            if "--force" not in job.words
            else run(job.words, folder, seconds=120)
        )
    assert code == 0, said


def kill_at(job: Job, places: range | list[int], start: Callable[[Job], Path], tmp_path: Path) -> int:
    """Kill the job before each of these file operations and resume it; return how many operations it has."""
    whole = shutil.copytree(start(job), tmp_path / "whole")
    code, said = run(job.words, whole, seconds=120)
    assert code == 0, said
    wanted = contents(whole)
    for place in places:
        folder = shutil.copytree(start(job), tmp_path / "cut")
        code, said = run(job.words, folder, seconds=120, kill_at=place)
        if code == 0:
            shutil.rmtree(folder)
            return place - 1
        assert code == -9, said
        again(job, folder)
        found = contents(folder)
        assert found.keys() == wanted.keys(), f"{job.name}, killed before operation {place}"
        differ = [name for name in wanted if found[name] != wanted[name]]
        assert not differ, f"{job.name}, killed before operation {place}"
        shutil.rmtree(folder)
    return max(places)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name.replace(" ", "-"))
def test_killed_before_every_file_operation(job: Job, start: Callable[[Job], Path], tmp_path: Path) -> None:
    operations = kill_at(job, range(1, 10_000), start, tmp_path)
    print(f"{job.name}: killed before each of {operations} file operations")
    assert operations > 1


SAMPLE = {"data": [4, 14], "uniform": [2], "graft": [3]}


@pytest.mark.parametrize("name", SAMPLE)
def test_killed_before_some(name: str, start: Callable[[Job], Path], tmp_path: Path) -> None:
    job = next(job for job in JOBS if job.name == name)
    kill_at(job, SAMPLE[name], start, tmp_path)
