import pytest

from snnq.cost.table import read_table
from snnq.network.layers import Layer
from snnq.plan import ModelInfo, make_plan

# Spikformer-2-256 as docs/method.md §1 gives it, typed by hand; tests/test_layers.py holds the traced table to it too.
SIZES = {
    "patch_embed.proj_conv": ("tokenizer", "conv2d", (32, 2, 3, 3), 9_437_184, "counts"),
    "patch_embed.proj_conv1": ("tokenizer", "conv2d", (64, 32, 3, 3), 75_497_472, "spikes"),
    "patch_embed.proj_conv2": ("tokenizer", "conv2d", (128, 64, 3, 3), 75_497_472, "spikes"),
    "patch_embed.proj_conv3": ("tokenizer", "conv2d", (256, 128, 3, 3), 75_497_472, "spikes"),
    "patch_embed.rpe_conv": ("tokenizer", "conv2d", (256, 256, 3, 3), 37_748_736, "spikes"),
    **{
        f"block.{i}.attn.{x}": (
            "attention",
            "conv1d",
            (256, 256, 1),
            4_194_304,
            "spikes" if x == "proj" else "integers",
        )
        for i in (0, 1)
        for x in ("q", "k", "v", "proj")
    },
    **{f"block.{i}.mlp.fc1": ("mlp", "conv1d", (1024, 256, 1), 16_777_216, "integers") for i in (0, 1)},
    **{f"block.{i}.mlp.fc2": ("mlp", "conv1d", (256, 1024, 1), 16_777_216, "spikes") for i in (0, 1)},
    "head": ("head", "linear", (10, 256), 2_560, "reals"),
}
LAYERS = tuple(Layer(name, g, k, shape, macs, macs, seen) for name, (g, k, shape, macs, seen) in SIZES.items())


@pytest.fixture(scope="session")
def reference_layers():
    return LAYERS


@pytest.fixture(scope="session")
def make():
    """Return a function that makes the reference model's plan with ``base`` everywhere but for ``changes``."""

    def plan(base, changes=None, table="horowitz-45nm", **facts):
        schemes = {layer.name: base for layer in LAYERS} | (changes or {})
        model = ModelInfo(architecture="spikformer-cifar10dvs", layout="cifar10dvs", config={"image_size": (128, 128)})
        return make_plan(LAYERS, schemes, model=model, table=read_table(table), **facts)

    return plan
