"""Train a float spiking transformer on any data spec, by a published recipe: the checkpoints that snnq then compresses.

    python examples/train_float.py digits --out digits.safetensors
    python examples/train_float.py fashion-mnist:/usr/share/datasets/fashion-mnist --size image_size=32 --epochs 30
    python examples/train_float.py n-mnist:DIR --size image_size=34,steps=8,dim=64 --epochs 40
    python examples/train_float.py frames:dvs-frames --recipe cifar10dvs --precision 16-mixed
    python examples/train_float.py digits --start decomposed.safetensors --epochs 5 --rate 1e-3

The first line made the checkpoint inside the package. Every value of a recipe has an option of its own, and --size sets
the architecture's. A run that was cut off goes on when the same line is typed again. The best epoch by validation is
kept; the test split is looked at once, at the end.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from lightning_fabric import Fabric
from recipes import RECIPES, Recipe, resolve

from snnq import console
from snnq.base.errors import SnnqError, UsageError
from snnq.base.parsing import parse_image_size
from snnq.base.progress import Progress
from snnq.checkpoints.opening import Checkpoint, open_checkpoint, save_checkpoint
from snnq.commands.words import Device, Devices, Force, Nodes, Precision, Run, Strategy
from snnq.data import DataSet, open_data
from snnq.models.registry import Architecture, build
from snnq.models.registry import architecture as architecture_of
from snnq.structure.edits import STRUCTURE
from snnq.training import processes
from snnq.training.augmentation import parse_changes, training_share
from snnq.training.batches import steps_per_epoch, training_batches
from snnq.training.batchnorm import share_batchnorm
from snnq.training.devices import Compute, start_fabric
from snnq.training.evaluation import evaluate
from snnq.training.loop import Best, Position, run_epochs
from snnq.training.quick_neurons import quicken
from snnq.training.run_folder import open_run, run_path
from snnq.training.schedules import learning_rate, set_rate
from snnq.training.seeding import generator


def read_sizes(words: list[str], recipe: Recipe) -> dict[str, Any]:
    """Return the sizes that ``KEY=VALUE`` words say, and the recipe's where the architecture knows them."""
    usual = architecture_of(recipe.architecture).default_config()
    sizes = {key: size for key, size in recipe.sizes.items() if isinstance(usual.get(key), type(size))}
    for pair in ",".join(words).split(",") if words else []:
        key, _, text = (part.strip() for part in pair.partition("="))
        if key in ("layout", "classes", "in_channels"):
            raise UsageError(f"--size {pair}: {key} follows from the architecture and the data")
        try:
            sizes[key] = _size(key, text, usual.get(key, 0))
        except ValueError:
            known = f"{usual[key]!r} is usual" if key in usual else "a whole number is wanted"
            raise UsageError(f"--size {pair}: '{text}' is no value of {key}, {known}") from None
    return sizes


def _size(key: str, text: str, usual: Any) -> Any:
    """Return a size of the kind of its usual value, as 4, 0.125, 34x34, 0011 or lif; raises ValueError."""
    if key == "image_size":
        return list(parse_image_size(text))
    if isinstance(usual, list):
        parts = text if isinstance(usual[0], bool) else text.split("x")
        return [_size("", part, usual[0]) for part in parts]
    if isinstance(usual, bool):
        return bool(("0", "1").index(text))
    if isinstance(usual, float) and not math.isfinite(float(text)):
        raise ValueError(text)
    return type(usual)(text)


def step_logits(model: torch.nn.Module) -> Callable[[], torch.Tensor]:
    """Return a function that gives the logits of every step of the model's last call, (T, B, classes).

    Raises UsageError for a model whose head does not see the mean over time of a last neuron's spikes.
    """
    if not hasattr(model, "head_lif"):
        raise UsageError(f"--tet: {type(model).__name__} has no neuron before its head, so no logits of every step")
    last: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: Any, spikes: torch.Tensor) -> None:
        last[:] = [spikes]

    model.get_submodule("head_lif").register_forward_hook(keep)
    return lambda: model.get_submodule("head")(last.pop())


def tet_loss(steps: torch.Tensor, targets: torch.Tensor, share: float, smoothing: float) -> torch.Tensor:
    """Return (1 - λ) · mean_t CE(o_t, y) + λ · mean((o - 1)²) with λ = ``share``, for logits (T, B, classes).

    Source: temporal efficient training (Deng et al. 2022, arXiv:2202.11946).
    """
    entropy = torch.stack([F.cross_entropy(one, targets, label_smoothing=smoothing) for one in steps]).mean()
    return (1 - share) * entropy + share * ((steps - 1) ** 2).mean()


class Training:
    """The moving parts: the model, its optimizer and the best epoch."""

    def __init__(self, fabric: Fabric, model: torch.nn.Module, data: DataSet, recipe: Recipe, seed: int) -> None:
        self.fabric, self.model, self.data, self.recipe, self.seed = fabric, model, data, recipe, seed
        self.changes = parse_changes(recipe.augment)
        self.per_epoch = steps_per_epoch(len(data.train), recipe.batch_size)
        parameters = list(model.parameters())
        decayed = [one for one in parameters if recipe.decay_all or one.ndim > 1]
        free = [one for one in parameters if not recipe.decay_all and one.ndim <= 1]
        groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}] if free else [{"params": decayed}]
        optimizer = torch.optim.AdamW(groups, lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.network, self.optimizer = fabric.setup(model, optimizer)
        self.step_logits = None if recipe.tet is None else step_logits(model)
        self.best = Best()

    def stateful(self) -> dict[str, Any]:
        """Return what a run saves."""
        precision = self.fabric.strategy.precision
        return {"model": self.model, "optimizer": self.optimizer.optimizer, "precision": precision, "best": self.best}

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the global training batches of an epoch."""
        return training_batches(len(self.data.train), self.recipe.batch_size, self.seed, "train", epoch)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        one, moving = self.recipe, 1 - self.recipe.cooldown
        total = round(one.epochs * self.per_epoch * moving)
        rates = {"peak": one.rate, "start": one.start_rate, "floor": one.floor_rate}
        return learning_rate(step, total, warmup=one.warmup / moving, **rates)

    def step(self, place: Position, indices: list[int]) -> dict[str, torch.Tensor]:
        """Do one optimizer step on a global batch; return the loss on this process' share of it."""
        frames, targets, _ = training_share(
            self.data.train,
            indices,
            self.changes,
            classes=len(self.data.classes),
            along=place.epoch / self.recipe.epochs,
            draw=generator(self.seed, "augmentation", place.overall),
            device=self.fabric.device,
        )
        logits = self.network(frames)
        if self.step_logits is None or self.recipe.tet is None:
            loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        else:
            with self.fabric.autocast():
                steps = self.step_logits()
            loss = tet_loss(steps.float(), targets, self.recipe.tet, self.recipe.label_smoothing)
        set_rate(self.optimizer, self.rate(place.overall))
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        return {"loss": loss.detach()}

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Score the epoch on the validation split and keep the model if it is the best so far."""
        score = evaluate(self.model, self.data.validation, self.recipe.batch_size)
        self.model.train()
        self.best.offer((score.accuracy, -score.loss), epoch + 1, self.model)
        return {"validation_accuracy": score.accuracy, "validation_loss": score.loss}


def main(
    data: Annotated[str, typer.Argument(help="Data spec, such as digits or n-mnist:DIR.")] = "digits",
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")] = Path("float.safetensors"),
    recipe: Annotated[str, typer.Option(help=f"How to train: {', '.join(RECIPES)}.")] = "digits",
    architecture: Annotated[
        str | None, typer.Option(help="A registered architecture; the recipe's by default.")
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="Sizes of the model, such as dim=64,pooling=0011.")] = None,
    epochs: Annotated[int | None, typer.Option(help="All of them, with warm-up and cool-down.")] = None,
    warmup: Annotated[float | None, typer.Option(help="Share of the epochs at a rising rate.")] = None,
    cooldown: Annotated[float | None, typer.Option(help="Share of the epochs at the lowest rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step, in all processes together.")] = None,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    start_rate: Annotated[float | None, typer.Option(help="Learning rate at the start.")] = None,
    floor_rate: Annotated[float | None, typer.Option(help="Learning rate at the end.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's.")] = None,
    decay_all: Annotated[bool | None, typer.Option(help="Decay biases and norms too.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Share spread over all classes.")] = None,
    tet: Annotated[float | None, typer.Option(help="λ of a loss on every step's logits (TET).")] = None,
    augment: Annotated[str | None, typer.Option(help="Such as flip,snn-wide,mixup:until=0.7; '' for none.")] = None,
    start: Annotated[str | None, typer.Option(help="Go on from a checkpoint, of its architecture and sizes.")] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Of --start take no weights, but what it is.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Write weights in float16, and score them so.")] = False,
    seed: Annotated[int, typer.Option()] = 0,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    strategy: Strategy = "auto",
    precision: Precision = "32-true",
    run: Run = None,
    force: Force = False,
) -> None:
    """Train, keep the best epoch by validation, test once, write a safetensors checkpoint."""
    options = locals()
    chosen = resolve(recipe, {name: options[name] for name in Recipe.__annotations__ if name in options})
    begun = None if start is None else started(start, architecture, size)
    if scratch and begun is None:
        raise UsageError("--scratch goes with --start, of which it takes the model without its weights")
    if begun is not None:
        chosen = replace(chosen, architecture=begun.architecture)
    sizes = read_sizes(size or [], chosen) if begun is None else dict(begun.config)
    fabric = start_fabric(Compute(device, devices, nodes, strategy, precision))
    processes.check_batch_size(chosen.batch_size)
    with console.progress_view() as progress:
        kind = architecture_of(chosen.architecture)
        found, config = open_for(kind, sizes, data, progress)
        fixed = {key: value for key, value in asdict(chosen).items() if key not in ("source", "sizes")}
        facts = {"command": "train_float", "data_sha256": found.sha256, "seed": seed, "precision": precision}
        if begun is not None:
            facts |= {"start_sha256": begun.sha256, "scratch": scratch}
        settings = fixed | config | facts
        folder = open_run(run_path(out, run), settings, force=force)
        torch.manual_seed(seed)
        model = build(kind.name, config)
        if begun is not None and not scratch:
            for name in ("in_channels", "classes"):
                if begun.config[name] != config[name]:
                    raise UsageError(
                        f"--start {start}: its {name} are {begun.config[name]}, those of {data} {config[name]}"
                    )
            model.load_state_dict(begun.state_dict)
        moving = Training(fabric, quicken(share_batchnorm(model)), found, chosen, seed)
        run_epochs(
            folder, moving.stateful(), stage="training", epochs=chosen.epochs, batches=moving.batches,
            step=moving.step, after_epoch=moving.after_epoch, progress=progress,
        )  # fmt: skip
    moving.model.load_state_dict(moving.best.state)
    weights = [one for one in moving.model.parameters() if half and one.ndim > 1]
    for one in weights:
        one.data = one.data.half().float()
    scores = {
        split: evaluate(moving.model, getattr(found, split), chosen.batch_size) for split in ("validation", "test")
    }
    for one in weights:
        one.data = one.data.half()
    facts = {"data": data, "epochs": str(chosen.epochs), "seed": str(seed), "simulated": str(found.simulated).lower()}
    processes.on_first(lambda: save_checkpoint(out, moving.model, architecture=kind.name, facts=facts))
    console.emit_json(
        {"checkpoint": str(out), "best_epoch": moving.best.epoch}
        | {f"{split}_accuracy": score.accuracy for split, score in scores.items()}
        | {"test_samples": scores["test"].samples, "simulated": found.simulated}
    )


def open_for(
    kind: Architecture, sizes: dict[str, Any], data: str, progress: Progress
) -> tuple[DataSet, dict[str, Any]]:
    """Return the data in frames as the sizes want them, and the model's config with the data's channels and classes."""
    wanted = kind.config(sizes)
    with processes.first_goes_first():
        found = open_data(data, steps=wanted.steps, image_size=wanted.image_size, progress=progress)
    fitting = {"in_channels": found.frames_shape[1], "classes": len(found.classes)}
    edits = {name: sizes[name] for name in (STRUCTURE,) if name in sizes}
    return found, kind.config(sizes | fitting).to_dict() | edits


def started(path: str, architecture: str | None, size: list[str] | None) -> Checkpoint:
    """Return the checkpoint to go on from; raises UsageError where more is said of the model than it allows."""
    if architecture is not None or size:
        raise UsageError("--start: the model is the checkpoint's; --architecture and --size are for a new one")
    return open_checkpoint(path)


if __name__ == "__main__":
    try:
        typer.run(main)
    except SnnqError as problem:
        console.error(problem)
        sys.exit(problem.exit_code)
