"""A command line from a command's function: its words become options, and what it returns is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer.core import TyperCommand

from snnq.commands.calling import read_settings
from snnq.commands.words import Json, Kinds, Typed, Words

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

Result = TypeVar("Result")
# Under which heading an option stands in the help of a long command; all others are about the output.
_HEADINGS = {
    "What": "data plan checkpoint scheme method start settings weights input split engine samples bits target sparsity "
    "scope structure rewind remove_dead most silent exit_entropy exit_loss exit_samples generator classes filter "
    "few_shot shots prompts fonts camera by partial noise tasks pool length top regulariser strength order adapter",
    "Budget and choice": "delay energy area blocks budget rate hold_rates storage trade_off space lock exclude tie "
    "cost_table weight_reuse",
    "Training": "epochs batch_size seed distillation augment vat reconstruct rounds steps_per_round norms batchnorm "
    "memory_mib measure accel imc oversample temperature guidance denoising pixels rates "
    "learning_rate",
    "Arrays": "cells dynamic xbar cell_bits adc_bits membrane_bits adc_range on_off read_noise write_noise drift chips "
    "mitigate alpha beta calibration_samples",
    "Compute": "device devices nodes strategy precision threads workers",
    "What a checkpoint cannot tell": "architecture steps heads image_size pooling chunk model model_arg group",
}
_HEADING_OF = {name: heading for heading, names in _HEADINGS.items() for name in names.split()}
_REST, _FEW = "Output", 10


class GroupedCommand(TyperCommand):
    """A command whose help groups its options, where there are many, under headings."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the arguments, then the options under their headings."""
        params = self.get_params(ctx)
        many = len(params) > _FEW
        parts: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{heading: [] for heading in _HEADINGS}, _REST: []}
        for param in params:
            record = param.get_help_record(ctx)
            if record is not None:
                known = _HEADING_OF.get(str(param.name), _REST) if many else "Options"
                parts.setdefault("Arguments" if param.param_type_name == "argument" else known, []).append(record)
        for heading, records in parts.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def typed(
    function: Callable[..., Result],
    show: Callable[[Result, bool, Words], None],
    *,
    more: Kinds | None = None,
    run: Callable[..., Result] | None = None,
) -> Callable[..., None]:
    """Return a command's function as Typer takes it.

    ``show(result, json, words)`` prints what the function returned; among the words are ``known``, whether the output
    was there before, and ``began``, when it was called. ``more`` are words of the command line alone, and ``run``
    stands in for the function where they change what is done.
    """
    hints = _kinds(function)
    words = {name: one for name, one in signature(function).parameters.items() if name != "progress"}
    taken = {name: (hints[name], one.default) for name, one in words.items()} | (more or {})
    taken.setdefault("json", (Json, False))
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in {"context": (typer.Context, Parameter.empty), **taken}.items()
    ]

    @wraps(function)
    def called(context: typer.Context, **values: object) -> None:
        json, file = bool(values.pop("json")), values.pop("settings", None)
        if file is not None:
            values |= _untyped(read_settings(str(file), function.__name__, taken), context)
        out = values.get("out")
        facts = {"known": out is not None and Path(str(out)).exists(), "began": time.monotonic()}
        show((run or function)(**values), json, values | facts)

    called.__signature__ = signature(function).replace(parameters=parameters)  # pyright: ignore
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def _untyped(read: Words, context: typer.Context) -> Words:
    """Return the words of a file of settings but for those that were typed."""
    sources = {name: context.get_parameter_source(name) for name in read}
    left = {name: value for name, value in read.items() if not (one := sources[name]) or one.name == "DEFAULT"}
    return left | ({"out": Path(left["out"])} if "out" in left else {})


def _kinds(function: Callable[..., object]) -> dict[str, object]:
    """Return the types that a function's words have on a command line."""
    found: dict[str, object] = {}
    for name, kind in function.__annotations__.items():
        about: tuple[object, ...] = getattr(kind, "__metadata__", ())
        as_typed = next((one.kind for one in about if isinstance(one, Typed)), None)
        found[name] = kind if as_typed is None else Annotated[as_typed, about[0]]
    return found
