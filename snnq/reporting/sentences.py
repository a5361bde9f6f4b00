"""The report's words: what came out, what the numbers mean, and how to make it again."""

from __future__ import annotations

import shlex
from pathlib import Path

from snnq.base.errors import UsageError
from snnq.base.machine import machine, sentence
from snnq.cost.quantities import EVENT_ENERGY, STORAGE, Quantity, known
from snnq.cost.table import CostTable
from snnq.packed.config import read_config
from snnq.packing.record import Finetuned, Results
from snnq.plan import Plan
from snnq.plan.measured import NOT_MEASURED
from snnq.plan.records import CostTableInfo
from snnq.plan.views import per_cent, weights_words
from snnq.reporting.cost_records import LayerRow, PlanRow, PlanTotals
from snnq.schemes.scheme import scheme
from snnq.structure.edits import STRUCTURE, described, edits_of


def verdict(results: Results, totals: PlanTotals, plans: tuple[PlanRow, ...]) -> str:
    """Return what came out, in one line: accuracy, bits and every cost, beside float and the uniform plans."""
    before, after = results.accuracy.float_model.test, results.accuracy.plan.test
    beside = ", ".join(
        f"{row.plan}: {' and '.join(per_cent(row.costs[one.fraction]) for one in known(row.costs) if one.main)} %"
        for row in plans[1:]
        if row.plan.startswith("uniform-")
    )
    costs = " and ".join(
        f"{per_cent(totals.costs[one.fraction])} % of {_float_words(one)}"
        for one in known(totals.costs)
        if not one.part
    )
    said = f"{per_cent(after)} % test accuracy (float: {per_cent(before)} %)"
    if results.accuracy.labels != "given":
        said = f"{per_cent(after)} % agreement with float on generated data, whose accuracy nobody knows,"
    return (
        f"{said} at {totals.avg_bits:.2f} bits per weight by the plan ({totals.file_avg_bits:.2f} in the file, with "
        f"scales, norms and header), with {costs}" + (f" ({beside})." if beside else ".")
    )


def _float_words(one: Quantity) -> str:
    """Return what a fraction is of, in a sentence that names float32 first."""
    named = "float32's weight storage" if one is STORAGE else f"its {one.name}"
    return f"{named} by the {one.model}" if one.model else named


def energy_model(table: CostTable) -> str:
    """Return what every energy in the report is."""
    fit = ", a fit to the paper's own figures" if table.fitted else ""
    return (
        f"Energy: the paper's model, per time step and sample (the head: per sample), cost table {table.name} "
        f"({table.node}, {table.year}{fit}). Multiplications times energy per operation, plus every weight bit "
        "fetched once from DRAM; it counts neither the number of time steps nor that spikes are sparse."
    )


def made(results: Results) -> str:
    """Return in a word or two how the packed model was made."""
    return "finetuned and packed" if results.ptq is None else f"{results.ptq.method}, no finetuning, packed"


def _unlabelled_notes(results: Results) -> list[str]:
    """Return what must be known of a model that was compressed on data without labels; nothing of others."""
    if results.accuracy.labels == "given":
        return []
    return [
        f"This model was calibrated on synthetic data alone: {results.accuracy.data}, {results.accuracy.split}. Labels "
        "are the float model's own answers, so every accuracy here is how often these are given again. It says nothing "
        "of real data: snnq eval FOLDER --data SPEC does."
    ]


def _made_notes(results: Results) -> list[str]:
    test = f"test split ({results.accuracy.test_samples} samples) was used once, at the end."
    if results.ptq is not None:
        return [
            f"Nothing was finetuned: {results.ptq.samples} training samples without their labels were looked at. The "
            f"validation split ({results.accuracy.validation_samples} samples) decided nothing; the {test}"
        ]
    tuned = results.finalize
    begun = f"Finetuning began with {tuned.start} ({tuned.start_sha256}). " if tuned and tuned.start else ""
    return [
        f"{begun}float is the checkpoint as given, not finetuned further: part of any gain of the plan over it may "
        "come from the extra epochs alone.",
        f"The plan's epoch was chosen on the validation split ({results.accuracy.validation_samples} samples); the "
        + test,
    ]


def notes(plan: Plan, results: Results, layers: tuple[LayerRow, ...], recorded: CostTableInfo) -> tuple[str, ...]:
    """Return what a reader must know before comparing these numbers; ``recorded`` is the cost table plan.json names."""
    found = [*_unlabelled_notes(results), *_made_notes(results)]
    if results.accuracy.test_videos is not None:
        found.append(
            f"Samples are clips, and accuracies, losses and tests are per clip. The test split has "
            f"{results.accuracy.test_videos} videos; per video the class is that of its clips' mean probabilities."
        )
    words = weights_words(plan)
    if words is not None:
        found.append(
            "Accuracies and losses of the plans beside this one are on the validation split before finetuning, "
            f"rounded, batch-norm statistics estimated anew. Weights: {words}. None was finetuned."
        )
    else:
        found.append("The simple plans' accuracies were not measured; only a search measures them.")
    if (far := results.float_distance) is not None:
        spikes = "" if far.spikes is None else f"; {far.spikes:.2%} of the spikes differ"
        logits = "" if far.logits is None else f"; logits differ by {far.logits:.2%} of their deviation on average"
        found.append(
            f"In whole numbers, {far.same:.2%} of {far.samples} validation samples get the answer that the same "
            f"weights give in floating point{spikes}{logits}."
        )
    if results.accuracy.simulated and results.accuracy.labels == "given":
        found.append(f"The data ({results.accuracy.data}) are events simulated from images, not recordings.")
    edited = [layer.name for layer in layers if layer.edited]
    if edited:
        found.append(
            f"{len(edited)} of {len(layers)} layers do not take the scheme that the search chose: the plan was "
            f"changed after it and was {NOT_MEASURED} before finetuning. They are {', '.join(edited)}."
        )
    if results.finalize and any(scheme(one).rate is not None for one in plan.schemes().values()):
        found.append(
            "The rates of the plan are those that its codes came to. The plan that was asked for makes this model "
            "again; this one asks for rates that are slightly others."
        )
    if plan.cost_table.sha256 != recorded.sha256:
        found.append(
            f"The plan was made with cost table {recorded.name} ({recorded.sha256[:12]}…); the energies here are "
            f"those of {plan.cost_table.name} ({plan.cost_table.sha256[:12]}…)."
        )
    return tuple(found)


def search_sentence(plan: Plan, results: Results) -> str:
    """Return one sentence on where the schemes come from, and whether the way there is known."""
    if plan.search is None:
        return "This plan was not made by a search, so there are no probabilities to show."
    info = plan.search
    weighed = "" if info.trade_off is None else f", trade-off {info.trade_off:g}"
    if info.budget:
        weighed = f", budget {', '.join(f'{name} {limit:g}' for name, limit in info.budget.items())}"
    made = f"{info.method} search, {info.epochs} epochs{weighed}, seed {info.seed}, over {', '.join(info.space)}"
    if info.epochs == 0:
        return f"Nothing was trained, so there are no probabilities to show: {made}."
    if results.search and results.search[-1].rates:
        return f"Coded bits of every layer after every epoch: {made}."
    if results.search:
        return f"Probabilities of the schemes after every epoch: {made}."
    if info.method == "halving":
        return f"Candidate plans were finetuned shortly, and the better half went on: {made}."
    return (
        f"The plan was made by a {made}; its history by epoch is not in this folder, because the search's run folder "
        "was not found when it was finalized."
    )


def _data_kind(results: Results) -> str:
    if results.accuracy.labels != "given":
        return "synthetic, without labels"
    return "simulated from images" if results.accuracy.simulated else "not simulated"


def _edited(plan: Plan) -> dict[str, str]:
    """Return what was done to the model before it was compressed; nothing where it is as its architecture builds it."""
    try:
        said = described(edits_of(plan.model.config))
    except UsageError:  # of an edit that is not known here: a plan is read without its model
        said = "edits that are not known here"
    return {STRUCTURE: said} if said else {}


def provenance(plan: Plan, results: Results, hashes: dict[str, str], tool: str) -> dict[str, str]:
    """Return where everything comes from; hashes are sha256."""
    return {
        "report by": tool,
        "report on": sentence(machine()),
        "packed by": results.tool,
        "packed on": sentence(results.machine) if results.machine else "not recorded",
        "plan by": plan.tool,
        "architecture": f"{plan.model.architecture} (layout {plan.model.layout})",
        **_edited(plan),
        "checkpoint": plan.model.checkpoint or "not recorded",
        "checkpoint sha": plan.model.sha256 or "not recorded",
        "data": results.accuracy.data,
        "data sha": plan.data.sha256 if plan.data else "not recorded",
        "data kind": _data_kind(results),
        "split": results.accuracy.split,
        "classes": str(len(plan.data.classes)) if plan.data else "not recorded",
        "samples": f"validation {results.accuracy.validation_samples}, test {results.accuracy.test_samples}",
        "cost table": plan.cost_table.name,
        "cost table sha": plan.cost_table.sha256,
        "search": plan.search.fingerprint or "not recorded" if plan.search else "none",
        **{f"{Path(name).stem} sha": value for name, value in hashes.items()},
    }


def commands(plan: Plan, results: Results, folder: Path) -> tuple[str, ...]:
    """Return what to type to check this folder and to make it again."""
    place = shlex.quote(str(folder))
    lines = [f"snnq verify {place}", f"snnq eval {place}"]
    if plan.search and plan.search.fingerprint and plan.model.checkpoint:
        lines.append(_search_command(plan))
    storage = "" if read_config(folder).quantization_config.storage == "coded" else " --storage fixed"
    plan_file = shlex.quote(str(folder / "plan.json"))
    lines.append(f"{_made_again(results)}{storage} --plan {plan_file} --out packed-again")
    return tuple(lines)


def _made_again(results: Results) -> str:
    """Return the command that made the model, plan and output left out."""
    if tuned := results.finalize:
        augment = f"--augment {shlex.quote(tuned.augment)} " if tuned.augment else ""
        vat = f"--vat {shlex.quote(tuned.vat)} " if tuned.vat else ""
        return (
            f"snnq finalize --epochs {tuned.epochs} --batch-size {tuned.batch_size} "
            f"--distillation {tuned.distillation!r} {augment}{vat}{_start_words(tuned)}{_rate_words(tuned)}"
            f"--seed {tuned.seed}"
        )
    one = results.ptq
    assert one is not None
    if one.method == "kept":
        return "snnq ptq --method kept"
    words = f"snnq ptq --method {one.method} --samples {one.samples} --batch-size {one.batch_size} --norms {one.norms}"
    words += f" --batchnorm {one.batchnorm} --seed {one.seed}"
    if one.method in ("rtn", "clip", "awq"):
        return words
    words += f" --start {one.start}"
    if one.method == "quantease":
        return words
    return f"{words} --target {one.target} --rounds {one.rounds} --steps-per-round {one.steps}"


def _start_words(tuned: Finetuned) -> str:
    """Return where finetuning began and how exactly it computed, as it is typed; nothing where that is the default."""
    precision = (tuned.model_extra or {}).get("precision")
    words = f"--start {shlex.quote(tuned.start)} " if tuned.start else ""
    return f"{words}--precision {precision} " if precision else words


def _rate_words(tuned: Finetuned) -> str:
    """Return the price or the budget that codes were trained for, as it is typed; nothing where there was none."""
    more = tuned.model_extra or {}
    words = [f"--rate {more['rate']!r}"] if more.get("rate") else []
    words += ["--hold-rates"] if more.get("hold_rates") else []
    events = {EVENT_ENERGY.fraction: ("event-energy", 100, "%"), EVENT_ENERGY.key: ("event-energy-pj", 1, "")}
    for key, limit in (more.get("budget") or {}).items():
        name, factor, sign = events.get(key, (key.replace("_", "-"), 1, ""))
        words.append(f"--budget {name}={factor * limit:.12g}{sign}")
    return "".join(f"{word} " for word in words)


def _search_command(plan: Plan) -> str:
    info = plan.search
    assert info is not None
    words = ["snnq", "search", plan.model.checkpoint or ""]
    words += ["--data", plan.data.spec] if plan.data else []
    words += info.options
    words += ["--cost-table", plan.cost_table.source or plan.cost_table.name, "--out", "plan-again.json"]
    return shlex.join(words)
