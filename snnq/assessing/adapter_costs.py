"""What an inference with an adapter costs: multiply-accumulates from shapes alone.

Layers count at every step, silent inputs, too, as in ``snnq inspect``. The products inside attentions are not among
them; what a prefix adds to them is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snnq.base.strict_json import Json
from snnq.network.graph import Graph
from snnq.network.layers import Layer, forward_macs
from snnq.network.operations import Attention
from snnq.network.prefixes import Site
from snnq.packed.adapter import Adapter
from snnq.packed.adapter_sites import head_width, packed_sites, whole_wiring
from snnq.packed.config import PLAN_FILE, read_config
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan


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
        "adapted_head": own,
        "prompts": chosen,
        "frozen_pass": body if twice else 0,
        "all_macs": total,
        "of_one_pass": total / (body + own),
    }


def adapter_macs(folder: Path, adapter: Adapter) -> Json:
    """Return ``inference_macs`` of an adapter of a packed folder."""
    config, place = read_config(folder), folder / PLAN_FILE
    layers = tuple(entry.layer() for entry in parse_plan(read_json(place), str(place)).layers)
    wiring, sites = whole_wiring(folder, config), {one.module: one for one in packed_sites(folder, config)}
    facts = adapter.facts
    prompts = [PromptShape(sites[one.module], one.slots, one.length, one.top, one.attended) for one in facts.prompted]
    shape, twice = (len(facts.classes), head_width(wiring)), facts.query == "features"
    return inference_macs(layers, wiring.graph, wiring.head, shape, prompts, twice=twice)
