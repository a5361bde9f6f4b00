"""What an adapter costs: multiply-accumulates of an inference and of learning, from shapes alone.

Layers count at every step, silent inputs, too, as in ``snnq inspect``. The products inside attentions are not among
them; what a prefix adds to them is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snnq.adapting.settings import CODA, FULL, HEAD, L2P, OSPP, AdaptSettings
from snnq.base.strict_json import Json
from snnq.network.graph import Attention, Graph
from snnq.network.graph import Layer as Operation
from snnq.network.layers import Layer, forward_macs
from snnq.network.prefixes import Site


@dataclass(frozen=True)
class PromptShape:
    """A prompted attention: its site, ``slots`` × ``length`` prompts, and how many of them ``top`` selects."""

    site: Site
    slots: int
    length: int
    top: int | None
    attended: bool

    def macs(self, graph: Graph) -> int:
        """Return the multiply-accumulates that choosing prompts and mixing them in takes, an inference and sample."""
        one = self.site
        compared = self.slots * one.channels * (3 if self.attended else 1)
        made = 0 if self.top is not None else self.slots * self.length * one.channels
        return compared + made + self._mixed(graph)

    def _mixed(self, graph: Graph) -> int:
        """Return those of the prefix inside the attention: K_pᵀ V_p, or its scores and what they add."""
        rows, one = self.length // 2 * (self.top or 1), self.site
        mixes = next(found for found in graph.operations if found.gives == one.mixes)
        if not isinstance(mixes, Attention):
            return graph.steps * rows * one.channels
        width = one.channels // one.heads
        each = rows * width if mixes.order == "keys" else 2 * one.tokens * rows
        return graph.steps * one.channels * each


def inference_macs(
    layers: Sequence[Layer],
    graph: Graph,
    head: str,
    shape: tuple[int, int],
    prompts: Sequence[PromptShape],
    *,
    twice: bool,
) -> Json:
    """Return the multiply-accumulates of an inference and sample; ``shape`` (classes, features) is the new head's."""
    own = shape[0] * shape[1]
    body = forward_macs((one for one in layers if one.name != head), graph.steps, 1)
    chosen = sum(one.macs(graph) for one in prompts)
    total = body + own + chosen + (body if twice else 0)
    return {
        "backbone": body,
        "head": own,
        "prompts": chosen,
        "frozen_pass": body if twice else 0,
        "total": total,
        "of_one_pass": total / (body + own),
    }


def training_macs(layers: Sequence[Layer], graph: Graph, head: str, sites: Sequence[Site], one: AdaptSettings) -> Json:
    """Return the multiply-accumulates of learning, a sample: at every step, and once before.

    A gradient that runs back through frozen layers costs as much as they do forwards; one for their weights as much
    again. What frozen models say does not change, so it is asked for once a sample, not at every step as in published
    code. Prompts and heads, which are small, are not counted.
    """
    body = forward_macs((layer for layer in layers if layer.name != head), graph.steps, 1)
    behind = _behind(layers, graph, head, sites)
    forwards = 0 if one.method == HEAD else body
    backwards = {HEAD: 0, FULL: 2 * body}.get(one.method, behind)
    once = body if one.method in (HEAD, L2P, CODA, OSPP) else 0
    each = forwards + backwards
    return {"forwards": forwards, "backwards": backwards, "once": once, "sample": one.epochs * each + once}


def _behind(layers: Sequence[Layer], graph: Graph, head: str, sites: Sequence[Site]) -> int:
    """Return the MACs of the layers that run behind the first prompted attention."""
    if not sites:
        return 0
    begin = min(i for i, one in enumerate(graph.operations) if one.gives in {site.mixes for site in sites})
    after = {one.layer for one in graph.operations[begin:] if isinstance(one, Operation)}
    return forward_macs((one for one in layers if one.name in after and one.name != head), graph.steps, 1)
