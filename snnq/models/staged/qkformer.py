"""QKFormer (Zhou et al. 2024, arXiv:2403.16552): stages of Q-K token attention, the last of spiking self-attention.

Residuals are sums of spikes, small whole numbers, as in Spikformer. Each stage begins with an embedding that halves the
image (max-pooled between norm and neuron) and doubles the features, with a shortcut of one 1×1 convolution. The layouts
differ in their embeddings and in names:

================= ======= ============================================ ================== =============
layout            stages  first embedding                              self-attention     layers of MLP
================= ======= ============================================ ================== =============
qkformer-dvs      2       4 convolutions, 3 halvings                   ``ssa``            ``mlp1 mlp2``
qkformer-cifar10  3       2 convolutions                               ``ssa``            ``mlp1 mlp2``
qkformer-imagenet 3       3 convolutions, 2 halvings                   ``attn``           ``fc1 fc2``
================= ======= ============================================ ================== =============

``qkformer-spikingjelly`` is the QKFormer inside SpikingJelly 2 (``spikingjelly.activation_based.model.qkformer``), of
the form for ImageNet: its embeddings have biases, its attention's projections none, its MLPs see rows of tokens, each
stage has heads of its own; ``qkformer-spikingjelly-channel`` is that with ``qka_type="channel"``.

Upstream's code runs square images only, whose sides halve without a rest; here others do too, halved up. Its last
neuron in self-attention takes the samples of a batch for further time steps, so that logits depend on the other
samples; here every sample is by itself, as upstream's with a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from snnq.models.attention import SelfAttention, add_projection, join_heads, project, split_heads
from snnq.models.neurons import current, fire, halve, initialise, lif, rest
from snnq.models.staged.plans import FIRST, LATER, Convolutions
from snnq.models.staged.sizes import StagedConfig
from snnq.models.staged.stages import add_stages, through_stages


class Embedding(nn.Module):
    """(T, B, in_channels, H, W) → (T, B, width, h, w) of {0, 1, 2}: convolutions plus a 1×1 shortcut, all spikes."""

    def __init__(self, plan: Convolutions, in_channels: int, width: int, *, bias: bool = False) -> None:
        super().__init__()
        self.plan = plan
        widths = (in_channels, *(width // part for part in plan.parts))
        for name, taken, given in zip(plan.names, widths, widths[1:], strict=False):
            self.add_module(f"{name}_conv", nn.Conv2d(taken, given, kernel_size=3, padding=1, bias=bias))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(given))
            self.add_module(f"{name}_lif", lif())
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.proj_res_conv = nn.Conv2d(widths[plan.branch], width, kernel_size=1, stride=plan.stride, bias=bias)
        self.proj_res_bn, self.proj_res_lif = nn.BatchNorm2d(width), lif()

    def forward(self, x: Tensor) -> Tensor:
        """Return the stage's tokens on their grid."""
        seen = [x]
        for name, pooled in zip(self.plan.names, self.plan.pooled, strict=True):
            conv, norm, node = (self.get_submodule(f"{name}_{part}") for part in ("conv", "bn", "lif"))
            real = current(seen[-1], conv, norm)
            seen.append(node(halve(real, self.pool) if pooled else real))
        return seen[-1] + fire(seen[self.plan.branch], self.proj_res_conv, self.proj_res_bn, self.proj_res_lif)


class TokenAttention(nn.Module):
    """Q-K token attention: the queries of a token, summed over a head's features, gate its keys.

    LIF(Σ over features of Q) ⊙ K, projected: small integers in, spikes out, of the same shape (T, B, C, H, W). Linear
    in the number of tokens. ``by_channel``: Q-K channel attention, whose sum is over tokens and gates a feature.
    """

    def __init__(self, dim: int, heads: int, *, by_channel: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.summed = heads, -2 if by_channel else -1
        for name in ("q", "k"):
            add_projection(self, name, dim)
        self.attn_lif = lif(threshold=0.5)
        self.proj_conv = nn.Conv1d(dim, dim, kernel_size=1, bias=bias)
        self.proj_bn, self.proj_lif = nn.BatchNorm1d(dim), lif()

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of the projected attention."""
        tokens = x.flatten(3)
        q, k = (split_heads(project(self, name, tokens), self.heads) for name in ("q", "k"))
        return fire(join_heads(self.mix(q, k)), self.proj_conv, self.proj_bn, self.proj_lif).view(x.shape)

    def mix(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the keys that pass: q, k and they are spikes (T, B, heads, N, C/heads)."""
        return self.attn_lif(q.sum(dim=self.summed, keepdim=True)) * k


class QKFormerMlp(nn.Module):
    """Two 1×1 convolutions, each → BN → LIF: small integers in, spikes out, of the same shape.

    ``flat``: of a row of tokens instead of their grid.
    """

    def __init__(self, names: Sequence[str], width: int, hidden: int, *, flat: bool = False) -> None:
        super().__init__()
        self.names, self.flat = tuple(names), flat
        layer, norm = (nn.Conv1d, nn.BatchNorm1d) if flat else (nn.Conv2d, nn.BatchNorm2d)
        for name, taken, given in ((names[0], width, hidden), (names[1], hidden, width)):
            self.add_module(f"{name}_conv", layer(taken, given, kernel_size=1))
            self.add_module(f"{name}_bn", norm(given))
            self.add_module(f"{name}_lif", lif())

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of the second layer."""
        shape = x.shape
        x = x.flatten(3) if self.flat else x
        for name in self.names:
            x = fire(x, *(self.get_submodule(f"{name}_{part}") for part in ("conv", "bn", "lif")))
        return x.view(shape)


class QKFormerBlock(nn.Module):
    """Attention, then MLP, each added to its input; ``mixer`` names the attention."""

    def __init__(self, mixer: str, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer
        self.add_module(mixer, attention)
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after both residual additions."""
        x = x + self.get_submodule(self.mixer)(x)
        return x + self.mlp(x)


class QKFormer(nn.Module):
    """Stages of embedding → blocks, mean over tokens and time, linear head. Parameters are named as upstream's."""

    groups = (
        (r"^patch_embed\d\.", "tokenizer"),
        (r"\.(tssa|ssa|attn)\.", "attention"),
        (r"\.mlp\.", "mlp"),
        (r"^head$", "head"),
    )

    def __init__(self, config: StagedConfig) -> None:
        super().__init__()
        self.config = config
        add_stages(
            self,
            config,
            lambda stage, taken, width: Embedding(
                (LATER if stage else FIRST)[config.data], taken, width, bias=config.spikingjelly
            ),
            lambda stage, width: _block(config, stage, width),
        )
        self.head = nn.Linear(config.dim, config.classes)
        self.apply(initialise)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W); every call starts from neurons at rest."""
        rest(self)
        x = through_stages(self, len(self.config.blocks), frames.transpose(0, 1))
        features = x.flatten(3).mean(3)
        rest(self)  # frees the voltages' graph, so that the model can be copied after a training step
        return self.head(features.mean(0))


def _block(config: StagedConfig, stage: int, width: int) -> QKFormerBlock:
    imagenet, bias = config.data == "imagenet", not config.spikingjelly
    heads = config.stage_heads[stage]
    mlp = QKFormerMlp(
        ("fc1", "fc2") if imagenet else ("mlp1", "mlp2"), width, config.hidden(width), flat=config.spikingjelly
    )
    if stage < len(config.blocks) - 1:
        by_channel = config.layout.endswith("-channel")
        return QKFormerBlock("tssa", TokenAttention(width, heads, by_channel=by_channel, bias=bias), mlp)
    return QKFormerBlock("attn" if imagenet else "ssa", SelfAttention(width, heads, first=None, bias=bias), mlp)
