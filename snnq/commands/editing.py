"""The commands that make another float checkpoint of one by an edit of its structure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.words import Data, FileSizes, Force, GivenCheckpoint, ModelSizes, OneDevice, Typed

if TYPE_CHECKING:
    from snnq.checkpoints.decomposing import Decomposed
    from snnq.checkpoints.grafting import GraftedCheckpoint
    from snnq.training.activations import QuantisedActivations


_Rank = Annotated[
    str,
    typer.Option(
        help="vbmf (what is not noise), energy:0.9, ratio:4 (a quarter of each layer's weights), loss:4 (of all "
        "together, where the model loses least) or a number."
    ),
]


@command
def decompose(
    checkpoint: GivenCheckpoint,
    *,
    mode: Annotated[
        str | None, typer.Option(help="stt, ptt, htt (tensor-train cores of 3×3 convolutions) or svd (low rank).")
    ] = None,
    rank: _Rank = "vbmf",
    layers: Annotated[
        str | None,
        typer.Option(metavar="PATTERNS", help="Which layers; by default all 3×3 convolutions but the first layer."),
    ] = None,
    switch: Annotated[
        int | None, typer.Option(min=1, help="htt: steps with the whole kernel; half by default.")
    ] = None,
    data: Data = None,
    samples: Annotated[int, typer.Option(min=1, help="Of --rank loss: validation samples that losses stand on.")] = 256,
    merge: Annotated[bool, typer.Option("--merge", help="Write dense layers again: cores multiplied out.")] = False,
    out: Annotated[Path, typer.Option(help="The new checkpoint.")],
    compute: OneDevice,
    force: Force = False,
    sizes: ModelSizes,
    progress: Progress = shown,
) -> "Decomposed":
    """Put several small layers in place of large ones, from their weights; finetune it shortly afterwards."""
    from snnq.checkpoints.decomposing import check_words
    from snnq.checkpoints.decomposing import decompose as run_decompose

    words = {"mode": mode, "rank": rank, "layers": layers, "switch": switch, "merged": merge}
    if mode is not None and rank.startswith("loss:"):
        from snnq.searching.ranks import ranks_by_loss

        check_words(mode, switch, merge, out, force=force)
        how = {"data": data, "samples": samples, "compute": compute.compute(), "progress": progress}
        words["rank"] = ranks_by_loss(checkpoint, mode, rank, layers, **how, **sizes.given())
    return run_decompose(checkpoint, **words, out=out, force=force, **sizes.given())


@command
def graft(
    checkpoint: Annotated[
        str | Path, typer.Argument(metavar="CKPT", help="A float Spikformer or SDT checkpoint."), Typed(str)
    ],
    *,
    chunk: Annotated[int, typer.Option(min=1, help="Consecutive time steps that attention mixes at once.")],
    out: Annotated[Path, typer.Option(help="The new checkpoint.")],
    attention: Annotated[str, typer.Option(help="statten: chunked spatial-temporal attention.")] = "statten",
    scale: Annotated[float | None, typer.Option(help="c of Q (KᵀV · c); a power of two by default.")] = None,
    force: Force = False,
    sizes: FileSizes,
) -> "GraftedCheckpoint":
    """Put another attention on the same weights; finetune it shortly afterwards."""
    from snnq.checkpoints.grafting import graft as run_graft

    return run_graft(
        checkpoint, attention=attention, chunk=chunk, scale=scale, out=out, force=force, **sizes.given("chunk")
    )


@command
def quantise_activations(
    checkpoint: Annotated[
        str | Path,
        typer.Argument(metavar="CKPT", help="A float checkpoint of a network that does not only spike."),
        Typed(str),
    ],
    *,
    data: Data = None,
    bits: Annotated[int, typer.Option(min=2, max=8, help="Bits of an activation, such as 8 or 4.")] = 8,
    layers: Annotated[
        str | None,
        typer.Option(metavar="PATTERNS", help="Which layers, such as 'ann.*'; by default all but those given spikes."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Training samples on which ranges are chosen.")] = 64,
    out: Annotated[Path, typer.Option(help="The new checkpoint.")],
    compute: OneDevice,
    force: Force = False,
    sizes: ModelSizes,
    progress: Progress = shown,
) -> "QuantisedActivations":
    """Quantise activations of the part of a network that does not spike; ranges are trained with the weights later."""
    from snnq.training.activations import quantise_activations as run

    words = {"data": data, "bits": bits, "layers": layers, "samples": samples, "out": out, "force": force}
    return run(checkpoint, **words, compute=compute.compute(), progress=progress, **sizes.given())
