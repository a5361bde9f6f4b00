"""``snnq.finalize``: from a plan to a verified packed folder."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.assessing.float_activity import float_activity, needs_activity
from snnq.assessing.measure import SAMPLES
from snnq.assessing.variation import Varied
from snnq.base.errors import BudgetError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.opening import load_model
from snnq.cost.table import read_table
from snnq.finalizing.aiming import aim_of
from snnq.finalizing.budget import limits_of
from snnq.finalizing.encoding import encode_model
from snnq.finalizing.finetuning import QuantisedFinetuning
from snnq.finalizing.settings import FinalizeSettings
from snnq.finalizing.starting import begin_from
from snnq.finalizing.trimming import trim
from snnq.hardware.crossbars.variation import parse_variation
from snnq.packed.coding import Coded
from snnq.packed.config import MODEL_FILE, read_config
from snnq.packed.folder import check_free
from snnq.packed.storage import Storage, as_storage, check_storage
from snnq.packing.finish import Destination, Finalized, finished, fold, model_bytes, pack
from snnq.packing.planned import open_planned
from snnq.packing.rates import layer_rates, realised
from snnq.packing.record import Finetuned
from snnq.plan import Plan
from snnq.schemes.scheme import scheme
from snnq.training import processes
from snnq.training.augmentation import check_changes
from snnq.training.batches import steps_per_epoch
from snnq.training.chance import say_fit
from snnq.training.devices import EXACT, Compute, as_compute, start_fabric
from snnq.training.evaluation import evaluate, reestimate_batchnorm
from snnq.training.job import TAKEN, Job, fingerprint
from snnq.training.quantized import quantize_model
from snnq.training.rate import Aim
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.search_runs import find_run
from snnq.training.teacher import answered, float_logits, float_teacher
from snnq.training.threads import keeps_threads, use_threads

# How often codes are trimmed anew where what is packed, scales and norms included, exceeds its budget, or leaves more
# than this share of it unused.
FREEZINGS, SLACK = 5, 0.003


@keeps_threads
def finalize(
    plan: str | Path = "plan.json",
    *,
    checkpoint: str | Path | None = None,
    data: str | None = None,
    weights: str | None = None,
    start: str | Path | None = None,
    out: str | Path = "packed",
    settings: FinalizeSettings | None = None,
    storage: str = "coded",
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    measure: int = SAMPLES,
    force: bool = False,
    progress: Progress = silent,
    words: Config | None = None,
) -> Finalized:
    """Finetune a float checkpoint under a plan, then encode, fold, pack and verify it.

    The plan knows its checkpoint and data; ``checkpoint`` and ``data`` stand in for a plan that names none, or say
    where the same file lies now; ``weights`` chooses among several sets in such a checkpoint; ``start`` is a packed
    folder of the same plan, such as ``ptq`` makes, whose codes finetuning begins with. The float model is the teacher.
    The best epoch by validation is kept, its BN statistics are estimated anew if that is no worse on validation, and
    the test split is used once, at the end.
    ``compute`` says on which devices, how many and with how many threads (a string: on which one); the batch size
    counts the samples of all.
    ``storage`` is how model.safetensors holds its tensors, coded or fixed.
    In the end firing rates are measured on ``measure`` validation samples, for the event model of energy (0: not).

    Raises PlanError if plan and checkpoint do not fit, OutputExistsError if ``out`` is there and is not from this
    very run (unless ``force``), RunChangedError, InterruptedRun after Ctrl-C, VerificationError.
    """
    place = _Place(Path(out), run, as_storage(storage), force, words)
    named = (checkpoint, data, weights)
    task = _open(plan, named, start, settings or FinalizeSettings(), place, as_compute(compute), progress)
    done = processes.on_first(
        lambda: finished(place.out, task.mark, measure) if place.out.exists() and not force else None
    )
    return done or _packed(task, measure)


@dataclass(frozen=True)
class _Place:
    """Where a run writes its folder and keeps its state, how tensors are stored, and the words it was called with."""

    out: Path
    run: str | Path | None
    storage: Storage
    force: bool
    words: Config | None


@dataclass(frozen=True)
class _Task:
    """What is finetuned under which plan; ``config`` is all that the result depends on, ``mark`` its fingerprint."""

    plan: Plan
    job: Job
    settings: FinalizeSettings
    start: str | Path | None
    fabric: Fabric
    place: _Place
    behind: Path | None
    config: Json
    mark: str
    progress: Progress


def _open(
    file: str | Path,
    named: tuple[str | Path | None, str | None, str | None],
    start: str | Path | None,
    settings: FinalizeSettings,
    place: _Place,
    compute: Compute,
    progress: Progress,
) -> _Task:
    """Open a plan, its model and its data (``named``: checkpoint, data and weights, where others are meant)."""
    plan = Plan.read(file)
    check_storage(place.storage, plan.schemes(), trained=settings.rate is not None or bool(settings.budget))
    behind = find_run(plan, Path(file))
    fabric = start_fabric(compute)  # before the data: where there are more processes, they start from the top
    processes.check_batch_size(settings.batch_size)
    with processes.first_goes_first():
        checkpoint, data, weights = named
        job = open_planned(plan, checkpoint, data, progress, weights, file, unlabelled=unlabelled(settings))
        job = answered(job, fabric, settings.batch_size, progress)
        if plan.activity is None and needs_activity(settings.budget):
            skips = read_table(plan.cost_table.source or plan.cost_table.name).events.skips_zeros
            plan = plan.with_activity(float_activity(job, fabric.device, zeros=skips, progress=progress))
    check_changes(settings.augment, job.data)
    config, where = _config(plan, job, settings, compute), None if place.force else run_path(place.out, place.run)
    config["threads"] = use_threads(compute, job.macs(settings.batch_size), where)
    config |= {} if place.storage == "coded" else {"storage": place.storage}
    if start is not None:
        config["start_sha256"] = read_config(Path(start)).sha256[MODEL_FILE]
    return _Task(plan, job, settings, start, fabric, place, behind, config, fingerprint(config), progress)


def _packed(task: _Task, measure: int) -> Finalized:
    """Finetune, freeze, pack and verify."""
    place, job, settings = task.place, task.job, task.settings
    processes.on_first(lambda: check_free(place.out, place.force))  # before the hours of training, not after them
    where = run_path(place.out, place.run)
    folder = open_run(where, task.config, out=place.out, force=place.force, words=place.words)
    say_fit(float_logits(job, "validation", task.fabric, settings.batch_size, task.progress), job.data)
    moving, history = _finetune(folder, task)
    folded, coded, plan, reestimated = _frozen(moving, task.plan, job, settings)
    facts = {"best_epoch": moving.best.epoch, "batchnorm_reestimated": reestimated, "history": history}
    if task.config["precision"] != EXACT:
        facts["precision"] = task.config["precision"]
    if task.start is not None:
        facts |= {"start": str(task.start), "start_sha256": task.config["start_sha256"]}
    return pack(
        folded,
        coded,
        Finetuned.model_validate(_said(settings) | facts),
        Destination(place.out, task.mark, task.behind, place.force, place.storage),
        plan=plan,
        job=job,
        fabric=task.fabric,
        batch_size=settings.batch_size,
        measure=measure,
        progress=task.progress,
    )


def unlabelled(settings: FinalizeSettings) -> str:
    """Return whether data without labels are taken: where the float model alone is learned from."""
    return TAKEN if settings.distillation == 1 else "to learn from the float model alone: --distillation 1"


def _config(plan: Plan, job: Job, settings: FinalizeSettings, compute: Compute) -> Json:
    """Return everything the result depends on; how many processes work on it is none of it."""
    chip = parse_variation(settings.vat).arrays.chip().file_mark if settings.vat else {}
    return {
        "command": "finalize",
        **job.facts(),
        "schemes": plan.schemes(),
        "search": plan.search.fingerprint if plan.search else None,
        "cost_table_sha256": plan.cost_table.sha256,
        "precision": compute.precision,
        **chip,
        **_said(settings),
    }


def _said(settings: FinalizeSettings) -> Json:
    """Return the settings; those of the rate and of noise only where there is one."""
    return {key: value for key, value in asdict(settings).items() if key not in ("rate", "budget", "vat") or value}


def _finetune(run: RunFolder, task: _Task) -> tuple[QuantisedFinetuning, list[Json]]:
    """Train the quantised model with the float model as teacher; leave it with the weights of its best epoch."""
    job, plan, settings, start, fabric = task.job, task.plan, task.settings, task.start, task.fabric
    teacher = None
    if settings.distillation > 0:
        augmented = bool(settings.augment)
        teacher = float_teacher(job, fabric, settings.batch_size, augmented=augmented, progress=task.progress)
    torch.manual_seed(settings.seed)
    aim = aim_of(plan, settings, lambda rated: _rest(plan, job, rated))
    model = quantize_model(load_model(job.checkpoint), plan.schemes(), aim.begin).train()
    if start is not None:
        begin_from(model, start, plan)
    varied = Varied(model, job, parse_variation(settings.vat), settings.seed) if settings.vat else None
    steps = settings.epochs * steps_per_epoch(len(job.data.train), settings.batch_size)
    moving = QuantisedFinetuning(fabric, model, job.data, teacher, settings, steps, aim, varied)
    limited = moving.rate is not None and not settings.budget.keys().isdisjoint(("file_bits", "file_kib"))
    first = _rest(plan, job, aim.schemes) if limited else 0.0

    def after_epoch(epoch: int) -> Json:
        if moving.rate and first:
            moving.rate.leave(first - _rest(plan, job, aim.schemes, moving.model.state_dict()))
        return moving.after_epoch(epoch)

    history = moving.run(run, after_epoch, task.progress)
    model.load_state_dict(moving.best.state)
    return moving, history


def _rest(plan: Plan, job: Job, rated: Collection[str], state: Mapping[str, Tensor] | None = None) -> float:
    """Return the bits of the file that are not codes of rated layers, of the checkpoint packed without training.

    ``state`` is that of a quantised model, packed as it stands. Without it rated layers have the grids that training
    begins with: about zero, so that no zero-points are stored.
    """
    begun = Aim({name: scheme(plan.schemes()[name]) for name in rated}, plan.totals.weights)
    model = quantize_model(load_model(job.checkpoint), plan.schemes(), begun.begin)
    if state is not None:
        model.load_state_dict(state)
    coded = encode_model(model.eval(), plan.schemes())
    file = 8 * len(model_bytes(fold(model, job), coded, plan, job))
    return file - math.fsum(rate * coded[name].codes.numel() for name, rate in layer_rates(plan, coded, rated).items())


def _frozen(
    moving: QuantisedFinetuning, plan: Plan, job: Job, settings: FinalizeSettings
) -> tuple[nn.Module, dict[str, Coded], Plan, bool]:
    """Return the folded model, its codes, the plan with the rates that they have come to, and whether BN is new.

    Where what is packed would exceed the budget, or codes were trimmed further than it asks, it is frozen again with
    another target. Raises BudgetError.
    """
    limits, aim, kept = limits_of(plan, settings.budget, moving.aim.schemes), moving.aim, None
    prices = dict[float, float]()
    if moving.rate and aim.target:
        aim = replace(aim, target=aim.target + moving.rate.more)
    for _ in range(FREEZINGS):
        model = quantize_model(load_model(job.checkpoint), plan.schemes(), aim.begin).to(moving.fabric.device)
        model.load_state_dict(moving.best.state)
        rate = aim.rate(model)
        trimmed = rate is not None and trim(rate, prices) > 0
        taken = rate.total() if rate else 0.0
        coded, reestimated = _freeze(model, plan, job, settings, None if trimmed else moving.best.score)
        found, coded = realised(plan, coded, aim.schemes)
        folded = fold(model, job)
        over = limits.excess(folded, coded, found, job) if aim.target else 0.0
        if over <= 0 and (kept is None or over > kept[0]):
            kept = (over, folded, coded, found, reestimated)
        if over <= 0 and (aim.each or not trimmed or -over <= SLACK * taken):
            break
        aim = replace(aim, target=min(aim.target or 0.0, taken) - over)
    if kept is None:
        raise BudgetError("the codes stay above the budget", "allow more bits, or train longer")
    return kept[1:]


def _freeze(
    model: nn.Module, plan: Plan, job: Job, settings: FinalizeSettings, score: tuple[float, ...] | None
) -> tuple[dict[str, Coded], bool]:
    """Estimate BN anew if that is no worse, then turn every weight into its codes; ``score`` is what is to be kept.

    A model that was trained on chips keeps the statistics of chips.
    """
    if settings.vat:
        return encode_model(model.cpu().eval(), plan.schemes()), False
    if score is None:
        found = evaluate(model, job.data.validation, settings.batch_size)
        score = (found.accuracy, -found.loss)
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    reestimate_batchnorm(model, job.data.train, settings.batch_size, settings.seed)
    found = evaluate(model, job.data.validation, settings.batch_size)
    kept = (found.accuracy, -found.loss) >= score[-2:]
    if not kept:
        model.load_state_dict(before)
    return encode_model(model.cpu().eval(), plan.schemes()), kept
