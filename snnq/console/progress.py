"""How long work is shown, on stderr: live on a terminal, a sparse line now and then elsewhere.

A fact whose name has a dot is a part of another one (``bits.mlp`` of ``bits``): the live view shows numbers of parts as
bars and words as a line, the sparse lines leave them out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from snnq.base.progress import Progress, silent
from snnq.console.printing import is_plain, note, speaks

SPARSE_SECONDS = 15.0

Facts = dict[str, float | int | str]


@contextmanager
def progress_view() -> Iterator[Progress]:
    """Give a ``Progress`` that shows bars on a terminal and a sparse line elsewhere, on stderr."""
    if not speaks():
        yield silent
    elif sys.stderr.isatty() and not is_plain(sys.stderr):
        from snnq.console.live import live_view

        with live_view() as view:
            yield view
    else:
        yield sparse_view()


def sparse_view() -> Progress:
    """Return a ``Progress`` that prints a line when a stage begins and ends, and now and then between."""
    last: dict[str, float] = {}
    begun: dict[str, tuple[float, int]] = {}

    def show(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
        now = time.monotonic()
        since, first = begun.setdefault(stage, (now, done))  # a resumed stage does not begin at 0
        finished = done >= total
        if not finished and now - last.get(stage, -SPARSE_SECONDS) < SPARSE_SECONDS:
            return
        last[stage] = now
        elapsed = now - since
        known = first < done < total and elapsed > 1
        left = f"  {clock(elapsed / (done - first) * (total - done))} left" if known else ""
        note(f"{stage}: {done}/{total}{left}  {whole_facts(facts)}".rstrip())

    return show


def whole_facts(facts: Facts) -> str:
    """Return the facts that are no parts of others, as one line."""
    shown = (shown_fact(name, value) for name, value in facts.items() if "." not in name)
    return "  ".join(shown)


def shown_fact(name: str, value: float | int | str) -> str:
    """Return a fact's name and value."""
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def clock(seconds: float) -> str:
    """Return seconds as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
