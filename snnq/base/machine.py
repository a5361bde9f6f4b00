"""What this runs on: system, processor, versions that results depend on, and how many threads its work should have."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "spikingjelly", "numpy")
# One thread for so many multiply-accumulates of a batch's forward pass, and no more than so many threads. With less to
# do, threads mostly wait for each other: beside another job that is five times slower, and alone hardly faster.
MACS_A_THREAD, MOST_THREADS = 2 * 10**9, 8


def machine() -> dict[str, str]:
    """Return facts by name; the same machine with the same libraries gives the same facts."""
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count() or 1),
        "python": platform.python_version(),
    }
    return found | {name: installed_version(name) or "unknown" for name in LIBRARIES}


def sentence(facts: dict[str, str]) -> str:
    """Return the facts as one line."""
    kept = dict(facts)
    place = ", ".join(kept.pop(name) for name in ("system", "processor") if kept.get(name))
    return f"{place}; {', '.join(f'{name} {value}' for name, value in kept.items())}"


def fitting_threads(macs: int, processes: int = 1) -> int:
    """Return how many threads a batch of ``macs`` multiply-accumulates is worth: the same wherever there are so many.

    Never more than each of ``processes`` has processors, nor than OMP_NUM_THREADS says.
    """
    return max(1, min(macs // MACS_A_THREAD, MOST_THREADS, available_processors() // processes, _omp_limit()))


def available_processors() -> int:
    """Return on how many processors this process may run: its affinity and its control group's quota."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the processors that Linux' control group (version 2, or 1) allows, rounded up; many without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota, period = (
                (root / f"cpu/cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period")
            )
        except (OSError, ValueError):
            return 2**16
    unlimited = not quota.isdigit() or not period.isdigit() or int(period) == 0
    return 2**16 if unlimited else max(1, math.ceil(int(quota) / int(period)))


def _omp_limit() -> int:
    """Return what OMP_NUM_THREADS allows: its first number, if it is one."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdigit() and int(first) > 0 else 2**16


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


def installed_version(name: str) -> str | None:
    """Return the version of a library; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


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
