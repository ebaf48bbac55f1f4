"""What the exchange in a box accepts, how it fills, and what then is held."""

from typing import Any

import pandas as pd
import pytest

from backtests.exchange_box.market import Bar
from backtests.exchange_box.matching import Fill, Listing, Order, Refusal, TradingAccount
from backtests.simulation.account import Costs

NOW = pd.Timestamp("2024-01-03 15:00", tz="UTC")
FREE = Costs(0.0, 0.0, 0.0)
LISTINGS = {
    "SPY": Listing("SPY"),
    "HELD": Listing("HELD", shortable=False),
    "DEAD": Listing("DEAD", tradable=False),
    "BTC/USD": Listing("BTC/USD", lot=1e-4, shortable=False, crypto=True),
}


def account(cash: float = 1_000.0, costs: Costs = FREE) -> TradingAccount:
    return TradingAccount(cash, costs, LISTINGS, last=dict.fromkeys(LISTINGS, 10.0))


def order(size: float, name: str = "1", symbol: str = "SPY", **how: Any) -> Order:
    side: Any = "buy" if size > 0 else "sell"
    kind = how.pop("kind", "market")
    return Order(name, name, symbol, side, abs(size), kind, "day", NOW, **how)


def bar(low: float, high: float) -> Bar:
    return Bar(NOW, (low + high) / 2, high, low, (low + high) / 2, 1.0)


def opened(box: TradingAccount, price: float, share: float = 1.0) -> list[Fill | Order]:
    return list(box.fill_at_open("SPY", price, NOW, share))


def test_an_order_fills_at_the_open_and_pays_its_costs() -> None:
    box = account(costs=Costs(commission=100.0, half_spread=50.0, slippage=50.0))
    box.submit(order(10))
    [fill] = opened(box, 20.0)
    assert isinstance(fill, Fill) and fill.price == pytest.approx(20.2)
    assert box.cash == pytest.approx(1_000 - 202 - 2.02)
    assert (box.holdings["SPY"].size, box.holdings["SPY"].price) == (10, pytest.approx(20.2))
    box.submit(order(-10, "2"))
    opened(box, 20.0)
    assert not box.holdings and box.cash == pytest.approx(1_000 - 2 * 2.0 - 2.02 - 1.98, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        (order(1, symbol="NONE"), 422, "could not find asset"),
        (order(1, symbol="DEAD"), 422, "is not tradable"),
        (order(0.5), 422, "multiple of 1"),
        (order(0.00005, symbol="BTC/USD"), 422, "multiple of 0.0001"),
        (order(201), 403, "insufficient buying power"),
        (order(-1, symbol="HELD"), 422, "cannot be sold short"),
    ],
)
def test_what_the_exchange_does_not_take(given: Order, status: int, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        account().submit(given)
    assert refused.value.status == status


def test_an_id_is_taken_once_and_a_wash_is_refused() -> None:
    box = account()
    box.submit(order(10))
    with pytest.raises(Refusal, match="client_order_id must be unique"):
        box.submit(order(10))
    with pytest.raises(Refusal, match="wash trade"):
        box.submit(order(-10, "2"))


def test_no_order_turns_a_position_around() -> None:
    box = account()
    box.submit(order(10))
    opened(box, 10.0)
    with pytest.raises(Refusal, match=r"requested: 11, available: 10"):
        box.submit(order(-11, "2"))
    box.submit(order(-10, "3", kind="limit", limit=20.0))
    with pytest.raises(Refusal, match=r"requested: 1, available: 0"):
        box.submit(order(-1, "4"))


def test_a_part_that_is_filled_leaves_the_rest_at_work() -> None:
    box = account()
    box.submit(order(10))
    opened(box, 10.0, share=0.35)
    taken = box.orders["1"]
    assert (taken.filled, taken.status) == (3, "partially_filled")
    opened(box, 12.0)
    assert (taken.filled, taken.status) == (10, "filled")
    assert taken.price == pytest.approx((3 * 10 + 7 * 12) / 10)


def test_a_gap_beyond_the_cash_rejects_the_fill() -> None:
    box = account()
    box.submit(order(100))
    [rejected] = opened(box, 10.5)
    assert isinstance(rejected, Order) and rejected.status == "rejected" and box.cash == 1_000


@pytest.mark.parametrize(
    ("kind", "price", "low", "high", "filled"),
    [
        ("limit", {"limit": 12.0}, 10.0, 11.9, None),
        ("limit", {"limit": 12.0}, 10.0, 12.1, 12.0),
        ("limit", {"limit": 12.0}, 13.0, 14.0, 13.5),  # a gap in its favour
        ("stop", {"stop": 9.0}, 9.1, 11.0, None),
        ("stop", {"stop": 9.0}, 8.9, 11.0, 9.0),
        ("stop", {"stop": 9.0}, 7.0, 8.0, 7.5),  # and against it
        ("trailing_stop", {"trail": 1.0}, 9.1, 9.5, None),
        ("trailing_stop", {"trail": 1.0}, 8.9, 9.5, 9.0),
    ],
)
def test_stops_and_limits_fill_within_a_bar(
    kind: str, price: dict[str, float], low: float, high: float, filled: float | None
) -> None:
    box = account()
    box.submit(order(10))
    opened(box, 10.0)
    box.submit(order(-10, "2", kind=kind, **price))
    fills = list(box.fill_within("SPY", bar(low, high), NOW))
    assert [fill.price for fill in fills] == ([] if filled is None else [filled])


def test_a_trailing_stop_follows_the_closes() -> None:
    box = account()
    box.submit(order(10))
    opened(box, 10.0)
    box.submit(order(-10, "2", kind="trailing_stop", trail=1.0))
    for high in (12.0, 14.0):
        assert not list(box.fill_within("SPY", bar(high - 1, high), NOW))
    [fill] = box.fill_within("SPY", bar(12.0, 13.0), NOW)
    assert fill.price == 12.5


def test_an_order_for_the_day_expires_with_it_and_one_after_its_close_does_not() -> None:
    box = account()
    box.submit(order(1))
    close = NOW + pd.Timedelta(hours=6)
    late = order(1, "2")
    late.submitted = close
    box.submit(late)
    assert box.expire(close, close) == [box.orders["1"]]
    assert late.is_open and box.orders["1"].status == "expired"
