"""The arms of each task: one architecture and one recipe, and attention over ``chunk`` steps at once.

A chunk of 1 is spatial attention, Q (Kᵀ V). All arms of a task have the same parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import Order, Split, image_splits, order_splits, row_frames, static_frames
from training import ARCHITECTURE, Recipe

from snnq.models.registry import architecture
from snnq.models.sizes import power_of_two

DRIVE = 32.0  # chunk · tokens · c: the neuron behind attention then fires at 5 to 40 % in every arm
MODEL = {"dim": 32, "depth": 1, "heads": 4, "mlp_ratio": 2.0}


@dataclass(frozen=True)
class Task:
    """A task: its model's sizes, its chunks, the ``primary`` one that is compared with 1, its recipe and samples.

    ``limit`` counts samples of training, validation and test. The primary chunk was named before any test accuracy.
    """

    name: str
    sizes: dict[str, Any]
    chunks: tuple[int, ...]
    primary: int
    recipe: Recipe
    limit: tuple[int, int, int]

    def config(self, chunk: int) -> dict[str, Any]:
        """Return an arm's model config; the attention's scale c is matched to chunk · tokens."""
        sizes = {**MODEL, **self.sizes, "chunk": chunk}
        tokens = architecture(ARCHITECTURE).config(sizes).tokens
        return sizes | {"attention_scale": power_of_two(DRIVE / (chunk * tokens))}

    def splits(self, images: Path | None, seed: int = 0) -> dict[str, Split]:
        """Return the samples of the three splits; ``images`` is Fashion-MNIST's folder, ``seed`` the made events'."""
        if self.name == "temporal-order":
            return order_splits(Order(), self.limit, seed)
        if images is None:
            raise ValueError(f"{self.name} is made of Fashion-MNIST: name its folder")
        return image_splits(images, self.limit, row_frames if self.name == "rows" else static_frames)


_TWICE, _THRICE = (True, True, False, False), (True, True, True, False)
TASKS = {
    task.name: task
    for task in (
        Task(
            "temporal-order",
            {"in_channels": 2, "image_size": (12, 12), "steps": 8, "classes": 6, "pooling": _TWICE},
            chunks=(1, 2, 4, 8),
            primary=8,
            recipe=Recipe(epochs=6),
            limit=(2400, 400, 1500),
        ),
        Task(
            "rows",
            {"in_channels": 1, "image_size": (2, 28), "steps": 28, "classes": 10, "pooling": _TWICE},
            chunks=(1, 4, 7),
            primary=7,
            recipe=Recipe(epochs=6),
            limit=(2000, 400, 1500),
        ),
        Task(
            "static",
            {"in_channels": 1, "image_size": (28, 28), "steps": 4, "classes": 10, "pooling": _THRICE},
            chunks=(1, 4),
            primary=4,
            recipe=Recipe(epochs=6),
            limit=(2000, 400, 1500),
        ),
    )
}
