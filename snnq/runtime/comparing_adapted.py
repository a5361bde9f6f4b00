"""One batch through both engines with an adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from snnq.base.errors import VerificationError
from snnq.packed.adapted import Adapted, load_adapted
from snnq.packed.adapter import Adapter
from snnq.packed.config import read_config
from snnq.packed.room import check_room, within_memory
from snnq.packed.safefile import REPACK
from snnq.runtime.adapted import AdaptedEngine
from snnq.training.devices import Compute
from snnq.training.threads import keeps_threads, use_threads

SAMPLES = 2


@keeps_threads
def compare_adapted(folder: str | Path, adapter: Adapter, seed: int = 0) -> int:
    """Run a batch of random event counts with an adapter on torch and on the integer engine; return how many samples.

    Raises VerificationError where the logits differ, PackedError where the sizes take more memory than there is.
    """
    place = Path(folder)
    config = read_config(place).config
    check_room(place, config, SAMPLES)
    with within_memory(place, config):
        engine, model = AdaptedEngine(place, adapter), load_adapted(place, adapter)
        assert isinstance(model, Adapted)
        use_threads(Compute(), engine.macs * SAMPLES)
        frames = np.random.default_rng(seed).poisson(0.3, (SAMPLES, *engine.config.frames_shape)).astype(np.uint8)
        logits = engine(frames)
        engine.workers.close()
        with torch.inference_mode():
            due = model(torch.from_numpy(frames.astype(np.float32))).numpy()
    if not np.array_equal(logits, due):
        said = f"{adapter.path}: the logits with it differ between torch and the integer engine"
        raise VerificationError(said, f"please report this; {REPACK}")
    return SAMPLES
