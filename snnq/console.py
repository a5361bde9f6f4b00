"""The one place that prints. Data goes to stdout; progress, hints and errors go to stderr.

On a terminal, long work shows a live bar; elsewhere one sparse line now and then. ``NO_COLOR`` and terminals
without UTF-8 are respected. Of several processes that work on one run, the first one prints.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from snnq.errors import SnnqError
from snnq.progress import Progress, silent

if TYPE_CHECKING:
    from rich.console import Console

SPARSE_SECONDS = 15.0


def _console(stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # A pipe has no width of its own: wide enough that no cell is cut.
    width = None if stream.isatty() or "COLUMNS" in os.environ else 200
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=False)


def speaks() -> bool:
    """True in the process that prints: the only one, or the first of those that work together."""
    distributed = sys.modules.get("torch.distributed")  # not imported for this: --help is fast
    if distributed and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    # Before they have met: what torchrun or Fabric numbered them.
    number = "RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "LOCAL_RANK"
    return os.environ.get(number, "0") == "0"


def _plain() -> bool:
    """True where the terminal cannot show UTF-8."""
    return "utf" not in (sys.stdout.encoding or "").lower()


def _safe(text: str) -> str:
    """Return text a terminal can show: control characters escaped, non-ASCII replaced where it must be."""
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    return text.encode("ascii", "replace").decode() if _plain() else text


def out(text: str) -> None:
    """Print data to stdout, unchanged but for what the terminal cannot show."""
    if speaks():
        sys.stdout.write(_safe(text) + "\n")


def note(text: str) -> None:
    """Print a remark to stderr."""
    if speaks():
        _to_stderr(text)


def _to_stderr(text: str) -> None:
    sys.stderr.write(_safe(text) + "\n")
    sys.stderr.flush()


def next_step(command: str) -> None:
    """Print the next command to type, to stderr."""
    note(f"Next: {command}")


def emit_json(value: Any) -> None:
    """Print one JSON object to stdout."""
    if speaks():
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table to stdout; columns whose every cell looks like a number are right-aligned."""
    if not speaks():
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [[_safe("–" if cell is None else str(cell)) for cell in row] for row in rows]
    view = Table(
        title=Text(_safe(title)) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.ASCII2 if _plain() else box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, column in enumerate(columns):
        numeric = bool(cells) and all(_looks_numeric(row[i]) for row in cells)
        view.add_column(Text(_safe(column)), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        view.add_row(*map(Text, row))
    _console(stderr=False).print(view)


def _looks_numeric(cell: str) -> bool:
    return cell[:1] in "+-–0123456789" or cell in ("?", "")


def error(problem: SnnqError) -> None:
    """Print an error and its hint to stderr, whichever process found it."""
    _to_stderr(f"Error: {problem.message}")
    if problem.hint:
        _to_stderr(f"Hint: {problem.hint}")


def _facts(facts: dict[str, float | int | str]) -> str:
    shown = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts.items())
    return "  ".join(shown)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


@contextmanager
def progress_view() -> Iterator[Progress]:
    """Give a ``Progress`` that shows bars on a terminal and a sparse line elsewhere, on stderr."""
    if not speaks():
        yield silent
    elif sys.stderr.isatty() and not _plain():
        with _live_view() as view:
            yield view
    else:
        yield _sparse_view()


def _sparse_view() -> Progress:
    last: dict[str, float] = {}
    begun: dict[str, tuple[float, int]] = {}

    def show(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
        now = time.monotonic()
        since, first = begun.setdefault(stage, (now, done))  # a resumed stage does not begin at 0
        finished = done >= total
        # A stage says when it starts and when it ends, and now and then between them.
        if not finished and now - last.get(stage, -SPARSE_SECONDS) < SPARSE_SECONDS:
            return
        last[stage] = now
        elapsed = now - since
        known = first < done < total and elapsed > 1
        left = f"  {_clock(elapsed / (done - first) * (total - done))} left" if known else ""
        note(f"{stage}: {done}/{total}{left}  {_facts(facts)}".rstrip())

    return show


@contextmanager
def _live_view() -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Facts(TextColumn):
        def render(self, task: Any) -> Text:
            return Text(task.fields["facts"], style="dim")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        Facts(""),
    )
    with Bars(*columns, console=_console(stderr=True), refresh_per_second=4) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_safe(stage), total=total, facts="")
            bars.update(tasks[stage], completed=done, total=total, facts=_facts(facts))

        yield show
