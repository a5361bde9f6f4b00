"""A float checkpoint of the user's own model: every key as the module that their builder makes has it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnq.base.errors import CheckpointError, UsageError
from snnq.checkpoints.container import Container
from snnq.checkpoints.fitting import fit
from snnq.checkpoints.sizes import OPTIONS, agreed_sizes, recorded_sizes
from snnq.checkpoints.unwrapping import under_names
from snnq.models.architecture import Architecture
from snnq.models.custom import adopt, build_custom, calling
from snnq.models.plain import check_plain, make_plain, say_plain
from snnq.network.layers import quantisable
from snnq.network.neurons import PRICED, unpriced
from snnq.network.seeing import seeing

log = logging.getLogger(__name__)

_NEEDED = {"steps": "time steps", "image_size": "image size"}


def open_custom(
    path: str,
    container: Container,
    one: Architecture,
    arguments: Mapping[str, Any],
    groups: tuple[tuple[str, str], ...],
    given: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config and the state dict of a checkpoint of a registered model of the user's own.

    ``arguments`` are the builder's, ``groups`` (pattern, group) of layers, ``given`` the number of steps and the image
    size where the file's training script did not record them. How the module is called is found by running it once.
    Raises ``UsageError`` for a builder or module that cannot be used, ``CheckpointError`` for tensors that are not its.
    """
    assert one.builder is not None
    recorded = {name: size for name, size in recorded_sizes(container.settings).items() if name in _NEEDED}
    sizes = agreed_sizes(path, recorded, {name: value for name, value in given.items() if name in _NEEDED})
    missing = [name for name in _NEEDED if name not in sizes]
    if missing:
        wanted = ", ".join(f"{_NEEDED[name]} ({OPTIONS[name]})" for name in missing)
        raise CheckpointError(f"{path}: the file does not say its {wanted}", "give what it was trained with")
    model = build_custom(one.name, one.builder, arguments)
    check_plain(one.name, model)
    if not quantisable(model):
        raise UsageError(f"--model {one.name}: it has no Linear, Conv1d or Conv2d, so there is nothing to quantise")
    names = list(model.state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    whole = {name for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    tensors = under_names(container.weights, names)
    state = fit(path, tensors, shapes, {name: name for name in names}, one.name, whole)
    model.load_state_dict(state, strict=True)
    computed, channels = make_plain(model), _channels(model)
    if computed:
        state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    called: set[str] = set()
    with seeing({path: module for path, (module, _) in quantisable(model).items()}, lambda path, *_: called.add(path)):
        found = calling(one.name, model, (sizes["steps"], channels, *sizes["image_size"]))
    values = {
        "layout": one.name,
        "in_channels": channels,
        "image_size": list(sizes["image_size"]),
        "steps": sizes["steps"],
        "arguments": dict(arguments),
        "groups": groups,
        **found,
    }
    say_plain(model, called, computed)
    _say_unpriced(model)
    config: Any = one.config(values)
    adopt(model, config)  # refuses groups that no layer has
    return config.to_dict(), state


def _say_unpriced(model: nn.Module) -> None:
    found: dict[str, list[str]] = {}
    for name, kind in unpriced(model):
        found.setdefault(kind, []).append(name)
    for kind, names in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        log.info(
            f"Neurons '{names[0]}'{more} are {kind}: the event model of energy has no price for their updates and "
            f"leaves them out; priced are {', '.join(PRICED[:-1])}."
        )


def _channels(model: nn.Module) -> int:
    """Return the channels of the frames: those of the first convolution; an event camera's two without one."""
    layers = [module for module, kind in quantisable(model).values() if kind == "conv2d"]
    return layers[0].in_channels if layers and isinstance(layers[0], torch.nn.Conv2d) else 2
