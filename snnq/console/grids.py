"""Tables that fit a terminal with no name and no number cut: what is too wide goes on below."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

# SIMPLE_HEAD of rich in ASCII: nothing but a line below the heads.
_ASCII_HEAD = "    \n    \n -- \n    \n    \n    \n    \n    \n"
_GAP, _EDGES = 3, 2  # between columns, and at both edges together
_FEW = 3  # words that a number may have ("12 of 16")
_TITLE = 60  # titles of narrow tables fold here
_LEAST = 30  # a word is folded only in a column of so many


def grids(
    title: str,
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    strong: Sequence[bool],
    width: int,
    *,
    ascii_only: bool,
) -> Group:
    """Return a table as one or more that are no wider than ``width``, under one title.

    Numbers are right-aligned. Names (the first column) and numbers stay on one line; heads and sentences fold between
    words; the columns for which there is no room follow below, with the names in front again.
    """
    laid = [Column.of(head, [row[i] for row in cells], name=i == 0) for i, head in enumerate(columns)]
    views = [_grid(group, strong, ascii_only) for group in _fitted(laid, width)]
    return _titled(title, views, width)


@dataclass(frozen=True)
class Column:
    """A column as it is laid out: how narrow it may be with no name or number cut, and how wide it would be."""

    head: str
    cells: tuple[str, ...]
    numeric: bool
    least: int
    most: int

    @classmethod
    def of(cls, head: str, cells: Sequence[str], *, name: bool) -> Column:
        """Return the layout of a head and its cells; ``name``: the column that names the rows."""
        numeric = bool(cells) and all(_looks_numeric(cell) for cell in cells)
        # Numbers stay on one line, as names do; a list of numbers folds like a sentence.
        whole = name or (numeric and max((len(cell.split()) for cell in cells), default=0) <= _FEW)
        least = max((cell_len(cell) if whole else _longest_word(cell) for cell in cells), default=0)
        most = max((cell_len(cell) for cell in cells), default=0)
        return cls(head, tuple(cells), numeric, max(least, _longest_word(head)), max(most, cell_len(head)))


def _fitted(columns: Sequence[Column], width: int) -> Iterator[list[tuple[Column, int]]]:
    """Yield groups of columns with their widths, each no wider than the terminal where that can be.

    Every group begins with the first column, which names the rows.
    """
    names, rest = columns[0], list(columns[1:])
    while True:
        taken = [names]
        while rest and (len(taken) == 1 or _whole(one.least for one in [*taken, rest[0]]) <= width):
            taken.append(rest.pop(0))
        spare = width - _whole(one.least for one in taken)
        widths = []
        for one in taken:
            more = max(0, min(spare, one.most - one.least))
            widths.append(one.least + more)
            spare -= more
        if spare < 0 and widths[-1] + spare >= _LEAST:  # a path that is longer than the terminal folds at its edge
            widths[-1] += spare
        yield list(zip(taken, widths, strict=True))
        if not rest:
            return


def _whole(widths: Iterable[int]) -> int:
    """Return how wide a table is: its columns, what is between them, and both edges."""
    each = list(widths)
    return sum(each) + _GAP * (len(each) - 1) + _EDGES


def _grid(columns: Sequence[tuple[Column, int]], strong: Sequence[bool], ascii_only: bool) -> Table:
    lines = box.Box(_ASCII_HEAD, ascii=True) if ascii_only else box.SIMPLE_HEAD
    view = Table(box=lines, pad_edge=False)
    for one, width in columns:
        view.add_column(Text(one.head), justify="right" if one.numeric else "left", width=width, overflow="fold")
    for i, mark in enumerate(strong):
        view.add_row(*(Text(one.cells[i]) for one, _ in columns), style="bold" if mark else None)
    view.width = _whole(width for _, width in columns)
    return view


def _titled(title: str, views: Sequence[Table], width: int) -> Group:
    """Return tables under one title, which folds where the widest of them ends."""
    widest = max(view.width or 0 for view in views)
    lines = textwrap.wrap(title, max(widest, min(width, _TITLE)), break_long_words=False, break_on_hyphens=False)
    return Group(*(Text(line, style="bold") for line in lines), *views)


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _looks_numeric(cell: str) -> bool:
    return cell[:1] in "+-–0123456789" or cell in ("?", "", "not measured")
