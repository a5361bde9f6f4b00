"""What upstream's code says of an architecture, so that neither a file's keys nor its user have to.

Which of several architectures with the same names a file can be, and which sizes upstream writes out. Read in the code
of ZK-Zhou/spikformer, BICLab/Spike-Driven-Transformer, Intelligent-Computing-Lab-Yale/STAtten,
zhouchenlin2096/Spikingformer, zhouchenlin2096/QKFormer, bic-L/MaxFormer and SpikingJelly 2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from snnq.models.registry import architecture

Settings = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
# What a file may not say, in the order it is asked for.
ASKED = {
    "steps": "time steps",
    "heads": "attention heads",
    "image_size": "image size",
    "pooling": "pooling",
    "chunk": "time steps that attention mixes at once",
}


@dataclass(frozen=True)
class Variants:
    """The architectures a file can be by its keys and settings, and those of them that upstream's scripts make so.

    Where ``usual`` are several, the file cannot tell, and its user must.
    """

    possible: tuple[str, ...]
    usual: tuple[str, ...]


Variant = Callable[[Shapes, Settings], Variants]


def sdt_variants(shapes: Shapes, settings: Settings) -> Variants:
    """Return which Spike-Driven Transformers or STAttens a file can be; all share all names.

    STAtten's script records ``chunk_size``, the other one does not. Both choose the variant for events by the name of
    the data, and record it as ``dvs_mode``: that of the Spike-Driven Transformer trains DVS128 Gesture without it, so
    two channels tell nothing; three do, since all sets of images are trained without it. Learned leaks everywhere are
    those of the Spike-Driven Transformer, whose attention has two neurons, one of them idle; in STAtten's code only
    MLPs and head learn theirs.
    """
    attentions, usual = _attentions(shapes, settings)
    data = ("static", "dvs")
    if "dvs_mode" in settings:
        data = ("dvs",) if settings["dvs_mode"] else ("static",)
    possible = tuple(f"{one}-{kind}" for one in attentions for kind in data)
    if _channels(shapes) == 3 and "static" in data:
        data = ("static",)
    return Variants(possible, tuple(f"{one}-{kind}" for one in usual for kind in data))


def _attentions(shapes: Shapes, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the attentions that are possible and those that are usual."""
    neuron = neuron_of("sdt-static", shapes).get("neuron")
    if "chunk_size" in settings and settings.get("attention_mode") != "SDT":  # its script does not pass that on
        return ("statten",), ("statten",)
    if "chunk_size" not in settings and any(name in settings for name in ("pooling_stat", "spike_mode", "dvs_mode")):
        return ("sdt",), ("sdt",)
    both = ("sdt", "statten")
    if neuron == "plif":
        held = tuple(one for one in both if any(name.endswith(_NEURON[one]) for name in shapes)) or both
        return held, held[:1]
    return both, ("statten",) if neuron else both


_NEURON = {"sdt": ".talking_heads_lif.w", "statten": ".attn.attn_lif.w"}


def spikingformer_variants(shapes: Shapes, settings: Settings) -> Variants:
    """Return whether a file is the Spikingformer for events or for ImageNet, which share all names.

    Upstream writes out two channels for events and three for images; ``connect_f`` is a setting of the scripts for
    events alone.
    """
    both = ("spikingformer-dvs", "spikingformer-imagenet")
    if "connect_f" in settings:
        return Variants(both[:1], both[:1])
    return Variants(both, {2: both[:1], 3: both[1:]}.get(_channels(shapes), both))


def _channels(shapes: Shapes) -> int:
    """Return the input channels: the second size of the first convolution, 0 where it has none."""
    return (*shapes.get("patch_embed.proj_conv.weight", ()), 0, 0)[1]


def neuron_of(name: str, names: Iterable[str]) -> dict[str, str]:
    """Return the setting of an architecture whose neurons may learn their leak, where a file holds such leaks."""
    if name.endswith("-spikingjelly") or not hasattr(architecture(name).config({}), "neuron"):
        return {}
    leaks = [key for key in names if key.endswith("_lif.w")]
    late = all(".mlp." in key or key == "head_lif.w" for key in leaks)
    return {"neuron": "plif-mlp" if late else "plif"} if leaks else {}


@dataclass(frozen=True)
class WrittenOut:
    """What upstream's code writes out of an architecture's sizes, so that no script chooses it.

    ``always``: its class has the published value, whatever its other sizes. ``beside``: what the line has that makes a
    model of this (dim, depth). Steps, heads and pooling that a script records in spite of it never reach the model;
    the image size that it records is that of its data.
    """

    always: tuple[str, ...] = ()
    beside: Mapping[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)


_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)
_SCALE = "attention_scale"
WRITTEN_OUT: Mapping[str, WrittenOut] = {
    "spikformer-cifar10dvs": WrittenOut(("pooling", _SCALE), {(256, 2): {"heads": 16}}),
    "spikformer-cifar10": WrittenOut(("pooling", _SCALE)),
    "spikformer-imagenet": WrittenOut(("pooling", "steps", _SCALE), {(512, 8): {"heads": 8, "image_size": (224, 224)}}),
    "spikformer-spikingjelly": WrittenOut(
        (_SCALE,),
        {
            (256, 4): {"heads": 8, "pooling": _ALL},
            (384, 4): {"heads": 12, "pooling": _LAST_TWO, "image_size": (32, 32)},
            (384, 6): {"heads": 12, "pooling": _ALL},
        },
    ),
    "statten-static": WrittenOut((_SCALE,)),
    "statten-dvs": WrittenOut((_SCALE,)),
    "sdt-spikingjelly": WrittenOut((), {(384, 8): {"heads": 8, "pooling": _ALL}}),
    "maxformer-spikingjelly": WrittenOut(("heads",)),
    "spikingformer-dvs": WrittenOut(("pooling", "image_size"), {(256, 2): {"heads": 16}}),
    "spikingformer-cifar10": WrittenOut(("pooling", "steps")),
    "spikingformer-imagenet": WrittenOut(("pooling", "steps")),
    "qkformer-dvs": WrittenOut(("heads", "image_size")),
    "qkformer-cifar10": WrittenOut(("heads",)),
    "qkformer-imagenet": WrittenOut(("heads",)),
    "maxformer-event": WrittenOut(("heads", "image_size")),
    "maxformer-cifar10": WrittenOut(("heads",)),
    "maxformer-imagenet": WrittenOut(("heads",)),
}


def written_out(name: str) -> WrittenOut:
    """Return what upstream writes out of an architecture's sizes."""
    return WRITTEN_OUT.get(name, WrittenOut())


def choices(name: str) -> tuple[str, ...]:
    """Return what upstream's keys of an architecture do not show and its class has a choice of, as in ``ASKED``."""
    usual, out = architecture(name).config({}), written_out(name)
    return tuple(one for one in ASKED if getattr(usual, one, None) is not None and one not in out.always)


_DVS: Mapping[str, Any] = {"heads": 8, "image_size": (64, 64), "pooling": _LAST_TWO}
# Where upstream has trained an architecture on several kinds of data: the data, channels and sizes of each.
_TRAINED: Mapping[str, tuple[tuple[str, int, Mapping[str, Any]], ...]] = {
    "sdt-static": (
        ("CIFAR", 3, {"steps": 4, "heads": 8, "image_size": (32, 32), "pooling": _LAST_TWO}),
        ("ImageNet", 3, {"steps": 4, "heads": 8, "image_size": (224, 224), "pooling": _ALL}),
        ("DVS128 Gesture", 2, {"steps": 16, "heads": 8, "image_size": (128, 128), "pooling": (False, *_ALL[1:])}),
    ),
    "sdt-dvs": (("CIFAR10-DVS", 2, {"steps": 10, **_DVS}),),
    "statten-static": (
        ("CIFAR", 3, {"steps": 4, "heads": 8, "image_size": (32, 32), "pooling": _LAST_TWO, "chunk": 2}),
        ("ImageNet", 3, {"steps": 4, "heads": 8, "image_size": (224, 224), "pooling": _ALL, "chunk": 2}),
    ),
    "qkformer-spikingjelly": (
        ("qkformer_10_384", 3, {"steps": 4, "heads": 6, "image_size": (224, 224)}),
        ("QKFormer's defaults", 3, {"steps": 4, "heads": (3, 6, 6), "image_size": (224, 224)}),
    ),
    "statten-dvs": (("CIFAR10-DVS, N-Caltech101", 2, {"steps": 16, **_DVS, "chunk": 4}),),
}


def trained(name: str, channels: int | None = None) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Return the published models of an architecture, the data it was trained on and what ``choices`` names of each.

    Those for ``channels`` input channels, where there are any. The data is "" where there is one model alone.
    """
    usual = architecture(name).config({})
    found = [one for one in _TRAINED.get(name, ()) if channels in (None, one[1])]
    if not found:
        return (("", {one: getattr(usual, one) for one in choices(name)}),)
    return tuple((data, sizes) for data, _, sizes in found)
