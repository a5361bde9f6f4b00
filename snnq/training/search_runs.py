"""Where the search of a plan lies: beside the plan, where the plan says, or where this user's searches were noted.

A plan may be renamed, copied or moved with its run. The plan holds the way from its file to the run; the absolute place
is noted in the user's own cache, under the run's fingerprint, so that plan.json is the same in every folder and tells
nobody where its maker's files are. Whatever is found must have that fingerprint. Only commands that are about a plan's
search look for it (``plan solve``, ``finalize`` and ``ptq``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from snnq.base.errors import UsageError
from snnq.base.files import read_text, write_atomic
from snnq.base.strict_json import strict_json
from snnq.data.cache import cache_root
from snnq.plan import Plan
from snnq.plan.records import PlanInput, RunInfo, SearchInfo
from snnq.training.job import fingerprint
from snnq.training.run_folder import CONFIG, run_path


def with_run(plan: Plan, run: Path, file: Path, mark: str | None = None) -> Plan:
    """Return a plan that is about to be written to ``file`` with the way from there to its search's run folder.

    ``mark`` is the run's fingerprint, by default the one that the plan names.
    """
    mark = mark or _mark(plan)
    if plan.search is None or mark is None:
        return plan
    try:
        way = Path(os.path.relpath(run, file.absolute().parent)).as_posix()
    except ValueError:  # on another drive
        return plan
    info = RunInfo(path=way, fingerprint=mark)
    return plan.model_copy(update={"search": plan.search.model_copy(update={"run": info})})


def note_run(run: Path, mark: str) -> None:
    """Note in the user's cache where a finished run lies; a cache that cannot be written is done without."""
    place = _note(mark)
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, f"{run.absolute()}\n")


def find_run(plan: Plan | PlanInput, file: Path) -> Path | None:
    """Return the run folder of the search behind a plan that was read from ``file``, or None."""
    if plan.search is None:
        return None
    mark = _mark(plan)
    return next((folder for folder in _places(plan.search, file, mark) if mark and is_run(folder, mark)), None)


def is_run(folder: Path, mark: str) -> bool:
    """Return whether a folder is the run with this fingerprint."""
    try:
        config = strict_json(read_text(folder / CONFIG))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and fingerprint(config) == mark


def no_run(file: Path, plan: PlanInput) -> UsageError:
    """Return the error of a plan whose search cannot be found."""
    if plan.search is None:
        return UsageError(f"{file} was not made by a search, so there are no scores", "make one: snnq search")
    return UsageError(
        f"{file}: the run folder of its search is not beside it"
        + (f", not at {plan.search.run.path}" if plan.search.run else "")
        + " and is not known here",
        "name the run folder instead of the plan, such as plan.json.run, or search again",
    )


def _mark(plan: Plan | PlanInput) -> str | None:
    search = plan.search
    return search and (search.run.fingerprint if search.run else search.fingerprint)


def _places(search: SearchInfo, file: Path, mark: str | None) -> Iterator[Path]:
    yield run_path(file)
    if search.run:
        yield file.parent / search.run.path
    if re.fullmatch("[0-9a-f]{64}", mark or ""):
        with suppress(OSError, ValueError):
            yield Path(read_text(_note(str(mark))).strip())


def _note(mark: str) -> Path:
    return cache_root() / "runs" / f"{mark}.txt"
