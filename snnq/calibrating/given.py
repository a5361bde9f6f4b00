"""Reading what a user gives: class names, and rates of real data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snnq.base.errors import DataError, UsageError
from snnq.base.files import read_text
from snnq.cost.rate_card import RateCard, rates_of, read_card
from snnq.packed.config import PLAN_FILE
from snnq.packing.record import read_results
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan


def class_names(given: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return class names: those listed, those of a file with one a line, or of a text with commas.

    Raises UsageError for a file that cannot be read, and for a name that is empty.
    """
    if given is None or not isinstance(given, str | Path):
        return None if given is None else _sound(given)
    path = Path(given)
    if path.is_file():
        try:
            lines = read_text(path).splitlines()
        except (OSError, ValueError) as problem:
            raise UsageError(f"--classes {given}: cannot be read ({problem})") from None
        return _sound([line.strip() for line in lines if line.strip()])
    if "," not in str(given):
        raise UsageError(f"--classes {given}: there is no such file", "names can be typed, too: --classes cat,dog")
    return _sound([one.strip() for one in str(given).split(",")])


def _sound(names: Sequence[str]) -> tuple[str, ...]:
    if not names or not all(one and one.isprintable() for one in names):
        raise UsageError("--classes: every class needs a name of printable characters")
    return tuple(names)


def read_rates(path: Path) -> RateCard:
    """Return the card in a file, or that of the float model in a packed folder's report.json.

    Raises DataError, and PackedError for a folder that is damaged.
    """
    if not path.is_dir():
        return read_card(path)
    activity = read_results(path).activity
    floats = activity.float_model if activity else None
    if floats is None:
        raise DataError(
            f"{path}: it holds no firing rates of the float model",
            "pack it with --measure 64",
        )
    plan = parse_plan(read_json(path / PLAN_FILE), str(path / PLAN_FILE))
    return RateCard(
        tool=plan.tool,
        checkpoint_sha256=plan.model.sha256,
        data=floats.data,
        split=floats.split,
        samples=floats.samples,
        neurons=rates_of(floats.neurons),
    )
