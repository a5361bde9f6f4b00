"""What every test gets: one thread, a cache of its own session, never the user's, and a pipe without a width."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from types import FunctionType

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports torch or numpy: several workers share the machine (make test), and so do commands they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time, so that a run that passed passes again; --hypothesis-profile=random draws new ones.
# Nothing of it is timed: a machine may be busy with something else.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_PATIENT)
settings.register_profile("random", derandomize=False, **_PATIENT)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNNQ_CACHE", str(tmp_path_factory.mktemp("snnq-cache")))
        patch.delenv("COLUMNS", raising=False)  # of the terminal the tests were started in
        yield


@pytest.fixture(scope="session", autouse=True)
def shapes() -> Counter[FunctionType]:
    from shapes import CALLS, hold_to_shapes

    hold_to_shapes()
    return CALLS


@pytest.fixture(autouse=True)
def shapes_are_checked(shapes: Counter[FunctionType]) -> None:
    """Check the first calls of every function in each test."""
    shapes.clear()


@pytest.fixture(scope="session", autouse=True)
def few_measured() -> Iterator[None]:
    """Measure what a model does on four samples, where a command is not told how many, in place of 64."""
    from snnq.assessing.measure import SAMPLES
    from snnq.packing import finish

    record = finish.activity_record
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            finish,
            "activity_record",
            lambda job, exact, samples, progress: record(job, exact, 4 if samples == SAMPLES else samples, progress),
        )
        yield


# Minutes together. One of the last files in the alphabet would leave a worker alone with it.
LONGEST = (
    "test_readme.py",
    "test_architectures.py",
    "test_search_run.py",
    "test_whole_way.py",
    "test_c_source.py",
    "test_strange_files.py",
    "test_examples.py",
    "test_toy_format.py",
    "test_devices.py",
    "test_kill_everywhere.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that no worker is left alone with one in the end."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))
