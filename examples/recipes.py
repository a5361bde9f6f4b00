"""Recipes to train float spiking transformers, as their authors published them; ``train_float.py`` takes them by name.

Upstream trains on events with 16-bit floats, as ``--precision 16-mixed`` does. What a recipe lacks stands in its
``source``: RandAugment and random erasing are made for images.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from snnq.base.errors import UsageError, nearest
from snnq.training.augmentation import changes_text, parse_changes


@dataclass(frozen=True)
class Recipe:
    """How to train with AdamW. ``source``: where the values stand, and what of it is left out.

    The rate rises from ``start_rate`` to ``rate`` during the share ``warmup`` of the ``epochs``, falls as a cosine to
    ``floor_rate`` and stays there during the share ``cooldown``; it moves at every step (upstream's once an epoch, with
    a cosine counted from epoch 0). ``batch_size`` counts the samples of all processes. ``augment``: see
    ``snnq.training.augmentation``. ``decay_all``: weight decay of biases and norms too. ``sizes``: those that are not
    the architecture's published ones. ``tet``: λ of a loss on every step's logits, None for cross-entropy of the mean.
    Raises ``UsageError`` for values that cannot be.
    """

    source: str
    architecture: str
    epochs: int
    warmup: float
    cooldown: float
    batch_size: int
    rate: float
    start_rate: float
    floor_rate: float
    augment: str
    weight_decay: float = 0.06
    decay_all: bool = False
    label_smoothing: float = 0.1
    tet: float | None = None
    sizes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", changes_text(parse_changes(self.augment)))
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(f"--epochs {self.epochs}, --batch-size {self.batch_size}: at least 1 and 2 are needed")
        if not (self.warmup >= 0 and self.cooldown >= 0 and self.warmup + self.cooldown < 1):
            told = f"--warmup {self.warmup:g}, --cooldown {self.cooldown:g}"
            raise UsageError(f"{told}: they must be shares of the epochs, less than 1 together")
        if self.tet is not None and not 0 <= self.tet < 1:
            raise UsageError(f"--tet is {self.tet:g}, it must lie between 0 and 1")
        for name in ("rate", "start_rate", "floor_rate", "weight_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}, it must lie between 0 and 1")


_DIGITS = {"image_size": [16, 16], "dim": 64, "depth": 2, "heads": 4, "steps": 4, "pooling": [False, False, True, True]}
_EVENTS = "flip,snn-wide,mixup:until="
_IMAGES = "flip,mixup:probability=1:until="
_CIFAR10DVS = Recipe(
    "ZK-Zhou/spikformer, cifar10dvs/train.py",
    "spikformer-cifar10dvs", 106, 10 / 106, 10 / 106, 16, 1e-3, 1e-5, 1e-5, _EVENTS + str(75 / 106),
)  # fmt: skip
_CIFAR10 = Recipe(
    "ZK-Zhou/spikformer, cifar10/cifar10.yml, without RandAugment and random erasing",
    "spikformer-cifar10", 310, 20 / 310, 10 / 310, 128, 5e-4, 1e-5, 1e-5, _IMAGES + str(200 / 310),
)  # fmt: skip
_CIFAR10_LONG = {"epochs": 410, "warmup": 20 / 410, "cooldown": 10 / 410, "augment": _IMAGES + str(200 / 410)}
_SDT_DVS = Recipe(
    "BICLab/Spike-Driven-Transformer, conf/cifar10-dvs/2_256_200E_t10_TET.yml",
    "sdt-dvs", 210, 10 / 210, 10 / 210, 32, 7.5e-3, 1e-3, 3e-4, "", weight_decay=1e-4, tet=1e-3,
)  # fmt: skip
RECIPES = {
    "digits": Recipe(
        "ours: that of the checkpoint inside the package",
        "spikformer-cifar10dvs", 100, 0.1, 0.0, 32, 4e-3, 4e-4, 4e-5, "shift,thin", decay_all=True, sizes=_DIGITS,
    ),
    "cifar10dvs": _CIFAR10DVS,
    "dvs128": replace(
        _CIFAR10DVS, source="zhouchenlin2096/Spikingformer, dvs128-gesture/train.py",
        epochs=202, warmup=10 / 202, cooldown=10 / 202, augment=_EVENTS + str(75 / 202),
    ),
    "spikingformer-dvs": replace(
        _CIFAR10DVS, source="zhouchenlin2096/Spikingformer, cifar10-dvs/train.py", architecture="spikingformer-dvs",
    ),
    "qkformer-dvs": replace(
        _CIFAR10DVS, source="zhouchenlin2096/QKFormer, cifar10-dvs/train.py", architecture="qkformer-dvs", rate=5e-3,
    ),
    "maxformer-event": replace(
        _CIFAR10DVS, source="bic-L/MaxFormer, event/cifar10dvs.yaml, without cutmix", architecture="maxformer-event",
        rate=5e-3,
    ),
    "cifar10": _CIFAR10,
    "spikingformer-cifar10": replace(
        _CIFAR10, source="zhouchenlin2096/Spikingformer, cifar10/cifar10.yml, without RandAugment and random erasing",
        architecture="spikingformer-cifar10", batch_size=64, **_CIFAR10_LONG,
    ),
    "qkformer-cifar10": replace(
        _CIFAR10, source="zhouchenlin2096/QKFormer, cifar10/cifar10.yml, without RandAugment and random erasing",
        architecture="qkformer-cifar10", batch_size=64, rate=1e-3, **_CIFAR10_LONG,
    ),
    "maxformer-cifar10": replace(
        _CIFAR10, source="bic-L/MaxFormer, cifar10-100/cifar10.yaml, without cutmix, RandAugment and random erasing",
        architecture="maxformer-cifar10", rate=1.5e-3, start_rate=8e-5, **_CIFAR10_LONG,
    ),
    "sdt-static": Recipe(
        "BICLab/Spike-Driven-Transformer, conf/cifar10/2_512_300E_t4.yml, without RandAugment",
        "sdt-static", 310, 20 / 310, 10 / 310, 64, 3e-4, 1e-6, 1e-5, _IMAGES + str(200 / 310),
    ),
    "sdt-dvs": _SDT_DVS,
    "statten-static": Recipe(
        "Intelligent-Computing-Lab-Yale/STAtten, conf/cifar10/2_512_200E_t4.yml, without RandAugment",
        "statten-static", 210, 20 / 210, 10 / 210, 64, 3e-4, 1e-6, 1e-5, _IMAGES + str(200 / 210),
    ),
    "statten-dvs": replace(
        _SDT_DVS, source="Intelligent-Computing-Lab-Yale/STAtten, conf/cifar10-dvs/2_256_200E_t16_TET.yml",
        architecture="statten-dvs", batch_size=16, rate=0.01,
    ),
    "respike": Recipe(
        "GinnyXiao/ReSpike, README.md and train_fusion.py, with AdamW for SGD, and without random resized crops",
        "respike-cross", 100, 0.0, 0.0, 32, 1e-4, 1e-4, 0.0, "flip", weight_decay=1e-4, decay_all=True,
        label_smoothing=0.0,
    ),
}  # fmt: skip


def resolve(name: str, given: dict[str, Any]) -> Recipe:
    """Return the recipe called ``name`` with those values that are given (not None)."""
    if name not in RECIPES:
        raise UsageError(f"--recipe: found '{name}', allowed are {', '.join(RECIPES)}{nearest(name, RECIPES)}")
    return replace(RECIPES[name], **{key: value for key, value in given.items() if value is not None})
