"""Which of several architectures with the same names a file holds: its shapes and its training script's settings say.

A variant is a function of (the architecture whose names these are, shapes by our names, settings).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Settings = Mapping[str, Any]
Variant = Callable[[str, Mapping[str, tuple[int, ...]], Settings], str]


def itself(name: str, shapes: Mapping[str, tuple[int, ...]], settings: Settings) -> str:
    """Return the architecture whose names these are: no other shares them."""
    return name


def sdt_variant(name: str, shapes: Mapping[str, tuple[int, ...]], settings: Settings) -> str:
    """Return which Spike-Driven Transformer or STAtten it is.

    The Spike-Driven Transformer for images and for events and both forms of STAtten share all names: the settings tell
    them apart or, without them, the number of input channels; images have three.
    """
    dvs = settings.get("dvs_mode", shapes["patch_embed.proj_conv.weight"][1] != 3)
    # Not attention_mode: STAtten's script has that setting and never passes it on.
    attention = "statten" if "chunk_size" in settings else "sdt"
    return f"{attention}-{'dvs' if dvs else 'static'}"


def spikingformer_variant(name: str, shapes: Mapping[str, tuple[int, ...]], settings: Settings) -> str:
    """Return whether it is the Spikingformer for events or for ImageNet, which share all names.

    Images have three channels; ``connect_f`` is a setting of the scripts for event data alone.
    """
    events = "connect_f" in settings or shapes["patch_embed.proj_conv.weight"][1] != 3
    return "spikingformer-dvs" if events else "spikingformer-imagenet"


# What upstream's code writes out, so that no script chooses it: those for CIFAR and ImageNet have a setting of the
# number of steps that never reaches the model.
_WRITTEN_OUT: Mapping[str, Mapping[str, Any]] = {
    "spikingformer-dvs": {"heads": 16, "image_size": (128, 128)},
    "spikingformer-cifar10": {"steps": 4},
    "spikingformer-imagenet": {"steps": 4},
}


# SpikingJelly's three constructors, by width and depth.
_SPIKINGJELLYS: Mapping[tuple[int, int], Mapping[str, Any]] = {
    (256, 4): {"heads": 8, "pooling": (True, True, True, True)},
    (384, 4): {"heads": 12, "pooling": (False, False, True, True), "image_size": (32, 32)},
    (384, 6): {"heads": 12, "pooling": (True, True, True, True)},
}


def written_out(name: str, shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the sizes that upstream's code writes out, of an architecture and the sizes that shapes show.

    What training scripts record of them does not count.
    """
    if name == "spikformer-spikingjelly":
        return _SPIKINGJELLYS.get((shown["dim"], shown["depth"]), {})
    return _WRITTEN_OUT.get(name, {})


def neuron_of(name: str, names: Mapping[str, Any]) -> dict[str, str]:
    """Return the setting of an architecture whose neurons may learn their leak, where a file holds such leaks."""
    learned = name.startswith("sdt") and any(key.endswith("_lif.w") for key in names)
    return {"neuron": "plif"} if learned else {}


def other_settings(name: str, names: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the fields of a config that only some architectures have."""
    found: dict[str, Any] = dict(neuron_of("sdt" if name.startswith("statten") else name, names))
    chunk = settings.get("chunk_size")
    if name.startswith("statten") and isinstance(chunk, int):
        found["chunk"] = chunk
    return found
