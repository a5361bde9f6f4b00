"""Composite layers with one shared latent weight: one convolution or product a layer, whatever the candidates.

The paper's composite layer is y = Σ_k p_k · f(Q_k(W), x). A layer f is linear in its weight and activations are not
quantised, so y = f(Σ_k p_k Q_k(W), x) exactly: only the weights are mixed (docs/method.md §4). The weights of all
layers are quantised together as one long vector: a few large operations instead of many small ones.

``BranchNet`` is the layer as the paper writes it, slow and obvious: the oracle of tests, and what ``snnq bench search``
times the mixture against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnq.schemes.holding import candidate
from snnq.schemes.scheme import Params, Scheme, scheme
from snnq.searching.constraints import Choices
from snnq.structure.masked import hold, masked_layers
from snnq.training.transfers import moved

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


class SchemeLogits(nn.Module):
    """Parameters ``logits`` (groups, K), zero at first: equal probabilities for all that is allowed [paper].

    Apart from the network, whose weights another optimizer trains. Tied layers share a row.
    """

    allowed: Tensor
    group: Tensor

    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(choices.groups, len(choices.names)))
        allowed = torch.ones_like(self.logits, dtype=torch.bool)
        for own, row in zip(choices.group, torch.from_numpy(choices.allowed), strict=True):
            allowed[own] &= row
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("group", torch.tensor(choices.group), persistent=False)

    def sample(self, temperature: float, generator: torch.Generator, *, one_hot: bool) -> Float[Tensor, "L K"]:
        """Return Gumbel-softmax shares (L, K) of every layer."""
        return sample(self._masked(), temperature, generator, one_hot=one_hot)[self.group]

    def shares(self) -> Float[Tensor, "L K"]:
        """Return softmax(a), (L, K): the probabilities without noise."""
        return torch.softmax(self._masked(), dim=-1)[self.group]

    def _masked(self) -> Float[Tensor, "groups K"]:
        return self.logits.masked_fill(~self.allowed, -torch.inf)


def sample(
    logits: Float[Tensor, "rows K"], temperature: float, generator: torch.Generator, *, one_hot: bool
) -> Float[Tensor, "rows K"]:
    """Return Gumbel-softmax shares (rows, K): p = softmax((a + g)/τ), or onehot(argmax) - stop(p) + p [paper].

    g ~ Gumbel(0, 1), drawn from ``generator`` on the CPU.
    """
    uniform = torch.rand(logits.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    gumbel = -torch.log(-torch.log(uniform))
    gumbel = moved(gumbel, logits.device)
    soft = torch.softmax((logits + gumbel) / temperature, dim=-1)
    if not one_hot:
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


class _Mix(torch.autograd.Function):
    """W_eff = Σ_k p_k Q_k(W) of every layer; straight-through to W where Q_k does not clip, exact to p."""

    @staticmethod
    def forward(
        ctx: Any, probabilities: Float[Tensor, "L K"], candidates: Sequence[tuple[Scheme, Params]], *weights: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.sizes = [weight.numel() for weight in weights]
        flat = torch.cat([weight.detach().flatten() for weight in weights])
        mixed, passing, values = torch.zeros_like(flat), torch.zeros_like(flat), []
        for (one, params), shares in zip(candidates, probabilities.detach().to(flat.dtype).unbind(1), strict=True):
            value, inside = one.project(flat, params)
            spread = torch.cat([share.expand(size) for share, size in zip(shares.unbind(), ctx.sizes, strict=True)])
            mixed.addcmul_(value, spread)
            passing.add_(spread * inside)
            values.append(value)
        ctx.save_for_backward(passing, *(values if ctx.needs_input_grad[0] else ()))
        return tuple(part.view_as(one) for part, one in zip(mixed.split(ctx.sizes), weights, strict=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        passing, *values = ctx.saved_tensors
        to_shares = None
        if ctx.needs_input_grad[0]:
            columns = [
                torch.stack([part @ one.flatten() for part, one in zip(value.split(ctx.sizes), gradients, strict=True)])
                for value in values
            ]
            to_shares = torch.stack(columns, 1)
        to_weights: tuple[Tensor | None, ...] = (None,) * len(gradients)
        if any(ctx.needs_input_grad[2:]):
            parts = zip(passing.split(ctx.sizes), gradients, strict=True)
            to_weights = tuple(gradient * part.view_as(gradient) for part, gradient in parts)
        return to_shares, None, *to_weights


class Supernet(nn.Module):
    """A model whose planned layers are mixtures.

    The candidates' scales are buffers of one value a row of all layers (R,), so that they are saved with a run; they
    start at the least-squares fit and follow the latent weights by ``refresh``.
    """

    rows_of_weights: Tensor

    def __init__(self, model: nn.Module, layers: Sequence[str], names: Sequence[str]) -> None:
        super().__init__()
        self.model = hold(model)
        self.layers = tuple(layers)
        self.schemes = tuple(scheme(name) for name in names)
        self.masked = masked = masked_layers(model)
        weights = self.latent_weights()
        lengths = torch.cat([torch.full((len(weight),), weight[0].numel()) for weight in weights])
        self.register_buffer("rows_of_weights", torch.arange(len(lengths)).repeat_interleave(lengths), persistent=False)
        for k, one in enumerate(self.schemes):
            fitted = [
                candidate(one, name in masked).fit(weight) for name, weight in zip(self.layers, weights, strict=True)
            ]
            for name in one.parameters:
                self.register_buffer(f"{name}_{k}", torch.cat([params[name] for params in fitted]).squeeze(1))

    def latent_weights(self) -> list[Tensor]:
        """Return the weights that are shared by all candidates, layer by layer."""
        return [self.model.get_parameter(f"{name}.weight") for name in self.layers]

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return everything that is trained but the architecture parameters."""
        return list(self.model.parameters())

    def refresh(self) -> None:
        """Let every candidate's scales follow the latent weights, which have moved since the last time."""
        weights = self.latent_weights()
        sizes = [len(weight) for weight in weights]
        for k, one in enumerate(self.schemes):
            before = {name: getattr(self, f"{name}_{k}").split(sizes) for name in one.parameters}
            for i, weight in enumerate(weights):
                own = candidate(one, self.layers[i] in self.masked)
                if own.rate is None:
                    params = own.refine(weight, {name: rows[i].unsqueeze(1) for name, rows in before.items()})
                else:  # its codes must stay worth the rate that is paid for
                    params = own.fit(weight)
                for name, value in params.items():
                    before[name][i].copy_(value.squeeze(1))

    def forward(self, frames: Shaped[Tensor, "B ..."], probabilities: Float[Tensor, "L K"]) -> Float[Tensor, "B ..."]:
        """Return logits (B, classes) of frames (B, T, C, H, W) under the shares ``probabilities`` (L, K)."""
        candidates = [
            (one, {name: getattr(self, f"{name}_{k}")[self.rows_of_weights] for name in one.parameters})
            for k, one in enumerate(self.schemes)
        ]
        mixed = _Mix.apply(probabilities, candidates, *self.latent_weights())
        weights = {f"{name}.weight": part for name, part in zip(self.layers, mixed, strict=True)}  # pyright: ignore
        return functional_call(self.model, weights, (frames,))


class Branches(nn.Module):
    """One layer as K quantised copies of itself, weighted by ``probabilities`` (K,)."""

    def __init__(self, layer: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.layer = layer
        self.schemes = tuple(scheme(name) for name in names)
        # Not refitted while it trains: only the time and the values of one step are asked of it.
        self.fitted = [one.fit(layer.weight) for one in self.schemes]  # pyright: ignore
        self.probabilities = torch.full((len(names),), 1 / len(names))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the candidates' outputs."""
        weight: Tensor = self.layer.weight  # pyright: ignore
        parts = [
            share * functional_call(self.layer, {"weight": one.quantize(weight, _like(params, weight))}, (x,))
            for share, one, params in zip(self.probabilities.unbind(), self.schemes, self.fitted, strict=True)
        ]
        return torch.stack(parts).sum(0)


def _like(params: Params, weight: Tensor) -> Params:
    return {name: value.to(weight) for name, value in params.items()}


class BranchNet(nn.Module):
    """A model whose planned layers are ``Branches``; called as ``mixture.Supernet`` is."""

    def __init__(self, model: nn.Module, layers: Sequence[str], names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.branches: list[Branches] = []
        for name in layers:
            parent, _, own = name.rpartition(".")
            branch = Branches(model.get_submodule(name), names)
            setattr(model.get_submodule(parent), own, branch)
            self.branches.append(branch)

    def forward(self, frames: Shaped[Tensor, "B ..."], probabilities: Float[Tensor, "L K"]) -> Float[Tensor, "B ..."]:
        """Return logits (B, classes) of frames (B, T, C, H, W) under the shares ``probabilities`` (L, K)."""
        for branch, shares in zip(self.branches, probabilities.unbind(), strict=True):
            branch.probabilities = shares
        return self.model(frames)
