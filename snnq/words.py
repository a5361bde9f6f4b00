"""The words that functions take: one that a function does not know is refused by name, with the right one beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from typing import Any, get_args, get_type_hints

from snnq.base.errors import nearest


@cache
def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, made to raise TypeError at once for a word it does not take.

    The error says where the word belongs if it is a field of a record that the function takes, such as its settings.
    """
    parameters = inspect.signature(function).parameters

    @wraps(function)
    def called(*arguments: Any, **words: Any) -> Any:
        for word in words.keys() - parameters.keys():
            if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
                from snnq.checkpoints.opening import open_checkpoint

                sizes = inspect.signature(open_checkpoint).parameters
                if word in sizes and word != "path":
                    continue
                raise TypeError(_refusal(function, word, [*parameters, *sizes]))
            raise TypeError(_refusal(function, word, [*parameters]))
        return function(*arguments, **words)

    return called


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's parameters, or none where some are known to type checkers alone."""
    try:
        return get_type_hints(function)
    except NameError:
        return {}


def _refusal(function: Callable[..., Any], word: str, known: list[str]) -> str:
    name = f"snnq.{function.__name__}()"
    for parameter, hint in _hints(function).items():
        for record in (hint, *get_args(hint)):
            if is_dataclass(record) and word in {field.name for field in fields(record)}:
                place = f"{record.__module__}.{record.__qualname__}"  # pyright: ignore[reportAttributeAccessIssue]
                return f"{name} takes no '{word}' by itself: it is a field of {parameter}={place}({word}=…)"
    return f"{name} takes no '{word}'{nearest(word, known)}; it takes {', '.join(dict.fromkeys(known))}"
