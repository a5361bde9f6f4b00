"""``video:DIR``: clips of videos in one folder a class, as bytes of RGB; which clip is of which video is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.data.dataset import Damaged, Part, Recordings, Request, Samples
from snnq.data.fingerprint import hash_files, remember, remembered
from snnq.data.folders import class_orders, locate
from snnq.data.formats.video import ENCODED, files_of, frame_count, read_frames
from snnq.data.pixels import DEVIATIONS, FILTERS, MEANS, Fitting, Pixels, channels_of
from snnq.data.spec import SPLITS
from snnq.data.splits import Hashed, limited, noted
from snnq.data.video_splits import SortedVideos, Video, sort_videos

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video make its clips.

    A clip is ``length`` frames, ``stride`` apart. Clips begin every ``every`` frames, as torchvision's
    ``step_between_clips``; ``clips``: so many of a video, spread evenly over it, or None for all that fit.
    """

    length: int
    stride: int
    every: int
    clips: int | None

    @property
    def span(self) -> int:
        """Frames from a clip's first to its last."""
        return (self.length - 1) * self.stride + 1

    def starts(self, frames: int) -> list[int]:
        """Return the first frame of every clip of a video; none where it is shorter than a clip."""
        last = frames - self.span
        if last < 0:
            return []
        if self.clips is None:
            return list(range(0, last + 1, self.every))
        places = [(2 * index + 1) * last / (2 * self.clips) for index in range(self.clips)]
        return sorted({int(place) for place in places})

    def places(self, start: int) -> list[int]:
        """Return the frames of the clip that begins at ``start``."""
        return list(range(start, start + self.span, self.stride))


@dataclass(frozen=True)
class Clip:
    """A clip: its video, the place of that in its split, and its first frame."""

    video: Video
    number: int
    start: int


def open_source(request: Request) -> Recordings:
    """Return the clips of a folder of videos, of the model's steps and size.

    Raises DataError: a folder or file is missing, no clip fits into a video, or its frames cannot be counted.
    """
    root, option = locate(request.spec.path), request.spec.option
    wanted = option("split")
    found = sort_videos(root, option("classes") or "name", None if wanted is None else int(wanted))
    stride = int(option("stride") or 1)
    every, clips = option("every"), option("clips") or "all"
    length = request.steps
    sampling = Sampling(length, stride, int(every or length * stride), None if clips == "all" else int(clips))
    counts = _counted(request, found)
    table, short = _clips(found, counts, sampling)
    chosen = {split: _limited(request, split, table[split]) for split in SPLITS}
    content, hashed = _hashed(request, found, chosen)
    fit = Fitting.of(option("resize"), request.image_size, option("filter") or FILTERS[0])
    read = partial(_read, sampling=sampling, fit=fit)
    return Recordings(
        classes=found.classes,
        fingerprint={"content": content, "every": sampling.every, "labels": _labels(chosen)},
        split=noted(request, f"{found.how}{_said(short, sampling)}", hashed),
        read=lambda: {split: _samples(request, chosen[split], read) for split in SPLITS},
        orders=class_orders(found.classes),
        pixels=_pixels(request, fit),
    )


def _pixels(request: Request, fit: Fitting) -> Pixels:
    mean, std = (request.spec.option(name) or "imagenet" for name in ("mean", "std"))
    return Pixels(channels_of(mean, MEANS), channels_of(std, DEVIATIONS), f"RGB, {fit}", still=False)


def _labels(chosen: dict[str, list[Clip]]) -> dict[str, list[int]]:
    """Return which video each clip is of: a list may sort the same files otherwise."""
    return {split: [one.number for one in clips] for split, clips in chosen.items()}


def _clips(
    found: SortedVideos, counts: dict[Path, int], sampling: Sampling
) -> tuple[dict[str, list[Clip]], list[Path]]:
    """Return all clips by split, in the order of the videos, and the videos that are shorter than a clip."""
    table: dict[str, list[Clip]] = {}
    short: list[Path] = []
    for split, videos in found.splits.items():
        table[split] = []
        for number, video in enumerate(videos):
            starts = sampling.starts(counts[video.path])
            short += [] if starts else [video.path]
            table[split] += [Clip(video, number, start) for start in starts]
        if not table[split]:
            raise DataError(
                f"{found.root}: no video of {split} has the {sampling.span} frames of a clip "
                f"({sampling.length} frames, {sampling.stride} apart).",
                "Take a model of fewer steps, or a smaller 'stride'.",
            )
    return table, short


def _said(short: Sequence[Path], sampling: Sampling) -> str:
    if not short:
        return ""
    said = f"{len(short)} videos with fewer than {sampling.span} frames left out"
    _LOG.warning("%s (such as %s).", said, short[0])
    return f"; {said}"


def _limited(request: Request, split: str, clips: list[Clip]) -> list[Clip]:
    labels = np.array([one.video.label for one in clips], dtype=np.int64)
    kept = limited(np.arange(len(clips)), labels, request.spec.limit(split))
    return [clips[index] for index in kept]


def _hashed(request: Request, found: SortedVideos, chosen: dict[str, list[Clip]]) -> tuple[str, dict[str, Hashed]]:
    """Return one hash of all files that are read, and by split the videos with a hash of each."""
    videos = {split: list(dict.fromkeys(one.video for one in clips)) for split, clips in chosen.items()}
    parts = {video: files_of(video.path) for own in videos.values() for video in own}
    files = [file for own in parts.values() for file in own]
    content = hash_files(found.root, files, request.cache, request.progress)
    hashes, at = {}, 0
    for video, own in parts.items():
        hashes[video] = " ".join(content.files[at : at + len(own)])
        at += len(own)
    rows = {
        split: Hashed([one.path for one in own], [one.label for one in own], [hashes[one] for one in own])
        for split, own in videos.items()
    }
    return content.total, rows


def _counted(request: Request, found: SortedVideos) -> dict[Path, int]:
    """Return how many frames each video has; of encoded files that is remembered in the cache."""
    paths = list(dict.fromkeys(one.path for videos in found.splits.values() for one in videos))
    notes = request.cache / "videos.json"
    before = {name: one for name, one in remembered(notes).items() if isinstance(one, int) and one > 0}
    now: dict[str, int] = {}
    counts: dict[Path, int] = {}
    for done, path in enumerate(paths):
        if path.suffix.lower() in ENCODED and not path.is_dir():
            facts = path.stat()
            key = f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}"
            now[key] = counts[path] = before.get(key) or frame_count(path)
            request.progress("counting frames", done + 1, len(paths))
        else:
            counts[path] = frame_count(path)
    if now.keys() - before.keys():
        remember(notes, before | now)
    return counts


def _samples(request: Request, clips: Sequence[Clip], read: partial[Iterator[np.ndarray | Damaged]]) -> Samples:
    def part(start: int, stop: int) -> Part:
        return partial(read, tuple(clips[start:stop]))

    labels = np.array([one.video.label for one in clips], dtype=np.int64)
    return Samples(labels, request.chunk, part, np.array([one.number for one in clips], dtype=np.int64))


def _read(clips: Sequence[Clip], sampling: Sampling, fit: Fitting) -> Iterator[np.ndarray | Damaged]:
    """Yield clips (T, 3, height, width) of bytes; a video is read once for all of its clips."""
    at = 0
    while at < len(clips):
        own = [one for one in clips[at:] if one.video == clips[at].video]
        at += len(own)
        try:
            frames = read_frames(own[0].video.path, _wanted(own, sampling), fit)
        except DataError as error:
            yield from [Damaged.of(str(own[0].video.path), error)] * len(own)
            continue
        for one in own:
            yield np.stack([frames[place] for place in sampling.places(one.start)])


def _wanted(clips: Sequence[Clip], sampling: Sampling) -> list[int]:
    return sorted({place for one in clips for place in sampling.places(one.start)})
