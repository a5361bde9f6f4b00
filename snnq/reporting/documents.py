"""A smaller report as one object: its sentences, tables and figures; and the environment of every page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnq.reporting.figures.svg import HATCH
from snnq.reporting.formats import markdown_table, plain
from snnq.reporting.table import Table, visible


def render(template: str, **values: object) -> str:
    """Return a template's page. All strings are escaped, and control characters in them made visible."""
    environment = Environment(
        loader=PackageLoader("snnq.reporting"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(hatch=Markup(HATCH), **values)


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


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
    data: Mapping[str, object]
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
