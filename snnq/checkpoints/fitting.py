"""Whether a file's tensors are those a model needs: every name, shape and kind, in one sentence where not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from snnq.errors import CheckpointError

Shape = tuple[int, ...]


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
    ``CheckpointError`` for a missing or unexpected key, a wrong shape, a weight that is no floating-point number and
    one that is not finite.
    """
    check_names(path, [name for name in names.values() if name not in tensors], _others(tensors, names), model)
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


def listed(keys: Sequence[str], most: int = 3) -> str:
    """Return the first few keys, quoted, and an ellipsis where there are more."""
    return ", ".join(f"'{key}'" for key in keys[:most]) + (", …" if len(keys) > most else "")


def _others(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    known = set(names.values())
    return [name for name in tensors if name not in known]


def _plain(path: str, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor as a model holds it: counters whole, everything else float32 and finite."""
    if name.endswith("num_batches_tracked"):
        return tensor.long()
    if not tensor.is_floating_point():
        raise CheckpointError(f"{path}: key '{name}' holds {tensor.dtype}, it must hold floating-point numbers")
    if not bool(tensor.isfinite().all()):
        raise CheckpointError(f"{path}: key '{name}' holds values that are infinite or not numbers")
    return tensor.float()
