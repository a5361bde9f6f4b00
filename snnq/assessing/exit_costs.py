"""What exits save on some samples: energy by both models, and the integer engine's latency, one sample at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from snnq.assessing.exit_records import ExitCosts, ExitWords
from snnq.assessing.measure import measure_samples, priced, spread
from snnq.assessing.subject import Subject
from snnq.base.errors import VerificationError
from snnq.base.progress import Progress
from snnq.cost.energy import layer_energy
from snnq.cost.events import event_energy
from snnq.data import DataSet
from snnq.models.registry import attention_table
from snnq.network.layers import forward_macs
from snnq.packed.input import engine_frames
from snnq.packed.loading import take_steps
from snnq.runtime.exits import run_until_sure
from snnq.training.devices import Compute, placed, start_fabric
from snnq.training.threads import use_threads

REPEATS = 5
# Threshold, steps that each sample of the split took (N,), and the steps after which there are logits.
Ended = tuple[float, np.ndarray, Sequence[int]]


def exit_costs(
    subject: Subject,
    data: DataSet,
    split: str,
    ended: Ended,
    words: ExitWords,
    engine: str,
    compute: Compute,
    progress: Progress,
) -> ExitCosts:
    """Return the costs of so many samples, spread evenly over a split, until they ended and with all steps."""
    chosen = np.array(spread(data, split, words.samples))
    taken, steps = ended[1][chosen], data.frames_shape[0]
    paper, energy_of, table, reuse = _energies(subject, data, split, ended[2], words, compute, progress)
    parts = [energy_of(chosen[taken == some], int(some)) for some in np.unique(taken)]
    ended_pj = np.sum(parts, 0) / len(chosen)
    whole_pj = energy_of(chosen, steps, answers=1) / len(chosen)
    latency = _latencies(subject, data, split, ended, chosen, compute) if engine == "integer" else (None, None, None)
    return ExitCosts(
        samples=len(chosen),
        mean_steps=float(taken.mean()),
        cost_table=table,
        weight_reuse=reuse,
        events_pj=float(ended_pj[0]),
        events_pj_all_steps=float(whole_pj[0]),
        events_compute_pj=float(ended_pj[1]),
        events_compute_pj_all_steps=float(whole_pj[1]),
        paper_pj=paper * float(taken.mean()),
        paper_pj_all_steps=paper * steps,
        latency_ms=latency[0],
        latency_ms_all_steps=latency[1],
        latency_ms_whole=latency[2],
    )


def _energies(
    subject: Subject,
    data: DataSet,
    split: str,
    after: Sequence[int],
    words: ExitWords,
    compute: Compute,
    progress: Progress,
) -> tuple[float, Callable[..., np.ndarray], str, str]:
    """Return the paper's energy of a step, what measures events' (all, and compute), in pJ, the table and its reuse."""
    model = subject.model()
    layers = subject.layers(model, data)
    products = attention_table(subject.architecture, subject.config)
    schemes, table = priced(subject, layers, words.cost_table)
    use_threads(compute, forward_macs(layers, data.frames_shape[0], 1))
    model, frames = placed(model, start_fabric(compute).device), getattr(data, split)
    reuse = words.weight_reuse or table.events.weight_reuse

    def energy_of(chosen: np.ndarray, steps: int, answers: int | None = None) -> np.ndarray:
        """Return pJ, all and compute, of samples together for so many steps; the head runs after every answer."""
        take_steps(model, steps)
        first = replace(frames, frames=frames.frames[:, :steps])
        where, fewer = (data.spec, split), [replace(one, steps=steps) for one in products]
        activity = measure_samples(model, layers, fewer, first, chosen.tolist(), where, progress)
        found = event_energy(layers, schemes, activity, fewer, table, reuse)
        again = (sum(one <= steps for one in after) if answers is None else answers) - 1
        heads = [one for one in found.layers if one.group == "head"]
        more = sum(one.compute_pj if reuse == "inference" else one.energy_pj for one in heads)
        compute_pj = found.total.compute_pj + again * sum(one.compute_pj for one in heads)
        return len(chosen) * np.array([found.total.energy_pj + again * more, compute_pj])

    return sum(layer_energy(one, schemes[one.name], table).total_pj for one in layers), energy_of, table.name, reuse


def _latencies(
    subject: Subject, data: DataSet, split: str, ended: Ended, chosen: np.ndarray, compute: Compute
) -> tuple[float, float, float]:
    """Return mean ms of a sample alone: until it is sure, with all steps one by one, and with all steps in one call.

    Raises VerificationError where a sample, alone, ends at another step than it did in its batch.
    """
    from snnq.runtime.engine import Engine

    runner, frames, (threshold, taken, _) = Engine(subject.path, compute.threads), getattr(data, split), ended
    ways = (
        lambda one: run_until_sure(runner.stream(), one, threshold)[1],
        lambda one: run_until_sure(runner.stream(), one, 0.0)[1],
        lambda one: runner(one)[:, 0],
    )
    best = np.full((3, len(chosen)), np.inf)
    for repeat in range(REPEATS + 1):  # the first one warms up
        for place, index in enumerate(chosen):
            one = engine_frames(frames, [index], runner.pixels)
            for way, run in enumerate(ways):
                begun = time.perf_counter()
                steps = run(one)
                took = time.perf_counter() - begun
                if way == 0 and int(steps[0]) != taken[index]:
                    raise VerificationError(
                        f"sample {index} ends after {steps[0]} steps, in its batch after {taken[index]}"
                    )
                if repeat:
                    best[way, place] = min(best[way, place], took)
    runner.workers.close()
    first, second, third = (float(one) for one in 1000 * best.mean(1))
    return first, second, third
