"""What the batch norms of a float model are given, step by step, and how far that is from what they were trained on.

The distance of a norm, of C channels with stored means m and variances v, from inputs of means μ and variances s,

    D = 1/C Σ_c ((μ_c − m_c)² + (√s_c − √v_c)²) / v_c

is the squared Wasserstein distance of two Gaussians (W₂²) in units of the stored variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.training.evaluation import NORMS


def norms_of(model: nn.Module, path: str) -> Mapping[str, nn.Module]:
    """Return a model's batch norms with stored statistics, by path; raises UsageError where it has none."""
    found = {
        name: one
        for name, one in model.named_modules()
        if isinstance(one, NORMS) and one.running_mean is not None and one.running_var is not None
    }
    if not found:
        raise UsageError(
            f"{path}: the model has no batch norms, whose statistics this goes by",
            "leave out --filter bn, --generator inversion, and --few-shot of glyphs",
        )
    return found


class Seen:
    """The inputs of norms in one run of a model, by path."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.inputs: dict[str, Tensor] = {}

    def note(self, name: str, norm: nn.Module, given: Tensor) -> None:
        """Take what a norm is given: (T·B, C, …), or (T, B, C, …) where it runs over all steps itself."""
        one_step = 4 if isinstance(norm, nn.BatchNorm2d) else 3
        if name in self.inputs or (given.ndim <= one_step and given.shape[0] % self.steps):
            raise UsageError(f"norm '{name}' does not see all steps of a batch at once: its statistics are not known")
        self.inputs[name] = given if given.ndim > one_step else given.unflatten(0, (self.steps, -1))

    def take(self, samples: int) -> dict[str, Tensor]:
        """Return (T, B, C, …) by path, and forget it; raises UsageError unless B is the number of ``samples``."""
        found, self.inputs = self.inputs, {}
        for name, one in found.items():
            if one.shape[1] != samples:
                raise UsageError(
                    f"norm '{name}' sees {one.shape[1]} samples of {samples}: its statistics are not known"
                )
        return found


@contextmanager
def norm_inputs(norms: Mapping[str, nn.Module], steps: int) -> Iterator[Seen]:
    """Give what norms see while a model runs: ``take`` it after every run. Gradients flow."""
    seen = Seen(steps)

    def note(name: str, norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.note(name, norm, given[0])

    hooks = [one.register_forward_pre_hook(partial(note, name)) for name, one in norms.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def stored(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a norm's stored means and variances (C,), float64; a variance is at least the norm's ε."""
    mean, var = norm.get_buffer("running_mean").double(), norm.get_buffer("running_var").double()
    return mean, var.clamp_min(float(norm.eps))  # pyright: ignore[reportArgumentType]


def wasserstein(mean: Tensor, variance: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    """Return D (…) of means and variances (…, C) from a norm's ``stored`` ones."""
    due, spread = norm
    # The root has no gradient at zero, where numbers do not vary.
    own = torch.where(variance > 1e-12, variance.clamp_min(1e-12).sqrt(), 0)
    gap = (mean - due).square() + (own - spread.sqrt()).square()
    return (gap / spread).mean(-1)
