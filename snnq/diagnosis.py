"""What ``snnq doctor`` looks at."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version

from snnq import __version__

LIBRARIES = ("torch", "spikingjelly", "lightning-fabric", "safetensors", "numpy", "tonic", "pydantic", "typer")


def diagnose() -> dict[str, str]:
    """Return facts about the machine by name; the last one is the time of a small training step, in ms."""
    import torch

    from snnq.data import cache_root
    from snnq.models.registry import build

    found = {"snnq": __version__, "python": platform.python_version(), "platform": platform.platform()}
    found |= {name: version(name) for name in LIBRARIES}
    found["cores"] = str(os.cpu_count())
    found["threads"] = str(torch.get_num_threads())
    found["accelerator"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none (CPU only)"
    found["cache"] = str(cache_root())
    config = {"in_channels": 2, "image_size": [16, 16], "dim": 64, "depth": 1, "heads": 4, "steps": 4}
    model = build("spikformer-cifar10dvs", config)
    frames = torch.ones(8, 4, 2, 16, 16)
    begun = time.perf_counter()
    model(frames).sum().backward()
    found["small training step"] = f"{(time.perf_counter() - begun) * 1000:.0f} ms"
    return found
