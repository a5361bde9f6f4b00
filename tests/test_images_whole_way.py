"""A model of integer spikes on images: ptq, verify, both engines, C, report; and, slowly, from the search on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import compile_c, have_gcc
from image_files import write_images

import snnq
from snnq.base.errors import DataError
from snnq.checkpoints.opening import save_checkpoint
from snnq.cli.main import run
from snnq.data import open_data
from snnq.models.registry import build
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed
from snnq.runtime import Engine
from snnq.runtime.reference import Reference
from snnq.searching import finishing

SIZES: dict[str, Any] = {"dim": 8, "depth": 1, "heads": 2, "steps": 1, "classes": 3, "image_size": [16, 16]}
SIZES |= {"width1": 4, "width2": 4, "width3": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model, images, and a folder that was packed on them."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder / "set", 3, {"train": 20, "test": 4}, side=16)
    torch.manual_seed(0)
    model = build("sdt-v3-imagenet", SIZES)
    for norm in [one for one in model.modules() if isinstance(one, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]:
        torch.nn.init.constant_(norm.bias, 0.5)  # so that spikes reach the head
    facts = {"data": f"images:{folder / 'set'}"}
    save_checkpoint(folder / "float.safetensors", model, architecture="sdt-v3-imagenet", facts=facts)
    snnq.ptq(folder / "float.safetensors", scheme="uniform-4", method="rtn", out=folder / "packed", measure=0)
    return folder


def test_both_engines_evaluate_it(place: Path) -> None:
    packed = place / "packed"
    pixels = read_config(packed).quantization_config.pixels
    assert pixels is not None
    assert (pixels.bits, pixels.mean) == (13, (0.485, 0.456, 0.406))
    assert snnq.verify(packed).engines is not None
    found = []
    # With other deviations the engine is given what the data make of the bytes.
    for spec in (None, f"images:{place / 'set'},std=cifar10"):
        both = [snnq.eval(packed, data=spec, engine=engine, progress=snnq.silent) for engine in ("torch", "integer")]
        assert both[0].arithmetic == both[1].arithmetic == "integer"
        assert (both[0].accuracy, both[0].loss) == (both[1].accuracy, both[1].loss)
        found.append(both[0].loss)
    assert found[0] != found[1]


def test_bytes_go_in_and_the_distance_to_floating_point_is_reported(place: Path) -> None:
    data = open_data(f"images:{place / 'set'}", steps=1, image_size=(16, 16))
    reals = data.validation.__getitems__(range(9))[0]
    with torch.no_grad():
        whole, floating = (load_packed(place / "packed", kind)(reals).numpy() for kind in ("integer", "float"))
    assert np.ptp(whole) > 0
    assert np.array_equal(Engine(place / "packed")(np.asarray(data.validation.frames)), whole)
    said = json.loads((place / "packed" / "report.json").read_text())["float_distance"]
    far = np.abs(whole.astype(float) - floating).mean() / floating.astype(float).std(ddof=1)
    same = float((whole.argmax(1) == floating.argmax(1)).mean())
    assert 0 <= said.pop("spikes") < 0.2
    assert said == {"samples": 9, "logits": pytest.approx(far, rel=1e-6, abs=1e-9), "same": pytest.approx(same)}
    assert f"{same:.2%} of 9 validation samples get the answer" in str(snnq.report(place / "packed"))


def test_pixels_are_reals_whatever_made_the_plan(place: Path, tmp_path: Path) -> None:
    plan = snnq.uniform_plan("uniform-4", checkpoint=place / "float.safetensors")
    old = plan.to_dict()
    assert [layer["input"] for layer in old["layers"]].count("reals") == 1
    old["layers"][0]["input"] = "counts"  # as a plan says that was made without its data
    plan.write(tmp_path / "new.json")
    (tmp_path / "old.json").write_text(json.dumps(old))
    seen = [snnq.measure(tmp_path / name, samples=1).events.layers[0] for name in ("new.json", "old.json")]
    assert seen[0] == seen[1]
    assert seen[0].multiplications > 0
    outside = [snnq.imc_map(tmp_path / name).mapped.unmapped for name in ("new.json", "old.json")]
    assert outside[0] == outside[1]
    assert outside[0][0].name == seen[0].name
    snnq.ptq(plan=tmp_path / "old.json", method="rtn", out=tmp_path / "packed", measure=0)
    assert json.loads((tmp_path / "packed" / "plan.json").read_text())["layers"][0]["input"] == "reals"


def test_counts_are_not_images(place: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b", "c"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(10):
                counts = np.random.default_rng(index).poisson(1, (1, 3, 16, 16)).astype(np.uint8)
                np.savez(tmp_path / split / name / f"{index}.npz", frames=counts)
    with pytest.raises(DataError, match=r"these are event counts, and .*packed runs in whole numbers from images"):
        snnq.eval(place / "packed", data=f"frames:{tmp_path}")


@pytest.mark.skipif(not have_gcc(), reason="there is no gcc to compile the exported C source with")
def test_bytes_of_the_data_go_through_c(place: Path, tmp_path: Path) -> None:
    """What ``export`` writes classifies the very bytes that ``images:`` gives, as the engine does, logit for logit."""
    data = open_data(f"images:{place / 'set'}", steps=1, image_size=(16, 16))
    _c_is_the_engine(place / "packed", np.asarray(data.test.frames), tmp_path / "c")


def _c_is_the_engine(folder: Path, images: np.ndarray, place: Path) -> None:
    assert images.dtype == np.uint8
    assert run(["export", str(folder), "--to", "c", "--out", str(place)]) == 0
    engine = Engine(folder, 1)
    compile_c(place, f"{folder.name}.c", "main.c", "-o", "program", "-O1")
    done = subprocess.run([place / "program"], input=images[:, 0].tobytes(), capture_output=True, check=True)
    found = np.array([line.split() for line in done.stdout.decode().splitlines()], np.int64)
    due = engine(images)
    assert np.array_equal(found[:, 0], due.argmax(1))
    assert np.array_equal((found[:, 1:] * engine.head.scale).astype(np.float32), due)


@pytest.mark.slow
def test_the_whole_way(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search, finalize, verify, both engines, the reference, C and report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finishing, "BASELINES", ("float32", "power-of-two-2"))
    small = ["--epochs", "1", "--batch-size", "8"]
    searched = ["search", str(place / "float.safetensors"), *small, "--method", "paper"]
    assert run([*searched, "--space", "float32,uniform-4,uniform-2", "--out", "plan.json"]) == 0
    assert run(["finalize", "--plan", "plan.json", "--measure", "2", *small]) == 0
    assert run(["verify", "packed"]) == 0
    images = np.asarray(open_data(f"images:{place / 'set'}", steps=1, image_size=(16, 16)).test.frames)
    assert np.array_equal(Reference("packed")(images), Engine("packed")(images))
    found = [snnq.eval("packed", engine=engine, progress=snnq.silent) for engine in ("torch", "integer")]
    assert (found[0].accuracy, found[0].loss) == (found[1].accuracy, found[1].loss)
    _c_is_the_engine(Path("packed"), images, tmp_path / "c")
    assert run(["report", "packed"]) == 0
