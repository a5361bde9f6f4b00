"""Tables and coloured blocks on stdout. Colours are never all there is: every block has its letters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from snnq.console.printing import is_plain, rich_console, safe, speaks

# SIMPLE_HEAD of rich in ASCII: nothing but a line below the heads.
_ASCII_HEAD = "    \n    \n -- \n    \n    \n    \n    \n    \n"
_BLOCKS_WIDTH = 79
_HEADING = 24


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], strong: Sequence[bool] = ()) -> None:
    """Print a table to stdout; columns whose every cell looks like a number are right-aligned.

    Rows that are ``strong`` are printed bold where the terminal can; their cells must say so too.
    """
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
        box=box.Box(_ASCII_HEAD, ascii=True) if is_plain(sys.stdout) else box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, column in enumerate(columns):
        numeric = bool(cells) and all(_looks_numeric(row[i]) for row in cells)
        # A number that goes on in the next line cannot be read; names give way instead.
        view.add_column(Text(_safe(column)), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for i, row in enumerate(cells):
        view.add_row(*map(Text, row), style="bold" if i < len(strong) and strong[i] else None)
    _print(view)


def blocks(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, str]]]]) -> None:
    """Print rows of blocks: a heading, then (name, letters, background ``#rrggbb``) of every block, folded at 80.

    With colours the letters stand on their background, without them in brackets.
    """
    if not speaks():
        return
    from rich.text import Text

    console = rich_console(sys.stdout)
    coloured = console.color_system is not None and not console.no_color
    width = min([_HEADING, *[max(len(_safe(heading)) for heading, _ in rows)] * bool(rows)])
    lines = [Text(_safe(title), style="bold")] if title else []
    for heading, members in rows:
        line = Text(_cut(_safe(heading), width).ljust(width))
        for name, letters, background in members:
            name = _safe(name)
            if line.cell_len + len(name) + len(letters) + 4 > _BLOCKS_WIDTH and line.cell_len > width:
                lines.append(line)
                line = Text(" " * width)
            line.append(f"  {name}")
            style = f"{_ink(background)} on {background}"
            line.append(f" {letters} ", style) if coloured else line.append(f"[{letters}]")
        lines.append(line)
    _print(Text("\n").join([*lines, Text()]))


def _print(view: Any) -> None:
    console = rich_console(sys.stdout)
    if console.is_terminal:
        console.print(view)
        return
    with console.capture() as captured:
        console.print(view)
    # Rich fills lines with spaces, which a file does not need.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _safe(text: str) -> str:
    return safe(text, sys.stdout)


def _cut(text: str, width: int) -> str:
    """Return the end of a text, where module paths differ."""
    return text if len(text) <= width else f"~{text[len(text) - width + 1 :]}"


def _ink(background: str) -> str:
    """Return black or white, whichever can be read on a colour ``#rrggbb``."""
    red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "#ffffff"


def _looks_numeric(cell: str) -> bool:
    return cell[:1] in "+-–0123456789" or cell in ("?", "")
