"""Which generator a word names, opened with what it takes; a new one is a file and a branch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from snnq.base.errors import UsageError
from snnq.base.progress import Progress
from snnq.base.strict_json import Json
from snnq.calibrating.choosing import Judges
from snnq.calibrating.few import FewShots, few_shots
from snnq.calibrating.glyphs import Glyphs
from snnq.calibrating.inversion import Inversion
from snnq.calibrating.noise import Noise
from snnq.calibrating.norm_inputs import norms_of
from snnq.calibrating.own_pictures import OwnPictures
from snnq.calibrating.pictures import LUMA, Camera, Generator
from snnq.calibrating.settings import CalibrateSettings
from snnq.calibrating.steering import learn_style
from snnq.data.dataset import Frames


@dataclass(frozen=True)
class Sources:
    """What generators are made from: the model and its name, its frames' shape, class names, and the user's files."""

    model: nn.Module
    path: str
    shape: tuple[int, int, int, int]
    names: Sequence[str]
    camera: Camera
    device: torch.device
    fonts: Path | None = None
    templates: Path | None = None


def open_generator(sources: Sources, settings: CalibrateSettings, progress: Progress) -> Generator:
    """Return the generator that the settings name; raises what opening it raises, before anything is made."""
    one, camera = settings, sources.camera
    if one.kind == "glyphs":
        return Glyphs(camera, sources.names, sources.fonts)
    if one.kind == "images":
        return OwnPictures(camera, Path(one.source).expanduser(), sources.names, one.candidates)
    if one.kind == "inversion":
        count = len(sources.names)
        return Inversion(sources.model, sources.path, sources.shape, count, one, sources.device, progress)
    if one.kind == "diffusers":
        from snnq.calibrating.text_to_image import TextToImage

        return TextToImage(camera, sources.names, one, sources.templates, sources.device)
    return Noise(camera)


def open_few(
    spec: str,
    generator: Generator,
    judges: Judges,
    names: tuple[str, ...],
    settings: CalibrateSettings,
    shape: tuple[int, int, int, int],
    progress: Progress,
) -> FewShots:
    """Return the few real samples that steer a generator; raises UsageError where none can.

    Glyphs are steered by events, or by pictures before the camera; a text-to-image pipeline by pictures.
    """
    size = (shape[2], shape[3])
    if isinstance(generator, Glyphs):
        norms_of(judges.model, judges.path)
    elif settings.kind == "diffusers":
        from snnq.calibrating.text_to_image import side_of

        side = side_of(generator, settings)
        size = (side, side)
    else:
        raise UsageError(f"--few-shot steers glyphs and diffusers, not {settings.kind}", "leave --few-shot away")
    found = few_shots(spec, names, settings.shots, shape[0], size, settings.seed, progress)
    if settings.kind == "diffusers" and found.samples.pixels is None:
        raise UsageError(
            f"--few-shot {spec}: a text-to-image pipeline learns from pictures, and these are events",
            "--few-shot images:DIR, with a folder a class",
        )
    return found


def steered(
    generator: Generator,
    judges: Judges,
    few: FewShots,
    names: tuple[str, ...],
    settings: CalibrateSettings,
    progress: Progress,
) -> tuple[Generator, Json]:
    """Return the generator as the few real samples steer it, and what was learned of them."""
    if isinstance(generator, Glyphs):
        shown = replace(few.samples, frames=_events(few.samples, generator.camera), pixels=None)
        found = learn_style(judges, generator, shown, progress)
        generator.style = found.style
        return generator, found.to_dict()
    from snnq.calibrating.text_to_image import steer

    return generator, steer(generator, few, names, settings, progress)


def _events(samples: Frames, camera: Camera) -> np.ndarray:
    """Return the frames (n, T, 2, H, W) of samples, pictures being shown to the camera."""
    if samples.pixels is None:
        return samples.frames
    grey = np.tensordot(np.asarray(samples.frames[:, 0], np.float64) / 255, LUMA, (1, 0))
    return np.stack(camera.shoot(grey, list(range(len(grey)))))
