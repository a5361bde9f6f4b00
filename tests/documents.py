"""The documents as tests read them: their pages in order, what is typed in them, and their blocks of Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """One document. ``typed``: what follows ``$ snnq``; ``shown``: lines of a console that no test types."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        return [block for kind, block in _BLOCK.findall(self.text) if kind == language]

    @property
    def typed(self) -> list[str]:
        return [line.removeprefix("$ snnq ") for line in self._lines() if line.startswith("$ snnq ")]

    @property
    def shown(self) -> list[str]:
        return [line for line in self._lines() if not line.startswith("$ ")]

    def _lines(self) -> list[str]:
        return [line for block in self.blocks("console") for line in block.splitlines()]


README = Page(ROOT / "README.md")
INDEX = Page(ROOT / "docs" / "README.md")
# In the order of the index: what one page makes, a later one may use.
DOCS = [Page(ROOT / "docs" / name) for name in re.findall(r"^\d+\. \[([\w-]+\.md)\]", INDEX.text, re.MULTILINE)]
OTHERS = [Page(ROOT / f"{name}.md") for name in ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")]
EXAMPLES = [Page(path) for path in sorted((ROOT / "examples").rglob("*.md"))]
PAGES = [README, *DOCS]
