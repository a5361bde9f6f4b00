"""What the sizes of every architecture have in common: checks, tokens, and the way to JSON and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, TypeVar, cast

from snnq.base.errors import UsageError, nearest
from snnq.base.strict_json import Config, Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Dataclass = TypeVar("Dataclass", bound="DataclassInstance")


class Sizes(Protocol):
    """The sizes every model has. ``image_size`` is (height, width) in pixels, ``steps`` the time steps T."""

    @property
    def layout(self) -> str: ...  # noqa: D102
    @property
    def in_channels(self) -> int: ...  # noqa: D102
    @property
    def image_size(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def classes(self) -> int: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def frames_shape(self) -> tuple[int, int, int, int]: ...  # noqa: D102
    def to_dict(self) -> Json: ...  # noqa: D102


@dataclass(frozen=True)
class TransformerSizes:
    """The sizes every transformer here has.

    ``layout`` says which upstream code is reproduced, ``image_size`` is (height, width) in pixels, ``dim`` the features
    of the (last) blocks, ``depth`` the blocks, ``steps`` the number of time steps T.
    ``PUBLISHED`` are those of upstream's own models, one for each layout.
    """

    PUBLISHED: ClassVar[tuple[TransformerSizes, ...]]

    layout: str
    in_channels: int
    image_size: tuple[int, int]
    dim: int
    depth: int
    heads: int | tuple[int, ...]
    mlp_ratio: float
    classes: int
    steps: int

    @property
    def halvings(self) -> int:
        """How often the image is halved on its way to the (last) blocks: by every ``pooling`` in front of them."""
        return sum(getattr(self, "pooling", ()))

    @property
    def last_heads(self) -> int:
        """Heads of the (last) blocks' attention."""
        return self.heads[-1] if isinstance(self.heads, tuple) else self.heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens: each pooling (kernel 3, stride 2, padding 1) halves a side, rounding up."""
        return halved(self.image_size, self.halvings)

    @property
    def tokens(self) -> int:
        """Tokens the (last) blocks see: rows × columns of ``grid``."""
        return self.grid[0] * self.grid[1]

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of one sample."""
        return (self.steps, self.in_channels, *self.image_size)

    def to_dict(self) -> Json:
        """Return the fields as JSON-ready values: tuples become lists, what is None is left out."""
        return to_json(self)

    @classmethod
    def from_dict(cls, values: Config) -> Self:
        """Return the sizes ``values`` describes; a field left out takes its layout's published size.

        Raises ``UsageError`` for an unknown field, a missing or unknown layout, or a size no model can have.
        """
        return from_json(cls, cls.published, values)

    @classmethod
    def published(cls, layout: str, **changes: object) -> Self:
        """Return the sizes published for ``layout``, with ``changes``; raises ``UsageError`` as ``from_dict``."""
        table = {one.layout: one for one in cls.PUBLISHED}
        check_layout(layout, table)
        return replace(cast(Self, table[layout]), **changes)


def check_layout(layout: str, layouts: Iterable[str]) -> None:
    """Raise ``UsageError`` naming the nearest layout if ``layout`` is none of ``layouts``."""
    layouts = tuple(layouts)
    if layout not in layouts:
        raise UsageError(f"layout: found '{layout}', allowed are {', '.join(layouts)}{nearest(layout, layouts)}")


def check_sizes(config: TransformerSizes, layouts: Iterable[str], narrowest: int = 8) -> None:
    """Raise ``UsageError`` for common sizes that no model can have; the first layer has dim/``narrowest`` channels."""
    check_layout(config.layout, layouts)
    for name in ("in_channels", "dim", "depth", "classes", "steps"):
        require_positive_int(name, getattr(config, name))
    heads = config.heads if isinstance(config.heads, tuple) else (config.heads,)
    for count in heads:
        require_positive_int("heads", count)
    if len(config.image_size) != 2:
        raise UsageError(f"image_size: found {config.image_size}, it must be two numbers, height and width in pixels")
    for side in config.image_size:
        require_positive_int("image_size", side)
    if config.dim < narrowest:
        raise UsageError(
            f"dim: found {config.dim}, it must be at least {narrowest} "
            f"(the first convolution has dim/{narrowest} channels)"
        )
    if config.dim % config.last_heads:
        raise UsageError(f"dim: found {config.dim}, it must be a multiple of heads ({config.last_heads})")
    if not 0 < config.mlp_ratio < math.inf or hidden(config.dim, config.mlp_ratio) < 1:
        raise UsageError(f"mlp_ratio: found {config.mlp_ratio}, dim x mlp_ratio must be at least 1")


def check_pooling(pooling: tuple[bool, ...]) -> None:
    """Raise ``UsageError`` unless ``pooling`` says for each of four convolutions whether it is pooled."""
    if len(pooling) != 4 or not all(isinstance(pool, bool) for pool in pooling):
        raise UsageError(f"pooling: found {pooling}, it must be four booleans, one for each tokenizer convolution")


def check_chunk(chunk: int, steps: int) -> None:
    """Raise ``UsageError`` unless ``chunk`` consecutive steps divide all ``steps`` evenly."""
    require_positive_int("chunk", chunk)
    if steps % chunk:
        allowed = ", ".join(str(size) for size in range(1, min(steps, 10_000) + 1) if steps % size == 0)
        raise UsageError(f"chunk: found {chunk}, it must divide the {steps} time steps evenly: {allowed}")


def check_positive(name: str, value: float) -> None:
    """Raise ``UsageError`` unless ``value`` is greater than 0."""
    if not 0 < value < math.inf:
        raise UsageError(f"{name}: found {value:g}, it must be a number greater than 0")


def require_positive_int(name: str, value: object) -> int:
    """Return ``value``; raises ``UsageError`` unless it is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name}: found {value!r}, it must be a whole number of at least 1")
    return value


def power_of_two(value: float) -> float:
    """Return the power of two that is nearest to ``value`` in its logarithm, so that a scale is a shift."""
    return 2.0 ** round(math.log2(value))


def hidden(dim: int, mlp_ratio: float) -> int:
    """Return the features inside an MLP: dim × mlp_ratio."""
    return round(dim * mlp_ratio)


def halved(image_size: tuple[int, int], times: int) -> tuple[int, int]:
    """Return (rows, columns) after ``times`` poolings of kernel 3, stride 2, padding 1: each rounds up."""
    height, width = image_size
    for _ in range(times):
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def to_json(config: DataclassInstance) -> Json:
    """Return a config's fields as JSON-ready values: tuples become lists, fields that are None stay out."""
    values = {name: value for name, value in asdict(config).items() if value is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(cls: type[Dataclass], published: Callable[..., Dataclass], values: Config) -> Dataclass:
    """Return the config of class ``cls`` that ``values`` describes; what is left out is as ``published(layout)``.

    Raises ``UsageError`` for an unknown field, a missing or unknown layout, or a size no model can have.
    """
    names = [field.name for field in fields(cls)]
    for key in values:
        if key not in names:
            raise UsageError(f"model config: unknown key '{key}'{nearest(key, names)}; allowed are {', '.join(names)}")
    changes = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return published(str(changes.pop("layout", "")), **changes)
