"""Between host and device: batches go there without waiting, numbers come back together, where they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on ``device``; on CUDA the copy runs beside what the host does next."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def has_float64(device: torch.device) -> bool:
    """Return whether a device is known to have float64: Apple's MPS has not."""
    return device.type in ("cpu", "cuda")


def fetched(values: Sequence[float | Tensor]) -> list[float]:
    """Return numbers, some of them scalars on a device: the host waits for that device once, whatever their number."""
    scalars = [value.detach() for value in values if isinstance(value, Tensor)]
    there = iter(torch.stack(scalars).tolist() if scalars else ())
    return [next(there) if isinstance(value, Tensor) else value for value in values]
