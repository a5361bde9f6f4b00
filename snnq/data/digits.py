"""``digits``: scikit-learn's 1 797 handwritten digits (8×8), made into events. The built-in default."""

from __future__ import annotations

import hashlib

import numpy as np

from snnq.base.errors import DataError
from snnq.data.dataset import Recordings, Request, Samples
from snnq.data.images import Saccades, image_samples, simulation_facts
from snnq.data.splits import TEST_SHARE, VALIDATION_SHARE, stratified

# Fills three quarters of the field, so that the moving digit stays inside it.
_FILL = 0.75
_SACCADES = Saccades()
# The data's own hash, known beforehand, so that a cached set opens without importing scikit-learn.
_CONTENT = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def open_source(request: Request) -> Recordings:
    """Return the digits' recordings, split 65/15/20."""
    facts = simulation_facts(_SACCADES, _FILL, request)
    return Recordings(
        classes=tuple(str(digit) for digit in range(10)),
        fingerprint={"content": _CONTENT, **facts},
        split="fixed, by class: 65 % train, 15 % validation, 20 % test",
        read=lambda: _read(request),
    )


def _read(request: Request) -> dict[str, Samples]:
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    content = hashlib.sha256(images.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if content != _CONTENT:
        raise DataError(f"digits: scikit-learn's data is not the known one: sha256 {content}, expected {_CONTENT}.")
    test, validation, train = stratified(labels, (TEST_SHARE, VALIDATION_SHARE))
    pictures = images.reshape(-1, 8, 8)
    return image_samples(
        images={"train": pictures, "validation": pictures, "test": pictures},
        labels={"train": labels, "validation": labels, "test": labels},
        chosen={"train": train, "validation": validation, "test": test},
        saccades=_SACCADES,
        fill=_FILL,
        white=16,
        request=request,
    )
