"""The same file in two splits, or in two classes, told by its content."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnq.data.contract import Request

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hashed:
    """A split's files, their labels, and what of each is equal for equal content."""

    files: Sequence[Path]
    labels: Sequence[int]
    hashes: Sequence[Any]


def noted(request: Request, how: str, splits: Mapping[str, Hashed]) -> str:
    """Return how a set was split, with what ``repeats`` finds; that is logged as a warning, too."""
    said = repeats(splits)
    if said:
        _LOG.warning("%s: %s.", request.spec, said)
    return f"{how}; {said}" if said else how


def repeats(splits: Mapping[str, Hashed]) -> str:
    """Return in a few words which files of a split are in one before it, too, and which in two classes; '' for none.

    A network has seen such a sample before it is tested on it: an accuracy there says less than it seems to.
    """
    first: dict[Any, tuple[str, Path, int]] = {}
    twice: dict[tuple[str, str], list[tuple[Path, Path]]] = {}
    torn: dict[Any, tuple[Path, Path]] = {}
    for split, own in splits.items():
        for file, label, content in zip(own.files, own.labels, own.hashes, strict=True):
            where, before, before_label = first.setdefault(content, (split, file, label))
            if where != split:
                twice.setdefault((split, where), []).append((file, before))
            if label != before_label:
                torn.setdefault(content, (file, before))
    said = []
    for (split, where), pairs in twice.items():
        one, other = pairs[0]
        count = f"{len(pairs)} of {len(splits[split].files)} {split} files"
        said.append(f"{count} are in {where}, too (such as {one}, which is {other})")
    if torn:
        one, other = next(iter(torn.values()))
        said.append(f"{len(torn)} files are in two classes (such as {one}, which is {other})")
    return "; ".join(said)
