"""examples/imc: a setting is run once, and the tables say what the functions return."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from documents import ROOT
from rounded_digits import write_digits


@pytest.fixture
def example() -> Iterator[ModuleType]:
    before = sys.modules.pop("run", None)
    sys.path.insert(0, str(ROOT / "examples" / "imc"))
    yield importlib.import_module("run")
    sys.path.pop(0)
    sys.modules.pop("run", None)
    if before is not None:
        sys.modules["run"] = before


def test_a_setting_and_the_steps(example: ModuleType, tmp_path: Path) -> None:
    write_digits(tmp_path / "packed", ["uniform-4"])
    words = {"out": tmp_path / "out", "samples": 2, "chips": 1, "data": "digits"}
    example.main(tmp_path / "packed", parts="adc,steps", only="64-4-granular", **words)
    (row,) = pd.read_csv(tmp_path / "out" / "packed" / "adc.csv").to_dict("records")
    assert (row["adc_bits"], row["xbar"], row["samples"]) == (4, 64, 2)
    assert 0 <= row["mean"] <= 1
    steps = pd.read_csv(tmp_path / "out" / "packed" / "steps.csv")
    assert steps[steps.what == "energy_pj"].r2.min() == pytest.approx(1)


def test_settings_are_those_that_the_page_names(example: ModuleType) -> None:
    names = {part: [name for name, _ in made()] for part, made in example.PARTS.items()}
    assert {part: len(found) for part, found in names.items()} == {"adc": 36, "cells": 40, "clip": 84}
    for found in names.values():
        assert len(set(found)) == len(found)
    assert dict(example.clip())["dynamic-2-clip"] == {
        "cells": "sram",
        "dynamic": "rram",
        "write_noise": 2.0,
        "mitigate": "clip",
    }
