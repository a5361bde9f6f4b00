"""Files that people edit: strict records, and pydantic's complaints as one sentence that names the key."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Strict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from snnq.base.errors import NotFiniteError, SnnqError, nearest

T = TypeVar("T")
# A JSON or TOML list, kept as a tuple; its members are validated strictly.
Many = Annotated[tuple[T, ...], Strict(False)]


class Record(BaseModel):
    """A frozen record read from a file: no unknown keys, no silent conversions, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: object) -> object:
        return refuse_unknown(data, cls.model_fields)


def refuse_unknown(data: T, known: Collection[str]) -> T:
    """Return ``data``; raises ValueError naming the first key of a dict that is not ``known``, and the nearest."""
    for key in data if isinstance(data, dict) else ():
        if key not in known:
            raise ValueError(f"unknown key '{key}'{nearest(str(key), known)}; allowed: {', '.join(known)}")
    return data


R = TypeVar("R", bound=Record)


def validate(
    record: type[R], data: object, file: str, error: type[SnnqError], hint: str, label: Callable[[tuple], str]
) -> R:
    """Return the record of plain data (dicts, lists, numbers, strings, None), validated strictly.

    ``label`` turns a path of keys and positions into words. Raises ``error`` naming the file and the first bad key.
    """
    try:
        return record.model_validate(data)
    except ValidationError as problem:
        first = problem.errors()[0]
        more = f" (and {problem.error_count() - 1} more)" if problem.error_count() > 1 else ""
        where = label(first["loc"])
        raise error(f"{file}: {where + ': ' if where else ''}{_sentence(first)}{more}", hint) from None


def dotted(location: tuple) -> str:
    """Return a path of keys as words: ``constants.dram.energy_pj``."""
    return ".".join(str(part) for part in location)


def _sentence(problem: ErrorDetails) -> str:
    """Return one of pydantic's errors as a phrase: what is allowed and what was found."""
    if problem["type"] == "missing":
        return "this key is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message
    if problem["type"] == "model_type":
        message = "it should be an object with keys"
    return f"{message[:1].lower()}{message[1:]}, found {json.dumps(problem['input'], default=str)[:80]}"


def require_finite(facts: object, where: str) -> None:
    """Raise NotFiniteError naming the first number of JSON-ready ``facts`` that is not finite, by its keys."""
    for key, value in _numbers(facts, ""):
        if not math.isfinite(value):
            raise NotFiniteError(f"{where}: {key} is {value}")


def _numbers(facts: object, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(facts, float):
        yield key, facts
    elif isinstance(facts, Mapping | list | tuple):
        parts = facts.items() if isinstance(facts, Mapping) else enumerate(facts)
        for name, part in parts:
            yield from _numbers(part, f"{key}.{name}" if key else str(name))
