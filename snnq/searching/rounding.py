"""How a search rounds weights before it measures what that costs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from torch import Tensor

from snnq.schemes.holding import candidate
from snnq.schemes.scheme import Params, Scheme, scheme

if TYPE_CHECKING:
    from jaxtyping import Float

# (path, weight, scheme) → the weight under the scheme, of the same shape.
Rounded = Callable[[str, Tensor, Scheme], Tensor]
# (path, weight, name of a candidate) → the weight as that candidate.
Made = Callable[[str, Tensor, str], Tensor]


def by_name(rounded: Rounded) -> Made:
    """Return the same for candidates that are schemes."""
    return lambda path, weight, name: rounded(path, weight, scheme(name))


class Nearest:
    """Rounds a model's weights (out, …) to the nearest levels of a scheme's least-squares fit.

    Grids of ``masked`` layers, by path, have a level at zero. A grid is fitted once for each layer and scheme: fitting
    takes longer than rounding, and the weights stay the same.
    """

    def __init__(self, masked: Collection[str] = ()) -> None:
        self.masked = masked
        self.grids: dict[tuple[str, str], Params] = {}

    def __call__(self, path: str, weight: Float[Tensor, " out *rest"], one: Scheme) -> Float[Tensor, " out *rest"]:
        """Return the weight under the scheme, without gradients."""
        place = path, one.name
        if place not in self.grids:
            self.grids[place] = candidate(one, path in self.masked).fit(weight)
        return one.project(weight, self.grids[place])[0]
