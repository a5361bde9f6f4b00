"""JSON without what Python's reader lets pass in silence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

# A JSON object, read or to be written: whoever asks for a key checks what it holds, or has written it.
Json = dict[str, Any]
# A model's sizes and facts by name, JSON-ready, as a file or its user says them; its architecture checks them.
Config = Mapping[str, Any]

# Deeper than any file of ours, and far from where Python's own recursion ends.
MAX_DEPTH = 64
MAX_WHOLE = 2**64


def strict_json(text: str) -> Any:
    """Return the data of a JSON text.

    Raises json.JSONDecodeError where it is no JSON, and ValueError for a key given twice in one object, NaN and
    Infinity, numbers that float or 64 bits do not hold, half a surrogate pair, and nesting deeper than ``MAX_DEPTH``.
    """
    try:
        data = json.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    _check_parts(data)
    return data


def _check_parts(data: object) -> None:
    """Walk through the data level by level: a recursion would end where Python's does."""
    level = [data]
    for _ in range(MAX_DEPTH):
        for part in level:
            if isinstance(part, str) and not part.isascii():
                _check_text(part)
        level = [part for whole in level for part in _parts(whole)]
    if level:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def _parts(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{ascii(text)[:80]} holds half a surrogate pair, which is no character") from None


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key given twice in one object: the later one would silently win."""
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key '{key}' is given twice in one object")
        result[key] = value
    return result


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are not JSON though Python reads them."""
    raise ValueError(f"{name} is not a number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is too large a number")
    return value


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= MAX_WHOLE:
        raise ValueError(f"{digits[:40]} is too large a number")
    return int(digits)
