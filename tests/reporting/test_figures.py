import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.cost.quantities import ENERGY, STORAGE
from snnq.reporting.cost_records import FrontPoint, PlanRow
from snnq.reporting.figures import svg
from snnq.reporting.figures.bars import Slice, before_after
from snnq.reporting.figures.front import Point, accuracy_points, front_panel, loss_points
from snnq.reporting.figures.palette import contrast, ink_on, letters, part_colour, scheme_colour, short_name
from snnq.reporting.figures.probabilities import most_contested, probability_panel
from snnq.reporting.figures.strip import layer_strip, legend
from snnq.reporting.figures.weights import float_panel, weight_panel
from snnq.reporting.records import Histogram, Level, SearchEpoch
from snnq.schemes.scheme import scheme_names

NAMES = scheme_names()

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("x")</script>&\x00\x1b[31m\ud800\u202e'


def parse(figure):
    root = ET.fromstring(figure)
    assert root.tag == f"{SVG}svg"
    assert root[0].tag == f"{SVG}title"
    assert root.get("role") == "img"
    assert root.get("aria-label") == root[0].text
    assert not [one for one in root.iter() if one.tag.endswith("script")]
    return root


def texts(root):
    return [one.text or "" for one in root.iter(f"{SVG}text")]


def boxes(root, *, without="url("):
    return [one for one in root.iter(f"{SVG}rect") if without not in one.get("fill")]


def polygons(root):
    """Return the corners of the polygons but for the hatches over them."""
    return [
        [tuple(map(float, pair.split(","))) for pair in one.get("points").split()]
        for one in root.iter(f"{SVG}polygon")
        if "url(" not in one.get("fill")
    ]


def record(before=(1, 4, 1), after=(0, 6, 0), layer="head"):
    return Histogram(layer, -1.0, 1.0, before, after, 0.0, 0.25)


def test_golden_shares():
    slices = [Slice("q", 8 * 8192, 2 * 8192), Slice("proj", 24 * 8192, 2 * 8192)]
    root = parse(before_after("T", slices, STORAGE))
    bars = [(one.get("x"), one.get("y"), one.get("width")) for one in boxes(root) if one.get("height") == "22"]
    # 332 units are all of float32; an eighth of them is this plan, and enlarged it is as long again.
    assert bars == [
        ("4", "18", "83"),
        ("87", "18", "249"),
        ("4", "64", "20.75"),
        ("24.75", "64", "20.75"),
        ("4", "116", "166"),
        ("170", "116", "166"),
    ]
    assert {"q 25.0", "proj 75.0", "q 50.0", "proj 50.0", "25.00 %, 8.00 KiB", "50.00 %, 2.00 KiB"} <= set(texts(root))


def test_golden_weights():
    levels = (Level(-0.5, -0.6, -0.4, 0.25), Level(0.5, 0.4, 0.6, 0.75))
    root = parse(weight_panel(record(), "uniform-2", levels))
    bar = boxes(root)[0]
    # Three bins of 200/3 units; the only filled bin is the middle one, of full height 66 from 20 to 86.
    assert (bar.get("x"), bar.get("y"), bar.get("width"), bar.get("height")) == ("72.67", "20", "66.67", "66")
    line = next(root.iter(f"{SVG}polyline")).get("points")
    assert line == "6,86 6,69.5 72.67,69.5 72.67,20 139.33,20 139.33,69.5 206,69.5 206,86"
    assert {"exact zeros 0.00 % → 25.00 %", "head u2"} <= set(texts(root))
    # -0.5 and 0.5 of -1 … 1 are a quarter and three quarters of 200 units from 6.
    dashed = [one.get("x1") for one in root.iter(f"{SVG}line") if one.get("stroke-dasharray")]
    assert dashed == ["56", "156"]
    spans = [(one.get("x1"), one.get("x2")) for one in root.iter(f"{SVG}line") if one.get("y1") == "90"]
    assert spans == [("46", "66")]
    titles = [one.text for one in root.iter(f"{SVG}title")]
    assert "level 0.5: 75.00 % of the weights" in titles


def test_levels_outside_the_bins_and_many_of_them_stay_in_the_frame():
    levels = tuple(Level(i / 10, i / 10, i / 10, 0.0) for i in range(-200, 56))
    root = parse(weight_panel(record(), "uniform-8", levels))
    xs = [float(one.attrib[key]) for one in root.iter(f"{SVG}line") for key in ("x1", "x2")]
    assert min(xs) == 6
    assert max(xs) == 206
    assert not [one for one in root.iter(f"{SVG}line") if one.get("stroke-dasharray")]


def test_golden_bands():
    epochs = [SearchEpoch(1, 3.0, 0, {"q": (0.75, 0.25)})]
    root = parse(probability_panel("q", ("uniform-2", "uniform-4"), epochs))
    # From equal shares (half of 76 units) to three quarters; two bits below, four above.
    assert polygons(root)[0] == [(22, 64), (158, 45), (158, 102), (22, 102)]
    assert polygons(root)[1] == [(22, 26), (158, 26), (158, 45), (22, 64)]
    assert {"u2 0.75", "u4 0.25", "1", "q"} <= set(texts(root))
    assert root[0].text == "q: probabilities over the search; in the end uniform-2 with 0.7500"


def test_golden_strip(found):
    floats = [(0.5, 0.25) for _ in found.layers]
    root = parse(layer_strip("T", found.layers, floats))
    words = texts(root)
    assert words.count("block.0.attn (attention)") == 1
    assert "patch_embed (tokenizer)" in words
    assert words[-4:-2] == ["head", "p4"]
    bars = [one for one in boxes(root) if one.get("height") == "9"]
    assert len(bars) == 2 * len(found.layers)
    # 54 units are the largest share of all, here the ticks' half.
    for layer, storage, energy in zip(found.layers, bars[::2], bars[1::2], strict=True):
        assert float(storage.attrib["width"]) == pytest.approx(max(54 * layer.storage_share / 0.5, 0.75), abs=0.01)
        top = max(0.25, *(one.energy_share for one in found.layers))
        assert float(energy.attrib["width"]) == pytest.approx(max(54 * layer.energy_share / top, 0.75), abs=0.01)
        assert {f"{100 * layer.storage_share:.2f}", f"{100 * layer.energy_share:.2f}"} <= set(words)
        assert layer.name.rpartition(".")[2] in words


@given(
    rows=st.lists(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), min_size=1, max_size=6),
    space=st.permutations(NAMES).map(lambda names: tuple(names[:4])),
)
def test_bands_fill_the_panel(rows, space):
    shares = [tuple(value / math.fsum(row) for value in row) for row in rows]
    epochs = [SearchEpoch(i + 1, 1.0, 0, {"x": row}) for i, row in enumerate(shares)]
    bands = polygons(parse(probability_panel("x", space, epochs)))
    assert len(bands) == 4
    # Oracle: heights at the last epoch are the shares, in the order of bits from below.
    own = {"float32": 32, "ternary": 1.6, "binary": 1}
    order = sorted(range(4), key=lambda k: (own.get(space[k]) or int(space[k][-1]), space[k]))
    for band, k in zip(bands, order, strict=True):
        top, bottom = band[len(rows)][1], band[len(rows) + 1][1]
        assert bottom - top == pytest.approx(76 * shares[-1][k], abs=0.02)
    assert bands[-1][0][1] == pytest.approx(26, abs=0.01)
    assert bands[0][-1][1] == pytest.approx(102, abs=0.01)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=80),
)
def test_histograms_stay_in_their_frame(counts):
    before, after = zip(*counts, strict=True)
    root = parse(weight_panel(record(before, after)))
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.attrib["y"]) >= 20 - 0.01
        assert float(bar.attrib["y"]) + float(bar.attrib["height"]) <= 86 + 0.02
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= 206 + 0.02
    assert len(list(root.iter(f"{SVG}rect"))) == sum(count > 0 for count in after)


def test_the_most_contested_comes_first():
    epochs = [
        SearchEpoch(1, 3.0, 0, {"a": (0.5, 0.5), "b": (0.9, 0.1), "c": (0.5, 0.5)}),
        SearchEpoch(2, 3.0, 0, {"a": (0.99, 0.01), "b": (0.6, 0.4), "c": (0.2, 0.8)}),
    ]
    assert most_contested(epochs, ["a", "b", "c"]) == ["b", "c", "a"]


def test_every_scheme_has_its_own_colour_and_short_name():
    assert len({scheme_colour(name) for name in NAMES}) == len(NAMES)
    assert len({short_name(name) for name in NAMES}) == len(NAMES)
    names = ("float32", "uniform-2", "power-of-two-4", "ternary", "binary")
    assert [short_name(name) for name in names] == ["f32", "u2", "p4", "t1.6", "b1"]
    assert letters(names) == "u uniform, p power-of-two, t ternary, b binary, f float32"
    assert letters(["ternary", "uniform-2", "uniform-4"]) == "u uniform, t ternary"
    root = parse(legend(NAMES))
    assert "p4 = power-of-two-4" in texts(root)
    # Without colours: every power-of-two format is hatched, no other one.
    assert len([one for one in root.iter(f"{SVG}rect") if one.get("fill") == f"url(#{svg.HATCH_ID})"]) == 7


def test_contrast_of_the_text_on_every_colour():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the well-known grey that just fails
    for colour in (*map(scheme_colour, NAMES), *map(part_colour, range(8))):
        assert contrast(ink_on(colour), colour) >= 4.5, colour
    with pytest.raises(ValueError, match="not a colour"):
        contrast("red", "#ffffff")


def test_labels_do_not_touch(found):
    for name in (row.name for row in found.layers):
        root = parse(probability_panel(name, found.search.space, found.search.epochs))
        heights = [float(one.attrib["y"]) for one in root.iter(f"{SVG}text") if re.match(r"[fuptb]\d", one.text or "")]
        assert all(abs(a - b) >= 9.9 for a, b in pairwise(heights))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.floats(1, 20))
def test_spread_places_keep_their_order_and_distance(places, apart):
    found = svg.spread(places, apart)
    order = sorted(range(len(places)), key=lambda i: -places[i])
    assert all(found[i] - found[j] >= apart - 1e-9 for i, j in pairwise(order))
    assert all(new <= old for new, old in zip(found, places, strict=True))


def test_a_clipped_name_keeps_its_end():
    assert svg.clip("head", 100) == "head"
    cut = svg.clip("module.of.modules.block.0.attn.query", 80)
    assert cut.startswith("…")
    assert "module.of.modules.block.0.attn.query".endswith(cut[1:])
    assert svg.width_of(cut, 11) <= 80


def test_hostile_text_is_only_text(found):
    layers = tuple(replace(row, name=HOSTILE) for row in found.layers)
    epochs = [SearchEpoch(1, 1.0, 0, {HOSTILE: (0.5, 0.5)})]
    for figure in (
        layer_strip(HOSTILE, layers),
        probability_panel(HOSTILE, ("uniform-2", "uniform-4"), epochs),
        weight_panel(record(layer=HOSTILE)),
        float_panel(record(layer=HOSTILE)),
        before_after(HOSTILE, [Slice(HOSTILE, 0.5, 0.5)], STORAGE),
        front_panel(HOSTILE, HOSTILE, HOSTILE, [Point(2.0, 1.0, HOSTILE, HOSTILE, "square")]),
    ):
        parse(figure)
        assert "<script" not in figure
        assert not re.search(r"[\x00-\x1f]", figure)
        figure.encode("utf-8")


def test_nothing_stands_outside_the_frame(found):
    levels = {one.layer: one.levels for one in found.levels}
    for figure in (
        layer_strip("T", found.layers),
        legend(NAMES),
        *(weight_panel(one, "uniform-2", levels.get(one.layer, ())) for one in found.histograms),
    ):
        root = parse(figure)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for one in root.iter(f"{SVG}rect"):
            assert float(one.attrib["x"]) + float(one.attrib["width"]) <= width
            assert float(one.attrib["y"]) + float(one.attrib["height"]) <= height + 0.02
        for one in root.iter(f"{SVG}text"):
            assert float(one.attrib["y"]) <= height


def front_point(bits, storage, energy, predicted, loss, accuracy):
    costs = {"avg_bits": bits, "storage_fraction": storage, "energy_fraction": energy}
    return FrontPoint(costs, predicted, loss, accuracy)


FRONT = (
    front_point(2.0, 0.0625, 0.05, 0.2, 0.9, 0.7),
    front_point(2.5, 0.08, 0.06, 0.1, None, None),  # drawn at its predicted loss above the least measured one
    front_point(4.0, 0.125, 0.1, 0.0, 0.5, 0.8),
)
PLANS = (
    PlanRow("this plan", {"avg_bits": 2.5, "energy_fraction": 0.06}, 0.75, 0.6),
    PlanRow("uniform-4", {"avg_bits": 4.0, "energy_fraction": 0.1}, 0.8, 0.5),
    PlanRow("unmeasured", {"avg_bits": 3.0, "energy_fraction": 0.1}, None, None),
)


def test_front_is_drawn_by_bits_and_loss():
    points = loss_points(FRONT, PLANS)
    figure = front_panel("T", "bits per weight", "loss", points)
    circles = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', figure)]
    # 286 units are from 2 / 1.12 to 4 · 1.12 bits (logarithmic), 172 from the least to the highest loss and 8 % more.
    reach = math.log(4 * 1.12 / (2 / 1.12))
    for (x, y), bits, loss in zip(circles, (2, 2.5, 4), (0.9, 0.6, 0.5), strict=True):
        assert x == pytest.approx(44 + 286 * math.log(bits * 1.12 / 2) / reach, abs=0.01)
        assert y == pytest.approx(22 + 172 * (0.9 + 0.032 - loss) / 0.464, abs=0.01)
    assert 'fill="Canvas"' in figure  # the predicted one is open
    assert "2.500 bits, loss 0.6000 (predicted)" in figure
    assert {"this plan", "uniform-4"} <= set(texts(parse(figure)))
    assert "unmeasured" not in figure
    no_losses = [replace(one, predicted_loss=None) for one in FRONT]
    assert len(loss_points(no_losses, PLANS)) == len(points) - 1
    shares = [(round(one.cost, 6), round(one.score, 6)) for one in accuracy_points(FRONT, PLANS, ENERGY)]
    assert shares == [(5, 70), (10, 80), (6, 75), (10, 80)]


@given(
    st.lists(
        st.tuples(st.floats(1, 32), st.floats(0.01, 5), st.sampled_from(("", "this plan", "power-of-two-4"))),
        min_size=1,
        max_size=12,
    )
)
def test_every_front_stays_in_its_frame(found):
    points = [Point(cost, score, "said", name, "square" if name else "circle") for cost, score, name in found]
    root = parse(front_panel("T", "bits", "loss", points))
    for one in root.iter(f"{SVG}circle"):
        assert 44 <= float(one.attrib["cx"]) <= 330
        assert 22 <= float(one.attrib["cy"]) <= 194
    for one in root.iter(f"{SVG}text"):
        assert one.text
        x, y, width = float(one.attrib["x"]), float(one.attrib["y"]), svg.width_of(one.text, 10.5)
        left = {"end": x - width, "middle": x - width / 2}.get(one.get("text-anchor", ""), x)
        assert left >= -1
        assert left + width <= 341
        assert y <= 228


@given(st.floats(-1000, 1000), st.floats(1e-6, 1000))
def test_ticks_are_round_and_within(low, reach):
    ticks = svg.round_ticks(low, low + reach)
    assert 2 <= len(ticks) <= 5
    assert all(low - 1e-6 * reach <= one <= low + reach * (1 + 1e-6) for one in ticks)


def test_golden_ticks():
    assert svg.round_ticks(0.17, 0.49) == pytest.approx([0.2, 0.3, 0.4])
    assert svg.round_ticks(86.4, 96.4) == [88, 90, 92, 94, 96]
    assert svg.round_ticks(1, 1) == [1]
    assert svg.log_ticks(1.8, 35) == [2, 3, 6, 12, 24]
    assert svg.log_ticks(5, 112) == [5, 10, 20, 50, 100]
    assert svg.log_ticks(2.1, 2.4) == [2.1]
