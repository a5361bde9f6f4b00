"""The built-in checkpoint under upstream's names, in everything that training scripts of the field wrap around it.

``WRAPPED`` maps a name to what is saved: each must open and give the logits of the plain state dict.
"""

from __future__ import annotations

import datetime
import re
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from snnq.checkpoints.opening import BUILTIN

State = dict[str, Tensor]
GIVEN: dict[str, Any] = {"steps": 4, "heads": 4, "image_size": (16, 16), "pooling": (False, False, True, True)}
TYPED = ["--steps", "4", "--heads", "4", "--image-size", "16", "--pooling", "0011"]


@dataclass
class Config:
    """A class of a training script's own, with settings in it."""

    T: int = 4
    place: PurePosixPath = field(default_factory=lambda: PurePosixPath("out"))


class EasyDict(dict):
    """A dict of another library: items and attributes."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        self.__dict__.update(items)


def plain() -> State:
    """Return the state dict under upstream's names (CIFAR10-DVS layout)."""
    state = load_file(BUILTIN["digits"])
    return {re.sub(r"\.(q|k|v|proj|fc1|fc2)\.(weight|bias)$", r".\1_conv.\2", key): t for key, t in state.items()}


def prefixed(state: State, prefix: str) -> State:
    """Return a state dict with a prefix before every name."""
    return {prefix + name: tensor for name, tensor in state.items()}


def inner(state: State, part: str) -> State:
    """Return a state dict in which a wrapped block has another part in its names."""
    return {name.replace("block.0.", f"block.0.{part}."): tensor for name, tensor in state.items()}


def moved(state: State, by: float = 0.01) -> State:
    """Return other weights of the same names."""
    return {name: t + by if t.is_floating_point() else t for name, t in state.items()}


def averaged_model(state: State) -> State:
    """Return what torch's AveragedModel gives."""
    return {"n_averaged": torch.tensor(7), **prefixed(state, "module.")}


def optimizer(state: State) -> dict[str, Any]:
    """Return what Adam leaves of a model."""
    moments = {"step": torch.tensor(3.0), "exp_avg": state["head.weight"], "exp_avg_sq": state["head.weight"]}
    return {"state": {0: moments, "head.weight": moments}, "param_groups": [{"lr": 1e-3, "params": [0]}]}


def wrapped() -> dict[str, Any]:
    """Return every container by name."""
    state = plain()
    other = moved(state)
    parameters = {name: nn.Parameter(t) if t.is_floating_point() else t for name, t in state.items()}
    without_counters = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return {
        # SpikingJelly's examples, PyTorch's tutorials, and others like them
        "net": {"net": state, "optimizer": optimizer(state), "epoch": 3, "max_test_acc": 0.9},
        "model_state_dict": {"epoch": 1, "model_state_dict": state, "optimizer_state_dict": optimizer(state)},
        "network": {"network": state, "rng": torch.get_rng_state()},
        "nested": {"checkpoint": {"weights": {"model": state}}, "epoch": 3},
        "beside_counters": {"model": state, "step": torch.tensor(12), "best": torch.tensor([0.9])},
        "parameters": parameters,
        "fairseq": {"args": None, "cfg": {"task": "x"}, "model": state, "extra_state": {"epoch": 1}},
        "epoch_inside": {**state, "epoch": 3, "arch": "spikformer"},
        "twice": {"model": state, "model_state_dict": state},
        # wrappers of modules
        "module": prefixed(state, "module."),
        "compiled": prefixed(state, "_orig_mod."),
        "both": prefixed(prefixed(state, "_orig_mod."), "module."),
        "inner_compile": inner(state, "_orig_mod"),
        "inner_fsdp": inner(state, "_fsdp_wrapped_module"),
        "fsdp": prefixed(inner(state, "_fsdp_wrapped_module._checkpoint_wrapped_module"), "_fsdp_wrapped_module."),
        "checkpointed": inner(state, "_checkpoint_wrapped_module"),
        "named": prefixed(state, "spikformer."),
        "deepspeed": {"module": state, "buffer_names": ["x"], "param_shapes": [OrderedDict(a=torch.Size([2]))]},
        # Lightning, mmengine, mmcv
        "lightning": {
            "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(10), "f1.total": torch.zeros(1)},
            "hyper_parameters": {"T": 4},
            "optimizer_states": [optimizer(state)],
            "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.9), "ema": {"a.b": torch.zeros(2, 2)}}},
            "loops": {"fit_loop": {}},
        },
        "lightning_net": {"state_dict": prefixed(state, "net.module."), "epoch": 3},
        "lightning_average": {
            "state_dict": prefixed(state, "model."),
            "current_model_state": prefixed(other, "model."),
            "averaging_state": {"n_averaged": torch.tensor(3)},
        },
        "lightning_two": {"state_dict": {**prefixed(state, "model."), **prefixed(averaged_model(other), "ema.")}},
        "mmengine": {
            "meta": {"epoch": 1},
            "message_hub": {},
            "state_dict": state,
            "ema_state_dict": averaged_model(other),
        },
        "mmcv_ema": {"state_dict": {**state, **{f"ema_{n.replace('.', '_')}": t for n, t in other.items()}}},
        # averaged weights beside the last ones
        "timm": {"state_dict": state, "state_dict_ema": other, "args": Namespace(T=4)},
        "model_ema": {"model": state, "model_ema": averaged_model(other)},
        "ema_of_parameters": {
            "model": state,
            "ema": {"shadow": {n: t for n, t in other.items() if not n.endswith(statistics)}, "decay": 0.99},
        },
        "averaged_alone": averaged_model(state),
        # tensors that are no weights
        "thop": {
            **state,
            "total_ops": torch.zeros(1),
            "head.total_ops": torch.zeros(1),
            "head.total_params": torch.zeros(1),
        },
        "surrogate": {**state, "patch_embed.proj_lif.surrogate_function.alpha": torch.tensor(2.0)},
        "membranes": {**state, "patch_embed.proj_lif.v": torch.zeros(4, 8), "block.0.attn.attn_lif.v": torch.zeros(3)},
        "old_norms": without_counters,
        # what stands beside the weights
        "paths": {
            "model": state,
            "args": Namespace(output_dir=PurePosixPath("a/b"), here=Path("x"), device=torch.device("cpu")),
        },
        "plain_python": {
            "model": state,
            "args": OrderedDict(a=1),
            "best": defaultdict(float, a=1.5),
            "n": Counter("aab"),
        },
        "factories": {
            "model": state,
            "seen": defaultdict(list, a=[1]),
            "more": defaultdict(dict),
            "kinds": {int, float},
        },
        "numpy": {
            "model": state,
            "curve": np.arange(6.0).reshape(2, 3),
            "best": np.float32(0.5),
            "flag": np.bool_(True),
        },
        "numpy_objects": {"model": state, "names": np.array(["a", None], dtype=object), "words": np.array(["ab", "c"])},
        "kinds": {"model": state, "dtype": torch.bfloat16, "size": torch.Size([2, 3]), "version": torch.__version__},
        "when": {"model": state, "date": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)},
        "own_class": {"model": state, "config": Config(), "cfg": EasyDict(T=4, nested=EasyDict(a=1))},
        # kinds of tensors
        "numpy_weights": {name: tensor.numpy() for name, tensor in state.items()},
        "double": {name: t.double() if t.is_floating_point() else t for name, t in state.items()},
        "sparse": {**state, "head.weight": state["head.weight"].to_sparse()},
        "views": {name: torch.stack([t, t], dim=-1)[..., 0] for name, t in state.items()},
        "transposed": {**state, "head.weight": state["head.weight"].t().contiguous().t()},
    }


# The weights are rounded in these: they give the logits of the plain state dict rounded in the same way.
ROUNDED = {"half": torch.float16, "bfloat16": torch.bfloat16, "float8": torch.float8_e4m3fn}
