"""``snnq.adapt_eval``: what adapters of one packed folder know and cost, side by side and over class orders."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from snnq.adapting.backbone import Backbone, open_backbone
from snnq.adapting.settings import FULL, HEAD, AdaptSettings
from snnq.assessing.adapted import adapter_data, open_adapter
from snnq.assessing.adapter_costs import adapter_macs
from snnq.assessing.adapter_scores import Scored
from snnq.assessing.eval import run_integer
from snnq.assessing.measure import spread
from snnq.assessing.subject import check_engine, open_subject
from snnq.assessing.watching import watching
from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Json
from snnq.data import DataSet
from snnq.data.classes import check_samples
from snnq.models.registry import attention_table
from snnq.network.layers import forward_macs
from snnq.packed.adapted import Adapted, load_adapted
from snnq.packed.adapter import Adapter
from snnq.packed.input import engine_frames
from snnq.packed.loading import load_packed
from snnq.packed.prompting import Prompting
from snnq.runtime.adapted import AdaptedEngine
from snnq.runtime.engine import Engine
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.evaluation import predict
from snnq.training.threads import keeps_threads, use_threads

WAYS = ("class_incremental", "task_incremental")
REPEATS = 5  # of a timed sample


@dataclass(frozen=True)
class AdaptEvaluation:
    """Adapters of one folder; ``summary`` has mean and standard deviation over them of every metric, by method.

    The deviation is that of the sample (n − 1), None for one adapter.
    """

    folder: str
    data: str
    engine: str
    adapters: tuple[Scored, ...]
    summary: Json

    def to_dict(self) -> Json:
        """Return plain data."""
        return asdict(self)


@keeps_threads
def adapt_eval(
    folder: str | Path,
    adapters: Sequence[str | Path],
    *,
    data: str | None = None,
    engine: str = "torch",
    batch_size: int = 32,
    measure: int = 8,
    compute: Compute | str = "auto",
    progress: Progress = silent,
) -> AdaptEvaluation:
    """Evaluate adapters of a packed folder on the test split, and say what they cost.

    ``measure``: test samples whose events and times are measured; 0: none. Raises UsageError for no adapters, an
    unknown engine, or an adapter that the engine does not run, VerificationError for another folder's, and DataError.
    """
    check_engine(engine)
    if not adapters:
        raise UsageError("no adapter is named", "snnq adapt eval FOLDER ADAPTER …; snnq adapt list finds them")
    compute, subject = as_compute(compute), open_subject(folder)
    opened = [open_adapter(subject, one, engine) for one in adapters]
    backbone = open_backbone(Path(folder), AdaptSettings(method=HEAD))
    found = [_scored(backbone, one, data, engine, batch_size, measure, compute, progress) for one in opened]
    return AdaptEvaluation(str(folder), data or opened[0].facts.data, engine, tuple(found), summary(found))


def _scored(
    backbone: Backbone,
    adapter: Adapter,
    spec: str | None,
    engine: str,
    size: int,
    measured: int,
    compute: Compute,
    progress: Progress,
) -> Scored:
    data, facts = adapter_data(backbone.folder, adapter, spec, progress), adapter.facts
    check_samples(data, "test")
    use_threads(compute, forward_macs(backbone.layers, backbone.wiring.graph.steps, size))
    model = placed(load_adapted(backbone.folder, adapter), start_fabric(compute).device)
    if engine == "integer":
        found = run_integer(backbone.folder, data.test, size, progress, compute.threads, adapter)
        logits, labels = torch.from_numpy(found), torch.from_numpy(data.test.labels)
    else:
        logits, labels = predict(model, data.test, size, progress)
    each, told = _by_task(logits, labels, facts.tasks)
    operations = _operations(backbone, model, data, measured, progress) if measured else (None, None)
    times = _times(backbone, adapter, data, measured, compute) if measured and facts.method != FULL else (None, None)
    return Scored(
        str(adapter.path),
        facts.method,
        adapter.bytes,
        int(facts.settings.get("order", 0)),
        facts.classes,
        facts.tasks,
        len(labels),
        _share(logits.argmax(1) == labels),
        each,
        told,
        facts.known.metrics(),
        adapter_macs(backbone.folder, adapter),
        *operations,
        *times,
        facts.overlap,
        data.simulated,
    )


def _by_task(
    logits: torch.Tensor, labels: torch.Tensor, tasks: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the accuracy on each task's samples, of all classes and of those of the task."""
    each, told, begin = [], [], 0
    for count in tasks:
        mine = (labels >= begin) & (labels < begin + count)
        each.append(_share(logits[mine].argmax(1) == labels[mine]))
        told.append(_share(logits[mine][:, begin : begin + count].argmax(1) + begin == labels[mine]))
        begin += count
    return tuple(each), tuple(told)


def _share(right: torch.Tensor) -> float:
    return right.double().mean().item()


@torch.no_grad()
def _operations(
    backbone: Backbone, model: nn.Module, data: DataSet, samples: int, progress: Progress
) -> tuple[float, float]:
    """Return the synaptic operations of an inference with an adapter, and of the folder alone; means over samples.

    Layers' and those inside attentions, counted as ``snnq cost measure`` counts them. Prompts are prefixed outside of
    what is counted, so that a longer K and V is what is seen. A network that was finetuned whole is another one.
    """
    device = next(iter((*model.parameters(), *model.buffers()))).device
    body = model.backbone if isinstance(model, Adapted) else load_packed(backbone.folder).to(device)
    products = attention_table(backbone.config.architecture, backbone.config.config)
    frames, chosen = data.test, spread(data, "test", samples)
    alone, found = 0.0, 0.0
    for count, index in enumerate(chosen, start=1):
        sample = frames.__getitems__([index])[0].to(device)
        frozen = _counted(backbone, body, products, lambda sample=sample: body(sample), None)
        alone += frozen
        if isinstance(model, Adapted) and model.pools:
            again = _counted(backbone, body, products, lambda sample=sample: model(sample), model)
            found += again
        elif isinstance(model, Adapted):
            found += frozen
        else:
            found += _counted(backbone, model, products, lambda sample=sample: model(sample), None)
        progress("measuring events", count, len(chosen))
    return found / len(chosen), alone / len(chosen)


def _counted(
    backbone: Backbone, body: nn.Module, products: Sequence, run: Callable[[], object], model: Adapted | None
) -> float:
    """Return the synaptic operations of one run of one sample, both of its passes where it has two."""
    steps = backbone.wiring.graph.steps
    if model is not None:
        model.prompting.detach()
    try:
        with watching(body, backbone.layers, products, steps) as watch:
            if model is not None:
                model.prompting = Prompting(body, model.prompting.sites, steps)
            run()
            if model is not None:
                model.prompting.detach()
            watch.close()
    finally:
        if model is not None:
            model.prompting = Prompting(body, model.prompting.sites, steps)
    layers = sum(sum(one.synaptic_operations) for one in watch.layer_activities())
    return layers + sum(sum(one.first) + sum(one.second) for one in watch.attention_activities())


def _times(backbone: Backbone, adapter: Adapter, data: DataSet, samples: int, compute: Compute) -> tuple[float, float]:
    """Return milliseconds of an inference with an adapter and of the folder alone, medians over samples.

    Both run a sample in turns, several times; the shortest time counts, which other work on the machine least touches.
    """
    engines = AdaptedEngine(backbone.folder, adapter, compute.threads), Engine(backbone.folder, compute.threads)
    chosen = spread(data, "test", samples)
    taken: list[list[float]] = [[], []]
    for one in engines:  # compiles, and fills what is made once
        one(engine_frames(data.test, chosen[:1], one.pixels))
    for index in chosen:
        best, given = [math.inf, math.inf], engine_frames(data.test, [index], engines[0].pixels)
        for number, one in [*enumerate(engines)] * REPEATS:
            begun = time.perf_counter()
            one(given)
            best[number] = min(best[number], 1000 * (time.perf_counter() - begun))
        for number, shortest in enumerate(best):
            taken[number].append(shortest)
    for one in engines:
        one.workers.close()
    return statistics.median(taken[0]), statistics.median(taken[1])


def summary(found: Sequence[Scored]) -> Json:
    """Return mean and standard deviation of every metric over the adapters of each method, and how many there are."""
    said: Json = {}
    for method in dict.fromkeys(one.method for one in found):
        own = [one for one in found if one.method == method]
        said[method] = {"adapters": len(own), "orders": sorted({one.order for one in own})}
        for way in WAYS:
            said[method][way] = {
                name: _mean_and_deviation([one.metrics[way][name] for one in own]) for name in own[0].metrics[way]
            }
    return said


def _mean_and_deviation(values: Sequence[float | None]) -> Json:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "deviation": None}
    return {"mean": statistics.fmean(known), "deviation": statistics.stdev(known) if len(known) > 1 else None}
