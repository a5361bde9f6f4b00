"""Lightning Fabric as every loop starts it: one device now."""

from __future__ import annotations

import warnings

import torch
from lightning_fabric import Fabric

from snnq.errors import UsageError, nearest

DEVICES = ("auto", "cpu", "cuda", "mps")


def start_fabric(device: str = "auto") -> Fabric:
    """Return a launched Fabric on one device; ``auto`` takes an accelerator if there is one.

    Raises UsageError for a device that is unknown or not there.
    """
    if device not in DEVICES:
        raise UsageError(f"--device {device}: allowed are {', '.join(DEVICES)}{nearest(device, DEVICES)}")
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in there and not there[device]():
        raise UsageError(f"--device {device}: PyTorch finds no such device here", "--device cpu; see also: snnq doctor")
    with warnings.catch_warnings():
        # Fabric proposes more devices than were asked for.
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
        fabric = Fabric(accelerator=device, devices=1)
        fabric.launch()
    return fabric
