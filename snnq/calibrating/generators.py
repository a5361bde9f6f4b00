"""Which generator a word names, opened with what it takes; a new one is a file and a branch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from snnq.base.progress import Progress
from snnq.calibrating.glyphs import Glyphs
from snnq.calibrating.inversion import Inversion
from snnq.calibrating.noise import Noise
from snnq.calibrating.own_pictures import OwnPictures
from snnq.calibrating.pictures import Camera, Generator
from snnq.calibrating.settings import CalibrateSettings


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
    prompts: Path | None = None


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

        return TextToImage(camera, sources.names, one, sources.prompts, sources.device)
    return Noise(camera)
