"""``glyphs``: class names or symbols, rendered with fonts, strokes, slants and blur, before the simulated camera.

The gap between print and what a sensor really saw stands for the one between a text-to-image model's pictures and
photographs: whoever draws digits or letters needs no such model.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from snnq.base.errors import DataError, UsageError
from snnq.base.files import read_regular
from snnq.calibrating.pictures import Camera, Candidate, draw
from snnq.calibrating.style import Style

SIDE = 96  # pixels of a picture, before the camera
# Of the fonts that matplotlib brings, those of whole alphabets.
_BROUGHT = re.compile(r"(DejaVu(Sans|SansMono|Serif)|STIXGeneral|cm(b|r|ss|ti|tt)10).*\.ttf$")
_SUFFIXES = (".ttf", ".otf")


class Glyphs:
    """Candidate i is of class i modulo their number; font and look are drawn by its number."""

    together = 64

    def __init__(self, camera: Camera, names: Sequence[str], fonts: Path | None, style: Style | None = None) -> None:
        self.camera, self.names, self.style = camera, names, style or Style()
        self.fonts = find_fonts(fonts, names)
        self.facts: Mapping[str, object] = {
            "pillow": PIL.__version__,
            "fonts": {one.name: hashlib.sha256(read_regular(one)).hexdigest() for one in self.fonts},
        }

    def picture(self, name: str, random: np.random.Generator, style: Style) -> tuple[np.ndarray, Mapping[str, object]]:
        """Return a picture (96, 96) of intensities 0 … 1 of a class' name, and its font and look."""
        font = self.fonts[int(random.integers(len(self.fonts)))]
        look = style.look(random)
        return render(name, font, look), {"font": font.name, "look": {key: round(v, 5) for key, v in look.items()}}

    def make(self, start: int, stop: int) -> list[Candidate]:
        """Return candidates start … stop − 1."""
        numbers, found, notes = list(range(start, stop)), [], []
        for number in numbers:
            name = self.names[number % len(self.names)]
            picture, note = self.picture(name, draw(self.camera.seed, number), self.style)
            found.append(picture)
            notes.append(note)
        frames = self.camera.shoot(np.stack(found), numbers)
        return [Candidate(one, n % len(self.names), note) for one, n, note in zip(frames, numbers, notes, strict=True)]


def find_fonts(folder: Path | None, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the fonts of a folder, by name, or those that matplotlib brings; only those with every character needed.

    Raises UsageError where there is none.
    """
    import matplotlib
    from matplotlib.ft2font import FT2Font

    if folder is not None and not folder.is_dir():
        raise UsageError(f"--fonts {folder}: there is no such folder")
    root = folder or Path(matplotlib.get_data_path(), "fonts", "ttf")
    files = sorted(one for one in root.iterdir() if one.suffix.lower() in _SUFFIXES and not one.name.startswith("."))
    chosen = files if folder is not None else [one for one in files if _BROUGHT.match(one.name)]
    needed = {ord(one) for name in names for one in name if not one.isspace()}
    try:
        able = tuple(one for one in chosen if needed <= FT2Font(str(one)).get_charmap().keys())
    except (OSError, RuntimeError) as problem:
        raise UsageError(f"--fonts {folder}: a font cannot be read ({problem})") from None
    if not able:
        raise UsageError(
            f"none of the {len(chosen)} fonts in {root} has all characters of the class names",
            "name a folder of .ttf files that have them: --fonts DIR",
        )
    return able


@lru_cache(maxsize=64)
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as problem:
        raise DataError(f"{file}: the font cannot be read ({problem})") from None


def render(name: str, font: Path, look: Mapping[str, float]) -> np.ndarray:
    """Return a picture (96, 96) of white text on black, float64 0 … 1, that looks as ``style.KNOBS`` say."""
    text = "\n".join(part for part in re.split(r"[\s/_-]+", name) if part) or name
    stroke = round(look["stroke"] * SIDE)
    picture = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, _font(font, SIDE), align="center")
    # The text's longer side, with its pen, takes the share ``size`` of the picture's.
    scale = (look["size"] * SIDE - 2 * stroke) / max(1.0, right - left, bottom - top)
    drawn = _font(font, max(4, round(SIDE * scale)))
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, drawn, align="center")
    at = ((SIDE - left - right) / 2, (SIDE - top - bottom) / 2)
    pen.multiline_text(at, text, fill=255, font=drawn, align="center", stroke_width=stroke)
    moved = picture.transform((SIDE, SIDE), Image.Transform.AFFINE, _affine(look), Image.Resampling.BILINEAR)
    blurred = moved.filter(ImageFilter.GaussianBlur(look["blur"] * SIDE))
    return np.asarray(blurred, np.float64) / 255 * look["white"]


def _affine(look: Mapping[str, float]) -> tuple[float, ...]:
    """Return the six numbers that take a pixel of the result to one of the drawn picture, about its middle."""
    turn, wide = math.radians(look["turn"]), math.sqrt(look["aspect"])
    rotate = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    forward = rotate @ np.array([[1.0, -look["slant"]], [0.0, 1.0]]) @ np.diag([wide, 1 / wide])
    back, middle = np.linalg.inv(forward), np.full(2, SIDE / 2)
    shift = middle - back @ (middle + SIDE * np.array([look["x"], look["y"]]))
    return (*back[0], shift[0], *back[1], shift[1])
