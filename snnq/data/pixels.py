"""Images as a network sees them: resized and cropped as bytes, normalised and repeated when they are read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import open_regular
from snnq.network.wiring import PIXEL_LIMIT

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# Means and deviations of red, green and blue, pixels from 0 to 1. Sources: torchvision's and timm's of ImageNet,
# Spikformer's cifar10.yml, and the usual ones of CIFAR-100.
MEANS = {
    "imagenet": (0.485, 0.456, 0.406),
    "cifar10": (0.4914, 0.4822, 0.4465),
    "cifar100": (0.5071, 0.4867, 0.4408),
    "none": (0.0, 0.0, 0.0),
}
DEVIATIONS = {
    "imagenet": (0.229, 0.224, 0.225),
    "cifar10": (0.2470, 0.2435, 0.2616),
    "cifar100": (0.2675, 0.2565, 0.2761),
    "none": (1.0, 1.0, 1.0),
}
FILTERS = ("bicubic", "bilinear")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
_MOST_PIXELS = 2**27
# Pillow's modes of more than 8 bits a channel: as RGB, all above 255 would be white.
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# timm and the published scripts show the middle 87.5 % of the shorter side, and all of it above 224 pixels.
_SHOWN, _SHOWN_UP_TO = 0.875, 224


@dataclass(frozen=True)
class Pixels:
    """How bytes become a network's input, (pixel/255 − mean)/deviation by channel; ``how`` they were made of images.

    ``still``: one image is the same at every time step.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    how: str
    still: bool = True

    @property
    def fraction_bits(self) -> int:
        """The largest f for which normalised pixels, parts of 2^-f, are within ``PIXEL_LIMIT``."""
        ends = [abs((end - mean) / std) for mean, std in zip(self.mean, self.std, strict=True) for end in (0.0, 1.0)]
        return math.floor(math.log2(PIXEL_LIMIT / max(*ends, 2.0**-10)))

    def reals(self, pixels: Tensor) -> Tensor:
        """Return float32 (n, T, C, H, W) of bytes of that shape, in the order of torchvision's own operations."""
        import torch

        mean, std = (torch.tensor(one, dtype=torch.float32).view(-1, 1, 1) for one in (self.mean, self.std))
        return pixels.float().div_(255).sub_(mean).div_(std)

    def __str__(self) -> str:
        listed = [", ".join(f"{value:g}" for value in one) for one in (self.mean, self.std)]
        return f"{self.how}; mean {listed[0]}, deviation {listed[1]}"


def channels_of(text: str, presets: dict[str, tuple[float, ...]], least: float = 0.0) -> tuple[float, ...]:
    """Return the three numbers of ``0.485+0.456+0.406``, or those of a preset; raises DataError for other text."""
    if text in presets:
        return presets[text]
    parts = text.split("+")
    numbers = [float(part) for part in parts if re.fullmatch(r"\d{1,4}(\.\d{1,9})?", part.strip(), flags=re.ASCII)]
    if len(numbers) != 3 or len(parts) != 3 or min(numbers) < least:
        raise DataError(
            f"expected three numbers{f' of at least {least:g}' if least else ''} such as "
            f"{'+'.join(f'{one:g}' for one in presets['imagenet'])}, or {', '.join(presets)}"
        )
    return tuple(numbers)


@dataclass(frozen=True)
class Fitting:
    """How an image of any size becomes one of (height, width): resized, then the middle cut out.

    ``shorter`` is what its shorter side becomes, the other in proportion; None: both sides become ``exact``, or stay
    as they are where that is None too.
    """

    size: tuple[int, int]
    shorter: int | None
    exact: tuple[int, int] | None
    filter: str

    @classmethod
    def of(cls, text: str | None, size: tuple[int, int], filter: str) -> Fitting:
        """Return what a spec's ``resize`` says: ``256``, ``256x256``, ``none``, or nothing: as published."""
        if text is None:
            side = max(size)
            return cls(size, int(side / (_SHOWN if side <= _SHOWN_UP_TO else 1.0)), None, filter)
        if text == "none":
            return cls(size, None, None, filter)
        if "x" in text:
            height, width = (int(side) for side in text.split("x"))
            return cls(size, None, (height, width), filter)
        return cls(size, int(text), None, filter)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of an image behind the resizing, rounded as torchvision's ``Resize`` rounds."""
        if self.shorter is None:
            return self.exact or (height, width)
        if height <= width:
            return self.shorter, int(self.shorter * width / height)
        return int(self.shorter * height / width), self.shorter

    def __call__(self, image: Image) -> np.ndarray:
        """Return bytes (3, height, width) of an image in RGB; raises DataError for one that is too small."""
        from PIL.Image import Resampling

        height, width = self.resized(image.height, image.width)
        if (height, width) != (image.height, image.width):
            chosen = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}[self.filter]
            image = image.resize((width, height), chosen)
        rows, columns = self.size
        if height < rows or width < columns:
            raise DataError(
                f"{height}x{width} pixels behind the resizing, the model takes {rows}x{columns}",
                "leave 'resize' away, or name a greater one",
            )
        top, left = round((height - rows) / 2), round((width - columns) / 2)  # halves to even, as torchvision's
        cut = image.crop((left, top, left + columns, top + rows))
        return np.asarray(cut).transpose(2, 0, 1)

    def __str__(self) -> str:
        to = f"{self.exact[0]}x{self.exact[1]}" if self.exact else None
        made = f"shorter side to {self.shorter}" if self.shorter else f"to {to}" if to else None
        middle = f"the middle {self.size[0]}x{self.size[1]}"
        return f"{made} pixels ({self.filter}), {middle}" if made else middle


def read_image(file: Path, fit: Fitting) -> np.ndarray:
    """Return bytes (1, 3, height, width) of an image file, in RGB whatever it holds.

    Raises DataError: it cannot be read, is no image, claims too many pixels, or is too small.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with catch_warnings(), open_regular(file) as stream, Image.open(stream, formats=FORMATS) as picture:
            simplefilter("ignore")  # of metadata: pixels are all that is read
            if picture.width * picture.height > _MOST_PIXELS:
                raise DataError(f"{picture.width}x{picture.height} pixels, allowed: {_MOST_PIXELS:,}")
            if picture.mode in _DEEP:
                raise DataError(f"its pixels are {picture.mode}, deeper than 8 bits", "convert it to 8 bits a channel")
            return fit(picture.convert("RGB"))[None]
    except DataError as error:
        raise DataError(f"{file}: {error.message.rstrip('.')}.", error.hint) from None
    except UnidentifiedImageError:
        raise DataError(f"{file}: it is no image of {', '.join(FORMATS)}.", "Fetch the file again.") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: cannot be read ({error}).", "Fetch the file again.") from error


def fit_bytes(images: np.ndarray, fit: Fitting) -> np.ndarray:
    """Return bytes (N, 3, height, width) of images (N, 3, h, w)."""
    from PIL import Image

    return np.stack([fit(Image.fromarray(one.transpose(1, 2, 0))) for one in images])
