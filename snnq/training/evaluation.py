"""Accuracy, logits and BN statistics of a model on a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnq.base.paired import PerSample
from snnq.base.progress import Progress, silent
from snnq.training import processes
from snnq.training.batches import SplitSamples, load, ordered_batches, training_batches
from snnq.training.batchnorm import share_batchnorm
from snnq.training.finite import FiniteWatch, require_finite_model
from snnq.training.transfers import moved

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Score:
    """Share of right answers (0 … 1), mean cross-entropy (nats), how many samples they stand on, and each of these."""

    accuracy: float
    loss: float
    samples: int
    each: PerSample | None = field(default=None, compare=False, repr=False)


@torch.no_grad()
def predict(
    model: nn.Module, samples: SplitSamples, batch_size: int, progress: Progress = silent, stage: str = "evaluating"
) -> tuple[Tensor, Tensor]:
    """Return logits (N, classes) and labels (N,) of the model in evaluation mode.

    The processes take the batches in turns and all get the same result, which does not depend on how many they are.
    Raises NotFiniteError naming the first neurons whose current, or else the logits, are not finite.
    """
    was_training = model.training
    model.eval()
    device = next(iter(model.parameters()), torch.empty(0)).device
    batches = ordered_batches(len(samples), batch_size)
    found, truth = [], []
    with FiniteWatch(model, stage) as watch:
        for frames, labels in load(samples, batches[processes.rank() :: processes.count()]):
            found.append(model(moved(frames, device)).float())
            truth.append(labels)
            watch.note("the logits", found[-1])
            watch.close(f"batch {len(found)}")
            progress(stage, min(len(found) * processes.count(), len(batches)), len(batches))
        watch.check()
    model.train(was_training)
    own = torch.cat(found).cpu().split([len(labels) for labels in truth]) if found else ()
    logits, labels = zip(*processes.gather(list(zip(own, truth, strict=True))), strict=True)
    return torch.cat(logits), torch.cat(labels)


def score(logits: Tensor, labels: Tensor) -> Score:
    """Return accuracy and cross-entropy of logits (N, classes) against labels (N,)."""
    right, losses = logits.argmax(1) == labels, F.cross_entropy(logits.double(), labels, reduction="none")
    each = PerSample.of(right.cpu().numpy(), losses.cpu().numpy())
    mean = F.cross_entropy(logits.double(), labels).item()
    return Score(right.double().mean().item(), mean, len(labels), each)


def top_share(logits: Tensor, labels: Tensor, first: int) -> float | None:
    """Return the share (0 … 1) of samples whose class is among the ``first`` of logits (N, classes), None for no more.

    Of equal logits the one with the smaller index comes first, as for the accuracy, which is that of ``first`` 1.
    """
    if logits.shape[1] <= first:
        return None
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & before)).sum(1)
    return (rank < first).double().mean().item()


def videos_of(samples: object) -> Tensor | None:
    """Return which video each clip of a split is of, int64 (N,); None where samples are no clips."""
    found = getattr(samples, "videos", None)
    return None if found is None else torch.from_numpy(found)


def video_share(logits: Tensor, labels: Tensor, videos: Tensor | None) -> tuple[float, int] | None:
    """Return the share (0 … 1) of videos that are told right, and how many there are; None for what is no clips.

    ``videos`` (N,) says of which video each clip is. The classes' probabilities, softmax(logits), are averaged over a
    video's clips, as torchvision's reference for video classification does.
    """
    if videos is None:
        return None
    _, place, counts = torch.unique(videos, return_inverse=True, return_counts=True)
    summed = torch.zeros(len(counts), logits.shape[1], dtype=torch.float64)
    summed.index_add_(0, place, logits.double().softmax(1))
    truth = torch.zeros(len(counts), dtype=labels.dtype)
    truth[place] = labels
    return (summed.argmax(1) == truth).double().mean().item(), len(counts)


def evaluate(
    model: nn.Module, samples: SplitSamples, batch_size: int, progress: Progress = silent, stage: str = "evaluating"
) -> Score:
    """Return the model's score on a split."""
    return score(*predict(model, samples, batch_size, progress, stage))


@torch.no_grad()
def reestimate_batchnorm(model: nn.Module, samples: SplitSamples, batch_size: int, seed: int) -> None:
    """Replace every BN's running statistics by the plain average over one pass of (training) samples.

    The statistics are those of the global batches, of which every process takes its share. Raises NotFiniteError naming
    the first neurons whose current, or the first norm whose statistic, is not finite.
    """
    share_batchnorm(model)
    norms = [module for module in model.modules() if isinstance(module, NORMS)]
    momenta = [norm.momentum for norm in norms]
    hooks = [norm.register_forward_pre_hook(_plain_average(), prepend=True) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
    was_training = model.training
    model.train()
    for module in model.modules():
        if "Drop" in type(module).__name__:  # torch's, SpikingJelly's and timm's alike: norms see what is packed
            module.eval()
    device = next(model.parameters()).device
    batches = training_batches(len(samples), batch_size, seed, "batchnorm")
    where = "estimating the norms' statistics"
    with FiniteWatch(model, where) as watch:
        for number, (frames, _) in enumerate(load(samples, [processes.shard(batch) for batch in batches]), start=1):
            model(moved(frames, device))
            watch.close(f"batch {number}")
        watch.check()
    require_finite_model(model, where)
    for norm, hook, momentum in zip(norms, hooks, momenta, strict=True):
        hook.remove()
        norm.momentum = momentum
    model.train(was_training)


def _plain_average() -> Callable[[_BatchNorm, object], None]:
    """Return the hook before a BN's calls that weighs call n by 1/n; torch would ask the device for n each time."""
    calls = count(1)

    def weigh(norm: _BatchNorm, given: object) -> None:
        norm.momentum = 1 / next(calls)

    return weigh
