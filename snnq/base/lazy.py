"""torch, imported when it is first used: plans, costs and the integer engine do without it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


class _Torch:
    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules.get("torch") or import_module("torch"), name)


torch = _Torch()
