"""What an adapter knows after a task: the packed arithmetic on the test samples of all tasks so far."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.adapting.backbone import Backbone, test_samples
from snnq.adapting.pools import Pools, rounded_head
from snnq.adapting.settings import FROZEN, AdaptSettings
from snnq.adapting.tasks import Lessons
from snnq.arithmetic.integer_form import put_module
from snnq.arithmetic.prompts import WEIGHT_BITS, Slots, weights
from snnq.base.strict_json import Json
from snnq.data.dataset import Frames
from snnq.packed.adapted import whole_head
from snnq.packed.prompting import Prompting
from snnq.training.evaluation import predict
from snnq.training.transfers import moved

# Test samples of the first task on which queries are compared.
DRIFTED = 64


class FirstQueries:
    """The queries (n, C) of every attention on samples of the first task, as they were after it; saved with the run."""

    def __init__(self) -> None:
        self.queries: dict[str, Tensor] = {}

    def state_dict(self) -> Json:
        """Return them by attention."""
        return dict(self.queries)

    def load_state_dict(self, state: Json) -> None:
        """Take back what ``state_dict`` gave."""
        self.queries = dict(state)


@dataclass
class Trial:
    """Evaluates what is learned in whole numbers; of the method ``full`` in floats, which is all there is of it.

    ``features``: those of the head's method, test split; the sums that the folder's own arithmetic gives.
    """

    backbone: Backbone
    lessons: Lessons
    settings: AdaptSettings
    first: FirstQueries
    device: torch.device
    features: Tensor | None = None

    def __post_init__(self) -> None:
        self.whole = self.backbone.whole(len(self.lessons.data.classes)).to(self.device)
        self.whole.twice = self.settings.twice
        places = self.lessons.members("test", 0)[:DRIFTED]
        self.probe = _subset(self.lessons.data.test, places)
        self.frozen = self._queries(self.whole.backbone, self.whole.prompting)

    def after(self, task: int, head: nn.Linear, pools: Pools | None, floating: nn.Module | None) -> Json:
        """Return accuracies on every task so far, the drift of queries since, and how prompts were used."""
        places = test_samples(self.lessons, task + 1)
        logits = self.logits(places, head, pools, floating)
        labels = torch.from_numpy(self.lessons.data.test.labels[places])
        found: Json = {"samples": [], "class_incremental": [], "task_incremental": []}
        for one in range(task + 1):
            own = self.lessons.classes_of(one)
            mine = (labels >= own.start) & (labels < own.stop)
            right = logits[mine, : sum(self.lessons.sizes[: task + 1])].argmax(1) == labels[mine]
            told = logits[mine][:, own.start : own.stop].argmax(1) + own.start == labels[mine]
            found["samples"].append(int(mine.sum()))
            found["class_incremental"].append(right.double().mean().item())
            found["task_incremental"].append(told.double().mean().item())
        return found | self._drift(task, floating)

    def logits(self, places: np.ndarray, head: nn.Linear, pools: Pools | None, floating: nn.Module | None) -> Tensor:
        """Return the logits (N, classes) of test samples, float32."""
        if floating is not None:
            return _float_logits(
                floating, self.backbone.wiring.head, head, _subset(self.lessons.data.test, places), self.settings
            )
        weight, bias = (part.astype(np.float32) for part in rounded_head(head))
        made = whole_head(self.backbone.folder, self.whole.backbone, weight, bias)
        if self.features is not None:
            return made.cpu()(self.features[torch.from_numpy(places)] / made.summands)
        self.whole.set_head(made)
        self.whole.pools = {} if pools is None else pools.whole()
        return predict(self.whole, _subset(self.lessons.data.test, places), self.settings.batch_size)[0]

    def _drift(self, task: int, floating: nn.Module | None) -> Json:
        if self.settings.method in FROZEN:
            return {}
        if floating is None:
            now = self._queries(self.whole, self.whole.prompting)
        else:
            watched = Prompting(floating, self.backbone.places, self.backbone.wiring.graph.steps)
            now = self._queries(floating, watched)
            watched.detach()
        if task == 0:
            self.first.queries = now
        return {
            "from_first": {name: distance(self.first.queries[name], one) for name, one in now.items()},
            "from_frozen": {name: distance(self.frozen[name], one) for name, one in now.items()},
        }

    @torch.no_grad()
    def _queries(self, model: nn.Module, seen: Prompting) -> dict[str, Tensor]:
        frames = moved(self.probe.__getitems__(range(len(self.probe)))[0], self.device)
        training = model.training
        model.eval()(frames)
        model.train(training)
        return {name: one.detach().double().cpu() for name, one in seen.queries.items()}


def distance(before: Tensor, now: Tensor) -> float:
    """Return the mean cosine distance of rows (n, C), 0 … 2; a row of nothing but zeros is as far as a right angle."""
    return float((1 - F.cosine_similarity(before, now, dim=1)).mean().clamp(min=0.0))


def _subset(frames: Frames, places: np.ndarray) -> Frames:
    return replace(frames, frames=frames.frames[places], labels=frames.labels[places])


def _float_logits(model: nn.Module, path: str, head: nn.Linear, samples: Frames, settings: AdaptSettings) -> Tensor:
    weight, bias = (torch.from_numpy(part.astype(np.float32)) for part in rounded_head(head))
    rounded = nn.Linear(weight.shape[1], weight.shape[0]).to(head.weight.device)
    rounded.load_state_dict({"weight": weight, "bias": bias})
    before = model.get_submodule(path)
    put_module(model, path, rounded)
    try:
        return predict(model, samples, settings.batch_size)[0]
    finally:
        put_module(model, path, before)


@torch.no_grad()
def usage(trial: Trial, head: nn.Linear, pools: Pools) -> list[Json]:
    """Return which slots the test samples of every task used, by attention, and how dense the prompts' spikes are.

    The trial's model is left as it is after the last task.
    """
    sums: dict[str, list[Json]] = {}
    for task in range(len(trial.lessons.sizes)):
        seen: dict[str, list[tuple[np.ndarray, float]]] = {}

        def see(module: str, query: np.ndarray, keys: np.ndarray, values: np.ndarray, seen: Json = seen) -> None:
            used = _used(trial.whole.pools[module], query)
            seen.setdefault(module, []).append((used, float(np.concatenate((keys, values), 1).mean())))

        trial.whole.watch = see
        trial.logits(trial.lessons.members("test", task), head, pools, None)
        trial.whole.watch = None
        for module, batches in seen.items():
            means = np.concatenate([used for used, _ in batches]).mean(0)
            density = float(np.average([one for _, one in batches], weights=[len(used) for used, _ in batches]))
            sums.setdefault(module, []).append({"weights": means.tolist(), "density": density})
    return [
        {
            "module": module,
            "weights": [row["weights"] for row in rows],
            "density": sum(row["density"] for row in rows) / len(rows),
        }
        for module, rows in sums.items()
    ]


def _used(slots: Slots, query: np.ndarray) -> np.ndarray:
    """Return (B, M): the amounts of the slots' weights, or 1 for those that are selected."""
    found = weights(slots, query)
    if slots.top is None:
        return np.abs(found) / 2**WEIGHT_BITS
    chosen = np.argsort(-found, axis=1, kind="stable")[:, : slots.top]
    used = np.zeros(found.shape)
    np.put_along_axis(used, chosen, 1.0, axis=1)
    return used
