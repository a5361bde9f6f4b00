"""What this runs on: system, processor, and the versions that results depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "spikingjelly", "numpy")


def machine() -> dict[str, str]:
    """Return facts by name; the same machine with the same libraries gives the same facts."""
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count() or 1),
        "python": platform.python_version(),
    }
    return found | {name: _version(name) for name in LIBRARIES}


def sentence(facts: dict[str, str]) -> str:
    """Return the facts as one line."""
    kept = dict(facts)
    place = ", ".join(kept.pop(name) for name in ("system", "processor") if kept.get(name))
    return f"{place}; {', '.join(f'{name} {value}' for name, value in kept.items())}"


def free_memory() -> int | None:
    """Return how many bytes this process may still take, by the system and its own limit; None where neither says."""
    found = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found += [int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:")]
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm", encoding="ascii") as file:
                found.append(max(0, limit - int(file.read().split()[0]) * resource.getpagesize()))
    except (OSError, ValueError, ImportError):  # not on Linux
        pass
    return min(found, default=None)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    """Return the processor's name as Linux tells it, else as Python does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"
