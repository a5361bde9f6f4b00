"""Every architecture goes the whole way: search, finalize, verify, eval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sifted import slow_but

from snnq.base.errors import UsageError
from snnq.checkpoints.opening import save_checkpoint
from snnq.cli.main import run
from snnq.models.registry import ARCHITECTURES, architecture
from snnq.network.wiring import FloatWiring
from snnq.packed.loading import load_packed
from snnq.runtime import Engine
from snnq.searching import finishing

SIZES: dict[str, Any] = {"dim": 16, "depth": 1, "heads": 2, "steps": 4, "classes": 4, "image_size": [16, 16]}
# Blocks of the architectures in stages: one each, two in the second stage of those for ImageNet.
SHALLOWEST = {"dvs": 2, "event": 2, "cifar10": 3, "imagenet": 4, "spikingjelly": 4}

# An architecture, and what it is given beside the small sizes.
VARIANTS: dict[str, dict[str, Any]] = {
    "spikformer-cifar10dvs, chunked": {"chunk": 2},
    "sdt-dvs, leaks learned": {"neuron": "plif"},
    "statten-static, its own leaks learned": {"neuron": "plif-mlp"},
}


# Minutes each. Every engine runs all of them in runtime/test_every_architecture.py; Spikformers go their way in
# cli/test_whole_way.py, respike-cross in the documents.
NAMES = slow_but(("sdt-dvs",), (*ARCHITECTURES, *VARIANTS))


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    more, name = VARIANTS.get(name, {}), name.partition(", ")[0]
    one = architecture(name)
    torch.manual_seed(0)
    family, _, layout = name.partition("-")
    depth = {"depth": SHALLOWEST[layout.partition("-")[0]]} if family in ("qkformer", "maxformer") else {}
    depth |= {"depth": 10, "ann_width": 4, "blocks": 1} if family == "respike" else {}
    model = one.build(SIZES | {"in_channels": 2} | depth | more)
    save_checkpoint("float.safetensors", model, architecture=name, facts={"data": "random,samples=8"})
    # The measured choice and the simple plans have tests of their own. One batch a split, since every format of every
    # layer is run on each.
    monkeypatch.setattr(finishing, "BASELINES", ("float32", "power-of-two-2"))
    small, space = ["--epochs", "1", "--batch-size", "8"], "float32,uniform-4,power-of-two-2"
    searched = ["search", "float.safetensors", *small, "--method", "paper", "--space", space, "--out", "plan.json"]
    assert run(searched) == 0
    assert run(["finalize", "--plan", "plan.json", "--measure", "2", *small]) == 0
    capsys.readouterr()
    assert run(["verify", "packed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["layers"]) == len(json.loads(Path("plan.json").read_text())["layers"])
    config: Any = model.config
    wiring = one.wiring(config.to_dict())
    assert (found["engines"] is None) == isinstance(wiring, FloatWiring)
    assert run(["eval", "packed", "--json"]) == 0
    assert run(["report", "packed"]) == 0
    if isinstance(wiring, FloatWiring):
        assert found["reason"] == f"it runs on torch alone, because {wiring.reason}"
        with pytest.raises(UsageError, match="does not run in whole numbers, because"):
            Engine("packed")
        for target in ("c", "nir"):
            assert run(["export", "packed", "--to", target]) == 2
            assert wiring.reason in capsys.readouterr().err
        frames = torch.poisson(torch.full((1, 4, 2, 16, 16), 0.5))
        assert torch.equal(load_packed("packed")(frames), load_packed("packed", "float")(frames))
