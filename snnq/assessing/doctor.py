"""What ``snnq doctor`` looks at."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib.metadata import version

from snnq.base.machine import available_processors, installed_version
from snnq.base.version import __version__

LIBRARIES = ("torch", "spikingjelly", "lightning-fabric", "safetensors", "numpy", "tonic", "pydantic", "typer")
# PyTorch's companions, which SpikingJelly brings. snnq needs neither, but training scripts do; of another build than
# torch they cannot be imported.
COMPANIONS = ("torchvision", "torchaudio")


def diagnose() -> dict[str, str]:
    """Return facts about the machine by name; the last one is the time of a small training step, in ms."""
    import torch

    from snnq.data import cache_root
    from snnq.models.registry import build

    found = {"snnq": __version__, "python": platform.python_version(), "platform": platform.platform()}
    found |= {name: version(name) for name in LIBRARIES}
    found |= companions()
    found["processors"] = str(available_processors())
    found["threads"] = "by the size of the work, 8 at most"
    found["accelerator"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none (CPU only)"
    found["cache"] = str(cache_root())
    config = {"in_channels": 2, "image_size": [16, 16], "dim": 64, "depth": 1, "heads": 4, "steps": 4}
    model = build("spikformer-cifar10dvs", config)
    frames = torch.ones(8, 4, 2, 16, 16)
    begun = time.perf_counter()
    model(frames).sum().backward()
    found["small training step"] = f"{(time.perf_counter() - begun) * 1000:.0f} ms"
    return found


def companions(names: tuple[str, ...] = COMPANIONS) -> dict[str, str]:
    """Return the versions of PyTorch's companions that are installed; of one that cannot be imported, why.

    They are tried in a process of their own: an import that fails half-way leaves torch changed.
    """
    there = {name: known for name in names if (known := installed_version(name))}
    done = subprocess.run([sys.executable, "-c", _TRY, *there], capture_output=True, text=True, errors="replace")
    reasons = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    return {
        name: known + (f"; it cannot be imported: {reasons[name]}" if name in reasons else "")
        for name, known in there.items()
    }


_TRY = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as problem:
        print(name, type(problem).__name__ + ":", " ".join(str(problem).split()))
"""


def advice(found: dict[str, str]) -> list[str]:
    """Return what to do about what was found, one sentence each; nothing where all is well."""
    broken = [name for name in COMPANIONS if "cannot be imported" in found.get(name, "")]
    if not broken:
        return []
    build = found["torch"].partition("+")[2]
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    wanted = " ".join(f"{name}=={found[name].partition(';')[0].partition('+')[0]}" for name in broken)
    return [
        f"{' and '.join(broken)} cannot be imported, probably because of another build than torch {found['torch']}. "
        f"snnq works without; to mend it: pip install --force-reinstall --no-deps {wanted}{index}"
    ]
