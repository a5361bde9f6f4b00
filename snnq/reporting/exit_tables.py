"""What dynamic time steps do, as sentences, tables and a figure."""

from __future__ import annotations

from snnq.assessing.exit_records import ExitCosts, Exits
from snnq.cost.quantities import ENERGY
from snnq.reporting.figures.front import Point, front_panel
from snnq.reporting.table import Table

SECTION = "exits"


def verdict(found: Exits) -> str:
    """Return in a sentence what exits cost and save."""
    points = 100 * (found.accuracy - found.accuracy_all_steps)
    return (
        f"A sample that ends when its entropy is below {found.threshold:.4g} takes {found.mean_steps:.2f} of "
        f"{found.steps} time steps on average: {found.accuracy:.2%} {found.split} accuracy, {points:+.2f} points."
    )


def notes(found: Exits) -> tuple[str, ...]:
    """Return the verdict, how the threshold was chosen, and what to compare it with."""
    said = [verdict(found)]
    one = found.choice
    if one is None:
        said.append("The threshold was given.")
    else:
        said.append(
            f"The threshold was chosen on {one.samples} {one.split} samples, to lose {100 * one.allowed:g} points at "
            f"most: {one.accuracy:.2%} instead of {one.accuracy_all_steps:.2%} with {one.mean_steps:.2f} steps."
        )
    if one is not None and found.split == one.split:
        said.append("These are the samples that it was chosen on: another split tells what it is worth.")
    said.append(
        f"If the same numbers of steps fell to samples at random, {found.accuracy_shuffled:.2%} would be right."
    )
    if found.exit_costs is not None:
        said.append(_measured(found.exit_costs))
    return tuple(said)


def _measured(costs: ExitCosts) -> str:
    said = (
        f"Energy is the mean of {costs.samples} samples, which took {costs.mean_steps:.2f} steps ({costs.cost_table}, "
        f"weights fetched once per {costs.weight_reuse}); the event model counts the head after every answer."
    )
    if costs.latency_ms is None:
        return said
    return f"{said} Latency is of the integer engine and of one sample at a time."


def tables(found: Exits) -> tuple[Table, ...]:
    """Return samples with exits beside all steps, and how many ended where."""
    return (outcome_table(found), steps_table(found))


def outcome_table(found: Exits) -> Table:
    """Return one row with exits, one with all steps, and one of the share that is left."""
    rows = [
        ["when sure", f"{found.mean_steps:.2f}", f"{found.accuracy:.2%}", f"{found.loss:.4f}"],
        ["all steps", f"{found.steps}", f"{found.accuracy_all_steps:.2%}", f"{found.loss_all_steps:.4f}"],
    ]
    columns = ["ends", "steps", f"{found.split}", "cross-entropy"]
    if (costs := found.exit_costs) is not None:
        columns += ["events nJ", "of it compute", "paper's nJ"]
        ended = costs.events_pj, costs.events_compute_pj, costs.paper_pj
        whole = costs.events_pj_all_steps, costs.events_compute_pj_all_steps, costs.paper_pj_all_steps
        rows[0] += map(ENERGY.shown, ended)
        rows[1] += map(ENERGY.shown, whole)
        if costs.latency_ms is not None and costs.latency_ms_whole is not None:
            columns.append("ms")
            rows[0].append(f"{costs.latency_ms:.2f}")
            rows[1].append(f"{costs.latency_ms_all_steps:.2f}")
            rows.append(["all in one call", f"{found.steps}", *rows[1][2:-1], f"{costs.latency_ms_whole:.2f}"])
    return Table("Dynamic time steps, means per sample", tuple(columns), tuple(map(tuple, rows)), SECTION)


def steps_table(found: Exits) -> Table:
    """Return, for every number of steps, how many samples ended there, and the accuracy if all did."""
    rows = zip(found.answers, found.exited, found.fixed, strict=True)
    return Table(
        "Where samples ended",
        ("steps", "samples", "share", "accuracy if all ended here"),
        tuple((str(steps), str(ended), f"{ended / found.samples:.1%}", f"{fixed:.2%}") for steps, ended, fixed in rows),
        SECTION,
    )


def figure(found: Exits) -> tuple[str, str]:
    """Return the caption and drawing of accuracy over mean steps: thresholds, and all samples ending alike."""
    title = f"{found.split.capitalize()} accuracy over mean time steps"
    points = [
        Point(
            one.mean_steps,
            100 * one.accuracy,
            f"θ = {one.threshold:.4g}: {one.mean_steps:.2f} steps, {one.accuracy:.2%}",
        )
        for one in found.curve
    ]
    points += [
        Point(steps, 100 * fixed, f"all end after {steps}: {fixed:.2%}", f"T = {steps}", "square")
        for steps, fixed in zip(found.answers, found.fixed, strict=True)
    ]
    mine = f"θ = {found.threshold:.4g}: {found.mean_steps:.2f} steps, {found.accuracy:.2%}"
    points.append(Point(found.mean_steps, 100 * found.accuracy, mine, "when sure", "diamond"))
    return title, front_panel(title, "mean time steps", "accuracy %", points)
