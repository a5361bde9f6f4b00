"""Cached activations in little memory, without loss: spikes as bits, small whole numbers as bytes, the rest as is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnq.training.transfers import moved


@dataclass(frozen=True)
class Stored:
    """A tensor at rest: ``kind`` bits, bytes or as-is, and its true shape and type."""

    kind: str
    data: Tensor
    shape: torch.Size
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes taken."""
        return self.data.numel() * self.data.element_size()


def store(tensor: Tensor) -> Stored:
    """Return a tensor packed as tightly as its values allow, on the CPU."""
    tensor = tensor.detach().cpu()
    shape, dtype = tensor.shape, tensor.dtype
    small = tensor.to(torch.uint8) if tensor.numel() and tensor.min() >= 0 and tensor.max() <= 255 else None
    if small is None or not torch.equal(small.to(dtype), tensor):
        return Stored("as-is", tensor.clone(), shape, dtype)
    if int(small.max()) <= 1:
        return Stored("bits", torch.from_numpy(np.packbits(small.numpy().reshape(-1))), shape, dtype)
    return Stored("bytes", small, shape, dtype)


def restore(stored: Stored, device: torch.device) -> Tensor:
    """Return the tensor that was stored, on ``device``."""
    data = stored.data
    if stored.kind == "bits":
        data = torch.from_numpy(np.unpackbits(data.numpy(), count=math.prod(stored.shape)))
    return moved(data, device).to(stored.dtype).view(stored.shape)
