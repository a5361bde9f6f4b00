"""Libraries that snnq does not install: importing them, with one sentence where that fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from snnq.base.errors import MissingLibraryError


def require(extra: str, *modules: str) -> None:
    """Raise MissingLibraryError, saying how to install them, unless all these modules import."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as problem:
            message = f"--to {extra} needs the library '{module.partition('.')[0]}', which does not import ({problem})"
            raise MissingLibraryError(message, f"pip install 'snnq[{extra}]'") from None


@contextmanager
def broken_torchvision_hidden() -> Iterator[None]:
    """Import transformers inside this: it imports torchvision wherever that is installed.

    spikingjelly installs torchvision, and one that was built for another torch raises. Nothing here needs it.
    """
    if "torchvision" in sys.modules or not (find_spec("transformers") and find_spec("torchvision")):
        yield
        return
    try:
        import_module("torchvision")
    except Exception:
        # None in sys.modules is Python's own way to say that there is no such module.
        sys.modules["torchvision"] = None  # pyright: ignore[reportArgumentType]
        try:
            yield
        finally:
            del sys.modules["torchvision"]
    else:
        yield
