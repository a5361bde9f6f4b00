"""Where the streams of the C source lie: the lowest places that are free, and what may overlap while it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lively import write_lively

from snnq.base.errors import UsageError
from snnq.exporting.c_ground import Ground, Item
from snnq.exporting.c_operations import Operations
from snnq.exporting.c_program import CProgram, c_program
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.wiring import Wiring, wire
from snnq.packed.arrays import open_arrays


def test_golden_the_lowest_free_place() -> None:
    ground = Ground()
    assert [ground.put(Item(name, size, begin, end)) for name, size, begin, end in (
        ("a", 10, 0, 1), ("b", 8, 0, 3), ("c", 12, 2, 3), ("d", 4, 2, 2), ("e", 100, 4, 4)
    )] == [0, 16, 0, 24, 0]  # fmt: skip
    assert (ground.top(0, 1), ground.top(2, 3), ground.top(4, 9)) == (24, 28, 100)


def test_golden_what_is_written_over_while_it_is_read() -> None:
    ground = Ground(behind={("out", "in"): 24})
    assert ground.put(Item("out", 100, 1, 2)) == 0
    assert ground.put(Item("in", 80, 0, 1)) == 24
    assert ground.put(Item("other", 8, 1, 1)) == 104


ITEMS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=12)
LEADS = st.dictionaries(st.tuples(st.integers(0, 11), st.integers(0, 11)), st.integers(1, 60), max_size=6)


@given(ITEMS, LEADS)
def test_no_two_items_meet_in_one_place(items: list[tuple[int, int, int]], leads: dict[tuple[int, int], int]) -> None:
    ground = Ground(behind={(str(a), str(b)): lead for (a, b), lead in leads.items() if a != b})
    for number, (size, begin, length) in enumerate(items):
        ground.put(Item(str(number), size, begin, begin + length))
    for one, at in ground.placed:
        assert at % 8 == 0
        for other, there in ground.placed:
            if one is other or not one.meets(other) or at + one.size <= there or there + other.size <= at:
                continue
            near = [ground.behind.get((a.name, b.name)) for a, b in ((one, other), (other, one))]
            assert (near[0] is not None and there - at >= near[0]) or (near[1] is not None and at - there >= near[1])


def program(tmp_path: Path, layout: str, **sizes: Any) -> CProgram:
    write_lively(tmp_path / "packed", ["uniform-2"], layout, **sizes)
    arrays = open_arrays(tmp_path / "packed")
    return c_program(arrays.network, {one.layer: 32 for one in arrays.wiring.layers})


def test_streams_that_one_sweep_reads_are_kept_for_a_pixel(tmp_path: Path) -> None:
    found = program(tmp_path, "cifar10dvs", depth=2).program
    assert {"block.0.mlp.fc1_lif", "block.0.mlp.fc2_lif", "block.0.attn.proj_lif"} <= found.local
    assert not {"block.0.attn.q_lif", "block.0.attn.k_lif", "block.0.attn.v_lif", "block.0"} & found.local
    # The tokens are one place from the first sum on, and what an attention fires is written over its values.
    assert found.place_of["block.0"] == found.place_of["block.0.attn"] == "patch_embed"
    assert found.place_of["block.0.attn.attn_lif"] == "block.0.attn.v_lif"
    covered = [number for sweep in found.sweeps for number in range(sweep.first, sweep.stop)]
    assert covered == list(range(len(found.operations)))


def test_golden_bytes_of_a_small_spikformer(tmp_path: Path) -> None:
    sizes = {"dim": 16, "depth": 1, "heads": 2, "steps": 8, "image_size": [8, 8], "pooling": [False] * 4}
    found = program(tmp_path, "cifar10dvs", **sizes)
    # Sums of 32 channels in 8 steps and a row; 64 tokens of 16 channels: sums up to 4 in three bits, q, k and v.
    assert found.run.bytes == 4 * (32 * 8 + 32) + 64 * 16 * (3 + 3)
    held = sum(one.held.pixels * one.held.channels for one in found.program.operations if one.held)
    assert found.step is not None
    assert held == 64 * (2 + 4 + 8 + 16 * 2 + 16 * 5 + 64 + 16)
    assert found.step.bytes == 4 * (32 + 32) + 4 * held + 8 * 16 + 64 * 16 * (3 + 3)


def drawn(kind: str) -> Graph:
    drawing = Drawing((2, 2, 4, 4))
    x = drawing.fire(FRAMES, ("a", "a_bn", "a_lif"), 4, kernel=3)
    if kind == "neuron":
        x = drawing.neuron(drawing.add(x, x, "twice"), "b_lif")
    else:
        x = drawing.fire(drawing.sum(x, "features", 2), ("b", "b_bn", "b_lif"), 4)
    return drawing.finish(drawing.mean(x), "head", 3)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("neuron", "neurons b_lif are given spikes, or sums of two streams of them"),
        ("layer", "layer b is given numbers that are not spikes"),
    ],
)
def test_what_has_no_form_is_refused_in_one_sentence(kind: str, said: str, tmp_path: Path) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"], depth=1)
    network, wiring = open_arrays(tmp_path / "packed").network, wire(drawn(kind))
    assert isinstance(wiring, Wiring)
    object.__setattr__(network, "wiring", wiring)
    with pytest.raises(UsageError, match=said) as caught:
        Operations(network, {"a": 32, "b": 32})
    assert "the C source has no form of this network, because" in caught.value.message
