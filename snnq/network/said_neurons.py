"""What a user's neurons compute, as an operation: SpikingJelly's LIF and IF neurons, and integer spikes."""

from __future__ import annotations

from spikingjelly.activation_based import neuron
from torch import nn

from snnq.network.followed import UntraceableError
from snnq.network.operations import Neuron, Rounding


def said_neuron(path: str, node: nn.Module, takes: str) -> Neuron:
    """Return the neurons at a path as an operation; raises ``UntraceableError`` for those that have none.

    h = v + (x − v)/τ fires as h ≥ θ. Where the input does not decay, h = v·(1 − 1/τ) + x, and that is τ times the same
    of threshold θ/τ: all is linear but the comparison.
    """
    where = f"neurons '{path}'"
    if type(node).__name__ == "IntegerSpikes" and type(node).__module__ == "snnq.models.neurons":
        rounds = Rounding(int(node.substeps), float(node.gain), bool(node.half_up))  # pyright: ignore
        return Neuron(path, (takes,), path, rounds=rounds)
    if type(node) not in (neuron.LIFNode, neuron.ParametricLIFNode, neuron.IFNode):
        raise UntraceableError(
            f"{where} are {type(node).__name__}, which is neither LIFNode, ParametricLIFNode, IFNode nor IntegerSpikes"
        )
    assert isinstance(node, neuron.IFNode | neuron.LIFNode | neuron.ParametricLIFNode)
    if node.v_reset != 0:
        how = "by subtraction" if node.v_reset is None else f"to {node.v_reset:g}"
        raise UntraceableError(f"{where} are reset {how}, and whole numbers are reset to 0")
    if not isinstance(node.v_threshold, int | float) or node.v_threshold <= 0:
        raise UntraceableError(f"{where} have a threshold that is no number greater than 0")
    if not node.surrogate_function.spiking:
        raise UntraceableError(f"{where} put out real numbers (spiking=False)")
    threshold = float(node.v_threshold)
    if isinstance(node, neuron.IFNode):
        return Neuron(path, (takes,), path, threshold, integrates=True)
    if isinstance(node, neuron.ParametricLIFNode):
        return Neuron(path, (takes,), path, threshold, tau=None, decays_input=bool(node.decay_input))
    if isinstance(node, neuron.LIFNode) and not node.decay_input:
        threshold /= float(node.tau)
    return Neuron(path, (takes,), path, threshold, float(node.tau))
