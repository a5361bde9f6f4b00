"""Which videos are for training, validation and test: by folders, by UCF101's or HMDB51's lists, or by the tenth.

Videos that were cut from one recording, such as UCF101's ``v_…_g08_c01`` to ``c07``, stay together wherever validation
or test are chosen here: a network that has seen one of them has nearly seen the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import read_text
from snnq.data.folders import class_names, split_folder
from snnq.data.formats.video import is_video
from snnq.data.splits import VALIDATION_SHARE, stratified

# Where the lists may lie, below the folder of the videos or beside it.
_LISTS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "test_train_splits")
_MORE_LISTS = ("testTrainMulti_7030_splits", "splits", "annotations")
_TAKEN, _TEST = "1", "2"  # HMDB51's marks: for training, for test; 0 for neither


@dataclass(frozen=True)
class Video:
    """A video and its label."""

    path: Path
    label: int


@dataclass(frozen=True)
class SortedVideos:
    """All videos of a set, by split, its classes, and ``how`` they were told apart."""

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, tuple[Video, ...]]
    how: str


def sort_videos(root: Path, order: str, wanted: int | None) -> SortedVideos:
    """Return the videos below <class>/, or <train|test>/<class>/, by split; ``wanted`` is the number of the lists.

    Raises DataError: a folder or list is missing, empty, or names a video that is not there.
    """
    train, test = split_folder(root, ("train",)), split_folder(root, ("test",))
    if train is not None or test is not None:
        if wanted is not None:
            raise DataError(f"{root}: it has its own folders train and test, option 'split' is for lists.", "Drop it.")
        if train is None or test is None:
            raise DataError(f"{root}: no folder '{'train' if train is None else 'test'}' beside the other one.")
        return _by_folders(root, order, train, test)
    names = {Path(one).parts[0] for one in (*_LISTS, *_MORE_LISTS)}
    classes = tuple(name for name in class_names(root, order) if name not in names)
    videos = _listed(root, classes)
    files = _list_files(root, wanted or 1)
    if not files and wanted is not None:
        tried = f"trainlist{wanted:02d}.txt and testlist{wanted:02d}.txt, or <class>_test_split{wanted}.txt"
        raise DataError(f"{root}: no lists of split {wanted} found: {tried}.", "Put them into it, or drop 'split'.")
    if files:
        marks = _marks(files)
        train_videos, test_videos = _by_marks(files, marks, videos)
        how = f"train and test as in {files[0].name}{' …' if len(files) > 1 else ''}"
        left = len(videos) - len(train_videos) - len(test_videos)
        how += f" ({left} videos are in neither)" if left else ""
    else:
        test_videos, train_videos = hold_out(videos, 0.1, classes)
        how = "test is a tenth of each class, recordings of one group together"
    return _held(root, classes, train_videos, test_videos, how)


def _by_folders(root: Path, order: str, train: Path, test: Path) -> SortedVideos:
    classes = class_names(train, order)
    strange = [name for name in class_names(test) if name not in classes]
    if strange:
        raise DataError(f"{test / strange[0]}: class '{strange[0]}' is not among the {len(classes)} of train.")
    own = split_folder(root, ("validation", "val", "valid"))
    how = "train and test as in the folders"
    if own is None:
        return _held(root, classes, _listed(train, classes), _listed(test, classes), how)
    splits = {"train": _listed(train, classes), "validation": _listed(own, classes), "test": _listed(test, classes)}
    return SortedVideos(root, classes, splits, "train, validation and test as in the folders")


def _held(
    root: Path, classes: tuple[str, ...], train: Sequence[Video], test: Sequence[Video], how: str
) -> SortedVideos:
    held, kept = hold_out(train, VALIDATION_SHARE, classes)
    share = f"{VALIDATION_SHARE:.0%}".replace("%", " %")
    said = f"{how}; validation is {share} of train's groups, by class"
    return SortedVideos(root, classes, {"train": kept, "validation": held, "test": tuple(test)}, said)


def _listed(folder: Path, classes: Sequence[str]) -> tuple[Video, ...]:
    """Return every video below <class>/, by class and name; raises DataError for a class without one."""
    found = []
    for label, name in enumerate(classes):
        place = folder / name
        inside = (
            sorted(one for one in place.iterdir() if one.name[0] != "." and is_video(one)) if place.is_dir() else []
        )
        if not inside:
            raise DataError(f"{place}: no video in it: a folder of images, .npy, .avi, .mp4, …")
        found += [Video(path, label) for path in inside]
    if not found:
        raise DataError(f"{folder}: no class folders in it; expected <class>/<video>.")
    return tuple(found)


def group_of(video: Video, classes: Sequence[str]) -> str:
    """Return what the videos of one recording share in their names: UCF101's group, HMDB51's source, or all of it."""
    stem, name = video.path.stem, classes[video.label]
    if found := re.fullmatch(r"(.+_g\d+)_c\d+", stem):
        return found[1]
    source, marked, _ = stem.partition(f"_{name}_")
    return source if marked else stem


def hold_out(
    videos: Sequence[Video], share: float, classes: Sequence[str]
) -> tuple[tuple[Video, ...], tuple[Video, ...]]:
    """Return a share of every class's groups, with all of their videos, and the videos of the other groups."""
    groups = sorted({(one.label, group_of(one, classes)) for one in videos})
    (held, _) = stratified(np.array([label for label, _ in groups], dtype=np.int64), (share,))
    chosen = {groups[index] for index in held}
    taken = tuple(one for one in videos if (one.label, group_of(one, classes)) in chosen)
    left = tuple(one for one in videos if (one.label, group_of(one, classes)) not in chosen)
    return taken, left


def _list_files(root: Path, number: int) -> list[Path]:
    """Return the published lists of a split: UCF101's train list and test list, or HMDB51's, one a class."""
    places = [place / name for place in (root, root.parent) for name in ("", *_LISTS, *_MORE_LISTS)]
    for place in places:
        both = [place / f"{split}list{number:02d}.txt" for split in ("train", "test")]
        if all(one.is_file() for one in both):
            return both
        if found := sorted(place.glob(f"*_test_split{number}.txt")):
            return found
    return []


def _marks(files: Sequence[Path]) -> dict[str, str]:
    """Return, by a video's name without its ending, whether lists have it for training (1), test (2) or neither."""
    found: dict[str, str] = {}
    for file in files:
        ucf = {"trainlist": _TAKEN, "testlist": _TEST}.get(file.name[:-6])
        try:
            lines = [line.split() for line in read_text(file).splitlines() if line.strip()]
        except ValueError:
            raise DataError(f"{file}: it is no text.") from None
        for words in lines:
            mark = ucf or words[-1]
            if mark not in ("0", _TAKEN, _TEST):
                raise DataError(f"{file}: '{' '.join(words)}' does not say 0, 1 or 2 behind the video's name.")
            name = Path(words[0]).stem
            if found.setdefault(name, mark) != mark:
                raise DataError(f"{file}: video '{name}' is in train and in test.")
    return found


def _by_marks(
    files: Sequence[Path], marks: Mapping[str, str], videos: Sequence[Video]
) -> tuple[tuple[Video, ...], tuple[Video, ...]]:
    there = {one.path.stem for one in videos}
    due = [name for name, mark in marks.items() if mark in (_TAKEN, _TEST)]
    if lacking := [name for name in due if name not in there]:
        raise DataError(
            f"{files[0].parent}: {len(lacking)} of the {len(due)} videos in its lists are not there "
            f"(such as {lacking[0]}).",
            "Fetch them, or take them out of a copy of the lists.",
        )
    return tuple(tuple(one for one in videos if marks.get(one.path.stem) == mark) for mark in (_TAKEN, _TEST))  # pyright: ignore[reportReturnType]
