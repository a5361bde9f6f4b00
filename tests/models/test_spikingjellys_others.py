"""SpikingJelly 2's own SDT, QKFormer and Max-Former: its live code beside ours, on a state dict of its own making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from spikformer_weights import fill_model
from spikingjelly.activation_based.model import maxformer, qkformer
from spikingjelly.activation_based.model import spike_driven_transformer as sdt
from torch import nn

from snnq.checkpoints.opening import load_model, open_checkpoint

SIZES: dict[str, Any] = {"in_channels": 2, "num_classes": 5, "embed_dims": 64}
GIVEN: dict[str, Any] = {"steps": 4, "image_size": (32, 32)}
# A model of theirs, and what opening its state dict is told beside steps and image size, the architecture it is then.
CASES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "sdt": (
        lambda: sdt.SpikeDrivenTransformer(**SIZES, depths=2, num_heads=4, pooling_stat="0111"),
        {"heads": 4, "pooling": (False, True, True, True)},
        "sdt-spikingjelly",
    ),
    "sdt, as wide inside as outside": (
        lambda: sdt.SpikeDrivenTransformer(**SIZES, depths=2, num_heads=2, mlp_ratio=1.0, pooling_stat="0011"),
        {"heads": 2, "pooling": (False, False, True, True)},
        "sdt-spikingjelly",
    ),
    "qkformer": (
        lambda: qkformer.QKFormer(**SIZES, num_heads=(2, 4, 2), depths=(1, 2, 2)),
        {"architecture": "qkformer-spikingjelly", "heads": (2, 4, 2)},
        "qkformer-spikingjelly",
    ),
    "qkformer of other stages": (
        lambda: qkformer.QKFormer(**SIZES, num_heads=(2, 2, 2), depths=(2, 1, 1), mlp_ratio=2.0),
        {"architecture": "qkformer-spikingjelly", "heads": 2},
        "qkformer-spikingjelly",
    ),
    "qkformer, channels": (
        lambda: qkformer.QKFormer(**SIZES, num_heads=(2, 2, 2), depths=(1, 2, 1), qka_type="channel"),
        {"architecture": "qkformer-spikingjelly-channel", "heads": 2},
        "qkformer-spikingjelly-channel",
    ),
    "maxformer": (lambda: maxformer.MaxFormer(**SIZES, depths=(1, 2, 2)), {}, "maxformer-spikingjelly"),
    "maxformer of other stages": (
        lambda: maxformer.MaxFormer(**SIZES, depths=(2, 1, 1), mlp_ratio=1.0),
        {},
        "maxformer-spikingjelly",
    ),
    "maxformer for CIFAR": (
        lambda: maxformer.MaxFormer(**SIZES, depths=(1, 1, 2), cifar=True),
        {},
        "maxformer-cifar10",
    ),
}


def randomised(model: nn.Module) -> nn.Module:
    """Random weights and statistics of norms, by which all layers spike; theirs are named unlike ours."""
    fill_model(model, 0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2.0, generator=draw)
                module.bias.normal_(0.2, 0.5, generator=draw)
                module.get_buffer("running_mean").normal_(0.0, 0.3, generator=draw)
    return model.eval()


@pytest.mark.parametrize("case", CASES)
def test_logits_are_theirs(case: str, tmp_path: Path) -> None:
    make, told, name = CASES[case]
    theirs = randomised(make())
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    found = open_checkpoint(tmp_path / "a.pth", **GIVEN, **told)
    assert (found.architecture, found.dropped) == (name, ())
    frames = torch.poisson(torch.full((2, 4, 2, 32, 32), 0.7), generator=torch.Generator().manual_seed(1))
    model = load_model(found)
    with torch.no_grad():
        ours, due = model(frames), theirs(frames.transpose(0, 1))
        assert ours.std() > 0.01
        torch.testing.assert_close(ours, due, rtol=0, atol=1e-6)
        for path, tensor in model.state_dict().items():
            if path.endswith(("attn.q.weight", "tssa.q_conv.weight", "attn.q_conv.weight")):
                tensor.neg_()
        assert (model(frames) - ours).abs().max() > 0.001  # the attention does have a say
