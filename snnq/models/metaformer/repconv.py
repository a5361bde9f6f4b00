"""RepConv, a convolution trained as several layers in a row, and the one convolution that it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


def at_zero(norm: nn.Module) -> Tensor:
    """Return what a batch normalisation in evaluation mode, or its affine, makes of 0, per channel: β − μγ/√(σ² + ε).

    No gradient goes through a batch normalisation's, as upstream has it.
    """
    if isinstance(offset := getattr(norm, "offset", None), Tensor):  # of an affine, or of whole numbers
        return offset
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.bias.detach() - norm.running_mean * norm.weight.detach() / (norm.running_var + norm.eps).sqrt()


class PaddingNorm(nn.Module):
    """A batch normalisation whose output is padded by one pixel of what it makes of 0: as if its input were by 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H + 2, W + 2) of (B, C, H, W)."""
        y = self.bn(x)
        edge = at_zero(self.bn).to(y).view(1, -1, 1, 1)
        height, width = y.shape[-2:]
        inside = pad(torch.ones(1, 1, height, width, dtype=torch.bool, device=y.device), (1, 1, 1, 1))
        return torch.where(inside, pad(y, (1, 1, 1, 1)), edge)


class RepConv(nn.Module):
    """1×1 convolution → norm, padded by its own zero → depth-wise 3×3 without padding → 1×1 → norm; none has a bias.

    Parameters are named as upstream's. Source: Yao et al. 2024 (arXiv:2404.03663), after RepVGG (Ding et al. 2021).
    """

    def __init__(self, taken: int, given: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(taken, taken, kernel_size=1, bias=False),
            PaddingNorm(taken),
            nn.Sequential(
                nn.Conv2d(taken, taken, kernel_size=3, groups=taken, bias=False),
                nn.Conv2d(taken, given, kernel_size=1, bias=False),
                nn.BatchNorm2d(given),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, given, H, W) of (B, taken, H, W)."""
        return self.body(x)


class PointwisePair(nn.Module):
    """1×1 convolution → norm → 1×1 convolution → norm over tokens (B, C, N), without a neuron: sdt-v3-large's RepConv.

    It only names its parameters, as upstream does: models hold the one convolution that it is.
    """

    def __init__(self, taken: int, middle: int, given: int) -> None:
        super().__init__()
        for name, inputs, outputs in (("conv1", taken, middle), ("conv2", middle, given)):
            layer = nn.Conv1d(inputs, outputs, kernel_size=1, bias=False)
            self.add_module(name, nn.Sequential(layer, nn.BatchNorm1d(outputs)))


def folded(state: dict[str, Tensor], prefix: str, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Return weight (given, taken, 3, 3) and bias (given,) of the convolution, padded by 0, that a ``RepConv`` is.

    ``state`` holds its tensors by name behind ``prefix``. With W₁, d, W₂ the three weights and (g₁, c₁), (g₂, c₂) the
    factors and offsets of its norms, weight = g₂ · Σ_m W₂[o, m] · d[m] · g₁[m] · W₁[m, i] and
    bias = g₂ · Σ_m W₂[o, m] · Σ d[m] · c₁[m] + c₂: exact, since the padding of the norm is what 0 gives. Computed in
    float64, returned in float32.
    """
    first, depthwise, last = (state[f"{prefix}.body.{name}.weight"].double() for name in ("0", "2.0", "2.1"))
    norms = (_affine(state, f"{prefix}.body.{name}", eps) for name in ("1.bn", "2.2"))
    spread = last[:, :, 0, 0, None, None] * depthwise[None, :, 0]  # (given, middle, 3, 3)
    return _joined(first[:, :, 0, 0], spread, *norms)


def folded_pair(state: dict[str, Tensor], prefix: str, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Return weight (given, taken, 1, 1) and bias (given,) of the convolution that a ``PointwisePair`` is, likewise."""
    first, last = (state[f"{prefix}.{name}.0.weight"].double() for name in ("conv1", "conv2"))
    norms = (_affine(state, f"{prefix}.{name}.1", eps) for name in ("conv1", "conv2"))
    return _joined(first[:, :, 0], last[:, :, :, None], *norms)


def _affine(state: dict[str, Tensor], norm: str, eps: float) -> tuple[Tensor, Tensor]:
    weight, bias, mean, variance = (
        state[f"{norm}.{name}"].double() for name in ("weight", "bias", "running_mean", "running_var")
    )
    factor = weight / (variance + eps).sqrt()
    return factor, bias - mean * factor


def _joined(
    first: Tensor, spread: Tensor, norm1: tuple[Tensor, Tensor], norm2: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a matrix (middle, taken), a norm, a convolution (given, middle, h, w) and a norm."""
    (factor1, offset1), (factor2, offset2) = norm1, norm2
    weight = torch.einsum("omhw,m,mi->oihw", spread, factor1, first)
    bias = torch.einsum("omhw,m->o", spread, offset1)
    return (weight * factor2[:, None, None, None]).float(), (bias * factor2 + offset2).float()
