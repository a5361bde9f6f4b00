"""The words that several commands take: their types, and what is said of them.

A word is a parameter of a command's function and, with dashes, an option on a command line. ``Typed`` says how one is
typed there, where Python takes something richer. Words that go together are a record: a command with such a parameter
takes them instead (``commands.calling``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from snnq.training.devices import Compute


class Typed(NamedTuple):
    """The type that a word has on a command line."""

    kind: object


# Words of a command by their names, as they were given: what each may be, its parameter says.
Words = dict[str, Any]
# Words by their names: the type of each as Typer reads it, and its default.
Kinds = dict[str, tuple[object, object]]
# A test sees to it that every option stands here: the table of sources would take numpy to import.
_DATA_HELP = (
    "Data: SOURCE[:DIR][,OPTION=VALUE…], such as digits,limit=500 or frames:DIR,classes=numeric; by default what model "
    "or plan name. Options: steps, image_size, limit, by, classes, numbering, samples, mean, std, "
    "resize, filter, stride, every, clips, split; 'snnq data list' explains them."
)
Data = Annotated[str | None, typer.Option(metavar="SPEC", help=_DATA_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there; start the run anew.")]
Run = Annotated[Path | None, typer.Option("--run", help="Run folder: state and metrics. Beside --out by default.")]
Settings = Annotated[
    Path | None,
    typer.Option("--settings", help="Words of an earlier run: its settings.json. What is typed beside it counts."),
]
CostTable = Annotated[str, typer.Option(help="Cost table: a name or a path.")]
OtherTable = Annotated[
    str | None, typer.Option("--cost-table", help="Cost table, a name or a path, in place of its own.")
]
WeightReuse = Annotated[
    str | None,
    typer.Option(
        help="How often the event model fetches a weight: once an inference, every step, every event; by default as "
        "the cost table says."
    ),
]
StorageWord = Annotated[
    str,
    typer.Option(
        help="How model.safetensors holds its tensors: coded (in one stream, smallest) or fixed (each as it is)."
    ),
]
Measure = Annotated[
    int, typer.Option(min=0, help="Validation samples to measure firing rates on, in the end; 0: none.")
]
# What Python takes for a list of PATTERN=VALUE: a mapping; for a list of lists: lists.
Patterns = Mapping[str, object] | Sequence[object] | str | float | None
_Several = Typed(list[str] | None)
Budget = Annotated[
    Patterns,
    typer.Option(help="Limits: avg-bits=2.2, storage=6.6%, storage-kib=40, energy=10%, …; replaces the trade-off."),
    _Several,
]
FileBudget = Annotated[
    Patterns,
    typer.Option(
        help="Limits that training keeps by coding weights in fewer bits: avg-bits=1 (of the plan), file-bits=1.1, "
        "file-kib=36 (of model.safetensors), event-energy=8%."
    ),
    _Several,
]
TradeOff = Annotated[
    Patterns,
    typer.Option(help="λ: how much energy weighs against accuracy (default 0.5), or PATTERN=λ for some layers."),
    _Several,
]
Space = Annotated[Patterns, typer.Option(help="Candidate schemes, separated by commas, or PATTERN=schemes."), _Several]
Lock = Annotated[Patterns, typer.Option(help="PATTERN=SCHEME, such as head=uniform-4."), _Several]
Exclude = Annotated[Patterns, typer.Option(help="Patterns of layers that stay in float32."), _Several]
Tie = Annotated[Patterns, typer.Option(help="Layers that take one scheme, such as q,k,v."), _Several]


Builder = str | Callable[..., Any] | None


def register(name: Builder) -> Builder:
    """Import the user's own model as soon as it is named: commands that open plans and folders need no more of it."""
    if name is not None:
        from snnq.models.registry import register_model

        register_model(name)
    return name


_MODEL = typer.Option(
    metavar="MODULE:BUILDER", help="A model of your own: the function that builds it.", callback=register
)
Model = Annotated[str | None, _MODEL]
OwnModel = Annotated[Builder, _MODEL, Typed(str | None)]
Weights = Annotated[
    str | None, typer.Option(metavar="ema|last|KEY", help="Which weights, where a checkpoint holds averaged ones, too.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Devices = Annotated[int, typer.Option(help="How many devices on each node: one process a device.")]
Nodes = Annotated[int, typer.Option(help="How many machines, started by torchrun or SLURM.")]
Strategy = Annotated[str, typer.Option(help="auto or ddp.")]
Precision = Annotated[str, typer.Option(help="Of the training steps: 32-true, bf16-mixed or 16-mixed.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads on the CPU; by default by the size of a batch, the same on every machine."),
]


@dataclass(frozen=True)
class FileSizes:
    """What a checkpoint cannot tell."""

    architecture: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which architecture it is, where the checkpoint does not say.")
    ] = None
    steps: Annotated[int | None, typer.Option(help="Time steps T, where the checkpoint does not say.")] = None
    heads: Annotated[
        str | int | Sequence[int] | None,
        typer.Option(help="Attention heads (or of every stage: 3,6,6), where the checkpoint does not say."),
        Typed(str | None),
    ] = None
    image_size: Annotated[
        str | int | Sequence[int] | None,
        typer.Option(help="Pixels (one number, or HEIGHTxWIDTH), likewise."),
        Typed(str | None),
    ] = None
    pooling: Annotated[
        str | Sequence[bool] | None,
        typer.Option(help="Which of the four convolutions is pooled, such as 0011, likewise."),
        Typed(str | None),
    ] = None
    chunk: Annotated[int | None, typer.Option(help="Steps that STAtten's attention mixes at once, likewise.")] = None
    key_stride: Annotated[
        int | None, typer.Option(help="Frames from one key frame of a video to the next, likewise.")
    ] = None
    substeps: Annotated[int | None, typer.Option(help="D of integer spikes 0 … D, likewise.")] = None
    weights: Weights = None

    def given(self, *own: str) -> Words:
        """Return them as ``open_checkpoint`` takes them, but for words that a command has of its ``own``."""
        from snnq.checkpoints.sizes import given_sizes

        return {name: value for name, value in given_sizes(**vars(self)).items() if name not in own}


@dataclass(frozen=True)
class ModelSizes(FileSizes):
    """What a checkpoint cannot tell, and a model of one's own."""

    model: OwnModel = None
    model_arg: Annotated[
        Mapping[str, object] | Sequence[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument of --model's function."),
        _Several,
    ] = None
    group: Annotated[
        Mapping[str, str] | Sequence[str] | None,
        typer.Option(
            metavar="PATTERN=GROUP", help="Put layers of your own model in tokenizer, attention, mlp or head."
        ),
        _Several,
    ] = None


@dataclass(frozen=True)
class OneDevice:
    """What a command computes on."""

    device: Device = "auto"
    threads: Threads = None

    def compute(self) -> "Compute":
        """Return it as the rooms below take it; raises UsageError."""
        from snnq.training.devices import Compute

        return Compute(**vars(self))


@dataclass(frozen=True)
class Machines:
    """What a command computes on, by several processes, too."""

    device: Device = "auto"
    devices: Devices = 1
    nodes: Nodes = 1
    strategy: Strategy = "auto"
    precision: Precision = "32-true"
    threads: Threads = None

    def compute(self) -> "Compute":
        """Return it as the rooms below take it; raises UsageError."""
        from snnq.training.devices import Compute

        return Compute(**vars(self))


GivenCheckpoint = Annotated[
    str | Path, typer.Argument(metavar="CKPT", help="A float checkpoint, or 'digits'."), Typed(str)
]
Checkpoint = Annotated[
    str | Path, typer.Argument(metavar="[CKPT]", help="A float checkpoint, or a built-in one."), Typed(str)
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A packed folder.")]
Engine = Annotated[str, typer.Option(help="What runs a packed folder: torch or integer.")]
ExitEntropy = Annotated[
    float | str | None,
    typer.Option(
        metavar="0…1|auto",
        help="End a sample's time steps when its logits' normalised entropy is below it; auto: chosen on validation.",
    ),
    Typed(str | None),
]
ExitLoss = Annotated[float, typer.Option(help="Points of validation accuracy that --exit-entropy auto may lose.")]
Split = Annotated[str, typer.Option(help="train, validation or test.")]
AdapterFile = Annotated[Path | None, typer.Option(metavar="FILE", help="An adapter of the packed folder, too.")]
