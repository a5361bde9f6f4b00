"""A graph whose layers are cores (``structure.cores``): each is a layer, and potentials flow from one to the next.

They are kept in fixed point as all potentials are (``arithmetic.fixed_point``): the first core adds what spikes give,
the next one multiplies whole numbers. Only the last one has the layer's norm. Torch is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from snnq.network.combining import Add, First, Switch
from snnq.network.graph import Graph, Operation
from snnq.network.operations import Head, LayerOperation
from snnq.network.streams import Sides
from snnq.structure.cores import LAST, core_shapes


def redrawn(graph: Graph, mode: str, ranks: Mapping[str, int], switch: int | None = None) -> Graph:
    """Return the graph of the edited model."""
    operations: list[Operation] = []
    for one in graph.operations:
        if isinstance(one, LayerOperation | Head) and one.layer in ranks:
            operations += _cores(one, graph.streams[one.takes[0]].channels, mode, ranks[one.layer], switch)
        else:
            operations.append(one)
    return replace(graph, operations=tuple(operations))


def _cores(one: LayerOperation | Head, inputs: int, mode: str, rank: int, switch: int | None) -> Iterator[Operation]:
    """Yield what stands in a layer's place; a head's last core is the head."""
    dense = (
        one if isinstance(one, LayerOperation) else LayerOperation(one.layer, None, one.takes, one.gives, one.outputs)
    )
    shapes = core_shapes(mode, (dense.outputs, inputs, *dense.sides), rank)
    (down, across), made = dense.strides, replace(dense, norm=None, outer=None)

    def core(name: str, takes: str, kernel: Sides = 1, stride: Sides = 1) -> LayerOperation:
        path = f"{one.layer}.{name}"
        facts = {"layer": path, "gives": path, "outputs": shapes[name][0], "kernel": kernel, "stride": stride}
        return replace(made, takes=(takes,), **facts)

    if mode == "svd":
        cores: list[Operation] = [core("spatial", dense.takes[0], dense.kernel, dense.stride)]
    else:
        cores = [core("reduce", dense.takes[0])]
    if mode == "stt":  # one after the other, each along its own side
        cores.append(core("vertical", cores[-1].gives, (3, 1), (down, 1)))
        cores.append(core("horizontal", cores[-1].gives, (1, 3), (1, across)))
    elif mode != "svd":  # side by side, of htt in the first steps alone
        reduced = whole = cores[-1].gives
        if switch is not None:
            cores.append(First((reduced,), f"{reduced}, first steps", switch))
            whole = cores[-1].gives
        beside = [core("vertical", whole, (3, 1), dense.stride), core("horizontal", whole, (1, 3), dense.stride)]
        cores += [*beside, Add((beside[0].gives, beside[1].gives), f"{one.layer}.cross")]
        if switch is not None:
            cores.append(Switch((cores[-1].gives, reduced), f"{one.layer}.switched", switch, dense.stride))
    yield from cores
    last = {"layer": f"{one.layer}.{LAST}", "takes": (cores[-1].gives,)}
    yield replace(one, **last, **({} if isinstance(one, Head) else {"kernel": 1, "stride": 1, "padded": True}))
