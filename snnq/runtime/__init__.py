"""Running packed folders in integers on the CPU, without torch: ``Engine(path)(frames)`` → logits."""

from snnq.runtime.engine import Engine
from snnq.runtime.streams import unpack

__all__ = ["Engine", "unpack"]
