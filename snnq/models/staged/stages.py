"""The stages of a QKFormer or Max-Former: each an embedding, ``patch_embed<n>``, and its blocks, ``stage<n>``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from snnq.models.staged.sizes import StagedConfig


def add_stages(
    model: nn.Module,
    config: StagedConfig,
    embed: Callable[[int, int, int], nn.Module],
    block: Callable[[int, int], nn.Module],
) -> None:
    """Give ``model`` its stages: ``embed(stage, in, out)`` makes an embedding, ``block(stage, width)`` a block."""
    widths = (config.in_channels, *config.widths)
    for stage, (taken, width, blocks) in enumerate(zip(widths, widths[1:], config.blocks, strict=False)):
        model.add_module(f"patch_embed{stage + 1}", embed(stage, taken, width))
        model.add_module(f"stage{stage + 1}", nn.ModuleList(block(stage, width) for _ in range(blocks)))


def through_stages(model: nn.Module, stages: int, x: Tensor) -> Tensor:
    """Return (T, B, dim, h, w) behind the last of so many stages, of frames (T, B, C, H, W)."""
    for number in range(1, stages + 1):
        x = model.get_submodule(f"patch_embed{number}")(x)
        for block in model.get_submodule(f"stage{number}").children():
            x = block(x)
    return x
