"""ReSpike (Xiao et al. 2024, arXiv:2409.01564): key frames to a ResNet, what differs from them to a spiking one.

A clip of T frames is T/S segments. The first frame of each is its key frame; the other S − 1 become residual frames,
*minus the key frame of their segment*, and are the time steps of the spiking ResNet, whose neurons begin each segment
at rest. Logits are the mean over the segments. The layouts:

================ ==========================================================================
respike-cross    cross-attention behind stages 2 to 4 (upstream's plain model)
respike-pooled   behind all four, the first two on pooled features (upstream's --downsample)
respike-concat   both ResNets' features side by side, nothing between them
respike-key      key frames alone: a ResNet, as torchvision and timm have it
respike-residual residual frames alone: the spiking ResNet
respike-dense    the spiking ResNet on the frames themselves, all T of them its time steps
================ ==========================================================================
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnq.models.neurons import rest
from snnq.models.respike.fusion import CrossFusion
from snnq.models.respike.resnets import ResNet, SpikingResNet
from snnq.models.respike.sizes import ReSpikeSizes


def segments(frames: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Return the key frames (B · n, C, H, W) of clips (B, n · S, C, H, W), and the residual frames.

    Those are (S − 1, B · n, C, H, W): a frame minus the key frame of its segment.
    """
    split = frames.unflatten(1, (-1, stride)).flatten(0, 1).transpose(0, 1)
    return split[0], split[1:] - split[:1]


class ReSpike(nn.Module):
    """Clips (B, T, C, H, W) of real numbers → logits (B, classes)."""

    groups = ((r"^ann\.", "ann"), (r"^snn\.", "snn"), (r"^fusion\.", "fusion"), (r"^head$", "head"))
    # What is given real numbers and multiplies all of them: no layer behind neurons.
    dense = (r"^ann\.", r"^fusion\.", r"^head$", r"^snn\.conv1$", r"\.shortcut_conv$")

    def __init__(self, config: ReSpikeSizes) -> None:
        super().__init__()
        self.config, one = config, config
        # A clip runs the key frames' ResNet and the spiking one so often: what is watched is told apart by it.
        self.runs = (one.segments, one.runs)
        self.given = nn.Identity()  # in whole numbers, what makes frames whole before one is taken from another
        if one.has_ann:
            self.ann = ResNet(one.in_channels, one.ann_width, one.depth)
        if one.spiking_steps:
            self.snn = SpikingResNet(one.in_channels, tuple(one.width(stage) for stage in range(1, 5)), one.blocks)
        if one.fused:
            self.fusion = nn.ModuleDict({str(stage): CrossFusion(one, stage) for stage in one.fused})
        self.head = nn.Linear(one.features, one.classes)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the mean of the segments' logits."""
        rest(self)
        if self.config.key_stride is None:
            key, moving = None, frames.transpose(0, 1)
        else:
            key, moving = segments(self.given(frames), self.config.key_stride)
        stages = self.ann(key) if self.config.has_ann else []
        found = [stages[-1].mean((-2, -1))] if stages else []
        if self.config.spiking_steps:
            found.append(self._spiking(moving, stages).mean((0, -2, -1)))
        rest(self)
        # The head is linear: its mean over the segments is that of their mean.
        return self.head(torch.cat(found, 1).unflatten(0, (len(frames), -1)).mean(1))

    def _spiking(self, moving: Tensor, stages: list[Tensor]) -> Tensor:
        """Return the last potentials (S − 1, B · n, dim, h, w) of residual frames, joined with key frames' stages."""
        x = self.snn.stem(moving)
        for stage in range(1, 5):
            x = self.snn.stage(stage, x)
            if stage in self.config.fused:
                x = self.fusion[str(stage)](x, stages[stage - 1])
        return x
