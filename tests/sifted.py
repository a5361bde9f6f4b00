"""Parameters of which one of each kind is tested always, and the others by make test-slow."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def slow_but(quick: Container[Any], params: Iterable[Any]) -> list[Any]:
    """Return the parameters, those that are not ``quick`` marked slow; a tuple is several arguments."""
    return [
        pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=() if one in quick else pytest.mark.slow)
        for one in params
    ]
