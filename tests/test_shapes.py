"""That the shapes functions say are checked in tests, and that every room says some."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError
from shapes import ROOMS, SHAPED
from test_rooms import FILES, room_of

from snnq.schemes.rated import between


def test_a_wrong_shape_is_an_error():
    weight, levels = torch.zeros(3, 4), torch.arange(5.0).repeat(3, 1)
    assert between(weight, levels)[0].shape == (3, 4)
    with pytest.raises(TypeCheckError, match="levels"):
        between(weight, levels[:2])


def test_every_room_says_shapes():
    said = dict.fromkeys(ROOMS, 0)
    for file in FILES:
        if room_of(file) in said:
            said[room_of(file)] += len(SHAPED.findall(file.read_text(encoding="utf-8")))
    assert min(said.values()) > 10, said
