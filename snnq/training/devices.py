"""Lightning Fabric as every long command starts it: which devices, how many, and in which precision."""

from __future__ import annotations

import atexit
import inspect
import logging
import os
import subprocess
import warnings
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from snnq.base.errors import UsageError, nearest
from snnq.training.transfers import has_float64

DEVICES = ("auto", "cpu", "cuda", "mps")
STRATEGIES = ("auto", "ddp")
EXACT = "32-true"
PRECISIONS = (EXACT, "bf16-mixed", "16-mixed")
# How long processes that were started here may take to end, once this one has.
GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Compute:
    """What a run computes on: ``devices`` on each of ``nodes``, one process a device.

    ``precision`` is that of the training steps; evaluation and what is written stay float32. ``threads`` are PyTorch's
    on the CPU, of each process; None: by the size of the work (``machine.fitting_threads``). The result depends on
    both, and on how many processes there are to floating-point tolerance only.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    precision: str = EXACT
    threads: int | None = None

    def __post_init__(self) -> None:
        choices = {"device": DEVICES, "strategy": STRATEGIES, "precision": PRECISIONS}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UsageError(f"--{name} {value}: allowed are {', '.join(allowed)}{nearest(value, allowed)}")
        for name in ("devices", "nodes", "threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UsageError(f"--{name} {getattr(self, name)}: at least 1 is needed")
        self._check_machine()

    def _check_machine(self) -> None:
        there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
        if self.device in there and not there[self.device]():
            hint = "--device cpu; see also: snnq doctor"
            raise UsageError(f"--device {self.device}: PyTorch finds no such device here", hint)
        if self.precision == "16-mixed" and (self.device == "cpu" or not torch.cuda.is_available()):
            raise UsageError("--precision 16-mixed needs a CUDA device", "on this one: --precision bf16-mixed")


def as_compute(compute: Compute | str) -> Compute:
    """Return a ``Compute``; a plain string is the device."""
    return Compute(device=compute) if isinstance(compute, str) else compute


def start_fabric(compute: Compute | str = "auto") -> Fabric:
    """Return a launched Fabric; where several devices are asked for, all their processes come back from here.

    Fabric starts the other processes of this machine by typing the same command again, so this comes before any work.
    Under torchrun, its processes are taken as they are; under SLURM, ``srun`` starts them.
    Raises UsageError where the devices are not there or do not fit what started the processes.
    """
    compute = _as_launched(as_compute(compute))
    with warnings.catch_warnings():
        # Fabric proposes more devices, or more loader workers, than were asked for.
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning_fabric")
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        try:
            fabric = Fabric(
                accelerator=compute.device,
                devices=compute.devices,
                num_nodes=compute.nodes,
                strategy=_strategy(compute),
                precision=compute.precision,  # pyright: ignore
            )
            _end_with_this_process(getattr(fabric.strategy.launcher, "procs", []))
            fabric.launch()
        except (ValueError, RuntimeError) as problem:
            raise UsageError(f"--devices {compute.devices}, --nodes {compute.nodes}: {problem}") from None
    return fabric


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Put a model on ``device``, or on the CPU where the device has no float64 and the model needs it; return it.

    Packed models sum in float64, which CUDA has and Apple's MPS has not.
    """
    needs = any(tensor.dtype == torch.float64 for tensor in (*model.parameters(), *model.buffers()))
    return model.to(torch.device("cpu") if needs and not has_float64(device) else device)


def _as_launched(compute: Compute) -> Compute:
    """Return the compute with torchrun's numbers where it started this process and none were asked for."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" not in environment or compute.devices * compute.nodes > 1:
        return compute
    local, world = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
    return replace(compute, devices=local, nodes=world // local)


def _strategy(compute: Compute) -> DDPStrategy | str:
    if compute.strategy == "auto" and compute.devices * compute.nodes == 1:
        return "auto"
    # Buffers need no broadcast at every step: BN shares its statistics, and nothing else moves.
    # Newer torch has another name for it.
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DDPStrategy(**{name: False})  # pyright: ignore


def _end_with_this_process(started: list[subprocess.Popen[bytes]]) -> None:
    """At this process' end, let those that Fabric started for it end too: at once, or by force after a moment."""

    def end() -> None:
        waiting = list(started)
        started.clear()  # else Fabric's observer kills this process for what the others return
        for process in waiting:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    atexit.register(end)
