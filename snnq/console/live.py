"""The live view of long work on a terminal: a bar for every stage, and below them the parts of its facts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from snnq.base.progress import Progress
from snnq.console.printing import rich_console, safe
from snnq.console.progress import Facts, whole_facts

BAR = 30


@contextmanager
def live_view() -> Iterator[Progress]:
    """Give a ``Progress`` that draws on stderr, a few times a second."""
    columns = (TextColumn("{task.description}"), BarColumn(12), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    console = rich_console(sys.stderr)
    bars, tasks, parts = Bars(*columns, console=console), {}, Parts()
    with Live(Group(bars, parts), console=console, refresh_per_second=4):

        def show(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(safe(stage, sys.stderr), total=total)
            bars.update(tasks[stage], completed=done, total=total)
            parts.take(stage, facts, ended=done >= total)

        yield show


class Parts:
    """What is drawn of a stage's facts: a line of the whole ones, and of each part a bar to one scale.

    Parts that are words are a line each. All vanish when their stage ends: there is no room for them beside its bar.
    """

    def __init__(self) -> None:
        self.stage, self.facts = "", {}
        self.largest: dict[str, float] = {}

    def take(self, stage: str, facts: Facts, *, ended: bool = False) -> None:
        """Take over the newest facts of a stage."""
        if not facts and stage != self.stage:
            return
        self.stage, self.facts = stage, {} if ended else facts
        for name, value in self.facts.items():
            if "." in name and not isinstance(value, str):
                whole = name.partition(".")[0]
                self.largest[whole] = max(self.largest.get(whole, 0.0), float(value))

    def lines(self) -> list[str]:
        """Return the lines as they are drawn, without colours."""
        parts = {name: value for name, value in self.facts.items() if "." in name}
        width = max((len(name.partition(".")[2]) for name in parts), default=0)
        whole = safe(whole_facts(self.facts), sys.stderr)
        return [f"  {whole}"] * bool(whole) + [self._line(name, value, width) for name, value in parts.items()]

    def _line(self, name: str, value: float | int | str, width: int) -> str:
        whole, _, part = name.partition(".")
        if isinstance(value, str):
            return f"  {part.ljust(width)}  {safe(value, sys.stderr)}"
        length = round(BAR * float(value) / (self.largest[whole] or 1.0))
        return f"  {part.ljust(width)}  {'█' * length}{'░' * (BAR - length)} {value:6.2f} {whole}"

    def __rich__(self) -> Text:
        return Text("\n".join(self.lines()), no_wrap=True, overflow="ellipsis")
