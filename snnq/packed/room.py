"""Memory for running a packed model: its config.json is believed only as far as this process has room.

Nothing in a packed folder's tensors shows how many time steps and pixels the model takes, so a damaged or foreign
config may ask for any amount.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snnq.base.errors import PackedError
from snnq.base.machine import free_memory
from snnq.base.strict_json import Config
from snnq.network.layers import frames_shape
from snnq.packed.config import CONFIG_FILE, REPACK

# Bytes of a float32; the tokenizers' first convolution has dim/8 channels at the full size of the image.
_NUMBER, _NARROWEST = 4, 8


def least_bytes(config: Config, samples: int, steps: int | None = None) -> int:
    """Return what running ``samples`` samples takes at least, in bytes: frames and the first layer's output."""
    found, channels, height, width = frames_shape(config)
    dim = config.get("dim", 0)
    first = max(channels, dim // _NARROWEST if isinstance(dim, int) else 0)
    return samples * (found if steps is None else steps) * height * width * (channels + first) * _NUMBER


def check_room(folder: Path, config: Config, samples: int, steps: int | None = None, products: int = 0) -> None:
    """Raise PackedError where a model of these sizes cannot run on ``samples`` samples in the memory that is left.

    ``products`` are those of an attention in one time step, where it keeps them.
    """
    found = frames_shape(config)[0] if steps is None else steps
    need, free = least_bytes(config, samples, steps) + samples * found * products * _NUMBER, free_memory()
    if free is not None and need > free:
        raise _no_room(folder, config, f"at least {need / 2**30:,.1f} GiB, {free / 2**30:,.1f} GiB are free")


@contextmanager
def within_memory(folder: Path, config: Config) -> Iterator[None]:
    """Turn memory that runs out inside into a PackedError that names the sizes which ask for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        if isinstance(problem, RuntimeError) and "memory" not in str(problem):  # torch has no class for it on the CPU
            raise
        raise _no_room(folder, config, "more than there is") from None


def _no_room(folder: Path, config: Config, amount: str) -> PackedError:
    steps, _, height, width = frames_shape(config)
    return PackedError(
        f"{folder / CONFIG_FILE}: steps {steps} and image_size {height}x{width} take too much memory ({amount})",
        f"are these the model's sizes? If not, {REPACK}",
    )
