"""A traced graph as a file has it, a list of operations, and back; what a stranger wrote is believed up to limits.

A user's own model has its graph in its config, so that a packed folder runs without its code. An operation is an object
of its name and its fields, those that are usual left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from snnq.base.errors import UsageError, nearest
from snnq.base.strict_json import Json
from snnq.base.validation import refuse_unknown
from snnq.network.combining import Add, Concat, Flatten, Pool
from snnq.network.graph import Graph, Operation
from snnq.network.operations import Head, LayerOperation, Mean, Neuron, Rounding
from snnq.network.streams import COUNT_LIMIT, Sides, Stream, pair

KINDS: dict[str, type] = {one.name: one for one in (LayerOperation, Neuron, Pool, Flatten, Add, Concat, Mean, Head)}
MOST_OPERATIONS, MOST_SIDE, MOST_CHANNELS = 10_000, 255, 2**20
# Of a stream: numbers at one step, the largest sum, and spikes of integer neurons, each with a threshold.
MOST_NUMBERS, MOST_SUM, MOST_SPIKES = 2**28, 2**26, 2**10
_NAME = re.compile(r"[\w.,+() -]{1,400}")


def written(graph: Graph) -> list[Json]:
    """Return a graph's operations as JSON-ready values."""
    return [{"operation": one.name, **_said(one)} for one in graph.operations]


def _said(one: Operation) -> Json:
    usual = {field.name: field.default for field in fields(one) if field.default is not MISSING}
    plain = {key: value for key, value in asdict(one).items() if key not in usual or usual[key] != value}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def read_graph(said: object, frames_shape: tuple[int, int, int, int]) -> Graph:
    """Return the graph of operations such as ``written`` returns, for frames (T, C, H, W).

    Raises ``UsageError``, naming the operation, for what is no operation, or is larger than any model's.
    """
    if not isinstance(said, list | tuple) or not 0 < len(said) <= MOST_OPERATIONS:
        raise UsageError(f"graph: it must be a list of 1 to {MOST_OPERATIONS:,} operations")
    steps, channels, *size = frames_shape
    operations = tuple(_operation(number, one) for number, one in enumerate(said, 1))
    _check_names(operations)
    graph = Graph(operations, Stream("counts", channels, (size[0], size[1]), COUNT_LIMIT), steps, traced=True)
    for name, stream in graph.streams.items():
        if stream.channels * stream.pixels > MOST_NUMBERS or min(stream.channels, *stream.size) < 1:
            raise UsageError(f"graph: stream '{name}' has {stream.channels} channels of {stream.size} pixels")
        if stream.kind == "integers" and stream.parts == 1 and (stream.bound or 0) > MOST_SUM:
            raise UsageError(f"graph: stream '{name}' has sums up to {stream.bound:,}")
    return graph


def _operation(number: int, said: object) -> Operation:
    """Return an operation of its JSON."""
    where = f"graph: operation {number}"
    if not isinstance(said, Mapping) or said.get("operation") not in KINDS:
        found = said.get("operation") if isinstance(said, Mapping) else said
        raise UsageError(f"{where}: found '{str(found)[:40]}', allowed are {', '.join(KINDS)}{_near(found)}")
    kind = str(said["operation"])
    values = {key: value for key, value in said.items() if key != "operation"}
    try:
        refuse_unknown(values, [field.name for field in fields(KINDS[kind])])
        one = _reader(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise UsageError(f"{where} ({kind}): {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    except ValueError as problem:
        raise UsageError(f"{where} ({kind}): {problem}") from None
    if wrong := next(_wrong(one), None):
        raise UsageError(f"{where} ({kind}): {wrong}")
    return one


@cache
def _reader(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(KINDS[kind])


def _near(found: object) -> str:
    return nearest(found, KINDS) if isinstance(found, str) else ""


def _wrong(one: Any) -> Iterator[str]:
    """Yield what no traced operation has, as a phrase."""
    for name in (*one.takes, one.gives, *(getattr(one, key, None) for key in ("layer", "neuron", "norm", "outer"))):
        if name is not None and not _NAME.fullmatch(name):
            yield f"'{name[:40]}' is no name of a stream or module"
    if isinstance(one, LayerOperation):
        sides = (*one.sides, *one.strides)
        if not all(1 <= side <= MOST_SIDE for side in sides) or not all(side % 2 for side in one.sides):
            yield f"kernel {one.kernel} and stride {one.stride} must be from 1 to {MOST_SIDE}, kernels odd"
        if one.outer is not None and one.norm is None:
            yield "its second norm has no first one"
        if one.depthwise and one.groups > 1:
            yield "it is depth-wise, and has groups"
    if isinstance(one, LayerOperation | Head) and not 1 <= one.outputs <= MOST_CHANNELS:
        yield f"outputs: found {one.outputs}, it must be from 1 to {MOST_CHANNELS:,}"
    if isinstance(one, LayerOperation) and (one.groups < 1 or one.outputs % one.groups):
        yield f"groups: found {one.groups}, it must divide {one.outputs} outputs"
    if isinstance(one, Pool) and not (one.heads is None and 1 <= one.kernel <= MOST_SIDE and one.stride >= 1):
        yield f"kernel {one.kernel} and stride {one.stride} must be from 1 to {MOST_SIDE}, and it has no heads"
    if isinstance(one, Pool) and not (0 <= one.padding <= min(1, one.kernel // 2) and one.stride <= MOST_SIDE):
        yield f"padding: found {one.padding}, it must be 0 or 1, at most half of the kernel"
    if isinstance(one, Add) and one.raised is not None:
        yield "raised: the additions of a traced graph need no module"
    if isinstance(one, Neuron):
        yield from _wrong_neuron(one)


def _wrong_neuron(one: Neuron) -> Iterator[str]:
    if not 2.0**-20 <= one.threshold <= 2.0**20:
        yield f"threshold: found {one.threshold:g}, it must be from 2^-20 to 2^20"
    if one.tau is not None and not 1 < one.tau <= 2.0**20:
        yield f"tau: found {one.tau:g}, it must be more than 1"
    rounds = one.rounds or Rounding(1)
    if not (1 <= rounds.most <= MOST_SPIKES and 2.0**-20 <= rounds.gain <= 2.0**20):
        yield f"rounds: found {rounds.most} spikes of gain {rounds.gain:g}"


def _check_names(operations: tuple[Operation, ...]) -> None:
    """Raise ``UsageError`` where a module is in two operations."""
    seen, head = set[str](), getattr(operations[-1], "layer", "")
    for one in operations:
        paths = [getattr(one, key, None) for key in ("layer", "neuron", "norm", "outer")]
        for path in [path for path in paths if path is not None]:
            if path in seen:
                raise UsageError(f"graph: module '{path}' is in two operations")
            if path.startswith(f"{head}."):
                raise UsageError(f"graph: module '{path}' is inside of the head, which is one layer")
            seen.add(path)


def misfit(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return what is wrong with the shapes of a graph's layers' weights, as a sentence; None where nothing is."""
    for one in graph.operations:
        if not isinstance(one, LayerOperation | Head):
            continue
        given = graph.streams[one.takes[0]]
        due, shape = (one.outputs, given.channels, 1, 1), shapes.get(one.layer)
        if isinstance(one, LayerOperation):
            inputs = 1 if one.depthwise else given.channels // one.groups
            if given.channels % one.groups or (one.depthwise and one.outputs != given.channels):
                return f"layer '{one.layer}' has {one.groups} groups of {given.channels} channels"
            due = (one.outputs, inputs, *one.sides)
        if shape is None:
            return f"layer '{one.layer}' is missing"
        if not 2 <= len(shape) <= 4 or (*shape, 1, 1)[:4] != due:
            return f"layer '{one.layer}' is {list(shape)}, its graph needs {list(due)}"
    return None


def square(sides: Sides) -> Sides:
    """Return one side where both are the same."""
    first, second = pair(sides)
    return first if first == second else (first, second)
