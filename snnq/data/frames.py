"""``frames:DIR``: frame files as SpikingJelly writes them, ``<split>/<class>/*.npz`` with the key ``frames``."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from snnq.data.contract import Recordings, Request
from snnq.data.recorded import open_files
from snnq.errors import DataError


def open_source(request: Request) -> Recordings:
    """Return the frames of train/, test/ and, where there is one, validation/ (or val/).

    Raises:
        DataError: a folder is missing or empty; later, a file that is damaged or has another shape than asked for.
    """
    return open_files(request, ".npz", partial(read_frames, steps=request.steps, image_size=request.image_size))


def read_frames(file: Path, steps: int, image_size: tuple[int, int]) -> np.ndarray:
    """Read one sample: whole-number counts (T, C, H, W), int64.

    Raises:
        DataError: the file is damaged, has no ``frames``, another shape, or values that are no counts.
    """
    try:
        with zipfile.ZipFile(file):  # np.load would also open other kinds of file
            pass
        with np.load(file, allow_pickle=False) as archive:
            if "frames" not in archive:
                raise DataError(f"{file}: no key 'frames', found {archive.files}.")
            frames = archive["frames"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: not a frame file ({error}).") from error
    if frames.ndim != 4 or frames.shape[0] != steps or frames.shape[2:] != image_size:
        want = f"({steps}, C, {image_size[0]}, {image_size[1]})"
        hint = "Use a model of this shape, or make the frames again in the model's shape."
        raise DataError(f"{file}: 'frames' is {frames.shape}, the model takes {want}.", hint)
    if (
        frames.dtype.kind not in "buif"
        or not (np.isfinite(frames) & (frames == np.floor(frames)) & (frames >= 0)).all()
    ):
        raise DataError(f"{file}: 'frames' holds values that are no counts (whole numbers of at least 0).")
    return frames.astype(np.int64)
