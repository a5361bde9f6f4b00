"""reuse.json: which attentions reuse, what that costs on a target, and what was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from snnq.base.errors import OutputExistsError, PlanError
from snnq.base.files import read_text, write_atomic
from snnq.base.strict_json import Json, strict_json
from snnq.base.validation import Many, Record, dotted, validate

SCHEMA_VERSION = 1
_MAKE = "make one: snnq reuse plan CKPT --delay 0.6"


class ReuseCosts(Record):
    """What an inference of one sample takes on a target; None: what it does not tell.

    ``energy_pj`` in pJ, ``delay_ns`` in ns, ``area_um2`` in µm², and ``product`` of the three in µJ·ms·mm².
    ``blocks_energy_pj`` and ``blocks_delay_ns``: the part of the transformation blocks. ``cells_written`` and
    ``rows_written``: by attention, in an inference.
    """

    energy_pj: PositiveFloat | None = None
    delay_ns: PositiveFloat | None = None
    area_um2: PositiveFloat | None = None
    product: PositiveFloat | None = None
    blocks_energy_pj: float | None = None
    blocks_delay_ns: float | None = None
    cells_written: NonNegativeInt | None = None
    rows_written: NonNegativeInt | None = None

    def shares(self, whole: ReuseCosts) -> dict[str, float]:
        """Return each amount as a share of the ``whole``'s, where both are known."""
        pairs = {name: (getattr(self, name), getattr(whole, name)) for name in _COMPARED}
        return {name: own / theirs for name, (own, theirs) in pairs.items() if own is not None and theirs}


_COMPARED = ("energy_pj", "delay_ns", "area_um2", "product")


class ReusePattern(Record):
    """A pattern: each reusing attention, by the path of the one whose spikes it takes, and its costs."""

    pattern: str
    attentions: dict[str, str]
    costs: ReuseCosts


class WrittenCells(Record):
    """What an order of an attention's products writes into cells in an inference, all blocks of the model as given.

    ``bits`` of numbers; ``cells`` and ``rows`` on the target, rows one after the other.
    """

    order: str
    chunk: PositiveInt
    bits: NonNegativeInt
    cells: NonNegativeInt
    rows: NonNegativeInt
    own: bool


class TargetInfo(Record):
    """What was planned for: arrays by name or path and what of them was chosen, ``event`` or ``engine``."""

    kind: Literal["arrays", "event", "engine"]
    target: str
    node: str | None = None
    sha256: str | None = None
    cells: str | None = None
    dynamic: str | None = None
    adc_bits: PositiveInt | None = None
    data: str | None = None


class ReusePlan(Record):
    """A plan of reuse.

    ``limits``: shares of the model as given (delay, energy, area). ``whole``: its costs. ``sweep``: by how many blocks
    reuse, from 0, the costs of the first pattern. ``candidates``: the patterns of ``reusing`` blocks that keep the
    limits.
    """

    plan: Literal["reuse"] = "reuse"
    schema_version: Literal[1] = SCHEMA_VERSION
    architecture: str
    checkpoint: str
    checkpoint_sha256: str
    target: TargetInfo
    limits: dict[str, float]
    attentions: Many[str]
    reusing: NonNegativeInt
    whole: ReuseCosts
    sweep: Many[ReuseCosts]
    candidates: Many[ReusePattern]
    written: Many[WrittenCells] = ()

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON."""
        return self.model_dump(mode="json")

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """Write it to a temporary name beside ``path``, then rename it; raises OutputExistsError, PlanError."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            write_atomic(Path(path), text, overwrite=force)
        except FileExistsError:
            said = f"{path} is already there"
            raise OutputExistsError(said, "choose another --out, or add --force to overwrite it") from None
        except OSError as problem:
            raise PlanError(f"{path}: cannot write this plan ({problem.strerror})", "choose another place") from None


def read_reuse_plan(path: str | Path) -> ReusePlan:
    """Return the plan in a file; raises PlanError naming the file and what is wrong with it."""
    try:
        data = strict_json(read_text(path))
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such plan of reuse", _MAKE) from None
    except OSError as problem:
        raise PlanError(f"{path}: cannot read this plan ({problem.strerror})", _MAKE) from None
    except ValueError as problem:
        raise PlanError(f"{path}: not a plan of reuse: {problem}", _MAKE) from None
    if not isinstance(data, dict) or data.get("plan") != "reuse":
        raise PlanError(f"{path}: not a plan of reuse", _MAKE)
    return validate(ReusePlan, data, str(path), PlanError, _MAKE, dotted)
