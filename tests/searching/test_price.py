"""The price of hardware: fixed by a trade-off, steered by a budget."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from snnq.cost.quantities import ENERGY
from snnq.network.layers import Layer
from snnq.searching.objective import START, Price, start_price
from snnq.searching.settings import SearchSettings

COSTS = torch.tensor([[[0.5, 0.1], [1.0, 0.2]]])  # one quantity, two layers, two candidates
DEAR, CHEAP = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])


def test_a_trade_off_is_lambda_times_cost_and_stays():
    price = Price(COSTS, trade_off=0.5)
    assert float(price(DEAR)) == pytest.approx(0.5 * 1.5)
    price.update(DEAR, 0.9)
    assert float(price(CHEAP)) == pytest.approx(0.5 * 0.3)
    assert float(Price(COSTS, trade_off=0.0)(DEAR)) == 0


def test_a_budget_raises_its_price_while_it_is_exceeded_and_lowers_it_below():
    price = Price(COSTS, trade_off=None)
    assert float(price(CHEAP)) == pytest.approx(START * 0.3)
    price.update(DEAR, 0.0)  # remembers where the search starts: 1.5 times the limit
    start = float(price.log_price)
    price.update(DEAR, 1.0)
    above = float(price.log_price)
    price.update(CHEAP, 1.0)
    assert above > start
    assert float(price.log_price) < above


def test_the_target_falls_from_the_start_to_the_limit_over_the_first_half():
    price = Price(COSTS, trade_off=None)
    price.update(DEAR, 0.0)
    assert float(price.log_price) == pytest.approx(torch.tensor(START).log().item())  # on target: unchanged
    half = DEAR * 2 / 3 + CHEAP / 3  # expected cost 1.1, above the target 1 from half-way on
    for along in (0.5, 0.75, 1.0):
        before = float(price.log_price)
        price.update(half, along)
        assert float(price.log_price) == pytest.approx(before + 0.1 * 0.1, abs=1e-6)


def test_a_resumed_price_goes_on():
    price, again = Price(COSTS, trade_off=None), Price(COSTS, trade_off=None)
    price.update(DEAR, 0.0)
    price.update(DEAR, 0.6)
    again.load_state_dict(price.state_dict())
    assert float(again(DEAR)) == float(price(DEAR))
    assert set(price.state_dict()) == {"log_price", "first"}


def test_an_exception_counts_where_all_else_is_free():
    """λ of one layer alone is the same price as with next to nothing for the others."""
    found = []
    for rest in (0, 1e-9):
        settings = SearchSettings(trade_off=rest, trade_offs=(("a", 2.0),))
        layers = [Layer(name, "mlp", "linear", (1, 1), 1, 1, "spikes") for name in ("a", "b")]
        aim: Any = SimpleNamespace(choices=SimpleNamespace(layers=layers), costs={ENERGY.fraction: COSTS[0].numpy()})
        found.append(float(start_price(aim, settings)(DEAR)))
    assert found[0] == pytest.approx(found[1]) == pytest.approx(2.0 * 0.5)
