"""Fetching a data set with tonic, into the folder that a spec names."""

from __future__ import annotations

from snnq.base.errors import DataError
from snnq.data.spec import parse_spec

_SPLIT = ("DVSGesture", "NMNIST")  # of which train and test are two downloads


def download(text: str) -> None:
    """Fetch what is missing of a spec's data set into its folder, where tonic lays it out and the source finds it.

    Raises:
        DataError: tonic has no such set, or fetching fails.
    """
    spec = parse_spec(text)
    name = spec.source.tonic
    if name is None:
        raise DataError(f"data spec '{text}': tonic cannot fetch '{spec.name}'.", "Fetch it by hand into the folder.")
    from tonic import datasets

    try:
        for train in ({"train": True}, {"train": False}) if name in _SPLIT else ({},):
            getattr(datasets, name)(save_to=spec.path, **train)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{spec.path}: {spec.name} cannot be fetched ({error}).", "Fetch it by hand.") from error
