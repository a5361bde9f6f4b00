"""torch, imported when it is first used: plans, costs and the integer engine do without it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
else:

    class _Torch:
        def __getattr__(self, name: str) -> object:
            return getattr(sys.modules.get("torch") or import_module("torch"), name)

    torch = _Torch()
