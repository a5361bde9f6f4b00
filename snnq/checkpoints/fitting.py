"""Whether a file's tensors are those a model needs: every name, shape and kind, in one sentence where not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from snnq.base.errors import CheckpointError

Shape = tuple[int, ...]
MOST_STEPS, MOST_PIXELS = 65_536, 16_384  # time steps; pixels of a side
LARGEST = 1e18  # √(greatest float32) is 1.8e19


def fit(
    path: str,
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Shape],
    names: Mapping[str, str],
    model: str,
    whole: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return the state dict under our names, floating tensors in float32.

    ``expected`` gives the shape by our name, ``names`` the file's name by ours; ``model`` says in words what the
    shapes belong to; ``whole`` are (our) names of tensors that hold whole numbers, and stay as they are. Raises
    ``CheckpointError`` for a missing or unexpected key, a wrong shape, and a tensor that cannot be a model's: without
    values, quantised already, no floating-point numbers, not finite, beyond ``LARGEST``, a negative variance.
    """
    known = set(names.values())
    missing = [name for name in names.values() if name not in tensors]
    check_names(path, missing, [name for name in tensors if name not in known], model)
    wrong = [ours for ours, theirs in names.items() if tuple(tensors[theirs].shape) != expected[ours]]
    if wrong:
        first = names[wrong[0]]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise CheckpointError(
            f"{path}: key '{first}' has shape {tuple(tensors[first].shape)}, {model} needs {expected[wrong[0]]}{more}"
        )
    return {
        ours: tensors[theirs] if ours in whole else _plain(path, theirs, tensors[theirs])
        for ours, theirs in names.items()
    }


def check_claims(path: str, config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
    """Raise ``CheckpointError`` for a recorded size that these tensors cannot have, before anything is made of it.

    Widths are axes of tensors, depths are at most as many as there are tensors; steps and pixels appear in none of
    them and are held to what a simulation can run at all.
    """
    most = max((*(axis for tensor in tensors.values() for axis in tensor.shape), len(tensors)), default=0)
    for name, value in config.items():
        limit = {"steps": MOST_STEPS, "chunk": MOST_STEPS, "key_stride": MOST_STEPS, "image_size": MOST_PIXELS}.get(
            name, most
        )
        for size in value if isinstance(value, list | tuple) else (value,):
            if isinstance(size, int) and size > limit:
                raise CheckpointError(
                    f"{path}: config.{name} is {size}, its tensors and a simulation allow at most {limit}",
                    "save it again with save_checkpoint",
                )


def check_names(path: str, missing: Sequence[str], unexpected: Sequence[str], model: str) -> None:
    """Raise ``CheckpointError`` if a key is missing or unexpected."""
    if not (missing or unexpected):
        return
    parts = [
        f"{'key' if len(keys) == 1 else f'{len(keys)} keys'} {word}: {listed(keys)}"
        for word, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    raise CheckpointError(
        f"{path}: {'; '.join(parts)} (compared with {model})", "check that the file was saved whole, from this model"
    )


def listed(keys: Sequence[str]) -> str:
    """Return the first few keys, quoted, and an ellipsis where there are more."""
    return ", ".join(f"'{key}'" for key in keys[:3]) + (", …" if len(keys) > 3 else "")


def with_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the counters of batches that norms of PyTorch before 0.4.1, such as torchvision's, lack."""
    ending = "running_var"
    lacking = [name.removesuffix(ending) + "num_batches_tracked" for name in tensors if name.endswith(ending)]
    return (
        {**{name: torch.tensor(0) for name in lacking}, **tensors} if not set(lacking) & set(tensors) else {**tensors}
    )


def _plain(path: str, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor as a model holds it: dense; counters whole, everything else float32 and possible."""
    if tensor.is_meta:
        raise CheckpointError(f"{path}: key '{name}' has a shape and no values (torch's meta device)", "save it anew")
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if name.endswith("num_batches_tracked"):
        return tensor.nan_to_num().long() if tensor.is_floating_point() else tensor.long()
    if tensor.is_quantized:
        raise CheckpointError(
            f"{path}: key '{name}' is quantised already ({tensor.dtype})", "give the float checkpoint it was made from"
        )
    if not tensor.is_floating_point():
        raise CheckpointError(f"{path}: key '{name}' holds {tensor.dtype}, it must hold floating-point numbers")
    _check_values(path, name, tensor)
    return tensor.float()


def _check_values(path: str, name: str, tensor: Tensor) -> None:
    wide = tensor if tensor.element_size() > 1 else tensor.float()  # torch asks nothing of float8
    if not bool(wide.isfinite().all()):
        raise CheckpointError(f"{path}: key '{name}' holds values that are infinite or not numbers")
    if not wide.numel():
        return
    least, most = (float(value) for value in torch.aminmax(wide))
    if max(-least, most) > LARGEST:
        raise CheckpointError(
            f"{path}: key '{name}' holds {max(least, most, key=abs):.3g}; beyond {LARGEST:g} squares and sums of "
            "weights are infinite in float32",
            "the training diverged: give an earlier checkpoint",
        )
    if least < 0 and name.endswith("running_var"):
        raise CheckpointError(
            f"{path}: key '{name}' holds {least:.3g}, a variance is never negative",
            "the file is damaged, or weights were averaged or subtracted by hand",
        )
