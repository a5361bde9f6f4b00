"""The zoo's models are what their cards and README say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from documents import ROOT

from snnq.checkpoints.opening import load_model, open_checkpoint

ZOO = ROOT / "examples" / "zoo"
CARDS = pd.read_csv(ZOO / "cards.csv").to_dict("records")


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card["model"])
def test_a_card_and_its_model(card: dict) -> None:
    file = ZOO / f"{card['model']}.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == card["sha256"]
    assert file.stat().st_size < 1_600_000
    opened = open_checkpoint(file)
    assert (opened.architecture, opened.config["steps"]) == (card["architecture"], 4)
    assert str(opened.data).partition(":")[0] == card["data"].partition(":")[0]
    model = load_model(opened)
    assert sum(one.numel() for one in model.parameters() if one.ndim > 1) == card["weights"]
    row = f"| {card['weights']:,} | {100 * card['validation_accuracy']:.2f} | {100 * card['test_accuracy']:.2f} |"
    found = next(line for line in (ZOO / "README.md").read_text().splitlines() if f"`{card['model']}`" in line)
    assert row in found
    assert ("*simulated*" in found) == card["simulated"]


def test_every_model_has_a_card() -> None:
    assert {Path(file).stem for file in ZOO.glob("*.safetensors")} == {card["model"] for card in CARDS}
    assert sum(file.stat().st_size for file in ZOO.iterdir() if file.is_file()) < 10_000_000
