"""The parts of docs/ that follow from the code. ``python docs/generate.py`` writes them anew; a test finds stale ones.

In a page, a part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import snnq
from snnq.cost.table import DEFAULT_TABLE, read_table
from snnq.data.sources import OPTIONS, SOURCES
from snnq.packed.readers import CODED_READER, FIXED_READER
from snnq.reporting.glossary import every_key, formulas
from snnq.schemes.scheme import formats, scheme
from snnq.searching.budget import units

FOLDER = Path(__file__).parent
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Return a text as Markdown shows it letter for letter."""
    return text.replace("<", "&lt;").replace("*", r"\*")


def sources() -> str:
    """Return the table of data sources: how each is typed, its options and what it is."""
    rows = []
    for one in SOURCES.values():
        options = " ".join(f"`{key}={value or '…'}`" for key, value in one.options.items())
        rows.append((f"`{one.usage}`", f"{plain(one.summary)}{'; *simulated*' * one.simulated}", options))
    return table(("spec", "what it is", "options and defaults"), rows)


def options() -> str:
    """Return the table of the options of a data spec."""
    return table(("option", "what it says"), ((f"`{key}`", plain(text)) for key, text in OPTIONS.items()))


def budgets() -> str:
    """Return the table of the units that a budget may be given in."""
    rows, known = [], every_key()
    for name, unit in units().items():
        number = f"{unit.factor:,.0f} " if unit.factor > 1 else ""
        one = "per cent of float32, with its sign" if unit.per_cent else f"{number}{known[unit.key][0]}"
        rows.append((f"`{name}`", f"`{unit.key}`", one, known[unit.key][1]))
    return table(("`--budget`", "key in a report", "in units of", "what it limits"), rows)


def constants() -> str:
    """Return the constants of the default cost table with their sources."""
    known = read_table(DEFAULT_TABLE)
    rows = (
        (f"`{name}`", f"{one.energy_pj:g}", one.per, known.sources[one.source].text)
        for name, one in known.constants.items()
    )
    return table(("constant", "energy pJ", "per", "source"), rows)


def reader() -> str:
    """Return the lines that read a packed folder of coded storage with numpy."""
    return f"```python\n{CODED_READER}```"


def fixed_reader() -> str:
    """Return the lines that read one of fixed storage."""
    return f"```python\n{FIXED_READER}```"


def equations() -> str:
    """Return the formulas of a report with the constants of the default cost table."""
    return "\n".join(f"- {text}" for text in formulas(read_table(DEFAULT_TABLE)))


def schemes() -> str:
    """Return the table of number formats: the names of their schemes, bits per weight and levels."""
    rows = []
    for one in formats():
        bits = [f"{scheme(name).bits:g}" for name in one.variants]
        name = one.name if len(bits) == 1 else f"{one.name}-b"
        rows.append((f"`{name}`", " … ".join(dict.fromkeys((bits[0], bits[-1]))), one.label.formula.partition(": ")[2]))
    return table(("scheme", "bits per weight", "levels"), rows)


def keys() -> str:
    """Return every key of a report, its unit and what it means."""
    rows = ((f"`{key}`", unit, plain(said)) for key, (unit, said) in every_key().items())
    return table(("key", "unit", "what it is"), rows)


def functions() -> str:
    """Return what each function of ``snnq`` does, by the first paragraph of its docstring."""
    rows = []
    for name in snnq.__all__:
        if callable(one := getattr(snnq, name)):
            said = " ".join((inspect.getdoc(one) or "").partition("\n\n")[0].split()).replace("``", "`")
            rows.append((f"`snnq.{name}`", said))
    return table(("function", "what it does"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "sources": sources,
    "options": options,
    "budgets": budgets,
    "constants": constants,
    "reader": reader,
    "fixed-reader": fixed_reader,
    "formulas": equations,
    "keys": keys,
    "schemes": schemes,
    "functions": functions,
}


def filled(page: str) -> str:
    """Return a page with its generated parts made anew; raises KeyError for a part that nothing makes."""
    return PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", page)


def main() -> None:
    """Write every page whose generated parts are stale."""
    for path in sorted(FOLDER.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (made := filled(page)) != page:
            path.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
