"""What learning an adapter costs: multiply-accumulates of shapes; an inference's are in ``assessing.adapter_costs``."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.adapting.settings import CODA, FROZEN, FULL, L2P, LDA, OSPP, AdaptSettings
from snnq.base.strict_json import Json
from snnq.network.graph import Graph
from snnq.network.layers import Layer, forward_macs
from snnq.network.operations import LayerOperation as Operation
from snnq.network.prefixes import Site


def training_macs(layers: Sequence[Layer], graph: Graph, head: str, sites: Sequence[Site], one: AdaptSettings) -> Json:
    """Return the multiply-accumulates of learning, a sample: at every step, and once before.

    A gradient that runs back through frozen layers costs as much as they do forwards; one for their weights as much
    again. What frozen models say does not change, so it is asked for once a sample, not at every step as in published
    code. Prompts and heads, which are small, are not counted.
    """
    body = forward_macs((layer for layer in layers if layer.name != head), graph.steps, 1)
    behind = _behind(layers, graph, head, sites)
    forwards = 0 if one.method in FROZEN else body
    backwards = 2 * body if one.method == FULL else behind
    once = body if one.method in (*FROZEN, L2P, CODA, OSPP) else 0
    each = forwards + backwards
    return {
        "forwards": forwards,
        "backwards": backwards,
        "once": once,
        "sample": (0 if one.method == LDA else one.epochs) * each + once,
    }


def _behind(layers: Sequence[Layer], graph: Graph, head: str, sites: Sequence[Site]) -> int:
    """Return the MACs of the layers that run behind the first prompted attention."""
    if not sites:
        return 0
    begin = min(i for i, one in enumerate(graph.operations) if one.gives in {site.mixes for site in sites})
    after = {one.layer for one in graph.operations[begin:] if isinstance(one, Operation)}
    return forward_macs((one for one in layers if one.name in after and one.name != head), graph.steps, 1)
