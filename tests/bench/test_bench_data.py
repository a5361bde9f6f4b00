from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from event_writers import draw, write_bin

from snnq.base.errors import UsageError
from snnq.bench import data as bench
from snnq.bench.data import bench_data
from snnq.cli.main import run


def write_set(root: Path) -> Path:
    for split in ("Train", "Test"):
        for label in range(2):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for number in range(3):
                write_bin(folder / f"{number}.bin", draw(80, 34, 34, seed=number))
    return root


def test_ratios_are_of_paired_times(tmp_path: Path) -> None:
    spec = f"n-mnist:{write_set(tmp_path / 'set')}"
    found = bench_data(spec, repeats=3)
    one = found["sets"][spec]
    assert (one["recordings"], one["bytes"]) == (12, 12 * 400)
    assert one["median_s"].keys() == {"tonic", "prepare", "open"}
    assert all(value > 0 for value in one["speed_of_tonic"].values())
    assert one["recordings_per_s"]["tonic"] == pytest.approx(12 / one["median_s"]["tonic"])


def test_made_files_are_read_by_both(tmp_path: Path) -> None:
    """The made recordings have as many events as they should, by tonic's reading."""
    (tmp_path / "a.bin").write_bytes(bench._n_mnist_events(np.random.default_rng(0), 50).tobytes())
    from tonic.io import events_struct, read_mnist_file

    read = read_mnist_file(str(tmp_path / "a.bin"), dtype=events_struct)
    assert len(read) == 50
    assert (np.diff(read["t"]) >= 0).all()
    assert max(read["x"].max(), read["y"].max()) < 34


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = f"n-mnist:{write_set(tmp_path / 'set')}"
    assert run(["bench", "data", spec, "--repeats", "3"]) == 0
    assert "speed of tonic's" in capsys.readouterr().out
    assert run(["bench", "data", spec, "--repeats", "3", "--workers", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == 2


def test_sets_that_tonic_does_not_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tonic does not read 'digits'"):
        bench_data("digits")
    with pytest.raises(UsageError, match="that tonic would read"):
        bench_data(f"n-mnist:{tmp_path}")
    with pytest.raises(UsageError, match="leave 'limit' out"):
        bench_data(f"n-mnist:{tmp_path},limit=3")
