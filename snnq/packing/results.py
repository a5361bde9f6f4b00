"""What is found out about a finished model, for report.json: accuracies, weights before and after, activity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.arithmetic.whole_modules import WHOLE_NEURONS
from snnq.assessing.measure import measure_model
from snnq.base.files import read_text
from snnq.base.progress import Progress
from snnq.base.strict_json import strict_json
from snnq.models.registry import attention_table
from snnq.network.wiring import Wiring
from snnq.packing.record import (
    FloatDistance,
    FrontPlan,
    Measured,
    Measurements,
    SearchedEpoch,
    SplitScores,
    WeightCounts,
)
from snnq.plan import Plan
from snnq.training.devices import placed
from snnq.training.evaluation import predict, score, video_share, videos_of
from snnq.training.job import Job
from snnq.training.run_folder import FRONT, METRICS
from snnq.training.teacher import float_logits

BINS = 61
DISTANCE_SAMPLES = 64


def weight_record(before: Tensor, after: Tensor) -> WeightCounts:
    """Return histograms of a layer's float and final weights over the same bins, and the share of exact zeros.

    ``low`` and ``high`` are the outer edges of ``BINS`` equal bins; ``before`` and ``after`` are counts.
    """
    values = torch.stack([before.detach().flatten().double(), after.detach().flatten().double()])
    reach = max(float(values.abs().max()), 1e-12)
    counts = [torch.histc(row, BINS, -reach, reach).to(torch.int64).tolist() for row in values]
    zeros = (values == 0).double().mean(1).tolist()
    return WeightCounts(
        low=-reach,
        high=reach,
        before=tuple(counts[0]),
        after=tuple(counts[1]),
        zeros_before=zeros[0],
        zeros_after=zeros[1],
    )


def weight_records(before: Mapping[str, Tensor], folded: nn.Module, plan: Plan) -> dict[str, WeightCounts]:
    """Return the ``weight_record`` of every layer of the plan, by name."""
    names = [layer.name for layer in plan.layers]
    return {name: weight_record(before[f"{name}.weight"], folded.get_parameter(f"{name}.weight")) for name in names}


def accuracies(job: Job, folded: nn.Module, fabric: Fabric, batch_size: int, progress: Progress) -> Measured:
    """Return accuracies (0 … 1) and losses (nats) of the float model and of the folded one, on validation and test."""
    found: dict[str, dict[str, object]] = {"float": {}, "plan": {}}
    videos: dict[str, int] = {}
    placed(folded, fabric.device)
    for split, samples in (("validation", job.data.validation), ("test", job.data.test)):
        logits = float_logits(job, split, fabric, batch_size, progress)
        labels, own = torch.from_numpy(samples.labels), videos_of(samples)
        planned, _ = predict(folded, samples, batch_size, progress, f"plan model on {split}")
        for name, given in (("float", logits), ("plan", planned)):
            one = score(given, labels)
            found[name] |= {split: one.accuracy, f"{split}_loss": one.loss, f"{split}_each": one.each}
            if per_video := video_share(given, labels, own):
                found[name][f"{split}_per_video"], videos[f"{split}_videos"] = per_video
    folded.cpu()
    return Measured(
        data=job.data.spec,
        simulated=job.data.simulated,
        labels="given" if job.data.labels == "given" else "float model",
        split="; ".join([job.data.split, *([f"images: {job.data.pixels}"] if job.data.pixels else [])]),
        validation_samples=len(job.data.validation),
        test_samples=len(job.data.test),
        **videos,
        float=SplitScores.model_validate(found["float"]),
        plan=SplitScores.model_validate(found["plan"]),
    )


def float_distance(
    job: Job, exact: nn.Module, folded: nn.Module, fabric: Fabric, batch_size: int
) -> FloatDistance | None:
    """Return how far a model in whole numbers is from the folded one; None where it has only that one's arithmetic."""
    if not isinstance(job.wiring, Wiring):
        return None
    count = min(DISTANCE_SAMPLES, len(job.data.validation))
    chosen = [number * len(job.data.validation) // count for number in range(count)]
    frames, _ = job.data.validation.__getitems__(chosen)
    models = [placed(model, fabric.device) for model in (exact, folded)]
    with SpikesApart(*models, traced=job.wiring.graph.traced) as spikes:
        pairs = [
            [_logits(model, frames[begin : begin + batch_size]) for model in models]
            for begin in range(0, count, batch_size)
        ]
    whole, floating = map(torch.cat, zip(*pairs, strict=True))
    for model in models:
        model.cpu()
    spread = float(floating.std())
    return FloatDistance(
        samples=count,
        logits=float((whole - floating).abs().mean()) / spread if spread > 0 else None,
        same=float((whole.argmax(1) == floating.argmax(1)).double().mean()),
        spikes=spikes.share,
    )


def _logits(model: nn.Module, frames: Tensor) -> Tensor:
    """Return logits on the CPU, float64, wherever the model is: the two need not be on one device."""
    device = next(iter(model.parameters()), torch.empty(0)).device
    return model(frames.to(device)).cpu().double()


class SpikesApart:
    """Counts, while two models of the same neurons run in turns, how much of what fires is not the same in both.

    ``share``: Σ |a - b| / Σ b over all neurons, steps and samples, of whole spikes a and floating ones b; None where
    nothing fires, and of a ``traced`` graph, whose neurons another code calls in floating point.
    """

    def __init__(self, whole: nn.Module, floating: nn.Module, *, traced: bool = False) -> None:
        self.apart = self.fired = 0.0
        self._seen: dict[str, Tensor] = {}
        self._hooks = []
        for name, neuron in whole.named_modules():
            if isinstance(neuron, WHOLE_NEURONS) and not traced:
                for one, keep in ((neuron, self._keep), (floating.get_submodule(name), self._compare)):
                    self._hooks.append(one.register_forward_hook(partial(keep, name)))

    def __enter__(self) -> SpikesApart:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, name: str, module: nn.Module, inputs: object, spikes: Tensor) -> None:
        self._seen[name] = spikes.cpu()

    def _compare(self, name: str, module: nn.Module, inputs: object, spikes: Tensor) -> None:
        spikes = spikes.cpu()
        self.apart += float((self._seen.pop(name) - spikes).abs().sum(dtype=torch.float64))
        self.fired += float(spikes.sum(dtype=torch.float64))

    @property
    def share(self) -> float | None:
        """Return the share of spikes that differ."""
        return self.apart / self.fired if self.fired > 0 else None


def activity_record(job: Job, exact: nn.Module, samples: int, progress: Progress) -> Measurements | None:
    """Return what the packed and the float model do on validation samples, for the event model of energy.

    None for no samples.
    """
    if samples == 0:
        return None
    products = attention_table(job.checkpoint.architecture, job.checkpoint.config)
    plan, floats = (
        measure_model(model, job.layers, products, job.data, "validation", samples, progress)
        for model in (exact, job.model)
    )
    return Measurements(plan=plan, float=floats)


def search_record(
    plan: Plan, folder: Path | None, data_sha256: str
) -> tuple[tuple[SearchedEpoch, ...] | None, tuple[FrontPlan, ...] | None]:
    """Return the epochs of the search that made a plan, and its front, from its run folder; None for what is not there.

    The front's plans were scored on the search's data: it is left out where the model was packed on others.
    """
    epochs = front = None
    if folder is None:
        return epochs, front
    try:
        if (folder / METRICS).exists():
            lines = [strict_json(line) for line in read_text(folder / METRICS).splitlines()]
            # Candidate plans that were finetuned in turns have no history of layers.
            epochs = tuple(SearchedEpoch.model_validate(line) for line in lines if "bits" in line) or None
        if plan.data is None or plan.data.sha256 == data_sha256:
            front = tuple(FrontPlan.model_validate(row) for row in strict_json(read_text(folder / FRONT)))
    except (OSError, ValueError, TypeError):
        pass
    return epochs, front
