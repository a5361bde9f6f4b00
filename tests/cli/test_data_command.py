from __future__ import annotations

import json
from pathlib import Path

import pytest
from event_writers import draw, write_bin
from typer.testing import CliRunner

from snnq.base.errors import DataError, UsageError
from snnq.cli.data import app

run = CliRunner().invoke


def test_list_shows_every_source() -> None:
    result = run(app, ["list"])
    assert result.exit_code == 0
    for word in (
        "digits",
        "fashion-mnist:DIR",
        "cifar10:DIR",
        "n-mnist:DIR",
        "frames:DIR",
        "images:DIR",
        "dvs128-gesture:DIR",
        "cifar10-dvs:DIR",
        "n-caltech101:DIR",
        "random",
        "by=time",
    ):
        assert word in result.stdout
    assert "Cache:" in result.stderr


def test_prepare_then_list_as_json() -> None:
    result = run(app, ["prepare", "random,samples=5", "--steps", "2", "--image-size", "6x8", "--json"])
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["frames_shape"] == [2, 2, 6, 8]
    assert facts["samples"] == {"train": 5, "validation": 5, "test": 5}
    listed = json.loads(run(app, ["list", "--json"]).stdout)
    assert facts["path"] in [entry["path"] for entry in listed["cache"]["prepared"]]
    assert {source["spec"] for source in listed["sources"]} >= {"digits", "n-mnist:DIR"}


def test_prepare_says_what_it_made_and_what_comes_next() -> None:
    arguments = ["prepare", "random,samples=6", "--steps", "1"]
    result = run(app, arguments)
    assert "6 train + 6 validation + 6 test" in result.stdout
    assert "was there already" not in result.stdout
    assert "Next: snnq search" in result.stderr
    assert "was there already" in run(app, arguments).stdout


@pytest.mark.parametrize("arguments", [["prepare", "digitz"], ["prepare", "random", "--image-size", "big"]])
def test_mistakes_reach_the_caller(arguments: list[str]) -> None:
    result = run(app, arguments)
    assert isinstance(result.exception, DataError | UsageError)


def test_prepare_tells_size_and_speed_and_what_was_skipped(tmp_path: Path) -> None:
    for split in ("Train", "Test"):
        (tmp_path / split / "7").mkdir(parents=True)
        for number in range(4):
            write_bin(tmp_path / split / "7" / f"{number}.bin", draw(90, 34, 34, seed=number))
    bad = tmp_path / "Train" / "7" / "2.bin"
    bad.write_bytes(b"123")
    spec = f"n-mnist:{tmp_path}"
    assert "1 of 8 recordings is damaged" in str(run(app, ["prepare", spec]).exception)
    result = run(app, ["prepare", spec, "--skip-corrupt", "--workers", "2"])
    assert "1 damaged recordings skipped" in result.stdout
    assert "recordings/s" in result.stdout
    assert f"Skipped: {bad}: the file is cut off" in result.stderr
    facts = json.loads(run(app, ["prepare", spec, "--json"]).stdout)
    assert facts["samples"] == {"train": 2, "validation": 1, "test": 4}
    assert [facts["cached"], len(facts["skipped"])] == [True, 1]
    assert facts["seconds"] > 0
