"""Batch normalisation over the global batch, whatever the number of processes and the device.

torch's own SyncBatchNorm refuses the CPU. Every process holds as many samples of a global batch, so with m_r and v_r
the mean and (biased) variance of process r, over samples and positions:

    μ = mean_r m_r        σ² = mean_r (v_r + (m_r − μ)²)        y = γ · x̂ + β,   x̂ = (x − μ)/√(σ² + ε)
    ∂x = γ/√(σ² + ε) · (∂y − mean(∂y) − x̂ · mean(∂y · x̂)),   means over the global batch
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm

from snnq.base.errors import UsageError
from snnq.training import processes


def share_batchnorm(model: nn.Module) -> nn.Module:
    """Let every BN of ``model`` use the global batch's statistics in training mode; changes and returns ``model``.

    Names and state stay as they are. With one process nothing is changed. Raises ``UsageError`` for a BN of a class
    that is not torch's own, where there are several processes.
    """
    if processes.count() > 1:
        for module in model.modules():
            if type(module) in _SHARED:
                module.__class__ = _SHARED[type(module)]
            elif isinstance(module, _BatchNorm) and type(module) not in _SHARED.values():
                raise UsageError(
                    f"{type(module).__qualname__}: its statistics are not shared between processes",
                    "run it on one device: --devices 1",
                )
    return model


def _forward(self: _BatchNorm, input: Tensor) -> Tensor:
    """Return the normalised (B, C, …); in training, move the running statistics as one process with all of it would."""
    if not self.training:
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
    y, mean, variance = _Normalize.apply(input, self.weight, self.bias, self.eps)  # pyright: ignore
    samples = processes.count() * input.numel() // input.shape[1]
    with torch.no_grad():
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked += 1
        pace = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, pace)
        self.running_var.lerp_(variance * (samples / (samples - 1)), pace)
    return y


class _Shared1d(nn.BatchNorm1d):
    forward = _forward


class _Shared2d(nn.BatchNorm2d):
    forward = _forward


_SHARED: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: _Shared1d, nn.BatchNorm2d: _Shared2d}


class _Context(FunctionCtx):
    """What torch hands from forward to backward."""

    axes: list[int]
    shape: list[int]
    saved_tensors: tuple[Tensor, ...]


class _Normalize(torch.autograd.Function):
    """y, μ, σ² of (B, C, …); one message forward and one backward."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        ctx.axes = [axis for axis in range(x.ndim) if axis != 1]
        ctx.shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        # In float64, as torch's CPU kernel sums: a spike near its threshold must not depend on the processes.
        variances, means = torch.var_mean(x.double(), ctx.axes, correction=0)
        means, variances = processes.stack(torch.stack([means, variances])).unbind(1)  # each (processes, C)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        scale = (variance + eps).rsqrt()
        mean, variance, scale = (one.to(weight.dtype) for one in (mean, variance, scale))
        ctx.save_for_backward(x, weight, mean, scale)
        # γ · (x − μ) · scale + β by torch's own kernel, which so rounds as it does in one process.
        y = F.batch_norm(x, mean, torch.ones_like(mean), weight * scale, bias, eps=0.0)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        x, weight, mean, scale = ctx.saved_tensors
        to_y, standard = _wide(gradients[0]), _standard(x, mean.view(ctx.shape), scale.view(ctx.shape))
        to_bias, to_weight = to_y.sum(ctx.axes), (to_y * standard).sum(ctx.axes)
        samples = x.numel() // x.shape[1]
        along = processes.mean(torch.stack([to_bias, to_weight])) / samples
        first, second = (one.view(ctx.shape) for one in along)
        to_x = (weight * scale).view(ctx.shape) * (to_y - first - standard * second)
        return to_x.to(x.dtype), to_weight, to_bias, None


def _standard(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return x̂, float32 or wider; the backward pass computes it again, since keeping it takes as much memory as x."""
    return (_wide(x) - mean) * scale


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
