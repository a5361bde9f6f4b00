"""Numbers and foreign text, made fit to be shown."""

from __future__ import annotations


def visible(text: str) -> str:
    """Return text with control characters, line breaks and lone surrogates as escapes, fit for one line anywhere."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def nanojoules(energy_pj: float) -> str:
    """Return picojoules as nanojoules with one decimal, so that a column holds the largest models' energies."""
    return f"{energy_pj / 1000:,.1f}"
