"""Calling a command from Python: words are checked by name, settings are read from a file, progress is shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TypeVar

from snnq.base.errors import UsageError, nearest
from snnq.base.progress import shown
from snnq.commands.words import Kinds, Patterns, Settings, Words

Result = TypeVar("Result")
# What is no setting of a run: how it is shown, and whether it may overwrite.
_NO_SETTING = ("progress", "force", "settings")


def command(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return the function as users call it.

    Parameters whose type is a dataclass become the words that are its fields. One called ``words`` is given all words
    as they were resolved, ready for JSON; with it the function takes ``settings``, the file that an earlier run wrote.
    ``progress`` is shown on stderr unless it is given.

    Calling it raises TypeError for a word that it does not take, naming the nearest one.
    """
    own = signature(function)
    spread = _spread(own)

    @wraps(function)
    def called(*arguments: object, **given: object) -> Result:
        for word in given:
            if word not in spread.parameters:
                close, allowed = nearest(word, spread.parameters), ", ".join(spread.parameters)
                raise TypeError(f"snnq.{function.__name__}() takes no '{word}'{close}; it takes {allowed}")
        bound = spread.bind(*arguments, **given)
        if (file := bound.arguments.get("settings")) is not None:
            read = read_settings(file, function.__name__, spread.parameters)
            bound = spread.bind(*arguments, **{**_unbound(read, arguments, spread), **given})
        bound.apply_defaults()
        values = dict(bound.arguments)
        values.pop("settings", None)
        return _run(function, own, values)

    called.__signature__ = spread  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {name: one.annotation for name, one in spread.parameters.items()}
    return called


def _unbound(read: Words, arguments: Sequence[object], spread: Signature) -> Words:
    """Return the words of a file but for those that were given by their position."""
    taken = list(spread.parameters)[: len(arguments)]
    return {word: value for word, value in read.items() if word not in taken}


def _spread(own: Signature) -> Signature:
    """Return the signature with the words that single parameters stand for."""
    found: list[Parameter] = []
    for one in own.parameters.values():
        if together := _together(one):
            taken = {other.name for other in (*found, *own.parameters.values())}
            found += [
                Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
                for name, (kind, default) in together.items()
                if name not in taken
            ]
        elif one.name != "words":
            found.append(one)
    if "words" in own.parameters:
        found.append(Parameter("settings", Parameter.KEYWORD_ONLY, default=None, annotation=Settings))
    return own.replace(parameters=found)


def _together(one: Parameter) -> Kinds:
    """Return the words that a parameter stands for; none for most."""
    together = is_dataclass(one.annotation)
    return {field.name: (field.type, field.default) for field in fields(one.annotation)} if together else {}


def _run(function: Callable[..., Result], own: Signature, values: Words) -> Result:
    words = {name: plain(value) for name, value in values.items() if name not in _NO_SETTING}
    for name, one in own.parameters.items():
        if together := _together(one):
            part = {word: values.pop(word) for word in together if word in values and word not in own.parameters}
            values[name] = one.annotation(**part)
    if "words" in own.parameters:
        values["words"] = {"command": function.__name__, "words": words}
    if "progress" not in own.parameters or values["progress"] is not shown:
        return function(**values)
    from snnq.console import progress_view

    with progress_view() as progress:
        return function(**{**values, "progress": progress})


def plain(value: object) -> object:
    """Return a word's value as it stands in JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return value


def read_settings(path: str | Path, command: str, known: Collection[str]) -> Words:
    """Return the words of a settings.json that a run of ``command`` wrote.

    Raises UsageError for anything else, and for a word that is not ``known``.
    """
    from snnq.base.files import read_text
    from snnq.base.strict_json import strict_json

    hint = "it is in the folder of every run: plan.json.run/settings.json"
    try:
        said = strict_json(read_text(path))
        name, words = said["command"], said["words"]
        if not isinstance(words, dict):
            raise ValueError("its 'words' are no object")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UsageError(f"{path}: not the settings of a run ({problem})", hint) from None
    if name != command:
        raise UsageError(
            f"{path}: these are settings of '{name}', not of '{command}'", f"snnq {name} --settings {path}"
        )
    for word in words:
        if word not in known:
            raise UsageError(f"{path}: snnq {command} takes no '{word}'{nearest(word, known)}", hint)
    return words


def texts(value: Patterns, *, dashes: bool = False) -> tuple[str, ...]:
    """Return what a word means as it is typed: a mapping as PATTERN=VALUE, lists within lists with commas.

    ``dashes``: names are typed with dashes, such as ``avg-bits`` of ``avg_bits``.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return tuple(f"{str(key).replace('_', '-') if dashes else key}={_joined(one)}" for key, one in value.items())
    if isinstance(value, str | int | float):
        return (str(value),)
    return tuple(_joined(one) for one in value)


def one_list(value: Patterns) -> tuple[str, ...]:
    """Return ``texts``, a plain list of names being one list: ``["uniform-2", "uniform-4"]``."""
    found = texts(value)
    return (",".join(found),) if len(found) > 1 and not any("=" in text or "," in text for text in found) else found


def _joined(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
