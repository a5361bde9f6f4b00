"""Lightning Fabric as every loop starts it: one device now."""

from __future__ import annotations

import warnings

from lightning_fabric import Fabric


def start_fabric(device: str = "auto") -> Fabric:
    """Return a launched Fabric on one device: ``auto`` (an accelerator if there is one), ``cpu``, ``cuda``, ``mps``."""
    with warnings.catch_warnings():
        # Fabric proposes more devices than were asked for.
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
        fabric = Fabric(accelerator=device, devices=1)
        fabric.launch()
    return fabric
