"""From upstream's tensors to a model's configuration.

It is inferred from shapes and from what the training script recorded, and asked for where neither tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from snnq.base.errors import CheckpointError, UsageError
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.fitting import check_names, listed
from snnq.checkpoints.foreign import looks_like, own_model_line
from snnq.checkpoints.keymaps import Match, every_keys, match, recognise
from snnq.checkpoints.sizes import OPTIONS, Recorded, agreed_sizes, recorded_sizes, shown
from snnq.models.registry import ARCHITECTURES, architecture
from snnq.models.sizes import TransformerSizes
from snnq.models.upstream import ASKED, Settings, Shapes


def matched(path: str, shapes: Shapes, settings: Settings, wanted: str | None) -> tuple[Match, tuple[str, ...]]:
    """Return the match with the architecture a file holds, and all it can be where only its user can tell.

    ``wanted`` is the one its user says it is. Raises ``CheckpointError`` naming the nearest layout if the names or
    numbers of dimensions are not its own, and where what is wanted contradicts them or the training script.
    """
    found = recognise(shapes) if wanted is None else _as_wanted(path, shapes, wanted)
    can_be = found.keys.variants(shapes, settings)
    if wanted is not None and wanted not in can_be.possible:
        raise CheckpointError(
            f"{path}: --architecture {wanted} contradicts the file: its keys and the settings recorded in it are those "
            f"of {_either(can_be.possible)}",
            "leave --architecture away, or name " + _either(can_be.possible),
        )
    usual = can_be.usual if wanted is None else (wanted,)
    if usual[0] != found.architecture:
        found = match(found.keys, usual[0], shapes)
    _check_match(path, found, shapes)
    return found, usual


def _as_wanted(path: str, shapes: Shapes, wanted: str) -> Match:
    """Return the best match with names that the architecture ``wanted`` has."""
    architecture(wanted)  # refuses a name that there is not
    best = recognise(shapes)
    if wanted in best.keys.architectures:
        return best
    fits = [match(keys, wanted, shapes) for keys in every_keys() if wanted in keys.architectures]
    if best.exact or not fits:
        raise CheckpointError(
            f"{path}: --architecture {wanted}: its keys are those of {_either(best.keys.architectures)}",
            f"leave --architecture away, or name {_either(best.keys.architectures)}",
        )
    return max(fits, key=lambda one: one.fitting)


def _check_match(path: str, match: Match, shapes: Shapes) -> None:
    model = f"{match.architecture} of depth {match.depth}"
    if 2 * match.fitting < len(match.due):
        raise CheckpointError(
            f"{path}: is no spiking transformer known here; nearest layout is {match.architecture}, of whose "
            f"{len(match.due)} keys it has {match.fitting} (lacks {listed(match.missing or match.misshapen)}; "
            f"has {listed(match.unexpected or list(shapes))}){looks_like(shapes)}",
            f"supported are {', '.join(ARCHITECTURES)}; a model of your own: {own_model_line(path)}",
        )
    check_names(path, match.missing, match.unexpected, model)
    if match.misshapen:
        name = match.misshapen[0]
        raise CheckpointError(f"{path}: key '{name}' has {len(shapes[name])} dimensions, not those of {model}")


def infer_config(
    path: str,
    match: Match,
    usual: tuple[str, ...],
    tensors: Mapping[str, Tensor],
    settings: Settings,
    given: Config,
) -> Json:
    """Return the configuration of an upstream checkpoint whose names match, which is one of ``usual``.

    Widths, depth, classes and channels come from shapes; what else there is from ``given``, from what upstream's code
    writes out, the training script's ``settings`` or (image size) the number of position embeddings. Raises
    ``CheckpointError`` where two of these contradict each other, and one naming everything still missing.
    """
    one = architecture(match.architecture)
    published = one.config({})
    seen = match.sizes({key: tuple(tensor.shape) for key, tensor in tensors.items()})
    out = one.upstream
    known = dict(out.beside.get((seen.get("dim", 0), seen["depth"]), {}))
    recorded = {
        size: record
        for size, record in recorded_sizes(settings).items()
        if any(size in architecture(name).asked() for name in usual) and (size not in known or size == "image_size")
    }
    sizes = {"pooling": published.pooling} if "pooling" in out.always else {}
    sizes |= known | agreed_sizes(path, recorded, given)
    tokens = _tokens(path, tensors)
    if tokens is not None and "image_size" not in sizes and "pooling" in sizes:
        sizes.update(_square_image(tokens, sum(sizes["pooling"])))
    _check_choices(path, usual, given)
    _check_missing(path, usual, sizes, seen["in_channels"])
    try:
        config = one.config(seen | out.told(tensors) | sizes)
    except UsageError as problem:
        raise CheckpointError(f"{path}: {problem.message}", _source_hint(problem.message, recorded)) from None
    _check_tokens(path, config, tokens)
    return config.to_dict()


def _check_choices(path: str, usual: tuple[str, ...], given: Config) -> None:
    has = {size for name in usual for size in ASKED if getattr(architecture(name).config({}), size, None) is not None}
    lacking = [OPTIONS[size] for size in given if size not in has]
    if lacking:
        raise CheckpointError(f"{path}: {', '.join(lacking)}: {_either(usual)} has no such size", "leave it away")


def _check_missing(path: str, usual: tuple[str, ...], sizes: Config, channels: int) -> None:
    """Raise ``CheckpointError`` that names, with the words to type, all that only the file's user can tell."""
    lacks = {name: [size for size in architecture(name).asked() if size not in sizes] for name in usual}
    missing = [size for size in ASKED if any(size in lack for lack in lacks.values())]
    if len(usual) == 1 and not missing:
        return
    wanted = [f"{ASKED[size]} ({OPTIONS[size]})" for size in missing]
    if len(usual) > 1:
        wanted.insert(0, f"architecture (--architecture: {_either(usual)} have the same keys)")
    examples = [
        (
            " ".join(_words({"architecture": name} if len(usual) > 1 else {}, sizes, lacks[name])),
            data or name,
            bool(data),
        )
        for name in usual
        for data, sizes in architecture(name).trained(channels)
    ]
    if len(examples) == 1 and not examples[0][2]:
        hint = f"the published {examples[0][1]} has {examples[0][0]}"
    else:
        hint = "published: " + "; ".join(f"{words} ({data})" for words, data, _ in examples)
    raise CheckpointError(
        f"{path}: the file does not say its {', '.join(wanted)}", f"give what it was trained with; {hint}"
    )


def _words(first: Mapping[str, str], sizes: Config, missing: list[str]) -> list[str]:
    found = {**first, **{size: sizes[size] for size in missing}}
    return [f"{OPTIONS[one]} {shown(one, value)}" for one, value in found.items()]


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


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


def _check_tokens(path: str, config: TransformerSizes, tokens: int | None) -> None:
    if tokens in (None, config.tokens):
        return
    sizes = {size: shown(size, config.to_dict()[size]) for size in ("image_size", "pooling")}
    raise CheckpointError(
        f"{path}: key 'pos_embed' has {tokens} tokens, but image size {sizes['image_size']} with "
        f"pooling {sizes['pooling']} gives {config.tokens}",
        "give the --image-size and --pooling it was trained with",
    )
