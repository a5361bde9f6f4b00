"""A model's layers as Prosperity's simulator reads networks (Wei et al. 2025, github.com/dubcyfor3/Prosperity).

Two files of one name: ``NAME.json``, its list of operators with their sizes in the order they run; and ``NAME.pkl``,
the spikes of each by its key, torch tensors of bool: of ``conv2d…`` (T, C, H, W), of ``fc…`` (T, rows, inputs). A layer
of whole numbers is one operator a bit plane. Its convolutions are square, in one group and without dilation; others are
left out, and named. Weights are not in it: that simulator takes them to be dense.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from snnq.base.errors import OutputExistsError, UsageError
from snnq.base.placing import replacing
from snnq.hardware.operands import Operands

BATCH = 1


def write_network(
    path: Path, calls: Mapping[str, Sequence[Operands]], outputs: Mapping[str, Sequence[np.ndarray]]
) -> tuple[str, ...]:
    """Write ``path``.json and ``path``.pkl of one sample; return the names of layers that are left out.

    Raises OutputExistsError where one of them is there, UsageError where they cannot be written.
    """
    import torch

    operators: dict[str, list[int]] = {}
    spikes: dict[str, np.ndarray] = {}
    left = tuple(name for name, some in calls.items() if not all(map(_fits, some)))
    for name, some in calls.items():
        for place, one in enumerate(some if name not in left else ()):
            for key, sizes, bits in _operators(name if not place else f"{name}.{place + 1}", one):
                operators[key], spikes[key] = sizes, bits
        for place, fired in enumerate(outputs.get(name, ())):
            operators[f"lif_{name}" + (f".{place + 1}" if place else "")] = [fired.shape[1], BATCH, len(fired)]
    tensors = {key: torch.from_numpy(np.ascontiguousarray(bits)) for key, bits in spikes.items()}
    contents = {".json": json.dumps(operators, indent=1).encode(), ".pkl": pickle.dumps(tensors, protocol=4)}
    for ending, content in contents.items():
        _write(Path(f"{path}{ending}"), content)
    return left


def check_network(path: Path) -> None:
    """Raise OutputExistsError where one of the two files is there."""
    for ending in (".json", ".pkl"):
        if (place := Path(f"{path}{ending}")).exists():
            raise OutputExistsError(f"{place} is already there", "name another --prosperity")


def _write(place: Path, content: bytes) -> None:
    try:
        with replacing(place, overwrite=False) as temporary:
            temporary.write_bytes(content)
    except FileExistsError:
        raise OutputExistsError(f"{place} is already there", "name another --prosperity") from None
    except OSError as problem:
        raise UsageError(f"{place}: cannot be written ({problem.strerror})", "name another --prosperity") from None


def _fits(one: Operands) -> bool:
    """Return whether Prosperity has a word for it."""
    if one.window is None:
        return True
    window, (height, width) = one.window, one.planes.shape[-2:]
    (top, bottom), (left, right) = window.padding
    square = height == width and len({*window.kernel}) == 1 and len({*window.stride}) == 1
    return square and one.groups == 1 and window.dilation == (1, 1) and top == bottom == left == right


def _operators(name: str, one: Operands) -> list[tuple[str, list[int], np.ndarray]]:
    """Return key, sizes and spikes of every bit plane of a layer."""
    found, steps = [], one.planes.shape[1]
    for plane, bits in enumerate(one.planes):
        end = f"_bit{plane}" if len(one.planes) > 1 else ""
        if one.window is None:
            sizes = [bits.shape[2], one.weights.shape[2], bits.shape[1], BATCH, steps]
            found.append((f"fc_{name}{end}", sizes, bits))
        else:
            (kernel, _), (stride, _), ((padding, _), _) = one.window.kernel, one.window.stride, one.window.padding
            channels, height = bits.shape[1], bits.shape[2]
            sizes = [height, channels, one.weights.shape[2], kernel, padding, stride, BATCH, steps]
            found.append((f"conv2d_{name}{end}", sizes, bits))
    return found
