from __future__ import annotations

from pathlib import Path

import pytest
from tiny_checkpoints import save_tiny

import snnq

STREAM = "random,classes=4,samples=40"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed folder of a tiny float checkpoint, which lies beside it."""
    place = tmp_path_factory.mktemp("adapted")
    plan = snnq.uniform_plan("uniform-4", checkpoint=save_tiny(place))
    plan.write(place / "plan.json")
    snnq.finalize(place / "plan.json", out=place / "packed", epochs=1, batch_size=16, progress=snnq.silent)
    return place / "packed"
