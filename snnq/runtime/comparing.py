"""One batch through both engines, neuron by neuron."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic.whole_modules import WHOLE_NEURONS
from snnq.base.errors import VerificationError
from snnq.models.registry import attention_table
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed, take_steps
from snnq.packed.room import check_room, within_memory
from snnq.packed.safefile import REPACK
from snnq.runtime.engine import Engine
from snnq.runtime.streams import spike_count, unpack
from snnq.training.devices import Compute
from snnq.training.threads import keeps_threads, use_threads

SAMPLES = 2
MOST_STEPS = 64  # what these show, a thousand would


@dataclass(frozen=True)
class Agreement:
    """What was compared: ``samples`` of random counts in ``steps`` time steps, layers of ``neurons`` and ``spikes``."""

    samples: int
    steps: int
    neurons: int
    spikes: int


@keeps_threads
def compare_engines(folder: str | Path, seed: int = 0) -> Agreement:
    """Run a batch of random event counts, or of bytes, of ``MOST_STEPS`` time steps at most, on torch and the engine.

    Raises VerificationError naming the first layer of neurons whose spikes differ, or the logits, and PackedError where
    the sizes in config.json take more memory than there is.
    """
    folder, read = Path(folder), read_config(Path(folder))
    config, products = read.config, attention_table(read.architecture, read.config)
    chunk = int(config.get("chunk") or config.get("key_stride") or 1)  # what is run at once
    steps = min(int(config["steps"]), max(MOST_STEPS // chunk, 1) * chunk)
    check_room(folder, config, 1)  # of all its steps: more than that is no model's
    check_room(folder, config, SAMPLES, steps, max((one.heads * one.tokens**2 for one in products), default=0))
    with within_memory(folder, config):
        return _compare(folder, steps, seed)


def _compare(folder: Path, steps: int, seed: int) -> Agreement:
    engine, model = Engine(folder), load_packed(folder)
    take_steps(model, steps)
    engine.config = replace(engine.config, steps=steps)  # pyright: ignore[reportArgumentType]
    engine.head = engine.heads.after(steps)
    use_threads(Compute(), engine.macs * SAMPLES)
    draw, shape, pixels = np.random.default_rng(seed), (SAMPLES, *engine.config.frames_shape), engine.pixels
    frames = (draw.poisson(0.3, shape) if pixels is None else draw.integers(0, 256, shape)).astype(np.uint8)
    given = frames.astype(np.float32) if pixels is None else pixels.reals(frames)
    mine: dict[str, np.ndarray] = {}
    logits = engine(frames, lambda neuron, spikes: mine.__setitem__(neuron, spikes))
    engine.workers.close()

    def check(neuron: str, module: nn.Module, spikes: object) -> None:
        assert isinstance(module, WHOLE_NEURONS)
        assert isinstance(spikes, Tensor)
        due = module.by_pixel(spikes)
        differ = int((unpack(mine[neuron], due.shape[-1]) != due).sum())
        if differ:
            raise VerificationError(
                f"neurons {neuron}: {differ} of {due.size} spikes differ between torch and the integer engine",
                "please report this",
            )

    for name, module in model.named_modules():
        if isinstance(module, WHOLE_NEURONS):
            module.register_forward_hook(lambda module, _, spikes, name=name: check(name, module, spikes))
    with torch.inference_mode():
        due = model(torch.from_numpy(given)).numpy()
    if not np.array_equal(logits, due):
        raise VerificationError(f"{folder}: the head's logits differ between torch and the integer engine", REPACK)
    return Agreement(SAMPLES, steps, len(mine), sum(map(spike_count, mine.values())))
