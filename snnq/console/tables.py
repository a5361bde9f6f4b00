"""Tables and coloured blocks on stdout. Colours are never all there is: every block has its letters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snnq.console.printing import is_plain, rich_console, safe, speaks

if TYPE_CHECKING:
    from rich.console import RenderableType

_BLOCKS_WIDTH = 79
_HEADING = 24


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], strong: Sequence[bool] = ()) -> None:
    """Print a table to stdout; columns whose every cell looks like a number are right-aligned.

    Rows that are ``strong`` are printed bold where the terminal can; their cells must say so too. No name and no number
    is cut or folded: where a table is too wide for the terminal, heads and sentences fold between words, and then
    columns go on below, each time with the names in front.
    """
    if not speaks():
        return
    from snnq.console.grids import grids

    cells = [[_safe("–" if cell is None else str(cell)) for cell in row] for row in rows]
    bold = [i < len(strong) and strong[i] for i in range(len(cells))]
    width = rich_console(sys.stdout).width
    _print(
        grids(_safe(title), [_safe(column) for column in columns], cells, bold, width, ascii_only=is_plain(sys.stdout))
    )


def blocks(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, str]]]]) -> None:
    """Print rows of blocks: a heading, then (name, letters, background ``#rrggbb``) of every block, folded at 80.

    With colours the letters stand on their background, without them in brackets. A long heading has a line of its own.
    """
    if not speaks():
        return
    from rich.text import Text

    console = rich_console(sys.stdout)
    coloured = console.color_system is not None and not console.no_color
    folded = min(_BLOCKS_WIDTH, console.width)
    width = min([_HEADING, *[max(len(_safe(heading)) for heading, _ in rows)] * bool(rows)])
    lines = [Text(_safe(title), style="bold")] if title else []
    for heading, members in rows:
        line = Text(_safe(heading).ljust(width))
        if len(_safe(heading)) > width:
            lines.append(line)
            line = Text(" " * width)
        for name, letters, background in members:
            name = _safe(name)
            if line.cell_len + len(name) + len(letters) + 4 > folded and line.cell_len > width:
                lines.append(line)
                line = Text(" " * width)
            line.append(f"  {name}")
            style = f"{_ink(background)} on {background}"
            line.append(f" {letters} ", style) if coloured else line.append(f"[{letters}]")
        lines.append(line)
    _print(Text("\n").join([*lines, Text()]))


def _print(view: RenderableType) -> None:
    console = rich_console(sys.stdout)
    if console.is_terminal:
        console.print(view, crop=False)
        return
    with console.capture() as captured:
        console.print(view, crop=False)
    # Rich fills lines with spaces, which a file does not need.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _safe(text: str) -> str:
    return safe(text, sys.stdout)


def _ink(background: str) -> str:
    """Return black or white, whichever can be read on a colour ``#rrggbb``."""
    red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "#ffffff"
