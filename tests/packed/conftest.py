from __future__ import annotations

from pathlib import Path

import pytest
from packed_samples import Sample, make_sample


@pytest.fixture(scope="session")
def sample() -> Sample:
    return make_sample()


@pytest.fixture
def folder(sample: Sample, tmp_path: Path) -> Path:
    return sample.write(tmp_path / "packed")


@pytest.fixture
def fixed(sample: Sample, tmp_path: Path) -> Path:
    """A folder whose file holds every tensor as it is."""
    return sample.write(tmp_path / "fixed", storage="fixed")
