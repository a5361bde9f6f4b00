"""Weight distributions before and after: what the report draws."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BINS = 61


def weight_record(before: Tensor, after: Tensor) -> dict[str, Any]:
    """Return histograms of a layer's float and final weights over the same bins, and the share of exact zeros.

    ``low`` and ``high`` are the outer edges of ``BINS`` equal bins; ``before`` and ``after`` are counts.
    """
    values = torch.stack([before.detach().flatten().double(), after.detach().flatten().double()])
    reach = max(float(values.abs().max()), 1e-12)
    counts = [torch.histc(row, BINS, -reach, reach).to(torch.int64).tolist() for row in values]
    zeros = (values == 0).double().mean(1).tolist()
    return {
        "low": -reach,
        "high": reach,
        "before": counts[0],
        "after": counts[1],
        "zeros_before": zeros[0],
        "zeros_after": zeros[1],
    }
