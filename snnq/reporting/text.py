"""Numbers and foreign text, made fit to be shown."""

from __future__ import annotations


def visible(text: str) -> str:
    """Return text with control characters, line breaks and lone surrogates as escapes, fit for one line anywhere."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def nanojoules(energy_pj: float) -> str:
    """Return picojoules as nanojoules with one decimal, so that a column holds the largest models' energies."""
    return f"{energy_pj / 1000:,.1f}"


def energy(energy_pj: float, like: float | None = None) -> str:
    """Return picojoules in the unit that keeps the number, or ``like``, short: nJ or µJ."""
    return _short(energy_pj / 1000, (like or energy_pj) / 1000 < 1e6, ("nJ", "µJ"), 1000, 1)


def size(bits: float, like: float | None = None) -> str:
    """Return bits in the unit that keeps the number, or ``like``, short: KiB or MiB."""
    return _short(bits / 8192, (like or bits) / 8192 < 1e5, ("KiB", "MiB"), 1024, 2)


def _short(value: float, small: bool, units: tuple[str, str], step: int, decimals: int) -> str:
    return f"{value:,.{decimals}f} {units[0]}" if small else f"{value / step:,.{decimals}f} {units[1]}"
