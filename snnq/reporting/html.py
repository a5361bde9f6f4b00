"""Templates to text: the environment of every page."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnq.reporting.figures.svg import HATCH
from snnq.reporting.table import visible


def render(template: str, **values: Any) -> str:
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


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
