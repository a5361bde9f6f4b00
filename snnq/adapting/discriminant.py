"""A head without gradients: linear discriminant analysis, from sums that tasks add to one after the other.

With the mean μ_c of each class and one covariance Σ within all classes (features of the frozen folder, d of them):

    w_c = Σ_ε⁻¹ μ_c,   b_c = −½ μ_cᵀ w_c,   Σ_ε = (1 − ε) Σ + ε · (tr Σ / d) · I

Sums, counts and products of features are all that is kept of a task, so that nothing is forgotten but through Σ, and
the order of tasks does not matter. Source: Hayes & Kanan 2020 (arXiv:1909.01520); ε against the trace: ours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from snnq.adapting.learning import Learning
from snnq.base.strict_json import Json

SHRINKAGE = 1e-2
_LEAST = 1e-6  # of the features' own square, below which their covariance is rounding
# Of a head in float16: half of what that holds.
_LARGEST = 2.0**15


class Sums:
    """What is kept of the samples so far: counts (classes,), sums (classes, d) and Σ x xᵀ (d, d), float64."""

    def __init__(self, classes: int, features: int) -> None:
        self.counts = np.zeros(classes)
        self.sums, self.products = np.zeros((classes, features)), np.zeros((features, features))

    def add(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Take samples: features (n, d) and labels (n,)."""
        x = features.astype(np.float64)
        np.add.at(self.sums, labels, x)
        self.counts += np.bincount(labels, minlength=len(self.counts))
        self.products += x.T @ x

    def head(self, shrinkage: float = SHRINKAGE) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (classes, d) and bias (classes,); zeros for classes without samples."""
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        within = self.products - (means * self.counts[:, None]).T @ means
        covariance = within / max(self.counts.sum(), 1)
        size = len(covariance)
        # One sample a class has no covariance: what is left of it then is the nearest mean.
        least = _LEAST * float(np.trace(self.products)) / max(self.counts.sum(), 1) / size
        scale = max(float(np.trace(covariance)) / size, least) or 1.0
        weight = np.linalg.solve((1 - shrinkage) * covariance + shrinkage * scale * np.eye(size), means.T).T
        bias = -0.5 * (means * weight).sum(1)
        largest = max(float(np.abs(weight).max()), float(np.abs(bias).max()))
        # One factor for all logits: the class that is chosen stays.
        factor = min(1.0, _LARGEST / largest) if largest else 1.0
        return weight * factor, bias * factor


def solve_tasks(learning: Learning) -> list[Json]:
    """Add task after task; return what is known after each. The learning's head is the last one."""
    lessons, features = learning.lessons, learning.known.features
    assert features is not None
    found = Sums(len(lessons.data.classes), features.shape[1])
    rows = []
    for task in range(len(lessons.sizes)):
        places = lessons.members("train", task)
        found.add(features[torch.from_numpy(places)].numpy(), lessons.data.train.labels[places])
        _put(learning.head, *found.head())
        rows.append(learning.trial.after(task, learning.head, None, None))
    return rows


@torch.no_grad()
def _put(head: nn.Linear, weight: np.ndarray, bias: np.ndarray) -> None:
    for part, values in ((head.weight, weight), (head.bias, bias)):
        made: Tensor = torch.from_numpy(values.astype(np.float32))
        part.copy_(made)
