"""A smaller report as one object: its sentences, tables and figures, and the plain data they all show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snnq.reporting.formats import markdown_table, plain
from snnq.reporting.html import render
from snnq.reporting.table import Table


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption; ``svg`` comes from ``figures``, which escape all text in it."""

    caption: str
    svg: str
    small: bool = False


@dataclass(frozen=True)
class Document:
    """What is shown in any format. ``data`` becomes JSON and CSV.

    The first ``lead`` tables stand above the figures of the page, the others below them; ``panels`` is the title over
    the small figures.
    """

    title: str
    verdict: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    data: Mapping[str, Any]
    lead: int = 0
    panels: str = ""


def document_markdown(document: Document) -> str:
    """Return the document as GitHub markdown, to be pasted under a heading of a README."""
    parts = [f"## {plain(document.title)}", plain(document.verdict)]
    parts += ["\n".join(f"- {plain(note)}" for note in document.notes)] if document.notes else []
    return "\n\n".join([*parts, *map(markdown_table, document.tables)])


def document_html(document: Document) -> str:
    """Return the document as a self-contained HTML page; whatever comes from files is escaped."""
    return render(
        "document.html.j2",
        document=document,
        figures=[one for one in document.figures if not one.small],
        panels=[one for one in document.figures if one.small],
        tables=document.tables,
    )
