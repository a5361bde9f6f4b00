"""``snnq.calibrate``: equal bytes for equal words, also when it was cut off; real data are never looked at."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_checkpoints import CONFIG, DATA, save_tiny

import snnq
from snnq.assessing.measure import measure_model
from snnq.assessing.rates import neuron_rates
from snnq.base.errors import DataError, InterruptedRun, OutputExistsError, UsageError
from snnq.calibrating import candidates, few, inversion
from snnq.calibrating.choosing import best_of, left_behind
from snnq.calibrating.given import class_names, read_rates
from snnq.calibrating.style import KNOBS
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.data import open_data
from snnq.data.dataset import DataSet

NAMES = ("ant", "bee", "cat")
NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def forward(self, frames):
        return super().forward(frames.mean(1))

def build():
    return Net(nn.Flatten(), nn.Linear(128, 3))
"""
FILTERED = {"classes": NAMES, "samples": 24, "filter": "energy,bn,patch", "progress": snnq.silent}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path)


def opened(spec: str) -> DataSet:
    return open_data(spec, steps=2, image_size=(8, 8))


def rows_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def bytes_of(folder) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(folder.iterdir())}


def test_the_same_words_give_the_same_bytes_and_another_seed_others(tiny, tmp_path):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        snnq.calibrate(tiny, **FILTERED, seed=seed, out=tmp_path / out)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert bytes_of(tmp_path / "a")["frames.npy"] != bytes_of(tmp_path / "c")["frames.npy"]


def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "_TOGETHER", 16)
    monkeypatch.setattr("snnq.calibrating.glyphs.Glyphs.together", 16)
    snnq.calibrate(tiny, **FILTERED, out=tmp_path / "whole")
    made, count = candidates._made, 0

    def cut(place, found):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return made(place, found)

    monkeypatch.setattr(candidates, "_made", cut)
    with pytest.raises(InterruptedRun, match="Ctrl-C"):
        snnq.calibrate(tiny, **FILTERED, out=tmp_path / "cut")
    assert not (tmp_path / "cut").exists()
    snnq.calibrate(tiny, **FILTERED, out=tmp_path / "cut")
    assert count == 4  # the third chunk again; the first two were not made anew
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
    assert not (tmp_path / "cut.run" / "candidates").exists()


def test_no_data_are_opened_without_few_shots(tiny, tmp_path, monkeypatch):
    def never(*given, **named):
        raise AssertionError("real data were opened")

    monkeypatch.setattr("snnq.data.open._open", never)
    for number, words in enumerate(({"filter": "energy,bn,patch"}, {"generator": "noise"})):
        snnq.calibrate(tiny, classes=NAMES, samples=12, **words, progress=snnq.silent, out=tmp_path / str(number))


def test_few_shots_see_the_training_split_alone(tiny, tmp_path, monkeypatch):
    def hidden(spec, **named):
        data = open_data(spec, **named)
        fields = {name: getattr(data, name) for name in ("spec", "labels", "classes", "train")}
        return type("TrainAlone", (), fields)()  # to look at another split is an AttributeError

    monkeypatch.setattr(few, "open_data", hidden)
    done = snnq.calibrate(
        tiny, classes=NAMES, samples=12, few_shot=DATA, shots=2, progress=snnq.silent, out=tmp_path / "few"
    )
    said = done.found.facts["few_shot"]
    labels = opened(DATA).train.labels[said["numbers"]]
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert said["distance"] <= said["distance_plain"]
    assert set(said["style"]) == {*KNOBS, "spread"}


def test_every_candidate_is_told_of_and_the_set_is_what_was_kept(tiny, tmp_path):
    done = snnq.calibrate(tiny, **FILTERED, out=tmp_path / "set")
    rows, found = rows_of(tmp_path / "set"), done.found
    assert len(rows) == found.candidates == 48
    assert found.splits == {split: sum(row["split"] == split for row in rows) for split in found.splits}
    assert sum(found.splits.values()) == 24
    kept = [row for row in rows if row["split"]]
    assert {row["class"] for row in kept} == {0, 1, 2}
    for name in ("energy", "bn", "patch"):
        assert max(row[name] for row in kept) <= found.thresholds[name]
    assert sum("energy" in row for row in rows) == 48
    assert sum("patch" in row for row in rows) == left_behind(48, 24, 3)[1]
    model = load_model(open_checkpoint(tiny))
    data = opened(f"calib:{tmp_path / 'set'}")
    for split in ("train", "validation", "test"):
        own, due = getattr(data, split), [row for row in kept if row["split"] == split]
        answers = model(own.__getitems__(list(range(len(own))))[0]).argmax(1).tolist()
        assert answers == [row["answer"] for row in due]
        assert own.labels.tolist() == [-1] * len(due)


def test_known_and_foreign_outputs(tiny, tmp_path):
    words = {"classes": NAMES, "samples": 12, "progress": snnq.silent, "out": tmp_path / "set"}
    snnq.calibrate(tiny, **words)
    before = (tmp_path / "set" / "set.json").stat().st_mtime_ns
    snnq.calibrate(tiny, **words)
    assert (tmp_path / "set" / "set.json").stat().st_mtime_ns == before
    with pytest.raises(OutputExistsError, match="not from this checkpoint and settings"):
        snnq.calibrate(tiny, **words, seed=3, run=tmp_path / "other.run")
    snnq.calibrate(tiny, **words, seed=3, force=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="no calibration set"):
        snnq.calibrate(tiny, **words | {"out": tmp_path / "mine"}, force=True)


def test_other_weights_of_a_file_or_another_network_make_another_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    states = [torch.nn.Linear(128, 3).state_dict() for _ in range(2)]
    named = [{f"1.{name}": tensor for name, tensor in state.items()} for state in states]
    torch.save({"state_dict": named[0], "state_dict_ema": named[1]}, tmp_path / "two.pth")
    words = {"model": "net.py:build", "steps": 2, "image_size": 8, "generator": "noise", "samples": 8}
    words |= {"out": tmp_path / "set", "progress": snnq.silent}
    snnq.calibrate("two.pth", **words, weights="last")
    with pytest.raises(OutputExistsError, match="not from this checkpoint and settings"):
        snnq.calibrate("two.pth", **words, weights="ema")
    (tmp_path / "net.py").write_text(NETWORK.replace("frames.mean(1)", "frames.amax(1)"))
    with pytest.raises(OutputExistsError, match="not from this checkpoint and settings"):
        snnq.calibrate("two.pth", **words, weights="last")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "draws what the classes are called"),
        ({"classes": "ant,bee"}, "2 names, 2 of them different; the model has 3 outputs"),
        ({"generator": "glyph", "classes": NAMES}, "did you mean 'glyphs'"),
        ({"generator": "images", "classes": NAMES}, "there is glyphs, images:DIR"),
        ({"generator": "noise", "filter": "energi"}, "did you mean 'energy'"),
        ({"generator": "noise", "filter": "bn", "oversample": 1.0}, "above 1 where there are filters"),
        ({"generator": "noise", "filter": "rates"}, "it needs --rates"),
        ({"generator": "noise", "samples": 2}, "at least 8"),
        ({"generator": "noise", "few_shot": DATA}, "steers glyphs and diffusers, not noise"),
        ({"classes": ("a", "b", "\U0001f41d")}, "has all characters of the class names"),
        ({"classes": NAMES, "few_shot": f"{DATA.replace('48', '3')}", "shots": 5}, "has 1 training samples, 5"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(tiny, tmp_path, words, said):
    with pytest.raises(UsageError, match=said):
        snnq.calibrate(tiny, **words, progress=snnq.silent, out=tmp_path / "set")
    assert not (tmp_path / "set.run").exists()


def test_own_pictures_are_of_their_folders_class_and_must_be_enough(tiny, tmp_path):
    draw = np.random.default_rng(0)
    for number in range(9):
        folder = tmp_path / "pictures" / (NAMES[number % 3] if number < 6 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (20, 30, 3), np.uint8)).save(folder / f"{number}.png")
    words = {"generator": f"images:{tmp_path / 'pictures'}", "classes": NAMES, "progress": snnq.silent}
    snnq.calibrate(tiny, **words, samples=9, out=tmp_path / "set")
    rows = rows_of(tmp_path / "set")
    assert [row["class"] for row in rows] == [0, 1, 2, None, 0, 1, 2, None, None]
    assert rows[4]["file"] == "ant/3.png"
    with pytest.raises(UsageError, match="9 pictures, 10 are needed"):
        snnq.calibrate(tiny, **words, samples=10, out=tmp_path / "more")


def test_inversion_brings_the_norms_nearer_and_gives_counts(tiny, tmp_path):
    rows = []
    for rounds in (1, 40):
        out = tmp_path / str(rounds)
        snnq.calibrate(
            tiny, generator="inversion", rounds=rounds, samples=8, batch_size=8, progress=snnq.silent, out=out
        )
        rows.append(rows_of(out)[0]["distance"])
    assert rows[1] < 0.97 * rows[0]
    frames = np.load(tmp_path / "40" / "frames.npy")
    assert frames.dtype == np.uint8
    assert frames.max() > 0
    assert inversion._counts(torch.tensor([-9.0, 0.9, 500.0])).tolist() == [0, 1, 255]


def test_a_rate_card_is_what_measuring_finds(tiny, tmp_path):
    found = snnq.inspect(tiny, rates=tmp_path / "card.json", progress=snnq.silent)
    card, model, data = read_rates(tmp_path / "card.json"), load_model(open_checkpoint(tiny)), opened(DATA)
    assert card == found.rates
    activity = measure_model(model, found.layers, (), data, "train", 256)
    assert {one.name for one in activity.neurons} == {one.name for one in card.neurons}
    for one in activity.neurons:
        own = next(other for other in card.neurons if other.name == one.name)
        assert own.neurons == one.neurons
        assert own.rates == pytest.approx([count / one.neurons for count in one.spikes])
    batch = data.train.__getitems__([0, 1])[0]
    single = [neuron_rates(model, batch[i : i + 1]) for i in (0, 1)]
    for name, rates in neuron_rates(model, batch).items():
        assert torch.equal(rates, torch.cat([one[name] for one in single]))
    with pytest.raises(OutputExistsError):
        snnq.inspect(tiny, rates=tmp_path / "card.json", progress=snnq.silent)
    snnq.calibrate(
        tiny, generator="noise", filter="rates", rates=tmp_path / "card.json", samples=8, progress=snnq.silent,
        out=tmp_path / "set",
    )  # fmt: skip
    plain = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(plain | {"checkpoint_sha256": "0" * 64}))
    with pytest.raises(UsageError, match="of another checkpoint"):
        snnq.calibrate(
            tiny, generator="noise", rates=tmp_path / "other.json", progress=snnq.silent, out=tmp_path / "no"
        )
    (tmp_path / "bad.json").write_text(json.dumps(plain | {"samples": 0}))
    with pytest.raises(DataError, match="samples"):
        read_rates(tmp_path / "bad.json")


def test_class_names_are_read_from_files_lists_and_text(tmp_path):
    (tmp_path / "names.txt").write_text("ant\n\n bee \n")
    assert class_names(tmp_path / "names.txt") == class_names("ant, bee") == class_names(["ant", "bee"])
    with pytest.raises(UsageError, match="no such file"):
        class_names("ant")
    with pytest.raises(UsageError, match="printable"):
        class_names("ant,,bee")


@given(st.lists(st.integers(0, 3), min_size=8, max_size=40), st.integers(1, 8), st.integers(0, 99))
def test_the_best_of_each_class_stay(asked, count, seed):
    labels, scores = np.array(asked), np.random.default_rng(seed).random(len(asked))
    found = best_of(scores, labels, count)
    assert len(found) == count
    for label in set(asked):
        own = np.flatnonzero(labels == label)
        kept = np.intersect1d(found, own)
        assert abs(len(kept) - len(own) * count / len(asked)) < 1
        assert set(kept) == set(own[np.argsort(scores[own], kind="stable")[: len(kept)]])


def test_a_damaged_set_is_refused(tiny, tmp_path):
    snnq.calibrate(tiny, classes=NAMES, samples=12, progress=snnq.silent, out=tmp_path / "set")
    assert len(opened(f"calib:{tmp_path / 'set'},limit=4+1+1").train) == 4
    with pytest.raises(DataError, match="steps and pixels 2x8x8, the model takes 2x9x9"):
        open_data(f"calib:{tmp_path / 'set'}", steps=2, image_size=(9, 9))
    for name, change, said in (
        ("frames.npy", lambda text: text[:-1] + b"\xff", "its sha256 is another"),
        ("set.json", lambda text: text.replace(b'"splits"', b'"split"'), "unknown key 'split'"),
        ("set.json", lambda text: text[:40], "cannot be read"),
    ):
        shutil.copytree(tmp_path / "set", tmp_path / "bad", dirs_exist_ok=True)
        (tmp_path / "bad" / name).write_bytes(change((tmp_path / "set" / name).read_bytes()))
        with pytest.raises(DataError, match=said):
            opened(f"calib:{tmp_path / 'bad'}")
    assert CONFIG["classes"] == len(NAMES)
