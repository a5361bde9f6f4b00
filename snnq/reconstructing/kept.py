"""A model that is quantised already: its own grids, found in its float32 weights and packed as they are."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from snnq.base.errors import UsageError
from snnq.packed.coding import Coded
from snnq.schemes.fitting.found import found_grid
from snnq.schemes.scheme import scheme


def own_codes(model: nn.Module, schemes: Mapping[str, str]) -> dict[str, Coded]:
    """Return the codes of every layer under the grid of its scheme that its weights lie on, bit for bit.

    Raises UsageError naming the first layer with channels on none.
    """
    found = {}
    for name, chosen in schemes.items():
        one, weight = scheme(chosen), model.get_submodule(name).get_parameter("weight").detach().cpu()
        if one.is_float:
            continue
        params, exact = found_grid(one, weight)
        if not bool(exact.all()):
            raise UsageError(
                f"layer {name}: the weights of {int((~exact).sum())} of its {len(exact)} channels lie on no grid of "
                f"{chosen}, so that they cannot be kept",
                "name the scheme it was quantised by, or choose a grid: --method quantease",
            )
        found[name] = Coded(chosen, one.encode(weight, params), params)
    return found
