"""A float checkpoint of the user's own model: every key as the module that their builder makes has it."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Tensor, nn

from snnq.base.errors import CheckpointError, UsageError
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.container import Container
from snnq.checkpoints.fitting import fit
from snnq.checkpoints.sizes import OPTIONS, agreed_sizes, recorded_sizes
from snnq.checkpoints.unwrapping import under_names
from snnq.models.architecture import Architecture
from snnq.models.custom import CustomSizes, adopt, build_custom, calling
from snnq.models.plain import check_plain, make_plain, say_plain, weights_taken
from snnq.network.following import follow
from snnq.network.graph_file import written
from snnq.network.layers import quantisable
from snnq.network.neurons import PRICED, is_neuron, unpriced
from snnq.network.tracing import seeing
from snnq.network.wiring import FloatWiring, wire

log = logging.getLogger(__name__)

_NEEDED = {"steps": "time steps", "image_size": "image size"}


def open_custom(
    path: str,
    container: Container,
    one: Architecture,
    arguments: Config,
    groups: tuple[tuple[str, str], ...],
    given: Config,
) -> tuple[Json, dict[str, Tensor]]:
    """Return the config and the state dict of a checkpoint of a registered model of the user's own.

    ``arguments`` are the builder's, ``groups`` (pattern, group) of layers, ``given`` the number of steps and the image
    size where the file's training script did not record them. How the module is called is found by running it once.
    Raises ``UsageError`` for a builder or module that cannot be used, ``CheckpointError`` for tensors that are not its.
    """
    assert one.builder is not None
    sizes = _frame_sizes(path, container, given)
    model = build_custom(one.name, one.builder, arguments)
    check_plain(one.name, model)
    if not quantisable(model):
        raise UsageError(f"--model {one.name}: it has no Linear, Conv1d or Conv2d, so there is nothing to quantise")
    state = _fitted(path, container, one.name, model)
    model.load_state_dict(state, strict=True)
    computed, channels = make_plain(model), _channels(model)
    if computed:
        state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    called: set[str] = set()
    layers = {path: module for path, (module, _) in quantisable(model).items()}
    with seeing(layers, lambda path, *_: called.add(path)), weights_taken(model) as taken:
        found = calling(one.name, model, (sizes["steps"], channels, *sizes["image_size"]))
    own = {"layout": one.name, "in_channels": channels, "arguments": dict(arguments), "groups": groups}
    say_plain(model, called, taken, computed)
    _say_neurons(one.name, model)
    config = one.config({**own, **sizes, **found})
    adopt(model, config)  # refuses groups that no layer has
    return _drawn(model, config).to_dict(), state


def _drawn(model: nn.Module, config: CustomSizes) -> CustomSizes:
    """Return the config with the model's graph, if it runs in whole numbers; else with why it does not."""
    found = follow(model, config.frames_shape)
    if isinstance(found, str):
        return replace(config, floating=f"and {found}")
    wired = wire(found)
    if isinstance(wired, FloatWiring):
        return replace(config, floating=f"and {wired.reason}")
    return replace(config, graph=tuple(written(found)))


def _frame_sizes(path: str, container: Container, given: Config) -> Json:
    """Return the steps and the image size, as the file or its user says them; raises ``CheckpointError``."""
    recorded = {name: size for name, size in recorded_sizes(container.settings).items() if name in _NEEDED}
    sizes = agreed_sizes(path, recorded, {name: value for name, value in given.items() if name in _NEEDED})
    missing = [name for name in _NEEDED if name not in sizes]
    if missing:
        wanted = ", ".join(f"{_NEEDED[name]} ({OPTIONS[name]})" for name in missing)
        raise CheckpointError(f"{path}: the file does not say its {wanted}", "give what it was trained with")
    return sizes


def _fitted(path: str, container: Container, name: str, model: nn.Module) -> dict[str, Tensor]:
    """Return the file's weights under the names of a model, in its shapes."""
    due = model.state_dict()
    whole = {key for key, tensor in due.items() if not tensor.is_floating_point()}
    shapes = {key: tuple(tensor.shape) for key, tensor in due.items()}
    return fit(path, under_names(container.weights, list(due)), shapes, {key: key for key in due}, name, whole)


def _say_neurons(builder: str, model: nn.Module) -> None:
    """Say where no neurons were found, and which have updates without a price."""
    if not any(is_neuron(module) for module in model.modules()):
        log.warning(
            f"no module of --model {builder} is a neuron of SpikingJelly or derived from one: whole numbers that its "
            "layers are given are taken for event counts, not spikes, in energies, too. Use SpikingJelly's, such as "
            "ILIFNode for 0 … D spikes a step, or derive them from its BaseNode, with D as their attribute substeps."
        )
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
