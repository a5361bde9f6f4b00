"""What upstream's code says of an architecture, so that neither a file's keys nor its user have to.

Its parameters' names and ours, which of several architectures with the same names a file can be, and which sizes
upstream writes out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from statistics import mode
from typing import TYPE_CHECKING, Generic, TypeVar

from snnq.base.strict_json import Config, Json
from snnq.models.sizes import Sizes, TransformerSizes

if TYPE_CHECKING:
    from torch import Tensor, nn

S = TypeVar("S", bound=Sizes)
Settings = Mapping[str, object]
Shapes = Mapping[str, tuple[int, ...]]
# A size → where shapes show it: our name (``*`` stands for anything) and the axis. What most of them say counts.
Shown = Mapping[str, tuple[tuple[str, int], ...]]
# What a file may not say, in the order it is asked for.
ASKED = {
    "steps": "time steps",
    "heads": "attention heads",
    "image_size": "image size",
    "pooling": "pooling",
    "chunk": "time steps that attention mixes at once",
    "key_stride": "frames from one key frame to the next",
    "substeps": "most spikes of a neuron in a time step, D",
}


# The data that a model was trained on, its channels, and the sizes that neither keys nor shapes show.
Trained = tuple[tuple[str, int, Config], ...]


@dataclass(frozen=True)
class Variants:
    """The architectures a file can be by its keys and settings, and those of them that upstream's scripts make so.

    Where ``usual`` are several, the file cannot tell, and its user must.
    """

    possible: tuple[str, ...]
    usual: tuple[str, ...]


Variant = Callable[[Shapes, Settings], Variants]


@dataclass(frozen=True)
class Keys:
    """Upstream's names in one layout.

    ``architecture`` is the one whose names these are, ``others`` those that share them, and ``variant`` tells them
    apart. ``renamed`` are (regular expression, replacement) from our names to upstream's, ``unused`` matches what
    upstream never uses, ``block`` the names that count the depth (its group is the index), which is at least
    ``shallowest``, ``shown`` where sizes are seen; ``free``: every stage has as many blocks as one likes; ``counted``
    tells the depth of a model whose names say it otherwise. Where several of ours have one name upstream, its tensor
    holds them one after another (``checkpoints.fused``).
    """

    architecture: str
    shown: Shown
    renamed: tuple[tuple[str, str], ...] = ()
    unused: str = r"(?!)"
    block: str = r"block\.(\d+)\."
    shallowest: int = 1
    free: bool = False
    others: tuple[str, ...] = ()
    variant: Variant | None = None
    counted: Callable[[Iterable[str]], Json] | None = None

    @property
    def architectures(self) -> tuple[str, ...]:
        """Every architecture that has these names."""
        return (self.architecture, *self.others)

    def variants(self, shapes: Shapes, settings: Settings) -> Variants:
        """Return which of its architectures a file of these names can be, by its tensors and its script's settings."""
        every = self.architectures
        return Variants(every, every) if self.variant is None else self.variant(shapes, settings)

    def upstream_name(self, ours: str) -> str:
        """Return upstream's name of one of our parameters: block.0.attn.q.weight → block.0.attn.q_conv.weight."""
        return _renamed(ours, self.renamed)

    def blocks(self, shapes: Shapes, published: Sizes) -> Json:
        """Return the depth that a file's names count, and the blocks of the stages where they are not the published."""
        if self.counted is not None:
            return self.counted(shapes)
        counted = {block[1] for key in shapes if (block := re.match(self.block, key))}
        found: Json = {"depth": max(self.shallowest, len(counted))}
        if self.free:
            stages = Counter(index.partition(".")[0] for index in counted)
            early = tuple(max(1, stages[str(stage)]) for stage in (1, 2))
            found |= {"early": early} if early != getattr(published, "blocks", ())[:-1] else {}
            found["depth"] = max(found["depth"], sum(early) + 1)
        return found

    def sizes(self, shape: Shapes) -> Json:
        """Return what shapes (by our names) tell; where tensors disagree, what most of them say."""
        found = {size: mode(_seen(shape, places)) for size, places in self.shown.items()}
        if "hidden" not in found:
            return found
        hidden, dim = found.pop("hidden"), found["dim"]
        return found | {"mlp_ratio": hidden / dim if dim else 0.0}


@lru_cache(1 << 16)
def _renamed(name: str, renamed: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renamed:
        name = re.sub(pattern, replacement, name)
    return name


def _seen(shape: Shapes, places: tuple[tuple[str, int], ...]) -> Iterator[int]:
    for pattern, axis in places:
        yield from (sizes[axis] for name, sizes in shape.items() if fnmatchcase(name, pattern))


@dataclass(frozen=True)
class StoredForm:
    """Where upstream's files hold other tensors than a model has: re-parameterised, scaled, or with learned steps.

    ``build`` returns, for a model's sizes, a module of upstream's names and shapes, and ``convert`` the model's state
    dict for one of those; it raises ``UsageError`` for tensors that cannot be. ``said`` tells a file's user of it.
    """

    build: Callable[..., nn.Module]
    convert: Callable[..., dict[str, Tensor]]
    said: Callable[..., tuple[str, ...]] = lambda sizes: ()


@dataclass(frozen=True)
class Upstream:
    """What upstream's files and code say of one architecture.

    ``keys`` are the names of its files (none: it is opened from checkpoints of ours alone), ``told`` returns the
    settings that a file's names give away. ``always``: sizes of which upstream's class has the published value,
    whatever the others are. ``beside``: what the line has that makes a model of this (dim, depth). Steps, heads and
    pooling that a script records in spite of it never reach the model; the image size that it records is that of its
    data. ``trained``: where upstream has trained it on several kinds of data, the data, channels and sizes of each.
    ``stored``: where its files hold other tensors than the model here.
    """

    keys: tuple[Keys, ...] = ()
    always: tuple[str, ...] = ()
    beside: Mapping[tuple[int, int], Config] = field(default_factory=dict)
    trained: Trained = ()
    told: Callable[[Iterable[str]], Json] = lambda names: {}
    stored: StoredForm | None = None


NO_UPSTREAM = Upstream()


@dataclass(frozen=True)
class SpikingJellyClass(Generic[S]):
    """The same model in SpikingJelly 2: a class of the module ``module`` under ``spikingjelly.activation_based.model``.

    ``arguments`` returns what it is built with for a model's sizes; it raises ``UsageError`` where the class has no
    such model. ``every_step``: it puts out logits of every step, whose mean over T is what is put out here.
    """

    module: str
    name: str
    arguments: Callable[[S], Json]
    every_step: bool = False


def common_arguments(sizes: TransformerSizes, hidden: int) -> Json:
    """Return the arguments that every class has, of a model with ``hidden`` features inside its (last) MLPs."""
    ratio = hidden / sizes.dim
    return {
        "T": sizes.steps,
        "in_channels": sizes.in_channels,
        "num_classes": sizes.classes,
        "embed_dims": sizes.dim,
        # Theirs, rounded down, must make so many features.
        "mlp_ratio": ratio if int(sizes.dim * ratio) == hidden else math.nextafter(ratio, math.inf),
    }


def first_channels(shapes: Shapes) -> int:
    """Return the input channels: the second size of the convolution ``patch_embed.proj_conv``, 0 where it has none."""
    return (*shapes.get("patch_embed.proj_conv.weight", ()), 0, 0)[1]


# Where Spikformers and Spike-Driven Transformers show their sizes.
BLOCKS_SHOWN: Shown = {
    "in_channels": (("patch_embed.proj_conv.weight", 1),),
    "dim": (("patch_embed.rpe_conv.weight", 0), ("head.weight", 1), ("block.*.attn.proj.weight", 0)),
    "hidden": (("block.*.mlp.fc1.weight", 0), ("block.*.mlp.fc1.bias", 0), ("block.*.mlp.fc2.weight", 1)),
    "classes": (("head.weight", 0),),
}


def with_suffix(suffix: str) -> tuple[tuple[str, str], ...]:
    """Return what renames the layers inside blocks, which upstream calls ``q_conv`` or ``q_linear`` and we ``q``."""
    return ((r"(block\.\d+\.(?:attn\.(?:q|k|v|proj)|mlp\.fc[12]))(\.(?:weight|bias))", rf"\1{suffix}\2"),)
