"""What makes a model on noisy arrays better again: norms estimated anew, norms finetuned, operands clipped.

- ``bn-stats``: every layer's sums on a chip get back the mean and the deviation, channel by channel, that they have
  without arrays on calibration samples. That is batch normalisation estimated anew on the chip; no labels are needed.
- ``bn-finetune``: from there, gain and shift of every channel learn from labels of the calibration samples, with the
  chip's noise in the forward pass and the exact products' gradients.
- ``clip`` (ClipFormer, Bhattacharjee et al. 2024, arXiv:2402.02586): whole numbers that attention writes are cut before
  they are sliced, v' = clip(v − round(α · g), 0, ⌊β · v_max⌋), g being what the least conductance is in them. With
  β = ¼ the most significant cell is empty, and its noise, the heaviest, is gone.
- ``percentile``, its control: they are cut at the 99.9th percentile of calibration samples, whatever the noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from snnq.assessing.imc_running import OnChips, shares
from snnq.assessing.on_arrays import Analog, OnChip, SumMoments
from snnq.base.errors import UsageError
from snnq.data.dataset import Frames
from snnq.hardware.crossbars.counting import Operand
from snnq.network.neurons import is_neuron

ALPHAS, BETAS = (0.0, 1.0, 2.0, 4.0), (1.0, 0.75, 0.5, 0.25)
PERCENTILE = 0.999
RATE = 1e-2
BATCH = 16


@torch.no_grad()
def due_moments(one: OnChips, frames: Tensor) -> dict[str, SumMoments]:
    """Return the moments of every layer's sums without arrays, on calibration frames."""
    with one.on(one.quiet) as put:
        for part in put.parts.values():
            part.watch = True
        one.model(frames)
        return {name: part.moments for name, part in put.parts.items() if part.moments is not None}


@torch.no_grad()
def match_moments(one: OnChips, put: OnChip, due: dict[str, SumMoments], frames: Tensor) -> None:
    """Give every layer of a chip the gain and shift with which its sums have their due moments on these frames."""
    for name, part in put.parts.items():
        part.due = due.get(name)
    one.model(frames)
    for part in put.parts.values():
        part.tally = type(part.tally)()


def finetune(one: OnChips, put: OnChip, frames: Frames, chosen: Sequence[int], epochs: int, seed: int) -> None:
    """Let gains and shifts of a chip learn from labels; the model is one in floating point."""
    learned = {name: part for name, part in put.parts.items() if part.gain is not None and part.due is not None}
    starts = {name: _corrections(part) for name, part in learned.items()}
    moves = {name: [torch.zeros_like(one, requires_grad=True) for one in pair] for name, pair in starts.items()}
    neurons = [module for module in one.model.modules() if is_neuron(module)]
    optimizer = torch.optim.Adam([each for pair in moves.values() for each in pair], lr=RATE)
    draw = torch.Generator().manual_seed(seed)
    for module in neurons:
        module.train()  # in evaluation mode spikingjelly's neurons pass no gradient
    try:
        with torch.enable_grad():
            for _ in range(epochs):
                order = torch.randperm(len(chosen), generator=draw).tolist()
                for start in range(0, len(order), BATCH):
                    inputs, labels = frames.__getitems__([chosen[i] for i in order[start : start + BATCH]])
                    _apply(learned, starts, moves)
                    loss = F.cross_entropy(one.model(inputs), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
    finally:
        for module in neurons:
            module.eval()
    with torch.no_grad():
        _apply(learned, starts, moves)
    for part in learned.values():
        part.gain, part.shift = (one.detach() for one in _corrections(part))
        part.tally = type(part.tally)()


def _corrections(part: Analog) -> tuple[Tensor, Tensor]:
    assert part.gain is not None
    assert part.shift is not None
    return part.gain, part.shift


def _apply(
    learned: dict[str, Analog], starts: dict[str, tuple[Tensor, Tensor]], moves: dict[str, list[Tensor]]
) -> None:
    """Set gains and shifts: relative moves of the gain, and of the shift in deviations."""
    for name, part in learned.items():
        assert part.due is not None
        gain, shift = starts[name]
        part.gain = gain * (1 + moves[name][0])
        part.shift = shift + part.due.sd * moves[name][1]


def clippable(one: OnChips) -> list[Operand]:
    """Return attention's operands that are whole numbers; raises UsageError where there are none."""
    found = [operand for group in one.operands.values() for operand in group if operand.bits > 1]
    if not found:
        binary = [operand.name for group in one.operands.values() for operand in group]
        what = f"'{binary[0]}' holds spikes" if binary else "no attention writes cells"
        raise UsageError(
            f"--mitigate clip: {what}, and clipping is for whole numbers. A 1 that lies lower than the largest "
            "conductance has less signal and as much noise for it: 5 to 6 dB less at a quarter",
            "whole numbers are those of Q (KᵀV): SpikingJelly's and ImageNet's Spikformers, STAtten, QKFormer",
        )
    return found


@torch.no_grad()
def choose_clips(one: OnChips, frames: Tensor) -> dict[str, tuple[float, float]]:
    """Choose α and β of every operand that can be clipped, by the best SNR on calibration frames; return them.

    Not to clip at all, α = 0 and β = 1, is the first of what is chosen from, and wins among equals.
    """
    settings, best, clips = one.settings, {}, {}
    alphas = ALPHAS if settings.alpha is None else (settings.alpha,)
    betas = BETAS if settings.beta is None else (settings.beta,)
    for operand in clippable(one):
        tried = {(alpha, beta): _snr(one, operand, alpha, beta, frames) for alpha in alphas for beta in betas}
        best[operand.name] = max(tried, key=lambda pair: tried[pair])
        clips[operand.name] = limits(one, operand, *best[operand.name])
    one.clips = clips
    return best


@torch.no_grad()
def cut_percentile(one: OnChips, frames: Tensor) -> dict[str, tuple[float, float]]:
    """Cut every operand that can be clipped where ``PERCENTILE`` of its values on calibration frames lie below.

    The noise has no say: what this gains, the range was too wide for. Returns α = 0 and the β that comes of it.
    """
    with one.on(one.quiet) as put:
        for operand in clippable(one):
            put.parts[operand.name].watch = True
        one.model(frames)
        values = {name: part.values for name, part in put.parts.items() if part.values is not None}
    highs = {name: int((shares(found) < PERCENTILE).sum()) for name, found in values.items()}
    one.clips = {name: (0, max(1, high)) for name, high in highs.items()}
    return {each.name: (0.0, one.clips[each.name][1] / _largest(one, each)) for each in clippable(one)}


def limits(one: OnChips, operand: Operand, alpha: float, beta: float) -> tuple[int, int]:
    """Return what is taken from an operand's values, round(α · g), and the most that is left, ⌊β · v_max⌋."""
    largest = _largest(one, operand)
    return round(alpha * one.chip(0).dynamic.zero(largest)), max(1, int(beta * largest))


def _largest(one: OnChips, operand: Operand) -> int:
    product = next(each for each in one.products if operand in one.operands.get(each.name, ()))
    return product.operand_largest if product.order == "keys" else 1


def _snr(one: OnChips, operand: Operand, alpha: float, beta: float, frames: Tensor) -> float:
    """Return the SNR of an attention's output in dB where its operand is clipped so, alone on arrays with noise."""
    one.clips = {operand.name: limits(one, operand, alpha, beta)}
    try:
        with one.on(one.chip(-1)) as put:
            for name, part in put.parts.items():
                part.active = part.compare = name == operand.name
            one.model(frames)
            found = put.parts[operand.name].tally
    finally:
        one.clips = {}
    return float("inf") if found.snr_db is None and found.signal else (found.snr_db or float("-inf"))
