"""Train a float model, a Spikformer by default, on any data spec: the checkpoints that snnq then compresses.

    python examples/train_float.py digits --out digits.safetensors
    python examples/train_float.py fashion-mnist:/usr/share/datasets/fashion-mnist --image-size 32 --epochs 30
    python examples/train_float.py n-mnist:DIR --image-size 34 --steps 8 --dim 64 --epochs 40

The first line made the checkpoint inside the package. A run that was cut off goes on when the same line is typed
again. The best epoch by validation is kept; the test split is looked at once, at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer

from snnq import console
from snnq.checkpoints.opening import save_checkpoint
from snnq.cli.options import Device, Devices, Nodes, Precision, Strategy
from snnq.data import open_data
from snnq.models.registry import architecture as architecture_of
from snnq.models.registry import build
from snnq.training import processes
from snnq.training.batches import steps_per_epoch, training_batches
from snnq.training.batchnorm import share_batchnorm
from snnq.training.devices import Compute, start_fabric
from snnq.training.evaluation import evaluate
from snnq.training.loop import Best, Place, run_epochs
from snnq.training.run_folder import open_run, run_path
from snnq.training.schedules import learning_rate, set_rate
from snnq.training.seeding import generator


def shift_frames(frames: torch.Tensor, pixels: int, draw: torch.Generator) -> torch.Tensor:
    """Return frames (B, T, C, H, W), each sample moved by up to ``pixels`` in both directions, zeros moved in."""
    if pixels == 0:
        return frames
    height, width = frames.shape[-2:]
    padded = F.pad(frames, (pixels,) * 4)
    moves = torch.randint(0, 2 * pixels + 1, (len(frames), 2), generator=draw).tolist()
    return torch.stack([one[..., y : y + height, x : x + width] for one, (y, x) in zip(padded, moves, strict=True)])


def thin_events(frames: torch.Tensor, most: float, draw: torch.Generator) -> torch.Tensor:
    """Return event counts (B, T, C, H, W) with up to the share ``most`` of each sample's events lost at random."""
    if most == 0:
        return frames
    kept = 1 - most * torch.rand(len(frames), 1, 1, 1, 1, generator=draw)
    return torch.binomial(frames, kept.expand_as(frames), generator=draw)


def main(
    data: Annotated[str, typer.Argument(help="Data spec, such as digits or n-mnist:DIR.")] = "digits",
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")] = Path("float.safetensors"),
    architecture: Annotated[str, typer.Option(help="Name of a registered architecture.")] = "spikformer-cifar10dvs",
    image_size: Annotated[int, typer.Option(help="Height and width of the frames, in pixels.")] = 16,
    steps: Annotated[int, typer.Option(help="Time steps T.")] = 4,
    dim: Annotated[int, typer.Option(help="Features of a token.")] = 64,
    depth: Annotated[int, typer.Option(help="Encoder blocks.")] = 2,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 4,
    pooling: Annotated[str, typer.Option(help="Which of the four convolutions is followed by a max-pool.")] = "0011",
    epochs: Annotated[int, typer.Option()] = 100,
    batch_size: Annotated[int, typer.Option()] = 32,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 4e-3,
    weight_decay: Annotated[float, typer.Option()] = 0.06,
    label_smoothing: Annotated[float, typer.Option()] = 0.1,
    shift: Annotated[int, typer.Option(help="Augmentation: random shift in pixels.")] = 1,
    thin: Annotated[float, typer.Option(help="Augmentation: largest share of events lost.")] = 0.3,
    seed: Annotated[int, typer.Option()] = 0,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    strategy: Strategy = "auto",
    precision: Precision = "32-true",
    run: Annotated[Path | None, typer.Option(help="Run folder; beside the checkpoint by default.")] = None,
    force: Annotated[bool, typer.Option(help="Start the run anew and overwrite the checkpoint.")] = False,
) -> None:
    """Train, keep the best epoch by validation, test once, write a safetensors checkpoint."""
    free = ("out", "run", "force", "device", "devices", "nodes", "strategy")
    settings = {name: str(value) for name, value in locals().items() if name not in free}
    fabric = start_fabric(Compute(device, devices, nodes, strategy, precision))
    processes.check_batch_size(batch_size)
    sizes = {
        "in_channels": 2, "image_size": [image_size, image_size], "dim": dim, "depth": depth, "heads": heads,
        "steps": steps, "pooling": [digit == "1" for digit in pooling],
    }  # fmt: skip
    one = architecture_of(architecture)
    known = one.default_config()  # not every architecture has a choice of poolings
    config = one.config({name: size for name, size in sizes.items() if name in known}).to_dict()
    with console.progress_view() as progress:
        with processes.first_goes_first():
            found = open_data(data, steps=steps, image_size=(image_size, image_size), progress=progress)
        config["classes"] = len(found.classes)
        torch.manual_seed(seed)
        model = share_batchnorm(build(architecture, config))
        folder = open_run(run_path(out, run), settings | {"data_sha256": found.sha256}, force=force)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay)
        network, wrapped = fabric.setup(model, optimizer)
        best = Best()
        total = epochs * steps_per_epoch(len(found.train), batch_size)

        def step(place: Place, indices: list[int]) -> dict[str, float]:
            frames, labels = found.train.__getitems__(indices)
            draw = generator(seed, "augmentation", place.overall)
            # Augmented as one batch and shared out then: the numbers drawn do not depend on the processes.
            frames = thin_events(shift_frames(frames, shift, draw), thin, draw)
            mine = processes.shard(range(len(indices)))
            frames, labels = frames[mine], labels[mine]
            logits = network(frames.to(fabric.device))
            loss = F.cross_entropy(logits, labels.to(fabric.device), label_smoothing=label_smoothing)
            set_rate(wrapped, learning_rate(place.overall, total, peak=rate, start=rate / 10, floor=rate / 100))
            wrapped.zero_grad()
            fabric.backward(loss)
            wrapped.step()
            return {"loss": float(loss.detach())}

        def after_epoch(epoch: int) -> dict[str, float]:
            score = evaluate(model, found.validation, batch_size)
            model.train()
            best.offer((score.accuracy, -score.loss), epoch + 1, model)
            return {"validation_accuracy": score.accuracy, "validation_loss": score.loss}

        run_epochs(
            folder,
            {"model": model, "optimizer": optimizer, "precision": fabric.strategy.precision, "best": best},
            stage="training",
            epochs=epochs,
            batches=lambda epoch: training_batches(len(found.train), batch_size, seed, "train", epoch),
            step=step,
            after_epoch=after_epoch,
            progress=progress,
        )
    model.load_state_dict(best.state)
    validation, test = evaluate(model, found.validation, batch_size), evaluate(model, found.test, batch_size)
    facts = {"data": data, "epochs": str(epochs), "seed": str(seed), "simulated": str(found.simulated).lower()}
    processes.on_first(lambda: save_checkpoint(out, model, architecture=architecture, facts=facts))
    console.emit_json(
        {
            "checkpoint": str(out),
            "best_epoch": best.epoch,
            "validation_accuracy": validation.accuracy,
            "test_accuracy": test.accuracy,
            "test_samples": test.samples,
            "simulated": found.simulated,
        }
    )


if __name__ == "__main__":
    typer.run(main)
