"""The frames of one video: a folder of images, an array in a ``.npy`` file, or a file that PyAV decodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnq.base.errors import DataError, MissingLibraryError
from snnq.base.files import open_regular, regular_size
from snnq.data.pixels import Fitting, read_image

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# By the ending, what FFmpeg calls the format.
ENCODED = {".avi": "avi", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska"}
ARRAY = ".npy"
_MOST_FRAMES, _MOST_BYTES = 2**20, 2**34


def is_video(path: Path) -> bool:
    """Whether a path is something that ``frame_count`` looks into: a folder, or a file of a known ending."""
    return path.is_dir() or path.suffix.lower() in (ARRAY, *ENCODED)


def files_of(path: Path) -> list[Path]:
    """Return the files that a video is made of, in the order of its frames: by name, numbers in it by their value."""
    if not path.is_dir():
        return [path]
    files = [one for one in path.iterdir() if one.suffix.lower() in IMAGES and one.name[0] != "."]
    return sorted(files, key=lambda one: [int(part) if part.isdigit() else part for part in _NUMBERS.split(one.name)])


_NUMBERS = re.compile(r"([0-9]{1,18})")


def frame_count(path: Path) -> int:
    """Return how many frames a video has; of a file that is to be decoded, by what its container holds.

    Raises DataError: there is none, it is damaged, or PyAV is needed and not there.
    """
    if path.is_dir():
        found = len(files_of(path))
    elif path.suffix.lower() == ARRAY:
        found = len(_array(path))
    else:
        with _opened(path) as container:
            found = sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))
    if not 0 < found <= _MOST_FRAMES:
        raise DataError(f"{path}: {found} frames found, allowed: 1 to {_MOST_FRAMES:,}.")
    return found


def read_frames(path: Path, wanted: Sequence[int], fit: Fitting) -> dict[int, np.ndarray]:
    """Return the frames at ``wanted`` places, counted from 0, as bytes (3, height, width), by their place.

    Raises DataError: a frame is not there, cannot be read, or is too small.
    """
    if path.is_dir():
        files = files_of(path)
        return {place: read_image(files[place], fit)[0] for place in wanted}
    try:
        images = _array_images(path, wanted) if path.suffix.lower() == ARRAY else _decoded(path, wanted)
        found = {place: fit(image) for place, image in images}
    except DataError as error:
        raise DataError(f"{path}: {error.message.removeprefix(f'{path}: ').rstrip('.')}.", error.hint) from None
    if lacking := [place for place in wanted if place not in found]:
        raise DataError(f"{path}: it ends before frame {lacking[0]}.", "Fetch the file again.")
    return found


def _array(path: Path) -> np.ndarray:
    """Return the frames of a ``.npy`` file, (T, H, W) or (T, H, W, 3) bytes, on its mapped file."""
    regular_size(path)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: it cannot be read ({error}).", "Fetch the file again.") from error
    if found.dtype != np.uint8 or not (found.ndim == 3 or (found.ndim == 4 and found.shape[-1] == 3)):
        raise DataError(
            f"{path}: {found.dtype} of shape {found.shape} found, frames are uint8 of (T, H, W) or (T, H, W, 3).",
            "Save them so: numpy.save(file, frames)",
        )
    return found


def _array_images(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, Image]]:
    from PIL import Image

    frames = _array(path)
    for place in wanted:
        if place < len(frames):
            yield place, Image.fromarray(np.ascontiguousarray(frames[place])).convert("RGB")


def _decoded(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, Image]]:
    """Yield the wanted frames of an encoded file, decoded from its beginning: no place is off by a wrong index."""
    places, last = set(wanted), max(wanted)
    with _opened(path) as container:
        for place, frame in enumerate(container.decode(video=0)):
            if place in places:
                yield place, frame.to_image().convert("RGB")
            if place >= last:
                return


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Give a container of PyAV with a stream of video; its errors are said as ours.

    Its format is that of the file's ending: a list of other files or addresses is never followed.
    """
    try:
        av: Any = import_module("av")
    except ImportError:
        hint = "pip install 'snnq[video]', or unpack it to a folder of images"
        raise MissingLibraryError(f"{path}: a {path.suffix} file takes PyAV", hint) from None
    try:
        regular_size(path, _MOST_BYTES)
        with open_regular(path) as stream, av.open(stream, format=ENCODED[path.suffix.lower()]) as container:
            if not container.streams.video:
                raise DataError(f"{path}: there is no video in it.")
            yield container
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{path}: it cannot be decoded ({error}).", "Fetch the file again.") from error
