"""A model of the user's own: any module of Linear, Conv1d, Conv2d and SpikingJelly neurons, built by a named function.

The function is ``package.module:builder`` or ``path/to/file.py:builder``; it takes keyword arguments and returns the
module. Running it runs the user's code, so a name that merely stands in a file is never imported: the user types it
(``--model``, ``register_model``).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import unwrap
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

from snnq.base.errors import UsageError, nearest
from snnq.base.strict_json import Config, Json
from snnq.models import sizes
from snnq.network.graph import Graph
from snnq.network.graph_file import read_graph
from snnq.network.wiring import FloatWiring

if TYPE_CHECKING:
    from torch import Tensor, nn

Builder = Callable[..., "nn.Module"]
_UNKNOWN = "whose operations are not known"
_TYPED = "__snnq_model__"  # marks a module that was loaded from a file that somebody typed
HINT = "type it as --model package.module:builder or --model path/to/file.py:builder"


@dataclass(frozen=True)
class CustomSizes:
    """What a user's own model is built from, and how it is called.

    ``arguments`` are the builder's, JSON-ready; ``groups`` are (pattern, group) for the layer table. ``time_first``
    says that it takes frames (T, B, C, H, W) rather than (B, T, …), ``per_step`` that it gives logits of every step,
    (T, B, classes), whose mean counts. ``graph`` has its operations (``network.graph_file``) where all were found when
    its checkpoint was opened; else ``floating`` is half a sentence, after "and", why not. Early files have neither.
    """

    NEEDED: ClassVar = ("layout", "in_channels", "image_size", "classes", "steps", "time_first", "per_step")

    layout: str
    in_channels: int
    image_size: tuple[int, int]
    classes: int
    steps: int
    time_first: bool
    per_step: bool
    arguments: Config = field(default_factory=dict)
    groups: tuple[tuple[str, str], ...] = ()
    graph: tuple[Config, ...] | None = None
    floating: str | None = None

    def __post_init__(self) -> None:
        for name in ("in_channels", "classes", "steps"):
            sizes.require_positive_int(name, getattr(self, name))
        for side in self.image_size:
            sizes.require_positive_int("image_size", side)

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of one sample."""
        return (self.steps, self.in_channels, *self.image_size)

    def to_dict(self) -> Json:
        """Return the fields as JSON-ready values."""
        groups = [list(pair) for pair in self.groups]
        return sizes.to_json(self) | {"arguments": dict(self.arguments), "groups": groups}

    def wired_from(self) -> Graph | FloatWiring:
        """Return its operations, or why packed weights run in floating point; raises ``UsageError`` for a bad graph."""
        if self.graph is not None:
            return read_graph(self.graph, self.frames_shape)
        return FloatWiring({}, f"it is a model of your own, {_UNKNOWN if self.floating is None else self.floating}")

    @classmethod
    def from_dict(cls, values: Config) -> CustomSizes:
        """Return the sizes ``values`` describes; raises ``UsageError`` for an unknown or missing field."""
        names = [one.name for one in fields(cls)]
        for key in values:
            if key not in names:
                raise UsageError(f"model config: unknown key '{key}'{nearest(key, names)}")
        missing = [name for name in cls.NEEDED if name not in values]
        if missing:
            raise UsageError(f"model config: it lacks {', '.join(missing)}")
        found: Json = dict(values) | {"image_size": tuple(values["image_size"])}
        if found.get("graph") is not None:
            found["graph"] = tuple(found["graph"]) if isinstance(found["graph"], list | tuple) else (found["graph"],)
        found["groups"] = tuple((str(pattern), str(group)) for pattern, group in values.get("groups", ()))
        return cls(**found)


def find_builder(name: str) -> Builder:
    """Import and return the function that a name such as ``package.module:builder`` means; this runs its module.

    Modules are looked for in the current folder first. Raises ``UsageError`` where there is no such function.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute.isidentifier():
        raise UsageError(f"--model {name}: it does not name a function of a module", HINT)
    try:
        module = _module_of(place)
    except Exception as problem:  # whatever the user's module raises
        raise UsageError(f"--model {name}: {place} cannot be imported ({_said(problem)})", HINT) from problem
    found = getattr(module, attribute, None)
    if not isinstance(found, Callable):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"--model {name}: {place} has no function '{attribute}'{nearest(attribute, known)}", HINT)
    return found


def _module_of(place: str) -> ModuleType:
    if place.endswith(".py"):
        path = Path(place).resolve()
        spec = spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise FileNotFoundError(f"there is no file {place}")
        module = module_from_spec(spec)
        if path.stem not in sys.modules or hasattr(sys.modules[path.stem], _TYPED):
            setattr(module, _TYPED, True)
            sys.modules[path.stem] = module  # so that its classes can be copied and pickled
        spec.loader.exec_module(module)
        return module
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return import_module(place)


def source_sha256(builder: Builder) -> str | None:
    """Return the sha256 of the file a builder stands in, None where it stands in none (a notebook)."""
    code = getattr(unwrap(builder), "__code__", None)
    file = code.co_filename if code else getattr(sys.modules.get(builder.__module__), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else None


def named_file(name: str) -> tuple[str, str] | None:
    """Return the path of the file that a builder's name says, and its sha256; None where it is a module's, or none."""
    path = Path(name.rpartition(":")[0]).resolve()
    if path.suffix != ".py" or not path.is_file():
        return None
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def build_custom(name: str, builder: Builder, arguments: Config) -> nn.Module:
    """Return the user's module as its builder made it, on the CPU; the global random state is as before.

    Raises ``UsageError`` where the builder fails or returns no module.
    """
    import torch
    from torch import nn

    try:
        # Their code may need values where ours builds without them, on the meta device.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            model = builder(**arguments)
    except Exception as problem:  # whatever the user's code raises
        raise UsageError(f"--model {name}: building it failed ({_said(problem)})", "see --model-arg") from problem
    if not isinstance(model, nn.Module):
        raise UsageError(f"--model {name}: it returned a {type(model).__name__}, it must return a torch.nn.Module")
    return model


def adopt(model: nn.Module, config: CustomSizes) -> nn.Module:
    """Let a user's module take frames (B, T, C, H, W), give logits (B, classes), and start every call at rest.

    Done by hooks, so that its modules and state keep their names; also names its layers' groups. Returns ``model``.
    """
    from spikingjelly.activation_based import functional

    def before(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        functional.reset_net(module)
        return (arguments[0].transpose(0, 1).contiguous(),) if config.time_first else arguments

    def after(module: nn.Module, arguments: tuple[Tensor, ...], logits: Tensor) -> Tensor:
        functional.reset_net(module)  # frees the voltages' graph, so that the model can be copied
        return logits.mean(0) if config.per_step else logits

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after)
    model.layer_groups = _layer_groups(model, config.groups)  # pyright: ignore
    return model


def calling(name: str, model: nn.Module, shape: tuple[int, int, int, int]) -> dict[str, int]:
    """Return ``time_first``, ``per_step`` and ``classes`` of a user's module, found by running it on random counts.

    ``shape`` is (T, C, H, W). Raises ``UsageError`` where it takes frames in neither order.
    """
    import torch

    batch = 2 if shape[0] != 2 else 3  # so that samples and steps cannot be mixed up
    frames = torch.randint(0, 3, (batch, *shape), generator=torch.Generator().manual_seed(0)).float()
    said = []
    for time_first in (False, True):
        try:
            found = _run(model, frames.transpose(0, 1).contiguous() if time_first else frames)
        except Exception as problem:  # whatever the user's code raises
            said.append(_said(problem))
            continue
        for per_step, leading in ((False, (batch,)), (True, (shape[0], batch))):
            if found.ndim == len(leading) + 1 and tuple(found.shape[:-1]) == leading:
                return {"time_first": time_first, "per_step": per_step, "classes": int(found.shape[-1])}
        said.append(f"it gives {tuple(found.shape)}")
    order = "x".join(map(str, shape))
    raise UsageError(
        f"--model {name}: for {batch} samples of {order} it must give logits (samples, classes) or (steps, samples, "
        f"classes); samples first: {said[0]}; steps first: {said[1]}",
        "see --steps and --image-size",
    )


def _run(model: nn.Module, frames: Tensor) -> Tensor:
    import torch
    from spikingjelly.activation_based import functional

    was_training = model.training
    functional.reset_net(model)
    with torch.no_grad():
        found = model.eval()(frames)
    functional.reset_net(model)
    model.train(was_training)
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"it returns a {type(found).__name__}, not a tensor")
    return found


def check_groups(groups: tuple[tuple[str, str], ...], layers: list[str]) -> None:
    """Raise ``UsageError`` for a group that is none, or a pattern that no layer has."""
    from snnq.network.layers import GROUPS

    for pattern, group in groups:
        if group not in GROUPS:
            raise UsageError(f"--group {pattern}={group}: there is {', '.join(GROUPS)}{nearest(group, GROUPS)}")
        if not any(_answers(layer, pattern) for layer in layers):
            raise UsageError(f"--group {pattern}={group}: no layer is called that{nearest(pattern, layers)}")


def _layer_groups(model: nn.Module, given: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the group of every layer: what the user says, what its path says, or what it looks like."""
    from snnq.network.layers import group_in, quantisable

    layers = quantisable(model)
    check_groups(given, list(layers))
    found: dict[str, str] = {}
    for name in layers:
        asked = next((group for pattern, group in given if _answers(name, pattern)), None)
        found[name] = asked or group_in(name, _USUAL) or ""
    if "head" not in found.values() and layers and not found[last := list(layers)[-1]]:
        found[last] = "head"
    return {name: group or ("mlp" if layers[name][1] == "linear" else "tokenizer") for name, group in found.items()}


# The first that is found in a layer's path decides; what none is found in is told by its kind.
_USUAL = (
    (r"(^|[._])(attn|attention|ssa|tssa|sdsa|mixer)\d*([._]|$)", "attention"),
    (r"(^|[._])(mlp|ffn|feed_forward)\d*([._]|$)", "mlp"),
    (r"(^|\.)(head|classifier)(\.\d+)?$", "head"),
    (r"(^|[._])(patch_embed|embed|embedding|stem|tokenizer|downsample)\d*([._]|$)", "tokenizer"),
)


def _answers(layer: str, pattern: str) -> bool:
    parts = layer.split(".")
    return any(fnmatchcase(".".join(parts[i:]), pattern) for i in range(len(parts)))


def _said(problem: Exception) -> str:
    text = str(problem).partition("\n")[0]
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
