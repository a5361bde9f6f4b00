"""The live view of long work on a terminal: a bar for every stage, and below them the parts of its facts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from snnq.console.printing import rich_console, safe
from snnq.console.progress import Facts, whole_facts
from snnq.progress import Progress

BAR = 30


@contextmanager
def live_view() -> Iterator[Progress]:
    """Give a ``Progress`` that draws on stderr, a few times a second."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        _FactsColumn(""),
    )
    console = rich_console(sys.stderr)
    bars, tasks, parts = Bars(*columns, console=console), {}, Parts()
    with Live(Group(bars, parts), console=console, refresh_per_second=4):

        def show(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(safe(stage, sys.stderr), total=total, facts="")
            bars.update(tasks[stage], completed=done, total=total, facts=whole_facts(facts))
            parts.take(stage, facts, ended=done >= total)

        yield show


class _FactsColumn(TextColumn):
    def render(self, task: Any) -> Text:
        return Text(task.fields["facts"], style="dim")


class Parts:
    """What is drawn of a stage's parts: a bar for every number, to the scale of the largest seen, and a line of words.

    They vanish when their stage ends.
    """

    def __init__(self) -> None:
        self.stage, self.facts = "", {}
        self.largest: dict[str, float] = {}

    def take(self, stage: str, facts: Facts, *, ended: bool = False) -> None:
        """Take over the newest facts of a stage."""
        found = {} if ended else {name: value for name, value in facts.items() if "." in name}
        if not found and stage != self.stage:
            return
        self.stage, self.facts = stage, found
        for name, value in found.items():
            if not isinstance(value, str):
                whole = name.partition(".")[0]
                self.largest[whole] = max(self.largest.get(whole, 0.0), float(value))

    def lines(self) -> list[str]:
        """Return the lines as they are drawn, without colours."""
        width = max((len(name.partition(".")[2]) for name in self.facts), default=0)
        return [self._line(name, value, width) for name, value in self.facts.items()]

    def _line(self, name: str, value: float | int | str, width: int) -> str:
        whole, _, part = name.partition(".")
        if isinstance(value, str):
            return f"  {part.ljust(width)}  {safe(value, sys.stderr)}"
        length = round(BAR * float(value) / (self.largest[whole] or 1.0))
        return f"  {part.ljust(width)}  {'█' * length}{'░' * (BAR - length)} {value:6.2f} {whole}"

    def __rich__(self) -> Text:
        return Text("\n".join(self.lines()), no_wrap=True, overflow="ellipsis")
