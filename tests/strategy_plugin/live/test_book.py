"""A book of several names, long and short, is traded live as in the backtest."""

import datetime as dt
import warnings
from typing import Any

import backtrader as bt
import pandas as pd
import pytest

from backtests.exchange_box.market import Market
from backtests.exchange_box.matching import Listing, TradingAccount
from backtests.exchange_box.server import Exchange
from strategy_plugin import BookStrategy
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.rules import LotBroker
from strategy_plugin.live.store import LiveStore, assets_of
from tests.helpers.exchanges import (
    COSTS,
    KEYS,
    MINUTE,
    QUICK,
    Line,
    commissioned,
    minute_bars,
    probability_at,
    served,
    venue_at,
)
from tests.helpers.hosts import ProbabilityFeed

UNIVERSE = {name: minute_bars(2, 390, seed=seed).iloc[:480] for seed, name in enumerate("ABCD")}
TIMES = UNIVERSE["A"].index.tz_localize(None)
SINCE, LAST = TIMES[399].to_pydatetime(), TIMES[439].to_pydatetime()
RULES: dict[str, Any] = {"long": 1, "short": 1, "fractional": False, "last": LAST}
HISTORY, CASH = 20, 100_000.0


def probability(when: dt.datetime, name: str) -> float:
    return probability_at(when + dt.timedelta(days=ord(name)))


class NamedLine(Line):
    """A live feed whose probabilities are of its name."""

    def _show(self, waiting: Any) -> bool:
        self.probability_at = lambda when: probability(when, self._symbol)
        return super()._show(waiting)


class Book(BookStrategy):
    """Remembers what was held at each bar."""

    params = (("last", None),)

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[dt.datetime, tuple[float, ...]] = {}
        self.equity: dict[dt.datetime, float] = {}

    def next(self) -> None:
        super().next()
        when = bt.num2date(self.data.datetime[0])
        if when >= SINCE:
            self.held[when] = tuple(self.getposition(data).size for data in self.datas)
            self.equity[when] = self.broker.getvalue()
        if when == self.p.last:
            self.env.runstop()


def backtested() -> Any:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = commissioned(LotBroker(lot=1.0))
    cerebro.broker.set_cash(CASH)
    cerebro.broker.set_slippage_perc(COSTS.in_price, slip_open=True, slip_match=True, slip_out=True)
    for name, bars in UNIVERSE.items():
        frame = bars.set_axis(TIMES).iloc[400 - HISTORY :]
        said = [probability(when.to_pydatetime(), name) for when in frame.index]
        frame = frame.assign(probability=said)
        cerebro.adddata(ProbabilityFeed(dataname=frame, timeframe=bt.TimeFrame.Minutes), name)
    cerebro.addstrategy(Book, trade_from=str(SINCE), **RULES)
    return cerebro.run()[0]


def traded(url: str) -> Any:
    venue = venue_at(url)
    store = LiveStore(venue, assets_of(venue, [*UNIVERSE], shorts=True), MINUTE, QUICK)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = commissioned(LiveBroker(store=store, slip_perc=COSTS.in_price))
    kind: Any = NamedLine
    how = {"store": store, "broker": cerebro.broker, "history": HISTORY, "qcheck": 0.05}
    for name in UNIVERSE:
        cerebro.adddata(kind(dataname=name, timeframe=bt.TimeFrame.Minutes, **how), name)
    cerebro.addstrategy(Book, **RULES)
    return cerebro.run()[0]


def test_a_book_holds_live_what_it_holds_in_the_backtest() -> None:
    account = TradingAccount(CASH, COSTS, {name: Listing(name) for name in UNIVERSE})
    market = Market(UNIVERSE, pd.Timestamp(UNIVERSE["A"].index[400]))
    box = Exchange(market, account, number="PA1", keys=KEYS)
    with served(box) as url, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        live, backtest = traded(url), backtested()
    assert len(live.held) == 41 and len({*live.held.values()}) > 20
    assert live.held == {when: backtest.held[when] for when in live.held}
    assert min(map(min, live.held.values())) < 0 < max(map(max, live.held.values()))
    for when, equity in live.equity.items():
        assert equity == pytest.approx(backtest.equity[when], rel=1e-9, abs=0)
    assert {order.status for order in account.orders.values()} <= {"filled", "accepted"}
