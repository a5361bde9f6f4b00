"""``snnq.reuse_plan``: the fewest reusing blocks that keep a delay on a target, and the patterns they can form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from snnq.base.errors import BudgetError, DataError, UsageError
from snnq.base.progress import Progress, silent
from snnq.checkpoints.opening import Checkpoint, load_model, open_checkpoint
from snnq.checkpoints.sizes import Given
from snnq.data import DataSet, open_data
from snnq.hardware.crossbars.chosen import Arrays
from snnq.models.registry import attention_table
from snnq.network.layers import frames_shape
from snnq.reusing.costing import ENGINE, EVENT, ByEvents, Costing, OnArrays, OnEngine, Variant
from snnq.reusing.patterns import patterns
from snnq.reusing.records import ReuseCosts, ReusePattern, ReusePlan, WrittenCells
from snnq.structure.edits import apply_edits, described, edits_of
from snnq.training.job import check_fit

LIMITS = {"delay": "delay_ns", "energy": "energy_pj", "area": "area_um2"}
DEFAULT_TARGET = "trex-32nm"


@dataclass(frozen=True)
class ReuseRequest:
    """What a plan is asked for: limits as shares of the model as given, or how many blocks reuse."""

    arrays: Arrays = field(default_factory=lambda: Arrays(DEFAULT_TARGET))
    delay: float | None = None
    energy: float | None = None
    area: float | None = None
    blocks: int | None = None

    def __post_init__(self) -> None:
        for name, share in self.limits.items():
            if not 0 < share <= 1:
                raise UsageError(f"--{name} {share:g}: a share of the model as given is wanted, such as 0.6")
        if not self.limits and self.blocks is None:
            raise UsageError("--delay is missing: which share of the model's delay is left", "such as --delay 0.6")

    @property
    def limits(self) -> dict[str, float]:
        """The shares that were given."""
        return {name: share for name in LIMITS if (share := getattr(self, name)) is not None}


def reuse_plan(
    checkpoint: str | Path,
    asked: ReuseRequest,
    *,
    data: str | None = None,
    threads: int = 1,
    progress: Progress = silent,
    **given: Unpack[Given],
) -> ReusePlan:
    """Return a plan: the fewest reusing blocks that keep the limits, in every pattern that keeps them.

    ``data`` is needed for the targets ``event`` and ``engine`` alone, where the checkpoint does not name it.

    Raises BudgetError where no number of blocks keeps the limits, UsageError for limits that the target does not tell
    and for models without attentions to reuse, MachineError for a target that there is not, and what opening raises.
    """
    opened = open_checkpoint(checkpoint, **given)
    names = reusable(opened)
    target = _costing(asked, opened, data, threads, progress)
    if asked.blocks is not None and not 0 <= asked.blocks < len(names):
        raise UsageError(f"--blocks {asked.blocks}: of {len(names)} attentions, 0 to {len(names) - 1} can reuse")
    variants = [_variants(opened, names, count) for count in range(len(names))]
    costs = _costs(target, variants)
    _check_told(asked, costs[0][""])
    reusing = _fewest(asked, costs) if asked.blocks is None else asked.blocks
    kept = {name: one for name, one in costs[reusing].items() if asked.blocks is not None or _keeps(asked, costs, one)}
    return ReusePlan(
        architecture=opened.architecture,
        checkpoint=str(opened.path),
        checkpoint_sha256=opened.sha256,
        target=target.info(),
        limits=asked.limits,
        attentions=tuple(names),
        reusing=reusing,
        whole=costs[0][""],
        sweep=tuple(next(iter(one.values())) for one in costs),
        candidates=_candidates(variants[reusing], kept) if reusing else (),
        written=tuple(_written(target, variants[0][""])),
    )


def _candidates(variants: Mapping[str, Variant], kept: Mapping[str, ReuseCosts]) -> tuple[ReusePattern, ...]:
    return tuple(
        ReusePattern(pattern=name, attentions=dict(variants[name].attentions), costs=one) for name, one in kept.items()
    )


def reusable(opened: Checkpoint) -> list[str]:
    """Return the attentions that can reuse, or be reused, in the order they run; raises UsageError for fewer than two.

    Edits come in an order: what was pruned or decomposed may not be there any more, so that reuse comes first.
    """
    if edits := edits_of(opened.config):
        raise UsageError(f"{opened.path} was edited before ({described(edits)})", "reuse first, and then the rest")
    model = load_model(opened)
    mixing = [one for one in attention_table(opened.architecture, opened.config) if one.order in ("scores", "keys")]
    names = [one.name for one in mixing if hasattr(model.get_submodule(one.name), "reuse_spikes_of")]
    if len(names) < 2:
        raise UsageError(
            f"{opened.path}: {opened.architecture} has {len(names)} attentions that multiply matrices and can pass "
            "their spikes on; two are needed"
        )
    apply_edits(model, [{"edit": "reused", "attentions": {names[1]: names[0]}}])
    return names


def _variants(opened: Checkpoint, names: Sequence[str], count: int) -> dict[str, Variant]:
    """Return the edited models of each pattern; that of no reusing block has no name."""
    if not count:
        return {"": Variant(opened, {})}
    found = patterns(len(names), count)
    return {
        pattern: Variant(opened, {names[place]: names[place - 1] for place in places})
        for pattern, places in found.items()
    }


def _costing(asked: ReuseRequest, opened: Checkpoint, data: str | None, threads: int, progress: Progress) -> Costing:
    named = str(asked.arrays.target)
    if named not in (EVENT, ENGINE):
        return OnArrays(asked.arrays, asked.arrays.chip())
    found = _data(opened, data, progress)
    return ByEvents(found, progress=progress) if named == EVENT else OnEngine(found, threads, progress)


def _data(opened: Checkpoint, data: str | None, progress: Progress) -> DataSet:
    spec = data or opened.data
    if spec is None:
        raise DataError(f"{opened.path} does not say what it was trained on", "name the data: --data SPEC")
    shape = frames_shape(opened.config)
    found = open_data(spec, steps=shape[0], image_size=shape[2:], progress=progress)
    check_fit(found, opened.config)
    return found


def _costs(target: Costing, variants: Sequence[Mapping[str, Variant]]) -> list[dict[str, ReuseCosts]]:
    """Return the costs of all patterns by how many blocks reuse."""
    flat = iter(target.costs([one for by_pattern in variants for one in by_pattern.values()]))
    return [{name: next(flat) for name in by_pattern} for by_pattern in variants]


def _check_told(asked: ReuseRequest, whole: ReuseCosts) -> None:
    for name in asked.limits:
        if getattr(whole, LIMITS[name]) is None:
            told = [other for other, key in LIMITS.items() if getattr(whole, key) is not None]
            said = f"--{name}: the target {asked.arrays.target} does not tell it"
            raise UsageError(said, f"it tells {', '.join(told)}")


def _keeps(asked: ReuseRequest, costs: Sequence[Mapping[str, ReuseCosts]], one: ReuseCosts) -> bool:
    shares = one.shares(costs[0][""])
    return all(shares[LIMITS[name]] <= share for name, share in asked.limits.items())


def _fewest(asked: ReuseRequest, costs: Sequence[Mapping[str, ReuseCosts]]) -> int:
    """Return the fewest reusing blocks of which a pattern keeps all limits; raises BudgetError."""
    for count, by_pattern in enumerate(costs):
        if any(_keeps(asked, costs, one) for one in by_pattern.values()):
            return count
    last = min(
        (one.shares(costs[0][""]) for one in costs[-1].values()), key=lambda one: [one[LIMITS[n]] for n in asked.limits]
    )
    found = ", ".join(f"{name} {last[LIMITS[name]]:.3f}" for name in asked.limits)
    raise BudgetError(
        f"with all {len(costs) - 1} blocks that can reuse, the model has {found} of what it had",
        "allow more, or take fewer time steps or a narrower model",
    )


def _written(target: Costing, whole: Variant) -> list[WrittenCells]:
    return target.written(whole) if isinstance(target, OnArrays) else []
