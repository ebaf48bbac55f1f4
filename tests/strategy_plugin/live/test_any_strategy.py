"""The store serves any strategy of Backtrader, over several symbols, with the venue's own words."""

import warnings
from typing import Any

import backtrader as bt
import pandas as pd
import pytest

from backtests.exchange_box.faults import Fault, FaultPlan
from backtests.exchange_box.market import Market
from backtests.exchange_box.matching import Listing, TradingAccount
from backtests.exchange_box.server import Exchange
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.feed import LiveFeed
from strategy_plugin.live.rules import LotBroker
from strategy_plugin.live.store import LiveStore, assets_of
from tests.helpers.exchanges import (
    COSTS,
    KEYS,
    MINUTE,
    QUICK,
    commissioned,
    minute_bars,
    served,
    venue_at,
)

UNIVERSE = {
    symbol: minute_bars(2, 390, seed=number).iloc[:480] for number, symbol in enumerate("AB")
}
FIRST = UNIVERSE["A"].index[400]
N_BARS = 40


class Rotation(bt.Strategy):  # type: ignore[misc]
    """Holds whichever rose last, from a time on; it knows nothing of stores."""

    params = (("since", None), ("last", None))

    def __init__(self) -> None:
        self.told: list[str] = []
        self.held: dict[Any, tuple[float, ...]] = {}
        self.equity: dict[Any, float] = {}

    def notify_data(self, data: Any, status: int, *_: Any, **__: Any) -> None:
        self.told.append(data._getstatusname(status))

    def next(self) -> None:
        when = bt.num2date(self.data.datetime[0])
        if when < self.p.since:
            return
        self.held[when] = tuple(self.getposition(data).size for data in self.datas)
        self.equity[when] = self.broker.getvalue()
        if when == self.p.last:
            self.env.runstop()
        for data in sorted(self.datas, key=lambda data: data.close[0] - data.close[-1]):
            rose = data.close[0] > data.close[-1]
            if not rose and self.getposition(data).size > 0:
                self.close(data)
            elif rose and not self.getposition(data).size:
                self.buy(data, size=int(0.4 * self.broker.getvalue() / data.close[0]))


@pytest.fixture(scope="module")
def pair() -> Any:
    """The strategy after its run in the backtest and after the same live, and the exchange."""
    times = UNIVERSE["A"].index.tz_localize(None)
    when = {"since": times[399].to_pydatetime(), "last": times[399 + N_BARS].to_pydatetime()}
    tested = bt.Cerebro(stdstats=False)
    tested.broker = commissioned(LotBroker(lot=1.0))
    tested.broker.set_cash(100_000.0)
    tested.broker.set_slippage_perc(COSTS.in_price, slip_open=True, slip_match=True, slip_out=True)
    for symbol, bars in UNIVERSE.items():
        frame = bars.iloc[380:].set_axis(times[380:])
        tested.adddata(bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes), symbol)
    tested.addstrategy(Rotation, **when)
    listings = {symbol: Listing(symbol) for symbol in UNIVERSE}
    account = TradingAccount(100_000.0, COSTS, listings)
    box = Exchange(Market(UNIVERSE, pd.Timestamp(FIRST)), account, number="PA1", keys=KEYS)
    box.faults = FaultPlan([Fault("cut stream", 20)])
    with served(box) as url, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        venue = venue_at(url)
        store = LiveStore(venue, assets_of(venue, [*UNIVERSE], False), MINUTE, QUICK)
        live = bt.Cerebro(stdstats=False)
        live.broker = commissioned(LiveBroker(store=store, slip_perc=COSTS.in_price))
        for symbol in UNIVERSE:
            how = {"store": store, "broker": live.broker, "history": 20, "qcheck": 0.05}
            feed: Any = LiveFeed
            live.adddata(feed(dataname=symbol, timeframe=bt.TimeFrame.Minutes, **how), symbol)
        live.addstrategy(Rotation, **when)
        return tested.run()[0], live.run()[0], box


def test_two_symbols_are_traded_by_a_plain_strategy_as_in_the_backtest(pair: Any) -> None:
    tested, live, box = pair
    assert len(live.held) == N_BARS + 1 and live.held == tested.held
    assert len({*live.held.values()}) > 5
    for when, equity in live.equity.items():
        assert equity == pytest.approx(tested.equity[when], rel=1e-9, abs=0)
    assert box.account.value() == pytest.approx(live.broker.getvalue(), rel=1e-12)


def test_the_feeds_report_in_backtraders_words(pair: Any) -> None:
    _, live, _ = pair
    broken = ["CONNBROKEN", "CONNBROKEN"]  # once, and the next bar is live
    assert live.told == ["DELAYED", "DELAYED", "LIVE", "LIVE", *broken, "LIVE", "LIVE"]
