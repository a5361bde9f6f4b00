"""The arms of the experiment on hybrid video models: what each is built of, and from which weights it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnn3d import CNN3D

# One size for all: stages of 8, 16, 32 and 64 channels in either ResNet, one block each.
SIZES = {"dim": 64, "heads": 4, "ann_width": 8, "depth": 10, "blocks": 1, "image_size": "32x32", "steps": 16}
STRIDE = 4
STILL = "still"  # behind an arm's name: its ResNet was trained on still frames before


@dataclass(frozen=True)
class Arm:
    """A model and its beginning.

    ``pretrained``: the ResNet for key frames begins with the weights of one that was trained on single frames.
    """

    name: str
    architecture: str
    pretrained: bool = False

    @classmethod
    def named(cls, text: str) -> Arm:
        """Return the arm of a name such as ``cross`` or ``cross+still``; raises ValueError for another."""
        model, _, start = text.partition("+")
        if model not in MODELS or start not in ("", STILL) or (start and model not in WITH_RESNET):
            both = ", ".join(f"{one}+{STILL}" for one in WITH_RESNET)
            raise ValueError(f"no arm is called {text}: there is {', '.join(MODELS)}, {both}")
        return cls(text, MODELS[model], bool(start))

    @property
    def sizes(self) -> dict[str, Any]:
        """What ``train_float.py`` is told of the model."""
        if self.architecture == CNN3D:
            return {key: SIZES[key] for key in ("image_size", "steps")}
        return SIZES if self.architecture == "respike-dense" else SIZES | {"key_stride": STRIDE}


MODELS = {
    "dense": "respike-dense",
    "residual": "respike-residual",
    "key": "respike-key",
    "concat": "respike-concat",
    "cross": "respike-cross",
    "pooled": "respike-pooled",
    "cnn3d": CNN3D,
}
WITH_RESNET = ("key", "concat", "cross", "pooled")
ARMS = ("dense", "residual", "key", "concat", "cross", "cnn3d", "key+still", "concat+still", "cross+still")
