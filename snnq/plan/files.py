"""plan.json on disk: read with the line of a mistake, written atomically and always the same way."""

from __future__ import annotations

import json
import re
from pathlib import Path

from snnq.base.errors import OutputExistsError, PlanError
from snnq.base.files import read_text, write_atomic
from snnq.base.kinds import takers
from snnq.base.strict_json import Json, strict_json

_MAKE = "make one: snnq search, or snnq plan uniform --architecture NAME --scheme uniform-2 --out plan.json"
_MEND = "mend the file, or make the plan again"


def read_json(path: Path) -> Json:
    """Return the JSON object of a file; raises PlanError naming the file and, in broken JSON, the line."""
    try:
        data = strict_json(read_text(path))
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such plan", _MAKE) from None
    except OSError as problem:
        raise PlanError(f"{path}: cannot read this plan ({problem.strerror})", takers(path) or _MAKE) from None
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise PlanError(f"{path}: not valid JSON at {where}: {problem.msg}", takers(path) or _MEND) from None
    except ValueError as problem:
        raise PlanError(f"{path}: not a plan: {problem}", takers(path) or _MEND) from None
    if not isinstance(data, dict):
        raise PlanError(f"{path}: a plan is a JSON object, found a {type(data).__name__}", _MAKE)
    return data


def plan_text(data: Json) -> str:
    """Return plan data as JSON text: keys in the given order, lists of numbers on one line, a newline at the end."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    # No JSON string holds a raw newline, so this matches lists only.
    numbers = re.compile(r"\[\n\s+([-+.\deE,\s]+?)\n\s+\]")
    return numbers.sub(lambda match: "[" + re.sub(r",\s+", ", ", match[1]) + "]", text) + "\n"


def write_json(path: Path, data: Json, force: bool) -> None:
    """Write plan data to a temporary name beside ``path``, then rename it. Raises OutputExistsError, PlanError."""
    try:
        write_atomic(path, plan_text(data), overwrite=force)
    except FileExistsError:
        raise OutputExistsError(
            f"{path} is already there", "choose another --out, or add --force to overwrite it"
        ) from None
    except OSError as problem:
        raise PlanError(f"{path}: cannot write this plan ({problem.strerror})", "choose another place") from None
