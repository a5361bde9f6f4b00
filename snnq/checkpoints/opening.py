"""Opening a float checkpoint, its weights under our names, and writing our own: safetensors that say what they are."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from snnq.base.errors import CheckpointError, OutputExistsError, UsageError
from snnq.base.placing import replacing
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.container import METADATA_KEY, Container, read_container
from snnq.checkpoints.custom import open_custom
from snnq.checkpoints.fitting import check_claims, fit, with_counters
from snnq.checkpoints.fused import cut
from snnq.checkpoints.keymaps import expected_shapes, stored_shapes
from snnq.checkpoints.sizes import OPTIONS, Recorded, agreed_sizes, tupled
from snnq.checkpoints.upstream import infer_config, matched
from snnq.models.custom import Builder
from snnq.models.registry import architecture as architecture_of
from snnq.models.registry import build, register_model
from snnq.models.sizes import Sizes
from snnq.structure.edits import edits_of, structure_key
from snnq.structure.masked import check_counts

_log = logging.getLogger(__name__)
BUILTIN = {"digits": Path(__file__).parent / "builtin" / "digits.safetensors"}


@dataclass(frozen=True)
class Checkpoint:
    """An opened float checkpoint.

    ``container`` names the wrapping it was saved in, ``config`` are JSON-ready values for the registry,
    ``state_dict`` is float32 under our names, ``dropped`` the upstream keys that its model never uses, ``data`` the
    data spec it was trained on where the file says so. ``path`` is the name it was opened by. ``weights`` says which
    of several sets were taken (``last``, ``ema`` or a key of the file; None where it holds one), ``notes`` what was
    taken and left out.
    """

    path: str
    sha256: str
    container: str
    architecture: str
    layout: str
    config: Json
    state_dict: dict[str, Tensor] = field(repr=False)
    dropped: tuple[str, ...] = ()
    data: str | None = None
    weights: str | None = None
    notes: tuple[str, ...] = ()


def open_checkpoint(
    path: str | Path,
    *,
    architecture: str | None = None,
    steps: int | None = None,
    heads: int | tuple[int, ...] | None = None,
    image_size: tuple[int, int] | None = None,
    pooling: tuple[bool, ...] | None = None,
    chunk: int | None = None,
    key_stride: int | None = None,
    substeps: int | None = None,
    model: str | Builder | None = None,
    arguments: Config | None = None,
    groups: Sequence[Sequence[str]] = (),
    weights: str | None = None,
) -> Checkpoint:
    """Open a checkpoint of ours, of an upstream model or of a user's own; ``"digits"`` names the built-in one.

    A user's own ``model`` is named by the function that builds it (``register_model``: its code is run); ``arguments``
    are that function's, ``groups`` are (pattern, group) for layers whose path does not say which group they are in.

    ``architecture`` (its name here), ``steps``, ``heads``, ``image_size`` (height, width), ``pooling``, ``chunk``
    (steps that STAtten's attention mixes at once), ``key_stride`` (frames a segment of ReSpike's) and ``substeps`` (D
    of integer spikes) are needed only where the file does not tell them; ``weights`` chooses where it holds several
    sets: ``last``, ``ema`` (averaged) or a key. What was taken and left out is logged. Raises ``CheckpointError`` for a
    file that cannot be read safely, is none of the known architectures or not whole, contradicts what is given, or
    leaves any of these open (all of them named at once).
    """
    values = (architecture, steps, heads, image_size, pooling, chunk, key_stride, substeps)
    given = {name: tupled(value) for name, value in zip(OPTIONS, values, strict=True) if value is not None}
    container = read_container((BUILTIN.get(path) if isinstance(path, str) else None) or Path(path), weights=weights)
    if model is not None and architecture is not None:
        raise UsageError("--architecture and --model: give one of them", "--model is for a model of your own")
    _say(path, container.notes)
    if model is not None and container.own is None:
        opened = _open_custom(str(path), container, model, arguments or {}, groups, given)
    else:
        opened = (_open_upstream if container.own is None else _open_own)(str(path), container, given)
    _say(path, opened.notes)
    return replace(opened, weights=container.weights.taken, notes=(*container.notes, *opened.notes))


def _say(path: str | Path, notes: Sequence[str]) -> None:
    for said in notes:
        _log.info("%s: %s", path, said)


def load_model(checkpoint: Checkpoint) -> nn.Module:
    """Return the checkpoint's model in eval mode, every weight loaded."""
    model = build(checkpoint.architecture, checkpoint.config)
    model.load_state_dict(checkpoint.state_dict, strict=True)
    return model.eval()


def _open_custom(
    path: str,
    container: Container,
    model: str | Builder,
    arguments: Config,
    groups: Sequence[Sequence[str]],
    given: Config,
) -> Checkpoint:
    one = register_model(model)
    pairs = tuple((str(pattern), str(group)) for pattern, group in groups)
    config, state = open_custom(path, container, one, arguments, pairs, given)
    return Checkpoint(path, container.sha256, container.kind, one.name, one.name, config, state)


def _open_upstream(path: str, container: Container, given: Config) -> Checkpoint:
    tensors = with_counters(container.tensors)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    sizes = {key: value for key, value in given.items() if key != "architecture"}
    match, usual = matched(path, shapes, container.settings, given.get("architecture"))
    name = match.architecture
    config = infer_config(path, match, usual, tensors, container.settings, sizes)
    used = {key: tensor for key, tensor in tensors.items() if key not in match.dropped}
    model = f"{name} with dim {config['dim']}, mlp_ratio {config['mlp_ratio']:g} and {config['classes']} classes"
    expected = stored_shapes(config, name)
    used, names = cut(path, used, expected, match.names, model)
    state = _ours(path, fit(path, used, expected, names, model), name, config)
    opened = Checkpoint(path, container.sha256, container.kind, name, config["layout"], config, state, match.dropped)
    stored = architecture_of(name).upstream.stored
    return replace(opened, notes=() if stored is None else stored.said(architecture_of(name).config(config)))


def _ours(path: str, state: dict[str, Tensor], name: str, config: Config) -> dict[str, Tensor]:
    """Return the state dict of a model for what upstream's file holds of it."""
    one = architecture_of(name)
    if one.upstream.stored is None:
        return state
    try:
        found = one.upstream.stored.convert(state, one.config(config))
    except UsageError as problem:
        raise CheckpointError(f"{path}: {problem.message}", problem.hint) from None
    expected = expected_shapes(config, name)
    return fit(path, found, expected, {key: key for key in expected}, name)


def _open_own(path: str, container: Container, given: Config) -> Checkpoint:
    own = container.own or {}
    name, config = str(own["architecture"]), own["config"]
    try:
        lacking = [key for key in architecture_of(name).fields if key not in config]
        if lacking:
            raise UsageError(f"its config lacks {', '.join(lacking)}")
        check_claims(path, config, container.tensors)
        expected = expected_shapes(config, name)
    except (UsageError, TypeError, RuntimeError) as problem:  # torch's, of sizes that no tensor has
        hint = getattr(problem, "hint", "") or "save it again with save_checkpoint"
        raise CheckpointError(f"{path}: {problem}", hint) from None
    recorded = {key: Recorded(tupled(config[key]), f"config.{key}") for key in OPTIONS if key in config}
    agreed_sizes(path, recorded | {"architecture": Recorded(name, "its metadata")}, given)
    state = fit(path, container.tensors, expected, {key: key for key in expected}, name)
    if wrong := check_counts(state, edits_of(config)):
        raise CheckpointError(f"{path}: {wrong}", "it is damaged, or was changed without snnq prune")
    layout, data = str(config.get("layout", name)), own.get("data")
    opened = Checkpoint(path, container.sha256, container.kind, name, layout, config, state)
    return replace(opened, data=data if isinstance(data, str) else None)


def save_checkpoint(
    path: str | Path, model: nn.Module, *, architecture: str, facts: Mapping[str, str], overwrite: bool = True
) -> None:
    """Write a float model as safetensors; equal weights give equal bytes.

    The metadata key ``snnq`` holds JSON: ``architecture``, ``config`` (so nothing is asked on opening), with the edits
    that were made of the model, and ``facts``, of which ``data`` is the spec the model was trained on. The file is
    written beside ``path`` and renamed. Raises ``UsageError`` for an unknown architecture, ``OutputExistsError`` where
    something is there and not ``overwrite``, and ``CheckpointError`` where it cannot be written.
    """
    path = Path(path)
    architecture_of(architecture)
    config = {**cast(Sizes, model.config).to_dict(), **structure_key(model)}
    own = {**facts, "architecture": architecture, "config": config}
    metadata = {METADATA_KEY: json.dumps(own, sort_keys=True)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        with replacing(path, overwrite=overwrite) as temporary:
            save_file(tensors, temporary, metadata)
    except FileExistsError:
        raise OutputExistsError(
            f"{path} is already there", "add --force to overwrite it, or name another --out"
        ) from None
    except (OSError, SafetensorError) as problem:
        raise CheckpointError(f"{path}: cannot be written: {problem}") from None
