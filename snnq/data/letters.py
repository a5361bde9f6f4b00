"""``letters``: the 26 capitals, drawn by a pen that never draws twice alike, and moved before a simulated camera.

No handwriting of a person: strokes that are written below, bent and thickened at random. It is there to try out what
meets a model in the field, without a download.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from snnq.data.dataset import Recordings, Request, Samples
from snnq.data.image_sets import DIGITS
from snnq.data.images import Shown, image_samples
from snnq.data.splits import TEST_SHARE, VALIDATION_SHARE, stratified

# Strokes by points (x from 0 to 4, y from 0 down to 6), two digits each.
STROKES = {
    "A": "06 20 46|14 34",
    "B": "00 30 41 42 33 03|33 44 45 36 06 00",
    "C": "41 30 10 01 05 16 36 45",
    "D": "00 20 31 42 44 35 26 06 00",
    "E": "40 00 06 46|03 33",
    "F": "40 00 06|03 33",
    "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06|40 46|03 43",
    "I": "10 30|20 26|16 36",
    "J": "10 40|30 35 26 16 05",
    "K": "00 06|40 03 46",
    "L": "00 06 46",
    "M": "06 00 23 40 46",
    "N": "06 00 46 40",
    "O": "10 30 41 45 36 16 05 01 10",
    "P": "06 00 30 41 42 33 03",
    "Q": "10 30 41 45 36 16 05 01 10|24 46",
    "R": "06 00 30 41 42 33 03|23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40|20 26",
    "U": "00 05 16 36 45 40",
    "V": "00 26 40",
    "W": "00 16 23 36 40",
    "X": "00 46|40 06",
    "Y": "00 23 40|23 26",
    "Z": "00 40 06 46",
}
EACH, SIDE = 80, 16
_SEED = 20_261_129
_DRAWING = 1  # of the rule below: another one is another set
# Deviations: of a point, of the pen's frame, and of where the letter stands, in units of a stroke's grid.
_POINT, _FRAME, _PLACE = 0.30, 0.14, 0.50
_PEN = (0.45, 0.75)  # half the pen's width, from … to
_SHOWN = Shown(DIGITS.saccades, DIGITS.fill)


def open_source(request: Request) -> Recordings:
    """Return 80 drawings of each capital, split 65/15/20 by class."""
    return Recordings(
        classes=tuple(STROKES),
        fingerprint={"drawing": [_DRAWING, _SEED, EACH, SIDE], **_SHOWN.facts(request)},
        split="fixed, by class: 65 % train, 15 % validation, 20 % test",
        read=lambda: _read(request),
    )


def _read(request: Request) -> dict[str, Samples]:
    pictures, labels = drawings()
    test, validation, train = stratified(labels, (TEST_SHARE, VALIDATION_SHARE))
    chosen = {"train": train, "validation": validation, "test": test}
    return image_samples(dict.fromkeys(chosen, pictures), dict.fromkeys(chosen, labels), chosen, _SHOWN, request)


def drawings() -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, uint8 (N, 16, 16), and their labels, int64 (N,); the same everywhere."""
    draw, pictures = np.random.default_rng(_SEED), []
    for strokes in STROKES.values():
        pictures += [_drawn(strokes, draw) for _ in range(EACH)]
    return np.stack(pictures), np.repeat(np.arange(len(STROKES)), EACH)


def _drawn(strokes: str, draw: np.random.Generator) -> np.ndarray:
    """Return one drawing: grey falls off with the distance from the nearest stroke."""
    # No sine and no exponential: sums, products and roots are the same on every machine.
    frame = np.eye(2) + draw.uniform(-(3**0.5) * _FRAME, 3**0.5 * _FRAME, (2, 2))
    place = draw.uniform(-(3**0.5) * _PLACE, 3**0.5 * _PLACE, 2)
    pen = draw.uniform(*_PEN)
    step = 8 / SIDE  # the letter's grid of 4 × 6 in a field of 8 × 8
    y, x = np.meshgrid(*[(np.arange(SIDE) + 0.5) * step - 4] * 2, indexing="ij")
    nearest = np.full((SIDE, SIDE), np.inf)
    for stroke in strokes.split("|"):
        points = np.array([[int(one[0]) - 2, int(one[1]) - 3] for one in stroke.split()], np.float64)
        points += draw.uniform(-(3**0.5) * _POINT, 3**0.5 * _POINT, points.shape)
        points = points @ frame + place
        for begin, end in pairwise(points):
            nearest = np.minimum(nearest, _distance(x, y, begin, end))
    return np.rint(255 * np.clip((pen + step - nearest) / step, 0, 1)).astype(np.uint8)


def _distance(x: np.ndarray, y: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of every pixel from the line between two points."""
    across, down = end - begin
    along = ((x - begin[0]) * across + (y - begin[1]) * down) / max(across * across + down * down, 1e-12)
    along = np.clip(along, 0, 1)
    return np.sqrt((x - begin[0] - along * across) ** 2 + (y - begin[1] - along * down) ** 2)
