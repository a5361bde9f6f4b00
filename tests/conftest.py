"""What every test gets: a cache of its own session, never the user's, and a pipe without a width."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

# The same examples every time, so that a run that passed passes again; --hypothesis-profile=random draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNNQ_CACHE", str(tmp_path_factory.mktemp("snnq-cache")))
        patch.delenv("COLUMNS", raising=False)  # of the terminal the tests were started in
        yield
