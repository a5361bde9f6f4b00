"""No two configurations whose logits differ open silently from the same keys: what a file cannot tell is asked for."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import fields
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from spikformer_weights import fill_model
from torch import Tensor, nn

from snnq.base.errors import CheckpointError
from snnq.checkpoints.fused import join
from snnq.checkpoints.keymaps import every_keys
from snnq.checkpoints.opening import open_checkpoint
from snnq.checkpoints.sizes import OPTIONS
from snnq.models.registry import ARCHITECTURES, architecture
from snnq.models.upstream import ASKED

SMALL: dict[str, Any] = {"dim": 32, "heads": 2, "steps": 4, "classes": 3, "image_size": [16, 16], "in_channels": 2}
# What every field of any config is changed to; what an architecture has not, or cannot be, is left out.
CHANGES: dict[str, list[Any]] = {
    "in_channels": [3],
    "image_size": [[32, 32]],
    "dim": [64],
    "depth": [5],
    "heads": [4, [1, 2, 4]],
    "mlp_ratio": [2.0],
    "classes": [4],
    "steps": [2],
    "pooling": [[True] * 4, [False, False, True, True]],
    "attention_scale": [2.0],
    "chunk": [1, 4],
    "neuron": ["plif", "plif-mlp"],
    "early": [],  # keys tell it
    **{name: [] for name in ("width1", "width2", "width3", "distilled", "mixed")},  # and these
    "substeps": [2],
    "key_stride": [4],
    "ann_width": [4],
    "blocks": [1],
}
# Of a hybrid's two ResNets; a ResNet alone has the dim and heads of none.
_HYBRID: dict[str, Any] = {"depth": 10, "key_stride": 2, "ann_width": 8}
State = dict[str, Tensor]
UPSTREAMS = [name for name in ARCHITECTURES if any(name in keys.architectures for keys in every_keys())]


@cache
def configurations() -> tuple[tuple[str, str, dict[str, Any]], ...]:
    """Every architecture that has files upstream, and it with each field changed: (name, changed field, config)."""
    found = []
    for name in UPSTREAMS:
        one = architecture(name)
        config_of: Any = one.config_of  # a class method
        names = {field.name for field in fields(config_of.__self__)}
        assert names <= CHANGES.keys() | {"layout"}
        small = SMALL | {"depth": 4 if name.startswith(("qk", "max")) else 1}
        small |= {"chunk": 2} if name.startswith("statten") else {}
        small |= _HYBRID if name.startswith("respike") else {}
        small |= {"dim": 512, "heads": 16} if name == "respike-key" else {}
        base: Any = one.config(small)
        found.append((name, "", base.to_dict()))
        for field in names & CHANGES.keys():
            for value in CHANGES[field]:
                if getattr(base, field) is None or base.to_dict()[field] == value:
                    continue
                if isinstance(value, list) and field == "heads" and "qkformer-spikingjelly" not in name:
                    continue  # the only one that has several
                if field == "depth" and name.startswith("respike"):
                    continue  # ResNets are of 10, 18, 34 and 50 layers alone
                if (field, name) == ("neuron", "sdt-spikingjelly"):
                    continue  # with another neuron its attention has another threshold, too: its keys are refused
                found.append((name, field, one.config(small | {field: value}).to_dict()))
    return tuple(found)


@cache
def model(index: int) -> nn.Module:
    """A configuration's model; equal names and shapes have equal weights."""
    name, _, config = configurations()[index]
    one = architecture(name)
    built = one.build(config).eval()
    if one.upstream.stored is None:
        return fill_model(built, 0)
    built.load_state_dict(one.upstream.stored.convert(stored(index), one.config(config)))
    return built


def stored(index: int) -> State:
    """The state dict of a configuration whose files hold other tensors than ours."""
    name, _, config = configurations()[index]
    one = architecture(name)
    assert one.upstream.stored is not None
    state = dict(fill_model(one.upstream.stored.build(one.config(config)), 0).state_dict())
    positive = {key: tensor.abs() + 0.1 for key, tensor in state.items() if key.endswith((".alpha", ".init_state"))}
    return state | positive


def upstream(index: int) -> State:
    """The state dict of a configuration under upstream's names."""
    name, _, _ = configurations()[index]
    keys = next(keys for keys in every_keys() if name in keys.architectures)
    state = dict(model(index).state_dict()) if architecture(name).upstream.stored is None else stored(index)
    return join(state, {ours: keys.upstream_name(ours) for ours in state})


@cache
def logits(index: int) -> Tensor:
    """What a configuration makes of the same frames."""
    _, _, config = configurations()[index]
    channels = config["in_channels"]
    frames = torch.poisson(torch.full((1, 4, channels, 16, 16), 1.0), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(index)(frames)


@cache
def groups() -> list[list[int]]:
    """Configurations that give the same keys and shapes."""
    found: dict[Any, list[int]] = defaultdict(list)
    for index in range(len(configurations())):
        found[frozenset((name, tuple(tensor.shape)) for name, tensor in upstream(index).items())].append(index)
    return list(found.values())


def differing(a: int, b: int) -> set[str]:
    (one, _, first), (other, _, second) = configurations()[a], configurations()[b]
    changed = {field for field in first.keys() | second.keys() if first.get(field) != second.get(field)} - {"layout"}
    return changed | ({"architecture"} if one != other else set())


# Where upstream's scripts write out the input's channels, too.
CHANNELS = {"spikingformer-dvs": 2, "spikingformer-imagenet": 3}


def is_upstreams(index: int) -> bool:
    """Whether upstream's code can make a configuration: what it writes out has the published value."""
    name, field, config = configurations()[index]
    if config["in_channels"] != CHANNELS.get(name, config["in_channels"]):
        return False
    one = architecture(name)
    return field not in one.upstream.always or config[field] == one.default_config()[field]


@pytest.mark.slow
def test_every_difference_in_logits_is_asked_for_or_written_out(tmp_path: Path) -> None:
    path, seen = tmp_path / "plain.pth", 0
    for group in groups():
        torch.save(upstream(group[0]), path)
        with pytest.raises(CheckpointError) as caught:  # none says its steps and heads: nothing opens by its keys alone
            open_checkpoint(path)
        asked = {one for one, option in OPTIONS.items() if re.search(rf"\({option}\b", caught.value.message)}
        assert "does not say its" in caught.value.message
        for a, b in combinations(group, 2):
            if torch.equal(logits(a), logits(b)):
                continue
            seen += 1
            # What upstream writes out has one value in all that it publishes: one of the two is none of its models.
            told = differing(a, b) & asked or not (is_upstreams(a) and is_upstreams(b))
            assert told, (configurations()[a], configurations()[b], caught.value.message)
    assert seen > 150


def test_with_all_that_is_asked_a_file_opens_as_what_it_was(tmp_path: Path) -> None:
    path, seen = tmp_path / "plain.pth", set()
    for group in groups():
        torch.save(upstream(group[0]), path)
        for index in group:
            name, field, config = configurations()[index]
            if not is_upstreams(index) or field not in ("", "in_channels", "heads", "pooling", "chunk", "neuron"):
                continue
            given: dict[str, Any] = {
                size: tuple(config[size]) if isinstance(config[size], list) else config[size]
                for size in ASKED
                if size in config
            }
            found = open_checkpoint(path, architecture=name, **given)
            assert (found.architecture, found.config) == (name, config), field
            seen.add(name)
    assert seen == set(UPSTREAMS)
