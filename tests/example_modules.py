"""The scripts of examples/, which import each other by bare names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from documents import ROOT


@contextmanager
def example_of(folder: str, *others: str) -> Iterator[ModuleType]:
    """Give ``run`` of an example; it and the ``others`` that it imports are gone afterwards."""
    names = ("run", *others)
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(ROOT / "examples" / folder))
    yield importlib.import_module("run")
    sys.path.pop(0)
    for name in names:
        sys.modules.pop(name, None)
        if (old := before[name]) is not None:
            sys.modules[name] = old
