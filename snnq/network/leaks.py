"""What is left of a voltage after a time step, as one whole number: the ``leak`` of a layer's neurons.

With h = v + (x − v)/tau, let 1/tau be the rate. Counted as u = h · (what a threshold is worth), a step is whole:

============== ============== ======================= ============================================================
leak           rate           threshold of u          v
============== ============== ======================= ============================================================
1              none           θ                       u (h = v + x: neurons that only integrate)
2              1/2            2θ                      ⌊u/2⌋
3              2/3            3θ, with 2x for x       ⌊u/3⌋
2^16 + k       1 − k/2^16     θ/rate                  ⌊(u·k + 2^15)/2^16⌋, k from 0 to 2^16 − 1
============== ============== ======================= ============================================================

The first three lose nothing, because whole numbers are added to v and compared with it. The last one is of any other
rate, one that was learned, too: the rate is rounded to 2^-16 once, when a model is packed, and v to the nearest whole
number at every step, a half up. That rounding *is* the arithmetic. With u = 2^16·a + b and 0 ≤ b < 2^16,

    v = a·k + ⌊(b·k + 2^15)/2^16⌋

in which nothing passes the width of u, but for b·k + 2^15 < 2^32. Source: ours (docs/method.md §5).
"""

from __future__ import annotations

import math
from typing import Any

from snnq.base.errors import UsageError
from snnq.network.operations import Neuron

FRACTION_BITS = 16
FIXED = 1 << FRACTION_BITS
# Voltages that leak slower grow beyond what is added to them at a step by more than 2^SLOWEST_BITS.
SLOWEST_BITS = 9


def leak(neuron: Neuron) -> int | None:
    """Return the leak that an operation says; None where it was learned, and the model has it.

    Integer neurons have no voltage: theirs is 2.
    """
    if neuron.rounds is not None:
        return 2
    if neuron.integrates:
        return 1
    if neuron.tau is None:
        return None
    return {2.0: 2, 1.5: 3}.get(neuron.tau) or rounded(1 / neuron.tau)


def rounded(rate: float) -> int:
    """Return the leak of a rate 1/tau from 0 to 1; what is left over is rounded to 2^-16."""
    return FIXED + min(round((1 - rate) * FIXED), FIXED - 1)


def learned(w: float) -> int:
    """Return the leak that was learned as w, of the rate sigmoid(w)."""
    return rounded(1 / (1 + math.exp(-w)) if w >= 0 else math.exp(w) / (1 + math.exp(w)))


def w_of(leak: int) -> float | None:
    """Return the w of a leak in fixed point, of which it is learned; None where all is lost at every step."""
    return None if rate(leak) == 1 else math.log(rate(leak) / (1 - rate(leak)))


def is_fixed(leak: int) -> bool:
    """Return whether what is left over is a fixed-point factor."""
    return leak >= FIXED


def rate(leak: int) -> float:
    """Return 1/tau of one in fixed point, exactly."""
    return (2 * FIXED - leak) / FIXED


def worth(leak: int) -> float:
    """Return what a threshold θ is worth in u: Θ/θ."""
    return 1 / rate(leak) if is_fixed(leak) else float(leak)


def lead(leak: int) -> int:
    """Return what an input x is worth in u."""
    return 1 if is_fixed(leak) else max(leak - 1, 1)


def growth(leak: int, steps: int, neuron: str = "") -> int:
    """Return how many bits more than those of a leak of 2 voltages need, in so many steps; fixed point alone.

    Raises UsageError for one that is so slow that 64 bits might not hold them.
    """
    if not is_fixed(leak):
        return 0
    found = math.ceil(math.log2(min(1 / rate(leak), steps)))
    if found > SLOWEST_BITS:
        raise UsageError(
            f"neurons {neuron}: their time constant is {1 / rate(leak):.0f} steps, and whole numbers leak with "
            f"{2**SLOWEST_BITS} at most where there are more steps than that"
        )
    return max(found - 1, 0)


def left(u: Any, leak: int) -> Any:
    """Return v of whole numbers u, int64 arrays or tensors."""
    if not is_fixed(leak):
        return u // leak
    kept = leak - FIXED
    return (u >> FRACTION_BITS) * kept + (((u & (FIXED - 1)) * kept + FIXED // 2) >> FRACTION_BITS)
