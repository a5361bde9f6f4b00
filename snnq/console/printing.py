"""Lines of text, tables and coloured blocks to stdout and stderr, fit for whatever reads them.

Colours are never all there is: every block has its letters.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from snnq.base.errors import SnnqError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# A pipe has no width of its own: wide enough that no cell is cut.
PIPE_WIDTH = 200
# What our own words use beyond ASCII, for terminals that cannot show it.
_ASCII = str.maketrans(
    {"→": "->", "×": "x", "–": "-", "—": "-", "−": "-", "·": "*", "…": "...", "≤": "<=", "≥": ">=", "≠": "!="}
    | {"λ": "lambda", "Σ": "sum", "²": "^2", "ŵ": "w", "ᵀ": "^T", "⊙": " o ", "⌈": "ceil(", "⌉": ")", "½": "1/2"}
    | {"█": "#", "░": ".", "µ": "u"}
)


def speaks() -> bool:
    """True in the process that prints: the only one, or the first of those that work together."""
    distributed = sys.modules.get("torch.distributed")  # not imported for this: --help is fast
    if distributed and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    # Before they have met: what torchrun or Fabric numbered them.
    number = "RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "LOCAL_RANK"
    return os.environ.get(number, "0") == "0"


def is_plain(stream: TextIO) -> bool:
    """True where a stream cannot show UTF-8, or the user asks for the C locale by LC_ALL."""
    return "utf" not in (stream.encoding or "").lower() or os.environ.get("LC_ALL") in ("C", "POSIX")


def safe(text: str, stream: TextIO) -> str:
    """Return text a stream can show: control characters escaped, non-ASCII replaced where it must be."""
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    return text.translate(_ASCII).encode("ascii", "replace").decode() if is_plain(stream) else text


def rich_console(stream: TextIO) -> Console:
    """Return rich's console on a stream, as wide as its terminal."""
    from rich.console import Console

    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(file=stream, highlight=False, width=width, soft_wrap=False)


def out(text: str) -> None:
    """Print data to stdout, unchanged but for what the terminal cannot show."""
    if speaks():
        sys.stdout.write(safe(text, sys.stdout) + "\n")


def document(text: str) -> None:
    """Print a document (CSV, markdown, HTML) to stdout: in UTF-8 whatever the locale, unless it goes to a terminal."""
    if not speaks():
        return
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None or sys.stdout.isatty():
        out(text)
        return
    sys.stdout.flush()
    raw.write((text + "\n").encode("utf-8"))
    raw.flush()


def say(text: str) -> None:
    """Print a sentence that is data to stdout, folded between words on a terminal."""
    if speaks():
        sys.stdout.write(_folded(safe(text, sys.stdout), sys.stdout) + "\n")


def note(text: str) -> None:
    """Print a remark to stderr, folded between words on a terminal."""
    if speaks():
        _to_stderr(_folded(text, sys.stderr))


def _folded(text: str, stream: TextIO) -> str:
    """Return text folded to a terminal's width, unchanged elsewhere."""
    if not stream.isatty():
        return text
    width = rich_console(stream).width
    return textwrap.fill(text, width - 1, break_long_words=False, break_on_hyphens=False)


def _to_stderr(text: str) -> None:
    sys.stderr.write(safe(text, sys.stderr) + "\n")
    sys.stderr.flush()


def next_step(command: str) -> None:
    """Print the next command to type, to stderr, never folded."""
    if speaks():
        _to_stderr(f"Next: {command}")


def emit_json(value: object) -> None:
    """Print one JSON object to stdout."""
    if speaks():
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def error(problem: SnnqError) -> None:
    """Print an error and its hint to stderr, whichever process found it."""
    _to_stderr(f"Error: {problem.message}")
    if problem.hint:
        _to_stderr(f"Hint: {problem.hint}")


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        note(f"Warning: {said}" if record.levelno >= logging.WARNING else said)


@contextmanager
def remarks_shown() -> Iterator[None]:
    """Print what is logged under ``snnq`` meanwhile, from INFO on; a warning says that it is one."""
    log, handler = logging.getLogger("snnq"), _Notes()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


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
