"""Potentials in fixed point: by hand, by fractions, and never past 2^28."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.arithmetic.fixed_point import POTENTIAL_LIMIT, FixedPoint, FoldedLayer, fixed_point_of, fraction_bits
from snnq.arithmetic.integers import compared, neurons
from snnq.arithmetic.whole_network import WholeNetwork, whole_network
from snnq.base.errors import UsageError
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import Neuron
from snnq.network.stages import Potential
from snnq.network.wiring import FloatWiring, Wiring, leak, wire
from snnq.runtime.reference import lif
from snnq.schemes.whole import Whole


def layer(values: list[list[int]], unit: float, multiplier: list[float], offset: list[float]) -> FoldedLayer:
    whole = Whole(np.array(values), np.full(len(values), unit))
    return FoldedLayer(whole, np.array(multiplier, np.float32), np.array(offset, np.float32))


def kept(found: FixedPoint, sums: np.ndarray) -> np.ndarray:
    """The potentials of sums (…, out), as docs/method.md §5 has them."""
    return ((found.multiplier * sums + found.half) >> found.shift) + found.offset


def test_by_hand() -> None:
    # 0.75 · a - 0.5 in parts of 1/16: 12 a - 8. 12 = 49152 / 2^12; 0.05 · 16 = 0.8 ≈ 52429 / 2^16.
    found = fixed_point_of(layer([[1], [1], [2]], 0.5, [1.5, -0.1, 0.0], [-0.5, 0.25, 1.0]), 4, wide=False)
    assert found.sign.tolist() == [1, -1, 0]
    assert found.multiplier.tolist() == [49152, 52429, 0]
    assert found.shift.tolist() == [12, 16, 16]
    assert found.offset.tolist() == [-8, 4, 16]
    # 0.8 · 3 = 2.4 → 2, 0.8 · -3 = -2.4 → -2; halves are rounded up.
    assert kept(found, np.array([3, 3, 3])).tolist() == [28, 6, 16]
    assert kept(found, np.array([-3, -3, 3])).tolist() == [-44, 2, 16]


def two_layers(threshold: float = 1.0) -> Wiring:
    """Frames, and two layers of spikes whose potentials are added."""
    drawing = Drawing((2, 1, 2, 2))
    x = drawing.fire(FRAMES, ("a", "a_bn", "a_lif"), 3)
    y = drawing.add(drawing.layer(x, "b", "b_bn", 2), drawing.layer(x, "c", "c_bn", 2), "sum")
    found = wire(drawing.finish(drawing.mean(drawing.neuron(y, "d_lif", threshold)), "head", 2))
    assert isinstance(found, Wiring)
    return found


def test_what_is_added_shares_the_unit_that_nothing_overflows() -> None:
    wiring = two_layers()
    assert [one.layer for one in wiring.potentials] == ["b", "c"]
    assert set(wiring.chains) == {"b_bn", "c_bn", "sum"}
    assert len(set(wiring.chains.values())) == 1

    def bits(scale: float) -> int:
        made = {
            "b": layer([[1, -1, 1], [1, 1, 1]], 1.0, [scale, scale], [0.0, 1.0]),
            "c": layer([[0, 2, 0], [0, 0, 1]], 1.0, [scale, -scale], [0.0, 0.0]),
        }
        (found,) = fraction_bits(wiring, lambda one: made[one.layer]).values()
        return found

    # The largest sum is 3·scale + 1 + 2·scale: of 0.1, 2^16 parts fit; of 2^15, 28 bits less 18 are left; and 16 less
    # 16 bits for the steepest gain, which leaves one part.
    assert (bits(0.1), bits(2.0), bits(2.0**15)) == (16, 14, 0)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_off_by_little_and_never_past_the_limit(data: st.DataObject) -> None:
    wiring, size = two_layers(), st.floats(-300, 300, width=32)
    rows = st.lists(st.lists(st.integers(-255, 255), min_size=3, max_size=3), min_size=2, max_size=2)
    pairs = st.lists(size, min_size=2, max_size=2)
    made = {name: layer(data.draw(rows), 2.0**-5, data.draw(pairs), data.draw(pairs)) for name in "bc"}
    f = fraction_bits(wiring, lambda one: made[one.layer])
    x, total = np.array(data.draw(st.lists(st.integers(0, 1), min_size=3, max_size=3))), np.zeros(2, np.int64)
    for one in wiring.potentials:
        assert isinstance(one, Potential)
        given_layer, bits = made[one.layer], f[one.chain]
        found = fixed_point_of(given_layer, bits, wide=False)
        assert bool((found.multiplier <= 2**16).all())
        sums = (given_layer.whole.values * found.sign[:, None]) @ x
        y = kept(found, sums)
        total += y
        for c in range(2):
            gain = Fraction(float(given_layer.multiplier[c])) * Fraction(1, 32)
            true = gain * int(given_layer.whole.values[c] @ x) + Fraction(float(given_layer.offset[c]))
            off = abs(Fraction(int(y[c])) / Fraction(2) ** bits - true)
            # Half a part each of product and offset, and the multiplier's 16 bits.
            assert off <= Fraction(1) / Fraction(2) ** bits + abs(gain * int(sums[c])) / 2**16
    assert int(np.abs(total).max()) <= POTENTIAL_LIMIT


def test_sums_that_are_too_large_are_refused() -> None:
    made = FoldedLayer(Whole(np.full((2, 3), 2**44), np.ones(2)), np.ones(2), np.zeros(2))
    with pytest.raises(UsageError, match="layer b: its whole numbers are too large"):
        fraction_bits(two_layers(), lambda one: made)


@pytest.mark.parametrize("tau", [2.0, 1.5, None])
def test_neurons_of_one_unit_are_the_real_ones(tau: float | None) -> None:
    draw, steps, per = np.random.default_rng(0), 50, 2.0**8
    p = leak(Neuron("n", ("x",), "n", tau=tau, integrates=tau is None))
    assert p is not None
    shift, threshold = compared(per, 1.0, p)
    currents = draw.integers(-600, 900, (1, steps, 40, 1, 1))
    found = lif(currents << shift, np.array([threshold]), p)[0, :, :, 0, 0]
    for c in range(40):
        v = Fraction(0)
        for step in range(steps):
            x = Fraction(int(currents[0, step, c, 0, 0]), 256)
            h = v + x if tau is None else v + (x - v) / Fraction(tau)
            assert found[step, c] == (h >= 1)
            v = Fraction(0) if h >= 1 else h


@pytest.mark.parametrize(("threshold", "wide"), [(1.0, False), (0.5, False), (0.3, True)])
def test_potentials_that_are_made_finer_have_room(threshold: float, wide: bool) -> None:
    wiring = two_layers(threshold)
    network = WholeNetwork(
        wiring, lambda one: layer([[1]], 1.0, [1.0], [0.0]), dict.fromkeys(wiring.chains.values(), 12)
    )
    (neuron,) = wiring.neurons
    found = network.compared(neuron)
    assert found.wide == wide
    # The largest potential, beside a voltage below the threshold.
    most = (POTENTIAL_LIMIT << found.shift) + found.threshold
    assert most < (2**63 if found.wide else 2**31)
    assert found.threshold == round(2 * threshold * 2**12 * 2**found.shift)


def raising(factor: float, raised: str | None = "raised", *, mean: bool = False) -> WholeNetwork | FloatWiring:
    """Frames, spikes, and a layer's potentials that they are added to."""
    drawing = Drawing((2, 1, 2, 2))
    x = drawing.fire(FRAMES, ("a", "a_bn", "a_lif"), 3)
    y, x = (drawing.mean(one) if mean else one for one in (drawing.layer(x, "b", "b_bn", 3), x))
    y = drawing.add(x, y, "sum", raised)
    found = wire(drawing.finish(drawing.neuron(y, "c_lif") if mean else drawing.mean(y), "head", 2))
    made = layer([[1, 0, 0]] * 3, 1.0, [factor] * 3, [0.0] * 3)
    return found if isinstance(found, FloatWiring) else whole_network(found, lambda _: made, {})


@pytest.mark.parametrize(("factor", "bits"), [(0.25, 16), (2.0**14, 1), (2.0**15, 0), (2.0**20, -5)])
def test_a_spike_is_so_many_parts_of_a_potential(factor: float, bits: int) -> None:
    network = raising(factor)
    assert isinstance(network, WholeNetwork)
    assert set(network.bits.values()) == {bits}
    (added,) = network.wiring.raising
    if bits < 0:
        with pytest.raises(UsageError, match="stream sum: its potentials are too large to be joined with spikes"):
            network.factors(added)
    else:
        assert network.factors(added) == (2**bits, 1)


def test_what_is_added_to_potentials_counts_for_their_bits() -> None:
    drawing = Drawing((2, 1, 2, 2))
    x = y = drawing.fire(FRAMES, ("a", "a_bn", "a_lif"), 1)
    for number in range(14):
        x = drawing.add(x, x, f"sum {number}")
    y = drawing.add(drawing.layer(y, "b", "b_bn", 1), x, "all", "raised")
    wiring = wire(drawing.finish(drawing.mean(y), "head", 2))
    assert isinstance(wiring, Wiring)
    # 2^14 spikes and 0.25: 28 bits less 15.
    (found,) = fraction_bits(wiring, lambda _: layer([[1]], 1.0, [0.25], [0.0])).values()
    assert found == 13


def test_what_cannot_be_added_to_potentials_is_named() -> None:
    for network, said in (
        (raising(1.0, None), "residual 'sum' adds spikes to potentials, and no module raises them"),
        (raising(1.0, mean=True), "residual 'sum' adds a mean, or sums of an attention, to potentials"),
    ):
        assert isinstance(network, FloatWiring)
        assert network.reason == said


def test_another_time_constant_by_hand() -> None:
    # θ = 1, tau = 3: u = 3h, fires at 3, and two thirds of it are left, 43691/2^16 of them.
    drawing = Drawing((1, 1, 2, 2), tau=3.0)
    found = wire(drawing.finish(drawing.mean(drawing.fire(FRAMES, ("a", "a_bn", "a_lif"), 2)), "head", 2))
    assert isinstance(found, Wiring)
    leak = WholeNetwork(found, lambda one: layer([[1]], 1.0, [1.0], [0.0]), {}).leak(found.stages[0].fires)
    assert leak == 2**16 + 43691
    made = neurons(Whole(np.array([[1]]), np.array([0.5])), np.ones(1), np.zeros(1), 1.0, 8, leak=leak, growth=1)
    one = 2 << int(made.shift[0])
    assert abs(int(made.threshold[0]) - 3 * one) <= 3 * one * 2**-16
    spikes = lif(one * np.array([2, 1, 1, 1]).reshape(1, 4, 1, 1, 1), made.threshold, leak)  # u: 2, 7/3, 23/9, 73/27 …
    assert spikes.ravel().tolist() == [0, 0, 0, 0]
    spikes = lif(one * np.array([2, 1, 2, 1]).reshape(1, 4, 1, 1, 1), made.threshold, leak)  # u: 2, 7/3, 32/9, 1
    assert spikes.ravel().tolist() == [0, 0, 1, 0]


def test_neurons_without_a_leak_by_hand() -> None:
    # x = 0.5 · (a + 1), θ = 1.25: a of 1, -3, 2 and 0 are 1, -1, 1.5 and 0.5; v is 1, 0, 1.5 (a spike), 0.5.
    found = neurons(Whole(np.array([[2]]), np.array([0.5])), np.ones(1), np.array([0.5]), 1.25, 4, leak=1)
    assert found.wide  # its voltages are sums of all steps
    shift = int(found.shift[0])
    assert (int(found.offset[0]), int(found.threshold[0])) == (1 << shift, round(2.5 * 2**shift))
    sums = np.array([1, -3, 2, 0]).reshape(1, 4, 1, 1, 1)
    spikes = lif((sums << shift) + found.offset[:, None, None], found.threshold, 1)
    assert spikes.ravel().tolist() == [0, 0, 1, 0]
    # Nothing that is given of it at 2^9 steps passes 64 bits.
    largest = (np.abs(sums).max() << shift) + np.abs(found.offset).max()
    assert int(largest) << 9 < 2**63


def test_steps_that_nothing_leaks_from_have_an_end() -> None:
    def graph(steps: int) -> Graph:
        drawing = Drawing((steps, 1, 2, 2))
        x = drawing.layer(FRAMES, "a", "a_bn", 2)
        drawing._add(Neuron("a_if", (x,), "a_if", integrates=True))
        return drawing.finish(drawing.mean("a_if"), "head", 2)

    assert isinstance(wire(graph(256)), Wiring)
    found = wire(graph(257))
    assert isinstance(found, FloatWiring)
    assert found.reason == "its neurons have no leak, and their voltages are whole numbers for up to 256 steps"
