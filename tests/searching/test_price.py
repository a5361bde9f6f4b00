"""The price of hardware: fixed by a trade-off, steered by a budget."""

from __future__ import annotations

import pytest
import torch

from snnq.searching.objective import START, Price

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
