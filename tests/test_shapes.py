"""That the shapes functions say are checked in tests, and that every room says some."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError
from shapes import ROOMS, SHAPED
from test_rooms import FILES, room_of

from snnq.schemes.rated import between
from snnq.schemes.scheme import scheme


def test_a_wrong_shape_is_an_error():
    weight, levels = torch.zeros(3, 4), torch.arange(5.0).repeat(3, 1)
    assert between(weight, levels)[0].shape == (3, 4)
    with pytest.raises(TypeCheckError, match="levels"):
        between(weight, levels[:2])


def test_a_decorator_hides_no_shapes():
    one = scheme("uniform-2")
    params = one.fit(torch.zeros(3, 4))
    with pytest.raises(TypeCheckError, match="codes"):
        one.decode(torch.zeros(3, 4, 1), params)


def test_every_room_says_shapes():
    said: dict[str, int] = dict.fromkeys(ROOMS, 0)
    for file in FILES:
        if room_of(file) in said:
            said[room_of(file)] += len(SHAPED.findall(file.read_text(encoding="utf-8")))
    assert min(said.values()) > 10, said
