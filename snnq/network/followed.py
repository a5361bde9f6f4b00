"""What is known of a tensor while a user's own model runs: of which stream each of its numbers is.

A stream's numbers are counted as (T, B, C, h, w) has them, whatever shape the model gives it. A tensor is numbers of
one stream, or sums of them times a factor: means over pixels and steps, until something needs to know which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Int64


class UntraceableError(Exception):
    """What a model does that has no operation, as half a sentence after "because it is a model of your own, and"."""


@dataclass(frozen=True)
class Shape:
    """The channels and the image of a stream."""

    channels: int
    size: tuple[int, int]

    @property
    def pixels(self) -> int:
        """Height × width."""
        return math.prod(self.size)

    @property
    def numbers(self) -> int:
        """Numbers of one step of one sample."""
        return self.channels * self.pixels


@dataclass(frozen=True)
class FollowedTensor:
    """A tensor: ``factor`` times the sum over k of the numbers ``index[k]`` of a stream, int64 (terms, *shape)."""

    stream: str
    index: Int64[Tensor, " terms *shape"]
    factor: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether it is numbers of the stream themselves."""
        return len(self.index) == 1 and self.factor == 1

    @property
    def numbers(self) -> Int64[Tensor, "*shape"]:
        """Which number of its stream each one is, of a plain value."""
        return self.index[0]

    def summed(self, axes: tuple[int, ...], factor: float, *, keep: bool) -> FollowedTensor:
        """Return ``factor`` times the sum over axes of the tensor."""
        rank = self.index.ndim - 1
        places = sorted({axis % rank + 1 for axis in axes})
        moved = self.index.movedim(places, list(range(len(places)))).flatten(0, len(places))
        for place in places if keep else ():
            moved = moved.unsqueeze(place)
        return FollowedTensor(self.stream, moved, self.factor * factor)


def whole_images(index: Int64[Tensor, "*shape"], shape: Shape, axes: int) -> Int64[Tensor, " images"] | None:
    """Return the sample and step of every image, t · B + b, of numbers whose last ``axes`` are (C, h, w) or flat.

    None where they are not whole images.
    """
    rows = index.reshape(-1, shape.numbers) if math.prod(index.shape[index.ndim - axes :]) == shape.numbers else None
    if rows is None or not len(rows):
        return None
    first = rows[:, 0]
    due = first[:, None] + torch.arange(shape.numbers)
    return first // shape.numbers if bool((rows == due).all() and (first % shape.numbers == 0).all()) else None


def whole_pixels(
    index: Int64[Tensor, "*rows last"], shape: Shape
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]] | None:
    """Return sample and step, and pixel, of every row of numbers whose last axis are all channels of one pixel."""
    if index.shape[-1] != shape.channels:
        return None
    rows = index.reshape(-1, shape.channels)
    due = rows[:, :1] + torch.arange(shape.channels) * shape.pixels
    places = rows[:, 0] % shape.numbers
    if not bool((rows == due).all() and (places < shape.pixels).all()):
        return None
    return rows[:, 0] // shape.numbers, places


def images_of(places: Int64[Tensor, " n"], shape: Shape) -> Int64[Tensor, "n C h w"]:
    """Return the numbers (n, C, h, w) of whole images at t · B + b."""
    inside = torch.arange(shape.numbers).view(shape.channels, *shape.size)
    return places.view(-1, 1, 1, 1) * shape.numbers + inside


def pixel_mean(value: FollowedTensor, shape: Shape) -> Int64[Tensor, "*shape"] | None:
    """Return the numbers, of a stream (C, 1, 1), that a value is of which is the mean over all pixels; else None."""
    order = value.index.sort(0).values
    kept = order[0] // shape.pixels
    due = kept * shape.pixels + torch.arange(shape.pixels).view(-1, *[1] * kept.ndim)
    whole = len(value.index) == shape.pixels and math.isclose(value.factor * shape.pixels, 1)
    return kept if whole and bool((order == due).all()) else None


def time_mean(value: FollowedTensor, shape: Shape, steps: int, samples: int) -> tuple[FollowedTensor, bool] | None:
    """Return a mean over all steps as numbers of one step, b · C·h·w + …, and whether it is over pixels, too.

    None where it is something else.
    """
    per_step = samples * shape.numbers
    for over_pixels in (False, True) if shape.pixels > 1 else (False,):
        width, index = shape.pixels if over_pixels else 1, value.index
        step, rest = index // per_step, index % per_step
        kept, place = rest // width, step * width + rest % width
        count = steps * width
        if len(index) != count or not math.isclose(value.factor * count, 1):
            continue
        due = torch.arange(count).view(-1, *[1] * (index.ndim - 1))
        if bool((kept == kept[0]).all() and (place.sort(0).values == due).all()):
            return FollowedTensor(value.stream, kept[:1]), over_pixels
    return None
