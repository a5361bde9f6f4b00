"""From upstream's tensors to a model's configuration.

It is inferred from shapes and from what the training script recorded, and asked for where neither tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from snnq.checkpoints.fitting import check_names, listed
from snnq.checkpoints.keymaps import Match, Shapes
from snnq.checkpoints.sizes import OPTIONS, Recorded, agreed_sizes, recorded_sizes, shown
from snnq.checkpoints.variants import Settings, other_settings, written_out
from snnq.errors import CheckpointError, UsageError
from snnq.models.registry import ARCHITECTURES, architecture

_IN_WORDS = {"steps": "time steps", "heads": "attention heads", "image_size": "image size", "pooling": "pooling"}


def check_match(path: str, match: Match, shapes: Shapes) -> None:
    """Raise ``CheckpointError`` naming the nearest layout if the names or numbers of dimensions are not its own."""
    model = f"{match.architecture} of depth {match.depth}"
    if 2 * match.fitting < len(match.due):
        raise CheckpointError(
            f"{path}: is no spiking transformer known here; nearest layout is {match.architecture}, of whose "
            f"{len(match.due)} keys it has {match.fitting} (lacks {listed(match.missing or match.misshapen)}; "
            f"has {listed(match.unexpected or list(shapes))})",
            f"supported are {', '.join(ARCHITECTURES)}; a model of your own: --model package.module:builder",
        )
    check_names(path, match.missing, match.unexpected, model)
    if match.misshapen:
        name = match.misshapen[0]
        raise CheckpointError(f"{path}: key '{name}' has {len(shapes[name])} dimensions, not those of {model}")


def infer_config(
    path: str,
    match: Match,
    name: str,
    tensors: Mapping[str, Tensor],
    settings: Settings,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the configuration of an upstream checkpoint of architecture ``name``, whose names match.

    Widths, depth, classes and channels come from shapes; steps, heads and image size from ``given``, what upstream's
    code writes out, the training script's ``settings`` or (image size) the number of position embeddings; pooling and
    attention scale are the layout's, but where it has a choice of pooling.
    Raises ``CheckpointError`` where two of these contradict each other, and one naming every size still missing.
    """
    usual: Any = architecture(name).config({})
    _check_choices(path, name, usual, given)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    known = written_out(name, match.sizes(shapes))
    fixed = (*match.keys.fixed, *known)
    recorded = {
        size: record for size, record in recorded_sizes(settings).items() if hasattr(usual, size) and size not in fixed
    }
    usual_pooling = hasattr(usual, "pooling") and "pooling" not in match.keys.asked
    sizes = ({"pooling": usual.pooling} if usual_pooling else {}) | dict(known)
    sizes |= agreed_sizes(path, recorded, given)
    tokens = _tokens(path, tensors)
    if tokens is not None and "image_size" not in sizes:
        sizes.update(_square_image(tokens, sum(sizes["pooling"])))
    missing = [name for name in _IN_WORDS if hasattr(usual, name) and name not in sizes and name not in fixed]
    if missing:
        wanted = ", ".join(f"{_IN_WORDS[name]} ({OPTIONS[name]})" for name in missing)
        example = " ".join(f"{OPTIONS[name]} {shown(name, getattr(usual, name))}" for name in missing)
        raise CheckpointError(
            f"{path}: the file does not say its {wanted}",
            f"give what it was trained with; the published {name} has {example}",
        )
    try:
        config = architecture(name).config(match.sizes(shapes) | other_settings(name, tensors, settings) | sizes)
    except UsageError as problem:
        raise CheckpointError(f"{path}: {problem.message}", _source_hint(problem.message, recorded)) from None
    _check_tokens(path, config, tokens)
    return config.to_dict()


def _check_choices(path: str, name: str, usual: Any, given: Mapping[str, Any]) -> None:
    lacking = [OPTIONS[size] for size in given if not hasattr(usual, size)]
    if lacking:
        raise CheckpointError(f"{path}: {', '.join(lacking)}: {name} has no such size", "leave it away")


def _source_hint(message: str, recorded: Mapping[str, Recorded]) -> str:
    named = [
        f"{name} is what the file records as {r.source}" for name, r in recorded.items() if message.startswith(name)
    ]
    return "; ".join(named)


def _tokens(path: str, tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of tokens that an unused position embedding (1, N, dim) gives away."""
    if "pos_embed" not in tensors:
        return None
    shape = tuple(tensors["pos_embed"].shape)
    if len(shape) != 3 or shape[0] != 1:
        raise CheckpointError(f"{path}: key 'pos_embed' has shape {shape}, it must be (1, tokens, dim)")
    return shape[1]


def _square_image(tokens: int, poolings: int) -> dict[str, tuple[int, int]]:
    """Return the side of the square image that gives so many tokens, if there is one."""
    side = isqrt(tokens)
    return {"image_size": (side << poolings, side << poolings)} if side and side * side == tokens else {}


def _check_tokens(path: str, config: Any, tokens: int | None) -> None:
    if tokens in (None, config.tokens):
        return
    raise CheckpointError(
        f"{path}: key 'pos_embed' has {tokens} tokens, but image size {shown('image_size', config.image_size)} with "
        f"pooling {shown('pooling', config.pooling)} gives {config.tokens}",
        "give the --image-size and --pooling it was trained with",
    )
