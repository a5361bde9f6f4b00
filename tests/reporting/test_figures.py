import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.reporting import figures
from snnq.reporting.records import FrontPoint, Histogram, SearchEpoch
from snnq.schemes.names import NAMES

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("x")</script>&\x00\x1b[31m\ud800\u202e'


def parse(svg):
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root[0].tag == f"{SVG}title"
    assert root.get("role") == "img"
    assert root.get("aria-label") == root[0].text
    assert not [one for one in root.iter() if one.tag.endswith("script")]
    return root


def texts(root):
    return [one.text or "" for one in root.iter(f"{SVG}text")]


def polygons(root):
    return [
        [tuple(map(float, pair.split(","))) for pair in one.get("points").split()] for one in root.iter(f"{SVG}polygon")
    ]


def record(before=(1, 4, 1), after=(0, 6, 0), layer="head"):
    return Histogram(layer, -1.0, 1.0, before, after, 0.0, 0.25)


def test_golden_bars():
    svg = figures.paired_bars("T", [("q", 0.25, "float32 25.00 %", 1.0, "plan 100.00 %")])
    root = parse(svg)
    bars = [(one.get("x"), one.get("y"), one.get("width"), one.get("height")) for one in root.iter(f"{SVG}rect")]
    # 140 units are 100 per cent.
    assert bars == [("4", "17", "35", "10"), ("4", "30", "140", "10")]
    assert texts(root) == ["q", "float32 25.00 %", "plan 100.00 %"]


def test_golden_histogram():
    root = parse(figures.histogram_panel(record()))
    bar = next(root.iter(f"{SVG}rect"))
    # Three bins of 200/3 units; the only filled bin is the middle one, of full height 62 from 20 to 82.
    assert (bar.get("x"), bar.get("y"), bar.get("width"), bar.get("height")) == ("70.67", "20", "66.67", "62")
    line = next(root.iter(f"{SVG}polyline")).get("points")
    assert line == "4,82 4,66.5 70.67,66.5 70.67,20 137.33,20 137.33,66.5 204,66.5 204,82"
    assert "exact zeros 0.00 % → 25.00 %" in texts(root)


def test_golden_bands():
    epochs = [SearchEpoch(1, 3.0, 0, {"q": (0.75, 0.25)})]
    root = parse(figures.probability_panel("q", ("uniform-2", "uniform-4"), epochs))
    # From equal shares (half of 74 units) to three quarters; two bits below, four above.
    assert polygons(root)[0] == [(4, 57), (162, 38.5), (162, 94), (4, 94)]
    assert polygons(root)[1] == [(4, 20), (162, 20), (162, 38.5), (4, 57)]
    assert {"u2 0.75", "u4 0.25", "epoch 1", "q"} <= set(texts(root))
    assert root[0].text == "q: probabilities over the search; in the end uniform-2 with 0.7500"


def test_golden_strip(found):
    root = parse(figures.layer_strip(found.layers))
    bars = list(root.iter(f"{SVG}rect"))
    assert len(bars) == len(found.layers)
    for bar, layer in zip(bars, found.layers, strict=True):
        assert float(bar.get("width")) == pytest.approx(90 * layer.bits / 32, abs=0.01)
        assert {layer.name, layer.scheme} <= set(texts(root))


@given(
    rows=st.lists(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), min_size=1, max_size=6),
    space=st.permutations(NAMES).map(lambda names: tuple(names[:4])),
)
def test_bands_fill_the_panel(rows, space):
    shares = [tuple(value / math.fsum(row) for value in row) for row in rows]
    epochs = [SearchEpoch(i + 1, 1.0, 0, {"x": row}) for i, row in enumerate(shares)]
    bands = polygons(parse(figures.probability_panel("x", space, epochs)))
    assert len(bands) == 4
    # Oracle: heights at the last epoch are the shares, in the order of bits from below.
    order = sorted(range(4), key=lambda k: (32 if space[k] == "float32" else int(space[k][-1]), space[k]))
    for band, k in zip(bands, order, strict=True):
        top, bottom = band[len(rows)][1], band[len(rows) + 1][1]
        assert bottom - top == pytest.approx(74 * shares[-1][k], abs=0.02)
    assert bands[-1][0][1] == pytest.approx(20, abs=0.01)
    assert bands[0][-1][1] == pytest.approx(94, abs=0.01)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=80),
)
def test_histograms_stay_in_their_frame(counts):
    before, after = zip(*counts, strict=True)
    root = parse(figures.histogram_panel(record(before, after)))
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.get("y")) >= 20 - 0.01
        assert float(bar.get("y")) + float(bar.get("height")) <= 82 + 0.02
        assert float(bar.get("x")) + float(bar.get("width")) <= 204 + 0.02
    assert len(list(root.iter(f"{SVG}rect"))) == sum(count > 0 for count in after)


def test_the_most_contested_comes_first():
    epochs = [
        SearchEpoch(1, 3.0, 0, {"a": (0.5, 0.5), "b": (0.9, 0.1), "c": (0.5, 0.5)}),
        SearchEpoch(2, 3.0, 0, {"a": (0.99, 0.01), "b": (0.6, 0.4), "c": (0.2, 0.8)}),
    ]
    assert figures.most_contested(epochs, ["a", "b", "c"]) == ["b", "c", "a"]


def test_every_scheme_has_its_own_colour_and_short_name():
    assert len({figures.scheme_colour(name) for name in NAMES}) == len(NAMES)
    assert len({figures.short_name(name) for name in NAMES}) == len(NAMES)
    assert [figures.short_name(name) for name in ("float32", "uniform-2", "power-of-two-4")] == ["f32", "u2", "p4"]
    root = parse(figures.legend(NAMES))
    assert "p4 = power-of-two-4" in texts(root)


def test_labels_do_not_touch(found):
    for name in (row.name for row in found.layers):
        root = parse(figures.probability_panel(name, found.search.space, found.search.epochs))
        heights = [float(one.get("y")) for one in root.iter(f"{SVG}text") if re.match(r"[fup]\d", one.text or "")]
        assert all(abs(a - b) >= 9.9 for a, b in pairwise(heights))


def test_hostile_text_is_only_text(found):
    layers = tuple(replace(row, name=HOSTILE) for row in found.layers)
    epochs = [SearchEpoch(1, 1.0, 0, {HOSTILE: (0.5, 0.5)})]
    for svg in (
        figures.layer_strip(layers),
        figures.probability_panel(HOSTILE, ("uniform-2", "uniform-4"), epochs),
        figures.histogram_panel(record(layer=HOSTILE)),
        figures.paired_bars(HOSTILE, [(HOSTILE, 0.5, HOSTILE, 0.5, HOSTILE)]),
    ):
        parse(svg)
        assert "<script" not in svg
        assert not re.search(r"[\x00-\x1f]", svg)
        svg.encode("utf-8")


def test_nothing_stands_outside_the_frame(found):
    for svg in (
        figures.layer_strip(found.layers),
        figures.legend(NAMES),
        *(figures.histogram_panel(one) for one in found.histograms),
    ):
        root = parse(svg)
        width, height = map(float, root.get("viewBox").split()[2:])
        for one in root.iter(f"{SVG}rect"):
            assert float(one.get("x")) + float(one.get("width")) <= width
            assert float(one.get("y")) + float(one.get("height")) <= height + 0.02
        for one in root.iter(f"{SVG}text"):
            assert float(one.get("y")) <= height


def test_front_is_drawn_by_bits_and_loss():
    points = (
        FrontPoint(2.0, 0.0625, 0.05, 0.2, 0.9, 0.7),
        FrontPoint(2.5, 0.08, 0.06, 0.1, None, None),  # drawn at its predicted loss above the least measured one
        FrontPoint(4.0, 0.125, 0.1, 0.0, 0.5, 0.8),
    )
    svg = figures.front_panel(points, own_bits=2.5)
    circles = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert circles[0] == (46, 14)  # the cheapest and worst: left and top
    assert circles[2] == (346, 164)
    assert circles[1][1] == pytest.approx(14 + 150 * (0.9 - 0.6) / 0.4, abs=0.01)
    assert circles[1][0] == pytest.approx(46 + 300 * math.log2(2.5 / 2), abs=0.01)
    assert "this plan" in svg
    assert "this plan" not in figures.front_panel(points, own_bits=8)
    assert "2.500 bits, loss 0.6000" in svg
