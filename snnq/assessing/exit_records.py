"""What ``snnq eval --exit-entropy`` says, as plain data: accuracies 0 … 1, losses in nats, energies in pJ."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snnq.base.errors import UsageError, nearest

AUTO = "auto"


@dataclass(frozen=True)
class ExitWords:
    """What was asked for: a ``threshold``, or (None) the one whose ``loss`` of validation accuracy, 0 … 1, is allowed.

    ``samples``: how many of the split have their energy and latency measured; ``cost_table`` and ``weight_reuse`` price
    it, the model's own and the table's where they are None.
    """

    threshold: float | None
    loss: float
    samples: int
    cost_table: str | None = None
    weight_reuse: str | None = None


def exit_words(
    entropy: float | str, loss: float, samples: int, cost_table: str | None = None, weight_reuse: str | None = None
) -> ExitWords:
    """Return what the words of a command mean; ``loss`` in points. Raises UsageError for what they cannot be."""
    try:
        threshold = None if entropy == AUTO else float(entropy)
    except ValueError:
        raise UsageError(
            f"--exit-entropy {entropy}: a number from 0 to 1, or {AUTO}{nearest(str(entropy), [AUTO])}"
        ) from None
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--exit-entropy {entropy}: entropies are normalised, from 0 (sure) to 1")
    if not (math.isfinite(loss) and 0 <= loss <= 100):
        raise UsageError(f"--exit-loss {loss}: points of accuracy, from 0 to 100")
    if samples < 0:
        raise UsageError(f"--exit-samples {samples}: at least 0")
    return ExitWords(threshold, loss / 100, samples, cost_table, weight_reuse)


@dataclass(frozen=True)
class ExitChoice:
    """How a threshold was chosen: on ``samples`` of ``split``, the fewest mean steps whose loss is within ``allowed``.

    ``accuracy`` with exits, ``accuracy_all_steps`` without.
    """

    split: str
    samples: int
    allowed: float
    accuracy: float
    accuracy_all_steps: float
    mean_steps: float


@dataclass(frozen=True)
class ExitPoint:
    """Accuracy and mean steps under a threshold."""

    threshold: float
    mean_steps: float
    accuracy: float


@dataclass(frozen=True)
class ExitCosts:
    """Means per inference of the samples that were measured, which took ``mean_steps``.

    ``events_pj``: the event model's, the head run after every answer, and ``events_compute_pj`` that of it which is no
    memory's: weights that are fetched once an inference cost as much for one step as for all. ``paper_pj``: the
    paper's of a step, times the steps. ``latency_ms``: the integer engine's, a sample alone, step by step until it is
    sure, the least of a few repeats; ``…_all_steps``: the same with all steps; ``latency_ms_whole``: all steps in one
    call. None on torch.
    """

    samples: int
    mean_steps: float
    cost_table: str
    weight_reuse: str
    events_pj: float
    events_pj_all_steps: float
    events_compute_pj: float
    events_compute_pj_all_steps: float
    paper_pj: float
    paper_pj_all_steps: float
    latency_ms: float | None
    latency_ms_all_steps: float | None
    latency_ms_whole: float | None


@dataclass(frozen=True)
class Exits:
    """A split whose samples end when their entropy is below ``threshold``, beside all ``steps``.

    ``answers``: the steps after which there are logits; ``exited``: how many samples ended there; ``fixed``: the
    accuracy if all of them did. ``accuracy_shuffled``: expected if the same steps fell to samples at random. ``choice``
    is None where the threshold was given. ``curve``: other thresholds on the same split, to look at, not to choose by.
    """

    threshold: float
    choice: ExitChoice | None
    split: str
    samples: int
    steps: int
    answers: tuple[int, ...]
    mean_steps: float
    accuracy: float
    loss: float
    accuracy_all_steps: float
    loss_all_steps: float
    accuracy_shuffled: float
    exited: tuple[int, ...]
    fixed: tuple[float, ...]
    curve: tuple[ExitPoint, ...]
    exit_costs: ExitCosts | None
