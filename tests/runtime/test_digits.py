"""The whole test split of the built-in data: the same predictions from both engines, under very different plans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rounded_digits import write_digits
from sifted import slow_but

from snnq.assessing.eval import run_integer
from snnq.cli.main import run
from snnq.data import open_data
from snnq.packed.loading import load_packed
from snnq.training.evaluation import predict

MIXED = ["uniform-4", "power-of-two-4", "uniform-2", "power-of-two-2", "float32", "uniform-3"]


@pytest.mark.parametrize(
    "schemes", slow_but((MIXED,), [MIXED, ["uniform-2"], ["power-of-two-4"], ["float32"]]), ids=lambda s: s[0]
)
def test_same_logits_on_every_test_digit(schemes: list[str], tmp_path: Path) -> None:
    write_digits(tmp_path / "packed", schemes)
    samples = open_data("digits", steps=4, image_size=(16, 16)).test
    mine = run_integer(tmp_path / "packed", samples, 50)
    due, labels = predict(load_packed(tmp_path / "packed"), samples, 50)
    assert len(mine) == 359
    assert np.array_equal(mine, due.numpy())
    if schemes == ["float32"]:  # and the integers are the float model they come from
        rounded = predict(load_packed(tmp_path / "packed", "float"), samples, 50)[0]
        assert (rounded.argmax(1) == due.argmax(1)).double().mean() > 0.99
        assert (due.argmax(1) == labels).double().mean() > 0.95


def test_eval_takes_either_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_digits(tmp_path / "packed", MIXED)
    found = {}
    for engine in ("torch", "integer"):
        assert run(["eval", str(tmp_path / "packed"), "--engine", engine, "--split", "validation", "--json"]) == 0
        found[engine] = json.loads(capsys.readouterr().out)
        assert found[engine].pop("engine") == engine
        assert found[engine].pop("seconds") * found[engine].pop("samples_per_second") == pytest.approx(269)
    assert found["torch"] == found["integer"]
    assert run(["eval", str(tmp_path / "packed"), "--engine", "integr"]) == 2
    assert "did you mean 'integer'" in capsys.readouterr().err
    assert run(["eval", "digits", "--engine", "integer"]) == 2
    assert "packed" in capsys.readouterr().err
