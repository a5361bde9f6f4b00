import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from snnq.assessing.subject import open_subject
from snnq.base.errors import UsageError
from snnq.base.progress import silent
from snnq.packed.loading import load_packed
from snnq.plan import Plan
from snnq.reporting.figures.palette import contrast
from snnq.reporting.page import html_page, tiles, write_html
from snnq.reporting.records import Level, Levels, SearchEpoch
from snnq.reporting.run import report
from snnq.reporting.tables import detail_tables, main_tables

HOSTILE = "<script>alert(1)</script>\x00\x1b[31m\"'&\ud800"
VOID = {"meta"}


class Page(HTMLParser):
    """Collects the tables (as text), the tags and the attributes; checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.captions, self.tags, self.attributes, self.open, self.ids = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def text(found):
    return html_page(found)


def test_the_pages_tables_are_the_terminals(found, text):
    expected = [[list(one.columns), *map(list, one.rows)] for one in (*main_tables(found), *detail_tables(found))]
    shown = Page(text).tables
    assert all(table in shown for table in expected)
    # And the key to the JSON.
    assert [table[0] for table in shown if table not in expected] == [["key", "unit", "what it is"]]
    assert len(shown) == len(expected) + 1


def test_the_figures_numbers_are_the_reports(found, text):
    for part in (*found.groups, *found.attention):
        assert f"{100 * part.storage_share:.2f} %, {part.storage_bits / 8192:,.2f} KiB" in text
        assert f"{100 * part.energy_share_float:.2f} %, {part.energy_pj_float / 1000:,.1f} nJ" in text
        assert f"{part.name}: {100 * part.energy_share:.2f} %" in text
    for row in found.layers:
        costs = f"{row.weights} weights, {row.storage_bits} bits, {row.energy_pj:.1f} pJ"
        assert f"{row.name}: {row.scheme}, {costs}" in text
    for one in found.levels:
        for level in one.levels:
            assert f"level {level.value:.4g}: {100 * level.share:.2f} % of the weights" in text
    for one in found.histograms:
        assert f"exact zeros {100 * one.zeros_before:.2f} % → {100 * one.zeros_after:.2f} %" in text
    for point in found.front:
        loss = 0.5 + point.predicted_loss if point.validation_loss is None else point.validation_loss
        assert f"{point.avg_bits:.3f} bits, loss {loss:.4f}" in text
    for row in found.plans:
        if row.validation_accuracy is not None:
            energy, accuracy = 100 * row.energy_fraction, 100 * row.validation_accuracy
            assert f"{row.plan}: {energy:.2f} % of float32&#x27;s energy, {accuracy:.2f} % accuracy" in text
    panels = re.findall(r"aria-label=\"(\S+): probabilities over the search; in the end (\S+) with ([\d.]+)\"", text)
    assert len(panels) == len(found.layers)
    # The head is the least certain.
    assert panels[0] == ("head", "power-of-two-4", "0.7100")
    for name, scheme, share in panels:
        row = next(row for row in found.layers if row.name == name)
        assert scheme == row.scheme
        assert share == f"{row.probabilities[scheme]:.4f}"


def test_the_large_numbers_are_the_reports(found):
    data = found.to_dict()
    own, (before, after) = data["totals"], data["accuracy"]
    shown = {tile.name: (tile.value, *tile.notes) for tile in tiles(found)}
    points = f"{100 * (after['test'] - before['test']):+.2f} points on {data['test_samples']} samples"
    accuracy = (f"{100 * after['test']:.2f} %", f"float {100 * before['test']:.2f} %", points)
    assert shown["Test accuracy"] == accuracy
    in_file = f"{own['file_avg_bits']:.3f} in the file"
    assert own["file_avg_bits"] == 8 * data["disk"]["file_bytes"] / own["weights"]
    assert shown["Bits per weight, plan"] == (
        f"{own['avg_bits']:.3f}",
        in_file,
        "float 32",
        f"{own['weights']:,} weights",
    )
    assert shown["Storage of weights"][:2] == ("2.78 KiB", "float 27.67 KiB")
    assert (
        shown["Storage of weights"][2] == f"{100 * own['storage_fraction']:.2f} %, {own['compression']:.2f} times less"
    )
    energy = f"{own['energy_pj'] / 1000:,.1f} nJ", f"float {own['energy_pj_float'] / 1000:,.1f} nJ"
    tile = shown["Energy per time step, paper's model"]
    assert tile[:2] == energy
    times = own["energy_pj_float"] / own["energy_pj"]
    assert (
        shown["Energy per time step, paper's model"][2]
        == f"{100 * own['energy_fraction']:.2f} %, {times:.2f} times less"
    )


def test_numbers_recomputed_from_the_weights_and_the_frames(measured, recorded):
    plan, layers = Plan.read(recorded / "plan.json"), load_packed(recorded, "float")
    shown = html_page(measured)
    # Bits per weight: each layer's bits times the weights that are really there.
    counts = {name: layers.get_parameter(f"{name}.weight").numel() for name in plan.schemes()}
    bits = {name: int(one.removeprefix("float").rpartition("-")[2]) for name, one in plan.schemes().items()}
    assert f"{sum(bits[name] * count for name, count in counts.items()) / sum(counts.values()):.3f}" in shown
    # The share of a layer's weights that are exactly 0.
    weight = layers.get_parameter("block.0.attn.q.weight")
    assert f"→ {100 * (weight == 0).sum().item() / weight.numel():.2f} %" in shown
    # The first layer's firing rate: entries of the measured frames that are not zero.
    found = open_subject(recorded).data(None, silent)
    frames, _ = found.validation.__getitems__([0, len(found.validation) // 2])
    assert f"proj_conv (counts): mean {100 * (frames != 0).sum().item() / frames.numel():.2f} %" in shown


def test_firing_rates_and_energy_by_events(measured):
    section = html_page(measured).partition('<h2 id="firing">')[2].partition("</section>")[0]
    events = measured.event_energy.plan
    for layer in events.layers:
        assert f"{layer.name} ({layer.input}): mean {100 * layer.firing_rate:.2f} %" in section
        for step, rate in enumerate(layer.firing_rates, start=1):
            assert f"{layer.name} ({layer.input}), step {step}: {100 * rate:.2f} %" in section
    assert f"this plan, to the same scale: {events.total.energy_pj / 1000:,.1f} nJ" in section
    for title in ("Both energy models", "Firing rates by step", "Events by layer", "Neurons", "Inside attention"):
        assert f"<figcaption>{title}" in section
    tile = next(tile for tile in tiles(measured) if tile.name == "Energy per inference, by events")
    assert tile.value == f"{events.total.energy_pj / 1000:,.1f} nJ"
    assert tile.notes[-1] == "2 time steps, weights fetched once per inference"


def test_it_loads_nothing_and_runs_nothing(text):
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "image", "use"} & set(page.tags)
    for name, value in page.attributes:
        assert name not in ("src", "xlink:href", "srcset", "action")
        if name == "href":
            assert value[1:] in page.ids
        assert not name.startswith("on")
        if name != "xmlns":
            assert "http:" not in (value or "")
            assert "https:" not in (value or "")
    assert set(re.findall(r"url\((.)", text)) == {"#"}
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_it_is_a_page_for_everyone(text):
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert 'name="viewport"' in text
    assert page.tags.count("svg") == text.count('role="img"') + 1  # the hatch shows nothing by itself
    labels = [value for name, value in page.attributes if name == "aria-labelledby"]
    assert labels
    assert set(labels) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_pages_text_can_be_read_in_light_and_dark_and_on_paper(text):
    palettes = re.findall(r":root \{([^}]*)\}", text)
    assert len(palettes) == 3
    for palette in palettes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]+)", palette))
        full = {
            name: "#" + "".join(c * 2 for c in value[1:]) if len(value) == 4 else value
            for name, value in colours.items()
        }
        for ink in ("ink", "soft", "accent"):
            for back in ("back", "card"):
                assert contrast(full[ink], full[back]) >= 4.5, (ink, back)


def test_a_long_search_in_eight_bits_is_still_a_small_page(found):
    """As many layers as Spikformer-2-256 and more epochs than any search has; its 18 layers of 256 levels."""
    rows = [replace(row, name=f"block.{i}.attn.q") for i, row in enumerate((*found.layers, *found.layers[:6]))]
    shares = {row.name: (0.21, 0.29, 0.13, 0.37) for row in rows}
    epochs = tuple(SearchEpoch(i, 2.0, 0, shares) for i in range(1, 501))
    levels = tuple(Level(i / 256, i / 256 - 0.001, i / 256 + 0.001, 1 / 256) for i in range(-128, 128))
    histogram = replace(found.histograms[0], before=tuple(range(61)), after=tuple(range(61)))
    theirs = replace(
        found,
        layers=tuple(rows),
        search=replace(found.search, epochs=epochs),
        histograms=tuple(replace(histogram, layer=row.name) for row in rows),
        levels=tuple(Levels(row.name, "uniform-8", 64, levels) for row in rows),
    )
    text = html_page(theirs)
    assert len(text.encode()) < 1.5e6
    assert text.count("probabilities over the search;") == 2 * 18


def test_verdict_notes_and_energy_model_stand_on_it(found, text):
    for sentence in (found.verdict, found.energy_model, found.search.sentence, *found.notes, *found.formulas):
        assert sentence.replace("'", "&#39;") in text


def test_hostile_strings_are_text(found):
    layers = tuple(replace(row, name=HOSTILE) for row in found.layers)
    histograms = tuple(replace(one, layer=HOSTILE) for one in found.histograms)
    epochs = tuple(
        replace(one, probabilities={HOSTILE: next(iter(one.probabilities.values()))}) for one in found.search.epochs
    )
    theirs = replace(
        found,
        layers=layers,
        histograms=histograms,
        search=replace(found.search, epochs=epochs, sentence=HOSTILE),
        folder=HOSTILE,
        verdict=HOSTILE,
        notes=(HOSTILE,),
        commands=(HOSTILE,),
        provenance=dict.fromkeys(found.provenance, HOSTILE),
        groups=tuple(replace(part, name=HOSTILE) for part in found.groups),
    )
    text = html_page(theirs)
    assert "<script" not in text
    assert "alert(1)" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)
    assert "script" not in Page(text).tags
    text.encode("utf-8")


def test_a_hostile_spec_and_checkpoint_reach_the_page_as_text(make, tmp_path):
    folder = make(tmp_path / "packed", spec="frames:<script>x</script>", checkpoint="a\x1b'; rm -rf <b>.pt")
    text = html_page(report(folder))
    assert "<script" not in text
    assert "\x1b" not in text
    # In a command to copy, quotes keep it one word.
    assert "&#39;frames:&lt;script&gt;x&lt;/script&gt;&#39;" in text


def test_without_search_or_history(make, tmp_path):
    silent = report(make(tmp_path / "packed", searched=False))
    assert "not made by a search" in silent.search.sentence
    text = html_page(silent)
    assert "not made by a search" in text
    assert "probabilities over the search" not in text
    assert "there is no accuracy-cost front to show" in text
    assert "is not measured yet: snnq report --measure 64" in text
    titles = [one.title for one in detail_tables(silent)]
    assert "What the search thought" not in titles
    assert "accuracies were not measured" in " ".join(silent.notes)
    Page(text)


def test_written_whole_or_not_at_all(found, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "page.html"
    write_html(found, path)
    first = path.read_bytes()
    assert first.decode() == html_page(found)
    write_html(found, path)
    assert path.read_bytes() == first
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        write_html(replace(found, verdict="other"), path)
    assert path.read_bytes() == first
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]
