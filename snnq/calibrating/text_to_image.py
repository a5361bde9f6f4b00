"""``diffusers:MODEL``: a text-to-image pipeline from a folder or the hub draws the classes; its pictures become events.

Nothing of a pipeline is unpickled and no code of it is run: weights must be safetensors, and every part a class of
diffusers or transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnq.base.errors import DataError, UsageError
from snnq.base.files import read_text
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import strict_json
from snnq.calibrating.few import FewShots
from snnq.calibrating.pictures import LUMA, Camera, Candidate, Generator, draw
from snnq.calibrating.settings import CalibrateSettings
from snnq.data.cache import cache_root, content_hash
from snnq.data.fingerprint import hash_files

# As StableQ has them: an adjective and the class.
_ADJECTIVES = ("good", "bad", "blurry", "bright", "dark", "close-up", "large", "small", "clean", "cropped")
TEMPLATES = tuple(f"a {one} photo of a {{class}}" for one in _ADJECTIVES)
_LIBRARIES = ("diffusers", "transformers")
_INDEX = "model_index.json"


class TextToImage:
    """Candidate i is of class i modulo their number; prompt and noise are drawn by its number."""

    together = 4

    def __init__(
        self,
        camera: Camera,
        names: Sequence[str],
        settings: CalibrateSettings,
        templates: Path | None,
        device: torch.device,
    ) -> None:
        self.camera, self.names, self.settings = camera, names, settings
        self.templates = read_templates(templates) if templates else TEMPLATES
        self.pipeline, self.facts = _open(settings.source, device)
        if templates:
            self.facts = {**self.facts, "templates_sha256": content_hash({"templates": self.templates})}

    def make(self, start: int, stop: int) -> list[Candidate]:
        """Return candidates start … stop − 1, drawn in batches of four whatever is asked for."""
        found: list[Candidate] = []
        for first in range(start, stop, self.together):
            found += self._batch(first)
        return found[: stop - start]

    def _batch(self, first: int) -> list[Candidate]:
        numbers = list(range(first, first + self.together))
        names = [self.names[number % len(self.names)] for number in numbers]
        random = [draw(self.camera.seed, number) for number in numbers]
        templates = [self.templates[int(one.integers(len(self.templates)))] for one in random]
        sentences = [one.replace("{class}", name) for one, name in zip(templates, names, strict=True)]
        seeds = [int(one.integers(2**31)) for one in random]
        size = {} if self.settings.pixels is None else {"height": self.settings.pixels, "width": self.settings.pixels}
        drawn = self.pipeline(
            sentences,
            guidance_scale=self.settings.guidance,
            num_inference_steps=self.settings.denoising,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
            **size,
        ).images
        frames = self.camera.shoot(square(np.asarray(drawn, np.float64) @ LUMA), numbers)
        return [
            Candidate(one, number % len(self.names), {"prompt": sentence, "seed": seed})
            for one, number, sentence, seed in zip(frames, numbers, sentences, seeds, strict=True)
        ]


def square(pictures: np.ndarray) -> np.ndarray:
    """Return the middle squares of pictures (n, h, w)."""
    height, width = pictures.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pictures[:, top : top + side, left : left + side].clip(0, 1)


def read_templates(path: Path) -> tuple[str, ...]:
    """Return the templates of a file, one a line; raises UsageError for one without {class}."""
    try:
        lines = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    except (OSError, ValueError) as problem:
        raise UsageError(f"--prompts {path}: cannot be read ({problem})") from None
    wrong = next((line for line in lines if "{class}" not in line), None)
    if wrong is not None or not lines:
        raise UsageError(f"--prompts {path}: every line needs {{class}}, found '{wrong or ''}'")
    return lines


def _open(name: str, device: torch.device) -> tuple[Any, Mapping[str, object]]:
    """Return the pipeline on a device, and its facts: versions, and a sha256 over its files.

    Raises UsageError without diffusers, DataError for what is no such pipeline.
    """
    try:
        diffusers, transformers = import_module("diffusers"), import_module("transformers")
    except ImportError:
        raise UsageError(
            "--generator diffusers needs the library of that name", "pip install 'snnq[diffusers]'"
        ) from None
    try:
        local = Path(name).expanduser()
        folder = local if local.is_dir() else Path(diffusers.DiffusionPipeline.download(name, use_safetensors=True))
        check_parts(folder)
        pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
            folder, use_safetensors=True, local_files_only=True
        )
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, ImportError) as problem:
        said = " ".join(str(problem).split())[:300]
        raise DataError(f"{name}: no text-to-image pipeline of safetensors ({said})") from None
    pipeline.set_progress_bar_config(disable=True)
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    content = hash_files(folder, files, cache_root(), silent).total
    versions = {"diffusers": diffusers.__version__, "transformers": transformers.__version__}
    return pipeline.to(device), {"pipeline": type(pipeline).__name__, "pipeline_sha256": content, **versions}


def check_parts(folder: Path) -> None:
    """Raise DataError unless every part of a pipeline is a class of diffusers or transformers."""
    try:
        index = strict_json(read_text(folder / _INDEX))
        parts = {key: value for key, value in index.items() if not key.startswith("_") and isinstance(value, list)}
        named = index["_class_name"]
    except (OSError, ValueError, KeyError, AttributeError) as problem:
        raise DataError(f"{folder}: no {_INDEX} of a pipeline ({problem})") from None
    strange = [key for key, (library, *_) in parts.items() if library not in (None, *_LIBRARIES)]
    if not isinstance(named, str) or strange:
        raise DataError(
            f"{folder / _INDEX}: {strange[0] if strange else '_class_name'} is code of its own, which is not run"
        )


def side_of(generator: Generator, settings: CalibrateSettings) -> int:
    """Return the side in pixels of the pictures that a pipeline draws."""
    assert isinstance(generator, TextToImage)
    pipeline = generator.pipeline
    return settings.pixels or int(pipeline.unet.config.sample_size) * int(pipeline.vae_scale_factor)


def steer(
    generator: Generator, few: FewShots, names: Sequence[str], settings: CalibrateSettings, progress: Progress
) -> dict[str, object]:
    """Teach the pipeline a word for the style of few pictures, and add it to every prompt; return what was learned."""
    from snnq.calibrating.steering_text import STYLED, WORD, learn_word

    assert isinstance(generator, TextToImage)
    pictures = torch.from_numpy(np.asarray(few.samples.frames[:, 0], np.float32)) / 127.5 - 1
    called = [names[int(label)] for label in few.samples.labels]
    losses = learn_word(generator.pipeline, pictures, called, settings.rounds, settings.seed, progress)
    generator.templates = tuple(one + STYLED for one in generator.templates)
    tenth = max(1, len(losses) // 10)
    return {
        "word": WORD,
        "steps": len(losses),
        "loss_first": sum(losses[:tenth]) / tenth,
        "loss_last": sum(losses[-tenth:]) / tenth,
    }
