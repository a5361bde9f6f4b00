"""Cross-attention from the spiking ResNet's potentials to the key frames' features, in real numbers.

The transformer block of Stable Diffusion's ``SpatialTransformer``: a group norm and a 1×1 convolution, self-attention,
cross-attention and a gated MLP, each behind a layer norm and added to what goes in, and a 1×1 convolution, zero at
first, whose output is added to the potentials: at the start of training it changes nothing.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from snnq.models.respike.sizes import ReSpikeSizes

_GROUPS = 32  # of the group norm, where channels are a multiple of it


class MixingHeads(nn.Module):
    """softmax(Q Kᵀ · d^−½) V of real numbers: queries (T, B, N, C) and context (B, M, C′) → (T, B, N, C).

    Keys and values are made once a key frame. ``context_width`` None: the queries' tokens are the context.
    """

    def __init__(self, width: int, head_width: int, context_width: int | None) -> None:
        super().__init__()
        self.heads, self.scale = width // head_width, head_width**-0.5
        inner = self.heads * head_width
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k, self.to_v = (nn.Linear(context_width or width, inner, bias=False) for _ in range(2))
        self.to_out = nn.Linear(inner, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what every token takes from the context."""
        q, source = self._split(self.to_q(x)), x if context is None else context
        k, v = self._split(self.to_k(source)), self._split(self.to_v(source))
        if context is not None:
            k, v = k.expand(len(q), *k.shape), v.expand(len(q), *v.shape)
        return self.to_out(self.mix(q, k, v).transpose(-2, -3).flatten(-2))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the products, (T, B, heads, N, d) as q; k and v (T, B, heads, M, d)."""
        return ((q @ k.transpose(-2, -1)) * self.scale).softmax(-1) @ v

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class CrossFusion(nn.Module):
    """The block behind one stage: potentials (T, B, C, h, w) and key-frame features (B, C′, h, w) → potentials.

    With ``pooling`` both are pooled before, and what comes out is enlarged again (bilinear): as upstream has it, the
    potentials themselves, too.
    """

    def __init__(self, sizes: ReSpikeSizes, stage: int) -> None:
        super().__init__()
        width, head = sizes.width(stage), sizes.head_width(stage)
        inner, hidden = width // head * head, int(width // head * head * sizes.mlp_ratio)
        self.pooling = sizes.pooled(stage)
        self.norm = nn.GroupNorm(math.gcd(_GROUPS, width), width, eps=1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)
        self.attn1, self.attn2 = MixingHeads(inner, head, None), MixingHeads(inner, head, sizes.context(stage))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(inner) for _ in range(3))
        self.ff_in, self.ff_out = nn.Linear(inner, 2 * hidden), nn.Linear(hidden, inner)
        for parameter in self.proj_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, potentials: Tensor, features: Tensor) -> Tensor:
        """Return the potentials with what they take from the key frame."""
        x, steps = potentials.flatten(0, 1), potentials.shape[:2]
        if self.pooling > 1:
            x, features = F.avg_pool2d(x, self.pooling), F.avg_pool2d(features, self.pooling)
        found = self.proj_in(self.norm(x))
        tokens = found.flatten(2).transpose(1, 2).unflatten(0, steps)
        tokens = self._mixed(tokens, features.flatten(2).transpose(1, 2))
        x = x + self.proj_out(tokens.flatten(0, 1).transpose(1, 2).reshape(found.shape))
        if self.pooling > 1:
            x = F.interpolate(x, scale_factor=self.pooling, mode="bilinear")
        return x.unflatten(0, steps)

    def _mixed(self, x: Tensor, context: Tensor) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), context) + x
        value, gate = self.ff_in(self.norm3(x)).chunk(2, -1)
        return self.ff_out(value * F.gelu(gate)) + x
