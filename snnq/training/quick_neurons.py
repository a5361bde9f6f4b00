"""LIF neurons of SpikingJelly that train in fewer passes over memory on the CPU, to the same bits.

    h_t = v_{t−1} + (x_t − v_{t−1}) / τ,   s_t = [h_t ≥ θ],   v_t = h_t · (1 − s_t)
    ∂h_t = ∂s_t · α σ (1 − σ) + ∂v_t · (1 − s_t),   σ = σ(α (h_t − θ)),   ∂x_t = ∂h_t / τ,   ∂v_{t−1} = ∂h_t − ∂x_t

SpikingJelly 2 has kernels for CUDA; on the CPU it runs all steps a second time, under autograd, to differentiate them.
Here the gradient is written out, in the same order of operations. Where anything is otherwise (another device or type,
a soft reset, another surrogate), SpikingJelly's own way is taken.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


def quicken(model: nn.Module) -> nn.Module:
    """Let every plain LIF neuron of ``model`` train the quick way; changes and returns ``model``.

    Names, state and results stay as they are. The gradient cannot be differentiated once more.
    """
    for module in model.modules():
        if type(module) is neuron.LIFNode:
            module.__class__ = _Quick
    return model


class _Quick(neuron.LIFNode):
    def multi_step_forward(self, x_seq: Tensor, *given: Tensor, **named: object) -> Tensor:  # pyright: ignore
        """Return the spikes (T, …) of currents (T, …)."""
        if given or named or not self._is_plain(x_seq):
            return super().multi_step_forward(x_seq, *given, **named)  # pyright: ignore
        (voltage,) = self.materialize_states((x_seq,), tuple(self._memories.values()), "m")
        alpha = self.surrogate_function.alpha
        spikes, voltage = _Lif.apply(x_seq, voltage, self.tau, self.v_threshold, alpha)  # pyright: ignore
        self._memories["v"] = voltage
        return spikes

    def _is_plain(self, currents: Tensor) -> bool:
        function, precision = self.surrogate_function, self._neuron_precision
        sigmoid = type(function) is surrogate.Sigmoid and function.spiking and not isinstance(function.alpha, Tensor)
        usual = self.v_reset == 0 and self.detach_reset and self.decay_input and not self.store_v_seq
        return sigmoid and usual and precision is None and currents.dtype == torch.float32 and currents.is_cpu


# What a neuron is, is told by its class's name, too.
_Quick.__name__ = _Quick.__qualname__ = neuron.LIFNode.__name__


class _Lif(torch.autograd.Function):
    """Currents (T, …) and the first voltage (…) → spikes (T, …) and the last voltage."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, currents: Tensor, voltage: Tensor, tau: float, threshold: float, alpha: float
    ) -> tuple[Tensor, Tensor]:
        charges, spikes = torch.empty_like(currents), torch.empty_like(currents)
        for current, charge, spike in zip(currents, charges, spikes, strict=True):
            torch.sub(current, voltage, out=charge).div_(tau).add_(voltage)
            torch.ge(charge, threshold, out=spike)
            voltage = charge.addcmul(charge, spike, value=-1)
        ctx.save_for_backward(charges, spikes)
        ctx.constants = tau, threshold, alpha  # pyright: ignore[reportAttributeAccessIssue]
        ctx.set_materialize_grads(False)
        return spikes, voltage

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        charges, spikes = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        tau, threshold, alpha = ctx.constants  # pyright: ignore[reportAttributeAccessIssue]
        to_spikes, to_voltage = gradients
        to_currents = torch.empty_like(charges)
        # Step by step, as SpikingJelly does: the last few numbers of a tensor are rounded otherwise than the rest.
        for t in reversed(range(len(charges))):
            sigmoid = (charges[t] - threshold).mul_(alpha).sigmoid_()
            to_charge = (1 - sigmoid).mul_(sigmoid).mul_(alpha).mul_(0 if to_spikes is None else to_spikes[t])
            if to_voltage is not None:
                to_charge.add_((1 - spikes[t]).mul_(to_voltage))
            to_voltage = to_charge - torch.div(to_charge, tau, out=to_currents[t])
        return to_currents, to_voltage, None, None, None
