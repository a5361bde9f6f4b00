from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from event_writers import draw, write_aedat2, write_bin
from lively import write_lively

from snnq.assessing.classify import classify
from snnq.base.errors import DataError, UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.data.event_files import read_events
from snnq.data.integrator import integrate_resized

N_MNIST = Path(__file__).parents[1] / "examples" / "zoo" / "n-mnist-spikformer.safetensors"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_bin(tmp_path / "a.bin", draw(4000, 34, 34))
    return tmp_path / "a.bin"


def test_a_float_checkpoint_says_what_its_model_says(recording: Path) -> None:
    found = classify("digits", recording)
    events = read_events(recording).events
    frames = integrate_resized(events, 4, (34, 34), (16, 16), "time")  # as the built-in model's data are cut
    with torch.no_grad():
        logits = load_model(open_checkpoint("digits"))(torch.from_numpy(frames[None].astype(np.float32)))[0]
    expected = torch.softmax(logits.double(), 0)
    assert [int(one.name) for one in found.scores] == torch.argsort(-logits, stable=True).tolist()
    for one in found.scores:
        assert one.logit == pytest.approx(float(logits[int(one.name)]))
        assert one.probability == pytest.approx(float(expected[int(one.name)]))
    assert sum(one.probability for one in found.scores) == pytest.approx(1)
    assert (found.events, found.sensor, found.resized, found.steps, found.by) == (4000, (34, 34), True, 4, "time")
    assert (found.start_us, found.span_us) == (events.t[0], events.t[-1] - events.t[0])


def test_both_engines_say_the_same_of_a_packed_folder(tmp_path: Path, recording: Path) -> None:
    write_lively(tmp_path / "packed", ["uniform-2", "power-of-two-4"])
    torchs, integers = (classify(tmp_path / "packed", recording, engine=engine) for engine in ("torch", "integer"))
    assert torchs.kind == "packed"
    assert torchs.scores == integers.scores
    assert len({one.logit for one in torchs.scores}) > 1


def test_the_command(tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "digits", "--input", str(recording)]) == 0
    shown = capsys.readouterr()
    assert "probability" in shown.out
    assert "Resized from 34x34 to the model's 16x16 by the nearest pixel." in shown.err
    assert "4,000 events in" in shown.err
    assert run(["eval", "digits", "--input", str(recording), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["events"] == 4000
    assert sorted(one["name"] for one in facts["scores"]) == list("0123456789")


@pytest.mark.parametrize("cut", [0, 1, 999])
def test_a_damaged_file_is_one_error(tmp_path: Path, cut: int, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.aedat"
    write_aedat2(file, draw(100, 128, 128))
    file.write_bytes(file.read_bytes()[: -cut or None] if cut < 999 else b"")
    assert run(["eval", "digits", "--input", str(file)]) == (2 if cut else 0)
    shown = capsys.readouterr()
    if cut:
        assert shown.out == ""
        assert shown.err.count("Error: ") == 1
        assert str(file) in shown.err


def test_what_does_not_go_together(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'integer'"):
        classify("digits", recording, engine="integers")
    with pytest.raises(UsageError, match="runs packed folders"):
        classify("digits", recording, engine="integer")
    assert run(["eval", "digits", "--input", str(recording), "--data", "digits"]) == 2


def test_a_sensor_that_the_file_does_not_say_is_that_of_the_models_data(tmp_path: Path) -> None:
    events: dict[str, Any] = {**draw(4000, 32, 33)}  # nothing falls on its last rows and column
    write_bin(tmp_path / "a.bin", events)
    np.savez(tmp_path / "a.npz", **events)
    known, unknown = (classify(N_MNIST, tmp_path / name) for name in ("a.bin", "a.npz"))
    assert (unknown.sensor, unknown.sensor_known, unknown.resized) == ((34, 34), True, False)
    assert unknown.scores == known.scores
    taller: dict[str, Any] = {**draw(4000, 40, 34)}
    np.savez(tmp_path / "b.npz", **taller)
    other = classify(N_MNIST, tmp_path / "b.npz")
    assert (other.sensor, other.sensor_known, other.resized) == ((40, 34), False, True)
    assert "outside the 34x34 of the model's data" in other.notes[0]
    np.savez(tmp_path / "c.npz", **events, height=68, width=np.array([70]))
    assert classify(N_MNIST, tmp_path / "c.npz").sensor == (68, 70)
    np.save(tmp_path / "d.npy", np.stack([events[key] for key in "xypt"], 1))
    assert "taken as ms" in classify(N_MNIST, tmp_path / "d.npy").notes[0]


@pytest.mark.parametrize("there", [True, False])
def test_events_are_cut_as_the_frames_of_the_models_data(tmp_path: Path, there: bool) -> None:
    model = load_model(open_checkpoint(N_MNIST))
    events = draw(4000, 34, 34)
    events["t"] = np.sort(events["t"].astype(np.int64) ** 2 // 300_000)  # more of them in the beginning
    write_bin(tmp_path / "a.bin", events)
    notes = {}
    for how, by in (("number", "count"), ("time", "time"), ("other", "count")):
        folder = tmp_path / f"frames_number_4_split_by_{how}"
        if there:
            folder.mkdir()
        facts = {"data": f"frames:{folder}"}
        save_checkpoint(tmp_path / "a.safetensors", model, architecture="spikformer-cifar10dvs", facts=facts)
        found = classify(tmp_path / "a.safetensors", tmp_path / "a.bin")
        notes[how] = found.notes
        assert found.by == by
    assert (notes["number"], notes["time"]) == ((), ())
    assert "not known: by count" in notes["other"][0]


def test_a_model_of_images_takes_no_events(tmp_path: Path, recording: Path) -> None:
    from snnq.models.registry import build

    config = {"in_channels": 3, "image_size": [8, 8], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 3}
    model = build("spikformer-cifar10", config | {"pooling": [False, False, True, True]})
    save_checkpoint(tmp_path / "a.safetensors", model, architecture="spikformer-cifar10", facts={})
    with pytest.raises(DataError, match="3 channels, events have 2"):
        classify(tmp_path / "a.safetensors", recording)
    for spec in ("images:set", "video:clips,stride=2", "moving-fashion:set"):
        file = tmp_path / f"{spec.partition(':')[0]}.safetensors"
        save_checkpoint(file, model, architecture="spikformer-cifar10", facts={"data": spec})
        with pytest.raises(DataError, match="its data are images"):
            classify(file, recording)
