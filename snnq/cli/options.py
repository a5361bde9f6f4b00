"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer

# A test sees to it that every option stands here: the table of sources would take numpy to import.
_DATA_HELP = (
    "Data: SOURCE[:DIR][,OPTION=VALUE…], such as digits,limit=500 or frames:DIR,classes=numeric; by default what model "
    "or plan name. Options: steps, image_size, limit, by, classes, numbering, samples; 'snnq data list' explains them."
)
Data = Annotated[str | None, typer.Option(metavar="SPEC", help=_DATA_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there; start the run anew.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Devices = Annotated[int, typer.Option(help="How many devices on each node: one process a device.")]
Nodes = Annotated[int, typer.Option(help="How many machines, started by torchrun or SLURM.")]
Strategy = Annotated[str, typer.Option(help="auto or ddp.")]
Precision = Annotated[str, typer.Option(help="Of the training steps: 32-true, bf16-mixed or 16-mixed.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads on the CPU; by default by the size of a batch, the same on every machine."),
]
Run = Annotated[Path | None, typer.Option("--run", help="Run folder: state and metrics. Beside --out by default.")]


def _register(name: str | None) -> str | None:
    """Import the user's own model as soon as it is named: commands that open plans and folders need no more of it."""
    if name is not None:
        from snnq.models.registry import register_model

        register_model(name)
    return name


Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:BUILDER", help="A model of your own: the function that builds it.", callback=_register
    ),
]
ModelArg = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An argument of --model's function.")]
Group = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN=GROUP", help="Put layers of your own model in tokenizer, attention, mlp or head."),
]
Architecture = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which architecture it is, where the checkpoint does not say.")
]
Steps = Annotated[int | None, typer.Option(help="Time steps T, where the checkpoint does not say.")]
Heads = Annotated[
    str | None, typer.Option(help="Attention heads (or of every stage: 3,6,6), where the checkpoint does not say.")
]
ImageSize = Annotated[str | None, typer.Option(help="Pixels (one number, or HEIGHTxWIDTH), likewise.")]
Pooling = Annotated[str | None, typer.Option(help="Which of the four convolutions is pooled, such as 0011, likewise.")]
Chunk = Annotated[int | None, typer.Option(help="Steps that STAtten's attention mixes at once, likewise.")]
Weights = Annotated[
    str | None,
    typer.Option(metavar="ema|last|KEY", help="Which weights, where a checkpoint holds averaged ones, too."),
]
_SIZES: dict[str, Any] = {
    "architecture": Architecture,
    "steps": Steps,
    "heads": Heads,
    "image_size": ImageSize,
    "pooling": Pooling,
    "chunk": Chunk,
    "weights": Weights,
}
_MODELS: dict[str, Any] = {"model": Model, "model_arg": ModelArg, "group": Group}


def takes_sizes(command: Callable[..., None], *, models: bool = True) -> Callable[..., None]:
    """Give a command the options for what a checkpoint cannot tell, in the place of its ``**given``.

    The command gets them as ``open_checkpoint`` takes them; one that it has itself stays its own. ``models``: those of
    a user's own model, too.
    """
    own = signature(command, eval_str=True)
    options = {name: kind for name, kind in _SIZES.items() if name not in own.parameters}
    options |= _MODELS if models else {}
    kept = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    added = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in options.items()]

    @wraps(command)
    def typed(*arguments: Any, **values: Any) -> None:
        from snnq.checkpoints.sizes import given_sizes

        given = given_sizes(**{name: values.pop(name, None) for name in options})
        command(*arguments, **values, **{name: one for name, one in given.items() if name not in own.parameters})

    typed.__signature__ = own.replace(parameters=[*kept, *added])  # pyright: ignore[reportAttributeAccessIssue]
    typed.__annotations__ = {one.name: one.annotation for one in (*kept, *added)}
    return typed


WeightReuse = Annotated[
    str, typer.Option(help="How often the event model fetches a weight: once an inference, every step, every event.")
]
