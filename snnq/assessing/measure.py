"""``snnq.measure``: the event model of energy of anything that can be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

import torch
from torch import nn

from snnq.assessing.subject import Subject, check_split, open_planned_checkpoint, open_subject
from snnq.assessing.watching import uses_integers, watching
from snnq.base.errors import DataError, SnnqError, UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Json
from snnq.checkpoints.opening import Checkpoint, load_model
from snnq.checkpoints.sizes import Given
from snnq.cost.activity import Activity, FloatActivity, MixingRecord
from snnq.cost.energy import layer_energy, products_record
from snnq.cost.event_records import EventCosts
from snnq.cost.events import event_energy, planned_events
from snnq.cost.table import CostTable, read_table
from snnq.data.dataset import DataSet, Frames
from snnq.models.registry import architecture, attention_table
from snnq.network.layers import Layer, forward_macs
from snnq.network.products import Products
from snnq.network.wiring import Wiring
from snnq.packed.config import PLAN_FILE
from snnq.plan import Plan
from snnq.schemes.names import FLOAT32
from snnq.schemes.zeros import zero_shares
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.finite import FiniteWatch
from snnq.training.threads import keeps_threads, use_threads

SAMPLES = 64


@dataclass(frozen=True)
class Measurement:
    """What was measured, and the energy of both models.

    ``paper_energy_pj`` is the paper's model, per time step and sample; ``events`` the event model, per inference and
    sample. ``products`` are what the attentions compute.
    """

    path: str
    kind: str
    simulated: bool
    paper_energy_pj: float
    events: EventCosts
    products: tuple[Products, ...]
    activity: Activity

    table: CostTable

    def to_dict(self) -> Json:
        """Return everything but the cost table as JSON-ready values."""
        return {
            "path": self.path,
            "kind": self.kind,
            "simulated": self.simulated,
            "paper_energy_pj": self.paper_energy_pj,
            "events": asdict(self.events),
            "products": products_record(self.products, self.table),
            "activity": self.activity.model_dump(mode="json"),
        }


@keeps_threads
def measure(
    path: str | Path = "packed",
    *,
    data: str | None = None,
    split: str = "validation",
    samples: int = SAMPLES,
    cost_table: str | None = None,
    weight_reuse: str | None = None,
    compute: Compute | str = "auto",
    progress: Progress = silent,
    **given: Unpack[Given],
) -> Measurement:
    """Run a model on real inputs and return the energy of what it did there.

    ``path``: a packed folder; a plan.json, whose formats are priced with the activity of its float checkpoint; or a
    float checkpoint (``given``: sizes it cannot tell). ``samples`` of ``split``, spread evenly, are run one by one.
    ``compute`` says on which device and with how many threads (a string: on which device).

    Raises UsageError for an unknown split or reuse and for no samples, DataError where no data is named, PlanError for
    a plan without a checkpoint, and what opening raises.
    """
    check_split(split)
    subject = open_subject(path, plans=True, **given)
    found, model = subject.data(data, progress), subject.model()
    layers = subject.layers(model, found)
    products = attention_table(subject.architecture, subject.config)
    schemes, table = priced(subject, layers, cost_table)
    device = _prepare(compute, layers, found)
    activity = measure_model(placed(model, device), layers, products, found, split, samples, progress)
    if subject.kind == "plan" and subject.checkpoint:
        zeros = table.events.skips_zeros
        table = table.on(floats_of(subject.checkpoint, layers, activity, found.sha256, zeros=zeros))
    expected = planned_events(layers, schemes, table, weight_reuse)
    return Measurement(
        path=str(path),
        kind=subject.kind,
        simulated=found.simulated,
        paper_energy_pj=sum(layer_energy(layer, schemes[layer.name], table).total_pj for layer in layers),
        events=expected or event_energy(layers, schemes, activity, products, table, weight_reuse),
        products=products,
        activity=activity,
        table=table,
    )


def floats_of(
    opened: Checkpoint, layers: Sequence[Layer], activity: Activity, data_sha256: str, *, zeros: bool
) -> FloatActivity:
    """Return what plans of a float checkpoint are priced with by what it did.

    ``zeros``: with the share of its weights that every scheme makes zero.
    """
    whole = isinstance(architecture(opened.architecture).wiring(opened.config), Wiring)
    weights = {layer.name: opened.state_dict[f"{layer.name}.weight"] for layer in layers} if zeros else {}
    return FloatActivity(
        data_sha256=data_sha256,
        arithmetic="integer" if whole else "float",
        activity=activity,
        attentions=tuple(MixingRecord(**asdict(one)) for one in attention_table(opened.architecture, opened.config)),
        zeros={name: zero_shares(weight) for name, weight in weights.items()},
    )


def priced(subject: Subject, layers: Sequence[Layer], cost_table: str | None) -> tuple[dict[str, str], CostTable]:
    """Return the schemes of a model's layers, and the table that prices them: the one named, or else the plan's."""
    chosen = read_table(cost_table) if cost_table else None
    if subject.plan is None:
        return {layer.name: FLOAT32 for layer in layers}, chosen or read_table()
    plan = Plan.read(subject.path / PLAN_FILE if subject.kind == "packed" else subject.path, chosen)
    return plan.schemes(), read_table(plan.cost_table.source or plan.cost_table.name)


@keeps_threads
def measure_folder(
    folder: Path,
    samples: int,
    data: str | None = None,
    compute: Compute | str = "auto",
    progress: Progress = silent,
) -> tuple[Activity, Activity | None]:
    """Return what a packed folder's model does on validation samples, and its float checkpoint if that is still there.

    Raises UsageError for no samples, DataError where the data cannot be opened, and what opening the folder raises.
    """
    subject = open_subject(folder)
    found, model = subject.data(data, progress), subject.model()
    layers, products = subject.layers(model, found), attention_table(subject.architecture, subject.config)
    device = _prepare(compute, layers, found)
    own = measure_model(placed(model, device), layers, products, found, "validation", samples, progress)
    try:
        floating = load_model(open_planned_checkpoint(subject.plan, folder / PLAN_FILE))  # pyright: ignore
    except SnnqError:
        return own, None
    return own, measure_model(placed(floating, device), layers, products, found, "validation", samples, progress)


def _prepare(compute: Compute | str, layers: Sequence[Layer], data: DataSet) -> torch.device:
    """Set the number of threads for samples one by one; return the device."""
    compute = as_compute(compute)
    use_threads(compute, forward_macs(layers, data.frames_shape[0], 1))
    return start_fabric(compute).device


def measure_model(
    model: nn.Module,
    layers: Sequence[Layer],
    products: Sequence[Products],
    data: DataSet,
    split: str,
    samples: int,
    progress: Progress = silent,
) -> Activity:
    """Return what a model does on ``samples`` samples of a split, spread evenly over it; its mode stays as it was.

    Every sample is run for itself. Raises UsageError unless at least one is asked for, NotFiniteError naming the first
    neurons whose current, or else the logits, are not finite.
    """
    frames, chosen = getattr(data, split), spread(data, split, samples)
    return measure_samples(model, layers, products, frames, chosen, (data.spec, split), progress)


@torch.no_grad()
def measure_samples(
    model: nn.Module,
    layers: Sequence[Layer],
    products: Sequence[Products],
    frames: Frames,
    chosen: Sequence[int],
    where: tuple[str, str],
    progress: Progress = silent,
) -> Activity:
    """Return what a model does on the samples at ``chosen`` of frames; ``where``: their data and split, by name."""
    steps, was_training = frames.frames.shape[1], model.training
    device = next(iter((*model.parameters(), *model.buffers())), torch.empty(0)).device
    model.eval()
    try:
        with FiniteWatch(model, "measuring events") as finite, watching(model, layers, products, steps) as watch:
            for count, index in enumerate(chosen, start=1):
                finite.note("the logits", model(frames.__getitems__([index])[0].to(device)))
                finite.close(f"sample {count}")
                watch.close()
                progress("measuring events", count, len(chosen))
            finite.check(alone=True)
    finally:
        model.train(was_training)
    return Activity(
        data=where[0],
        split=where[1],
        samples=watch.samples,
        steps=steps,
        arithmetic="integer" if uses_integers(model) else "float",
        layers=watch.layer_activities(),
        neurons=watch.neuron_activities(),
        attentions=watch.attention_activities(),
    )


def spread(data: DataSet, split: str, samples: int) -> Sequence[int]:
    """Return the places of so many samples, spread evenly over a split; all where it has no more."""
    if samples < 1:
        raise UsageError(f"{samples} samples to measure: at least 1 is needed")
    count = len(getattr(data, split))
    if not count:
        raise DataError(f"{data.spec}: its {split} split is empty, so nothing can be measured", "choose another split")
    return [i * count // samples for i in range(samples)] if samples < count else range(count)
