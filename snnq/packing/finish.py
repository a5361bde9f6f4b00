"""Where a finetuned and a reconstructed model meet: measured, packed, verified."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from snnq.arithmetic.integer_form import to_integers, with_rounded_leaks
from snnq.assessing.measure import SAMPLES
from snnq.base.errors import OutputExistsError, PackedError, VerificationError
from snnq.base.machine import machine
from snnq.base.placing import sweep
from snnq.base.progress import Progress
from snnq.base.version import __version__
from snnq.network.folding import fold_batchnorm
from snnq.network.wiring import Wiring
from snnq.packed.coding import Coded
from snnq.packed.config import PLAN_FILE
from snnq.packed.folder import tensors_file, write_packed
from snnq.packed.input import input_of
from snnq.packed.loading import load_packed
from snnq.packed.storage import Storage
from snnq.packed.verification import verify
from snnq.packing.rates import realised, say_above
from snnq.packing.record import Finetuned, Reconstructed, Results, read_results
from snnq.packing.results import accuracies, activity_record, float_distance, search_record, weight_records
from snnq.packing.shortening import shortened
from snnq.plan import Plan
from snnq.schemes.scheme import scheme
from snnq.schemes.whole import Whole
from snnq.structure.edits import edits_of
from snnq.structure.masked import check_kept
from snnq.training import processes
from snnq.training.job import Job
from snnq.training.search_runs import with_run


@dataclass(frozen=True)
class Finalized:
    """What finalize or ptq made: the packed folder and its report.json."""

    folder: Path
    results: Results


@dataclass(frozen=True)
class Destination:
    """Where a packed folder goes, and how its tensors are stored.

    ``fingerprint`` is of the run that makes it, ``search_run`` that of its plan's search.
    """

    folder: Path
    fingerprint: str
    search_run: Path | None
    force: bool
    storage: Storage = "coded"


def finished(out: Path, mark: str, measure: int) -> Finalized:
    """Return the folder at ``out`` if this very run made it and it is whole; otherwise refuse to overwrite it.

    ``measure``: on how many validation samples rates are wanted; the default takes those that are there. What a process
    that was killed just after writing it left beside it is removed.
    """
    try:
        results = read_results(out)
    except PackedError:
        results = None
    if results is None or results.fingerprint != mark:
        raise OutputExistsError(
            f"{out} is already there and is not from this plan and settings",
            "add --force to overwrite it, or name another --out",
        )
    found = results.activity.plan.samples if results.activity else 0
    if measure != SAMPLES and found != min(measure, results.accuracy.validation_samples):
        raise OutputExistsError(
            f"{out} is already there, with firing rates of {found} validation samples",
            "leave out --measure, add --force to make it anew, or name another --out",
        )
    verify(out)
    sweep(out)
    return Finalized(out, results)


def fold(model: nn.Module, job: Job) -> nn.Module:
    """Return a copy of the job's model in evaluation mode with its norms folded."""
    return fold_batchnorm(model, job.wiring.norms).eval()


def pack(
    folded: nn.Module,
    coded: Mapping[str, Coded],
    how: Finetuned | Reconstructed,
    destination: Destination,
    *,
    plan: Plan,
    job: Job,
    fabric: Fabric,
    batch_size: int,
    measure: int,
    shorten: bool = True,
    progress: Progress,
) -> Finalized:
    """Shorten, measure, write and verify a folded model whose weights are exactly what ``coded`` decodes to.

    Without ``shorten`` scales and norms keep every bit. What is evaluated is the arithmetic of what is packed. ``how``
    it was made stands in report.json. Raises OutputExistsError, VerificationError.
    """
    check_kept(job.checkpoint.state_dict, folded.state_dict(), edits_of(job.checkpoint.config))
    histograms = weight_records(job.checkpoint.state_dict, folded, plan)  # before scales move into norms
    asked = plan
    plan, coded = realised(plan, coded)
    if isinstance(how, Reconstructed):
        say_above(asked, plan)
    folded, coded = shortened(folded, coded, job.wiring.norms) if shorten else (folded, dict(coded))
    folded = _as_packed(folded, job)
    exact = _exact_form(folded, job, coded)
    accuracy = accuracies(job, exact, fabric, batch_size, progress)
    with torch.no_grad():
        distance = float_distance(job, exact, folded, fabric, batch_size)
    search, front = search_record(plan, destination.search_run, job.data.sha256)
    results = Results(
        tool=f"snnq {__version__}",
        machine=machine() | {"threads": str(torch.get_num_threads())},
        fingerprint=destination.fingerprint,
        accuracy=accuracy,
        finalize=how if isinstance(how, Finetuned) else None,
        ptq=how if isinstance(how, Reconstructed) else None,
        search=search,
        front=front,
        weights=histograms,
        activity=processes.on_first(lambda: activity_record(job, exact, measure, progress)),
        float_distance=distance,
    )
    processes.on_first(lambda: _write_verified(folded, exact, coded, destination, plan, job, results))
    return Finalized(destination.folder, results)


def model_bytes(folded: nn.Module, coded: Mapping[str, Coded], plan: Plan, job: Job) -> bytes:
    """Return the model.safetensors that ``pack`` would write."""
    folded, coded = shortened(folded, coded, job.wiring.norms)
    return tensors_file(_as_packed(folded, job), plan, coded).content


def _as_packed(folded: nn.Module, job: Job) -> nn.Module:
    """Return a folded model with the leaks that it has in whole numbers."""
    return with_rounded_leaks(folded, job.wiring) if isinstance(job.wiring, Wiring) else folded


def _exact_form(folded: nn.Module, job: Job, coded: Mapping[str, Coded]) -> nn.Module:
    """Return a folded model in whole numbers, where its architecture runs in them."""
    wiring = job.wiring
    return to_integers(deepcopy(folded), wiring, wholes(wiring, coded)) if isinstance(wiring, Wiring) else folded


def wholes(wiring: Wiring, coded: Mapping[str, Coded]) -> dict[str, Whole]:
    """Return the whole numbers of every coded layer but the head: what is evaluated, packed and run."""
    rooms = {one.layer: one.room for one in wiring.layers}
    return {name: scheme(one.scheme).whole(one.stored(), rooms[name]) for name, one in coded.items() if name in rooms}


@torch.no_grad()
def _write_verified(
    folded: nn.Module,
    exact: nn.Module,
    coded: Mapping[str, Coded],
    destination: Destination,
    plan: Plan,
    job: Job,
    results: Results,
) -> None:
    """Write the folder, verify it, and see that what is loaded from it computes exactly what was evaluated.

    The plan is written with the checkpoint and data that were really used, and with the way to the run folder of the
    search behind it. Raises VerificationError.
    """
    out, used = destination.folder, plan.made_with(job.model_info(), job.data_info(), job.layers)
    if destination.search_run is not None:
        used = with_run(used, destination.search_run, out / PLAN_FILE)
    plain = results.to_dict()
    write_packed(
        out,
        model=folded,
        plan=used,
        layers=coded,
        results=plain,
        storage=destination.storage,
        pixels=input_of(job.data.pixels) if job.data.pixels and isinstance(job.wiring, Wiring) else None,
        force=destination.force,
    )
    verify(out)
    frames, _ = job.data.validation.__getitems__(list(range(min(8, len(job.data.validation)))))
    if not torch.equal(load_packed(out)(frames), exact(frames)):
        raise VerificationError(
            f"{out}: the loaded model's outputs differ from the evaluated ones", "please report this"
        )
