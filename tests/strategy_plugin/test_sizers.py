"""How large a position is."""

from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from backtests.synthetic.markets import market
from strategy_plugin import (
    BiLSTMStrategy,
    CappedKelly,
    EquityShare,
    FractionalCommission,
    TradingWarning,
    VolatilityTarget,
)
from tests.helpers.hosts import feed, host


def flat_bars(price: float, count: int = 10) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=count, freq="D", name="date")
    return pd.DataFrame(
        {"open": price, "high": price, "low": price, "close": price, "volume": 1.0}, index=index
    )


class Buys(bt.Strategy):  # type: ignore[misc]
    """Buys the sizer's units at the first bar."""

    def next(self) -> None:
        if len(self) == 1:
            self.buy()


def bought(price: float, *, sizer: Any = EquityShare, feeds: int = 1, **params: Any) -> float:
    cerebro = host(*(feed(flat_bars(price), f"feed {number}") for number in range(feeds)))
    cerebro.addsizer(sizer, **params)
    cerebro.addstrategy(Buys)
    return float(cerebro.run()[0].position.size)


@pytest.mark.parametrize(
    "price, params, units",
    [
        (100.0, {}, 95.0),
        (100.0, {"share": 0.5}, 50.0),
        (60_000.0, {}, 9_500 / 60_000),
        (60_000.0, {"fractional": False}, 0.0),
        (3_000.0, {"fractional": False}, 3.0),
        (float("nan"), {}, 0.0),
        (0.0, {}, 0.0),
        (-20.0, {}, 0.0),
    ],
)
def test_equity_share_buys_its_share_of_the_equity(
    price: float, params: dict[str, Any], units: float
) -> None:
    assert bought(price, **params) == pytest.approx(units)


def test_equity_share_is_divided_among_the_datas() -> None:
    assert bought(100.0, feeds=4) == pytest.approx(23.75)


def test_equity_share_counts_what_a_unit_of_a_future_moves() -> None:
    cerebro = host(feed(flat_bars(100.0)))
    cerebro.broker.setcommission(margin=50.0, mult=5.0)
    cerebro.addsizer(EquityShare)
    cerebro.addstrategy(Buys)
    assert cerebro.run()[0].position.size == pytest.approx(19.0)


@pytest.mark.parametrize("share", [0.0, -1.0])
def test_a_share_that_is_not_above_zero_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="`share` must be above 0, got"):
        bought(100.0, share=share)


class AimsAtAShare(bt.Strategy):  # type: ignore[misc]
    """Uses Backtrader's own target order."""

    def next(self) -> None:
        if len(self) == 1:
            self.order_target_percent(target=0.95)


@pytest.mark.parametrize("fractional, units", [(True, 9_500 / 60_000), (False, 0.0)])
def test_with_fractional_commission_the_hosts_target_orders_buy_below_one_unit(
    fractional: bool, units: float
) -> None:
    cerebro = host(feed(flat_bars(60_000.0)))
    if fractional:
        cerebro.broker.addcommissioninfo(FractionalCommission(commission=0.001))
    cerebro.addstrategy(AimsAtAShare)
    assert cerebro.run()[0].position.size == pytest.approx(units)


def test_fractional_commission_of_a_future_counts_its_margin() -> None:
    assert FractionalCommission(margin=400.0, mult=5.0, leverage=2.0).getsize(100.0, 1_000.0) == 5.0


def varying(move: float, count: int = 40) -> pd.DataFrame:
    """Closes that go up and down by the same factor."""
    close = np.where(np.arange(count) % 2, 100.0 * np.exp(move), 100.0)
    index = pd.date_range("2024-01-01", periods=count, freq="D", name="date")
    return pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0}, index=index
    )


class BuysLater(bt.Strategy):  # type: ignore[misc]
    """Asks the sizer at the 20th bar and at the 31st, where the close is 100."""

    def next(self) -> None:
        if len(self) in (20, 31):
            self.asked = [*getattr(self, "asked", []), self.getsizing(self.data, isbuy=True)]


@pytest.mark.parametrize(
    "move, params, share",
    [
        (0.02, {}, 0.5),
        (0.02, {"volatility": 0.005}, 0.25),
        (0.001, {}, 0.95),
        (0.0, {}, 0.95),
        (0.02, {"share": 0.3}, 0.3),
    ],
)
def test_volatility_target_holds_less_of_what_varies_more(
    move: float, params: dict[str, Any], share: float
) -> None:
    cerebro = host(feed(varying(move)))
    cerebro.addsizer(VolatilityTarget, **params)
    cerebro.addstrategy(BuysLater)
    assert cerebro.run()[0].asked == [0.0, pytest.approx(100 * share)]


@pytest.mark.parametrize("params", [{"volatility": 0.0}, {"window": 1}])
def test_a_volatility_target_without_meaning_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match="`volatility` must be above 0 and `window` at least 2, got volatility="
    ):
        bought(100.0, sizer=VolatilityTarget, **params)


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan")])
def test_a_volatility_that_cannot_be_told_is_no_size(price: float) -> None:
    bars = varying(0.02)
    bars.iloc[25] = price
    cerebro = host(feed(bars))
    cerebro.addsizer(VolatilityTarget)
    cerebro.addstrategy(BuysLater)
    assert cerebro.run()[0].asked == [0.0, 0.0]


def test_a_window_longer_than_what_the_host_keeps_is_refused() -> None:
    cerebro = host(feed(varying(0.02)), exactbars=1)
    cerebro.addsizer(VolatilityTarget)
    cerebro.addstrategy(BuysLater)
    with pytest.raises(
        ValueError,
        match="`window` must be below the bars that the host keeps, got 20 and 1. "
        "Leave exactbars=1 out",
    ):
        cerebro.run()


class Asks(bt.Strategy):  # type: ignore[misc]
    """Asks the sizer at the 31st bar, where the close is 100, for a long and a short position."""

    def next(self) -> None:
        if len(self) == 31:
            self.asked = [self.getsizing(self.data, isbuy=long) for long in (True, False)]


def kelly(
    probability: float,
    *,
    move: float = 0.02,
    commission: float = 0.0,
    slippage: float = 0.0,
    **params: Any,
) -> list[float]:
    """The shares of the equity that it takes, long and short."""
    cerebro = host(
        feed(varying(move).assign(probability=probability)),
        commission=commission,
    )
    cerebro.broker.set_slippage_perc(slippage)
    cerebro.addsizer(CappedKelly, **params)
    cerebro.addstrategy(Asks)
    return [units / 100 for units in cerebro.run()[0].asked]


@pytest.mark.parametrize(
    "probability, params, shares",
    [
        (0.505, {}, [0.25, 0.0]),  # half of .01 * .02 / .02 ** 2
        (0.495, {}, [0.0, 0.25]),
        (0.505, {"fraction": 0.1}, [0.05, 0.0]),
        (0.6, {}, [0.95, 0.0]),  # the cap
        (0.0, {}, [0.0, 0.95]),
        (0.6, {"share": 0.3}, [0.3, 0.0]),
        (0.51, {"commission": 1e-4, "holding": 1}, [0.25, 0.0]),  # .02 * .02 less two sides
        (0.51, {"slippage": 1e-4, "holding": 1}, [0.25, 0.0]),
        (0.51, {"slippage": 1e-4, "cost": 0.0}, [0.5, 0.0]),
        (0.51, {"commission": 1e-4}, [0.45, 0.0]),  # paid once in five bars
        (0.504, {"commission": 5e-4}, [0.0, 0.0]),  # not worth its costs
        (float("nan"), {}, [0.0, 0.0]),
        (0.6, {"move": 0.0}, [0.0, 0.0]),
        (0.6, {"window": 31}, [0.0, 0.0]),
    ],
)
def test_kelly_takes_what_the_probability_is_worth_after_costs(
    probability: float,
    params: dict[str, Any],
    shares: list[float],
) -> None:
    assert kelly(probability, **params) == pytest.approx(shares)


@pytest.mark.parametrize(
    "params", [{"fraction": 0.0}, {"window": 1}, {"holding": 0}, {"cost": -1e-4}]
)
def test_a_kelly_without_meaning_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError,
        match="`fraction` must be above 0, `window` at least 2, `holding` at least 1 and `cost` at",
    ):
        bought(100.0, sizer=CappedKelly, **params)


class Never(bt.Indicator):  # type: ignore[misc]
    """A model that is certain of a fall."""

    lines = ("probability",)

    def next(self) -> None:
        self.lines.probability[0] = 0.0


class AsksItsOwn(Asks):
    """Has a model of its own."""

    def __init__(self) -> None:
        self.probability = Never(self.data)


def test_a_probability_of_zero_is_one() -> None:
    cerebro = host(feed(varying(0.02)), commission=0.0)
    cerebro.addsizer(CappedKelly)
    cerebro.addstrategy(AsksItsOwn)
    assert cerebro.run()[0].asked == [0.0, pytest.approx(95.0)]


def test_kelly_without_a_probability_says_what_is_missing() -> None:
    cerebro = host(feed(varying(0.02)))
    cerebro.addsizer(CappedKelly)
    cerebro.addstrategy(Asks)
    with pytest.raises(
        ValueError,
        match="must know a probability, got none from Asks. Let it have an attribute `probability`",
    ):
        cerebro.run()


def growth(name: str, sizer: Any, *, bars: int = 1_500, cost: float = 5e-4, **params: Any) -> float:
    """The log growth of an account that trades the best probability there is, after costs."""
    planted = market(name, bars, 1)
    cerebro = host(
        feed(planted.bars.assign(probability=planted.probability)),
        commission=cost,
    )
    cerebro.addsizer(sizer, **params)
    cerebro.addstrategy(BiLSTMStrategy, enter=0.5, exit=0.5, allow_short=True)
    cerebro.run()
    return float(np.log(cerebro.broker.getvalue() / 10_000.0))


@pytest.mark.parametrize(
    "name, least", [("volrev", 1.03), ("echo", 1.01), ("latch", 1.03), ("regime", 0.9)]
)
def test_on_a_planted_edge_kelly_passes_over_what_is_not_worth_its_costs(
    name: str, least: float
) -> None:
    """More than a fixed share where the edge changes each bar; little less where it lasts."""
    with pytest.warns(TradingWarning, match="the sizer gave no units"):
        assert growth(name, CappedKelly) > least * growth(name, EquityShare) > 0


def test_where_nothing_is_to_be_known_kelly_stays_out() -> None:
    with pytest.warns(TradingWarning, match="the sizer gave no units"):
        assert growth("walk", CappedKelly) == 0.0
