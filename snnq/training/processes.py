"""The processes that work on one run together, and the few things they tell each other.

With one process nothing is sent and everything here is a plain no-op. What communicates (all but ``count``, ``rank``,
``is_first``, ``shard`` and ``check_batch_size``) must be called by all processes, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from snnq.base.errors import SnnqError, UsageError

Value = TypeVar("Value")
# Preparing a large data set takes longer than the half hour that torch waits by default.
PATIENCE = timedelta(days=7)


def count() -> int:
    """Return how many processes work together."""
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """Return this process' number, 0 … count - 1."""
    return dist.get_rank() if _together() else 0


def is_first() -> bool:
    """True in the one process that writes and prints."""
    return rank() == 0


def shard(indices: Sequence[int]) -> list[int]:
    """Return this process' share of a global batch's sample indices: as many in every process.

    Raises UsageError if they cannot be shared out evenly.
    """
    if len(indices) % count():
        hint = f"take a batch size that divides by {count()}, and as many training samples at least"
        raise UsageError(f"a batch of {len(indices)} samples cannot be shared by {count()} processes", hint)
    return list(indices[rank() :: count()])


def check_batch_size(size: int) -> None:
    """Raise UsageError unless a global batch of ``size`` samples can be shared evenly, two or more a process."""
    processes = count()
    if processes == 1 or (size % processes == 0 and size >= 2 * processes):
        return
    below, above = (size // processes) * processes, -(-size // processes) * processes
    fit = sorted({max(one, 2 * processes) for one in (below, above)}, key=lambda one: (abs(one - size), one))
    raise UsageError(
        f"--batch-size {size} cannot be shared evenly by {processes} processes, two or more samples each",
        f"the nearest that can: --batch-size {fit[0]}; it counts the samples of all processes together",
    )


def mean(tensor: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, same shape; for gradients and statistics of equal shares."""
    if count() == 1:
        return tensor
    total = tensor.detach().to(_wire(), copy=True)
    dist.all_reduce(total)
    return (total / count()).to(tensor.device)


def stack(tensor: Tensor) -> Tensor:
    """Return the tensors of all processes, (count, …); each brings the same shape. Nothing is differentiated."""
    if count() == 1:
        return tensor.detach().unsqueeze(0)
    own = tensor.detach().to(_wire()).contiguous()
    every = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(every, own)
    return torch.stack(every).to(tensor.device)


def mean_numbers(numbers: list[float]) -> list[float]:
    """Return the mean of every number over all processes; each process brings as many."""
    if count() == 1 or not numbers:
        return numbers
    return mean(torch.tensor(numbers, dtype=torch.float64, device=_wire())).tolist()


def any_of(*flags: bool) -> tuple[bool, ...]:
    """Return for each flag whether it is true in any process. The hosts talk; no device is waited for."""
    if count() == 1:
        return flags
    most = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(most, dist.ReduceOp.MAX, group=_hosts(dist.group.WORLD))
    return tuple(map(bool, most.tolist()))


def all_agree(flag: bool) -> bool:
    """Return whether ``flag`` is true in every process."""
    return not any_of(not flag)[0]


def gather(own: Sequence[Value]) -> list[Value]:
    """Return the lists of all processes as one, in turns: item i of process r has the place i · count + r."""
    if count() == 1:
        return list(own)
    every: list[list[Value]] = [[] for _ in range(count())]
    dist.all_gather_object(every, list(own))
    return [items[i] for i in range(max(map(len, every))) for items in every if i < len(items)]


def on_first(action: Callable[[], Value]) -> Value:
    """Do something in the first process alone, as writing a file; return its result, or raise its error, in all."""
    if count() == 1:
        return action()
    message: list[object] = [None, None]
    problem: Exception | None = None
    if is_first():
        try:
            message = [action(), None]
        except Exception as found:
            problem = found
            message = [None, found if isinstance(found, SnnqError) else SnnqError(f"{type(found).__name__}: {found}")]
    dist.broadcast_object_list(message, device=_wire())
    if problem or isinstance(message[1], Exception):
        raise problem or message[1]  # pyright: ignore
    return message[0]  # pyright: ignore


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Let the first process go through the block before the others, as when it fills a cache that they then read."""
    if count() == 1:
        yield
        return
    group = _gloo()
    try:
        if not is_first():
            dist.barrier(group)
        yield
    finally:
        # Also when it failed: the others go on and find the same.
        if is_first():
            dist.barrier(group)


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


@cache
def _hosts(world: dist.ProcessGroup | None) -> dist.ProcessGroup | None:
    """Return the group in which the hosts talk: ``world`` itself where its tensors lie there."""
    return world if dist.get_backend(world) != "nccl" else _gloo()


def _gloo() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    assert isinstance(group, dist.ProcessGroup)  # all processes are in it
    return group


def _wire() -> torch.device:
    """Return where a tensor must lie to be sent."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
