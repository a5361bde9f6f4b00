"""OpenVINO and ONNX Runtime run the model that torch runs; neurons as plain operations are the same neurons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lively import write_lively
from spikingjelly.activation_based import neuron

from snnq.base.errors import UsageError
from snnq.bench import exported, peers
from snnq.bench.exported import plain_neurons
from snnq.models.neurons import IntegerSpikes, lif, plif

NODES = {
    "lif": lambda: lif(0.5),
    "slow": lambda: lif(0.5, tau=4.0),
    "learned": plif,
    "integers": lambda: IntegerSpikes(4, 1.5),
    "half up": lambda: IntegerSpikes(4, half_up=True),
}
EVENTS = ("spikformer-cifar10dvs", "sdt-dvs", "qkformer-dvs", "spikingformer-dvs", "maxformer-event", "statten-dvs")


@pytest.mark.parametrize("name", NODES)
def test_plain_neurons_are_the_same_neurons(name: str) -> None:
    node = NODES[name]()
    currents = torch.randn(6, 3, 40, generator=torch.Generator().manual_seed(0)) * 2
    currents[:, 0] = (currents[:, 0] * 2).round() / 2  # some exactly at the threshold, or half-way
    with torch.no_grad():
        due = node(currents)
        plain = plain_neurons(torch.nn.Sequential(node))
        assert torch.equal(plain(currents), due)
        assert torch.equal(plain(currents), due)  # at rest again
    assert due.mean() > 0


def test_a_neuron_that_is_not_exported_is_named() -> None:
    with pytest.raises(UsageError, match="neurons '0' are IFNode"):
        plain_neurons(torch.nn.Sequential(neuron.IFNode()))


@pytest.mark.exchange
@pytest.mark.parametrize("library", exported.LIBRARIES)
@pytest.mark.parametrize("name", EVENTS)
def test_peers_compute_the_same_model(name: str, library: str, tmp_path: Path) -> None:
    if library not in exported.installed():
        pytest.skip(f"{library} cannot be timed here")
    sizes: dict[str, Any] = {"chunk": 3} if name.startswith("statten") else {}
    frames = write_lively(tmp_path / "packed", ["uniform-4"], name, **sizes).clip(0, 9).astype("float32")
    given = torch.from_numpy(frames)
    runs = peers.open_peers([library], tmp_path / "packed", given, 1, tmp_path)
    for part in (given[:1], given, given[1:]):
        assert peers.differences(runs, tmp_path / "packed", part)[library] < (1e-4 if "bf" not in library else 0.5)
