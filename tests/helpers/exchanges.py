"""Exchanges in a box for the tests, and what is traded at them, live and in the backtest."""

import asyncio
import datetime as dt
import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, uuid5

import backtrader as bt
import numpy as np
import pandas as pd

from backtests.exchange_box.faults import Fault, FaultPlan
from backtests.exchange_box.market import Market
from backtests.exchange_box.matching import Listing, Order, TradingAccount
from backtests.exchange_box.server import Exchange, listen
from backtests.simulation.account import BASIS_POINT, Costs
from strategy_plugin import BiLSTMStrategy
from strategy_plugin.live.alpaca_venue import AlpacaVenue
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.feed import LiveFeed
from strategy_plugin.live.limits import Limits, Watchman
from strategy_plugin.live.rules import LotBroker
from strategy_plugin.live.store import LiveStore, Pace, assets_of
from strategy_plugin.sizers import EquityShare, FractionalCommission
from tests.helpers.commands import KEYS
from tests.helpers.makers import random_bars

COSTS = Costs()
CASH = 100_000.0
NO_LIMITS = Limits()
QUICK = Pace(idle=0.3, poll=0.3, settle=0.0)
MINUTE = dt.timedelta(minutes=1)


def minute_bars(sessions: int, per_session: int, seed: int = 0) -> pd.DataFrame:
    """Random bars of a minute, in sessions from 9:30 in New York, in UTC."""
    days = pd.bdate_range("2024-01-02", periods=sessions)
    times = [
        day.tz_localize("America/New_York") + pd.Timedelta(hours=9.5, minutes=minute)
        for day in days
        for minute in range(per_session)
    ]
    bars = random_bars(len(times), seed)
    # Moves of a minute, not of a day.
    bars[["open", "high", "low", "close"]] = (
        100 * (bars[["open", "high", "low", "close"]] / 100) ** 0.05
    )
    bars.index = pd.DatetimeIndex(times).tz_convert("UTC").as_unit("ns")
    return bars


def probability_at(when: dt.datetime) -> float:
    """A probability that is a function of the time alone, above and below one half."""
    digest = hashlib.sha256(when.strftime("%Y%m%d%H%M").encode()).digest()
    return 0.3 + 0.4 * digest[0] / 255


class Line(LiveFeed):
    """A live feed with probabilities, from whatever model."""

    lines = ("probability",)
    probability_at = staticmethod(probability_at)

    def _show(self, waiting: Any) -> bool:
        shown = super()._show(waiting)
        self.lines.probability[0] = self.probability_at(bt.num2date(self.lines.datetime[0]))
        return shown


class Rising(Line):
    """Says that each bar goes up."""

    probability_at = staticmethod(lambda when: 0.9)


class Falling(Line):
    """Says that none does."""

    probability_at = staticmethod(lambda when: 0.1)


class Recorded(BiLSTMStrategy):
    """Remembers what was decided and held at each bar; ends after `bars` or `until` one.

    meanwhile: what happens after the n-th decision, by n.
    """

    params = (("bars", 0), ("until", None), ("meanwhile", {}))

    def __init__(self) -> None:
        super().__init__()
        self.decided: dict[dt.datetime, tuple[float, int, str, float]] = {}
        self.equity: dict[dt.datetime, float] = {}
        self.fills: list[tuple[dt.datetime, float, float]] = []

    def next(self) -> None:
        super().next()
        when, [instrument] = bt.num2date(self.data.datetime[0]), self.traded
        if not instrument.live:
            return
        decision = instrument.decision
        self.decided[when] = (
            decision.reading.probability,
            decision.wanted,
            decision.action,
            decision.position,
        )
        self.equity[when] = self.broker.getvalue()
        if len(self.decided) in self.p.meanwhile:
            self.p.meanwhile[len(self.decided)]()
        if len(self.decided) == self.p.bars or when == self.p.until:
            self.env.runstop()

    def notify_order(self, order: Any) -> None:
        super().notify_order(order)
        if not order.alive() and order.executed.size:
            when = bt.num2date(self.data.datetime[0])
            self.fills.append((when, order.executed.size, order.executed.price))


class Run(NamedTuple):
    """A strategy after its run, and the broker and the feed that it had."""

    strategy: Any
    broker: Any
    feed: Any


def box_of(
    bars: pd.DataFrame,
    live_from: Any,
    *,
    symbol: str = "SPY",
    lot: float = 1.0,
    shortable: bool = True,
    tradable: bool = True,
    speed: float | None = None,
    faults: Sequence[Fault] = (),
    cash: float = CASH,
) -> Exchange:
    """An exchange that is not served yet."""
    listing = Listing(symbol, lot, tradable, shortable, crypto="/" in symbol)
    account = TradingAccount(cash, COSTS, {symbol: listing})
    market = Market({symbol: bars}, pd.Timestamp(live_from))
    plan = FaultPlan(faults)
    return Exchange(market, account, number="PA123", keys=KEYS, speed=speed, faults=plan)


@contextmanager
def exchange_of(*what: Any, **how: Any) -> Iterator[tuple[Exchange, str]]:
    """An exchange in a thread of this process, and its address.

    `box.pass_over(n)` lets n steps of its time pass, whoever asks for the clock.
    """
    box = box_of(*what, **how)
    with served(box) as url:
        yield box, url


@contextmanager
def served(box: Exchange) -> Iterator[str]:
    """Serve an exchange in a thread of this process, and give its address."""
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), []
    stop = asyncio.Event()

    async def serve() -> None:
        runner = await listen(box, "127.0.0.1", 0)
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    box.pass_over = lambda steps: [  # type: ignore[attr-defined]
        asyncio.run_coroutine_threadsafe(box._advance(), loop).result(5) for _ in range(steps)
    ]
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def placed(box: Any, name: str, size: float = 1.0, **how: Any) -> Order:
    """Place an order at the exchange as another run or another hand did."""
    side = "buy" if size > 0 else "sell"
    number = str(uuid5(NAMESPACE_OID, name))
    order = Order(number, name, "SPY", side, abs(size), "market", "day", box.now(), **how)
    return box.account.submit(order)


def venue_at(url: str, keys: tuple[str, str] = KEYS) -> AlpacaVenue:
    return AlpacaVenue(*keys, url=url, reconnect=0.02)


def commissioned(broker: Any) -> Any:
    broker.addcommissioninfo(FractionalCommission(commission=COSTS.commission * BASIS_POINT))
    return broker


def traded_live(
    url: str,
    *,
    bars: int = 0,
    history: int = 20,
    symbol: str = "SPY",
    interval: dt.timedelta = MINUTE,
    feed_class: Any = Line,
    limits: Limits = NO_LIMITS,
    folder: Path | None = None,
    dry_run: bool = False,
    shorts: bool = False,
    pace: Pace = QUICK,
    share: float = 0.95,
    **params: Any,
) -> Run:
    """Trade at an exchange until so many live bars were decided on."""
    venue = venue_at(url)
    store = LiveStore(venue, assets_of(venue, [symbol], shorts), interval, pace)
    broker = LiveBroker(
        store=store,
        watchman=Watchman(limits, folder),
        dry_run=dry_run,
        slip_perc=COSTS.in_price,
    )
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = commissioned(broker)
    feed = feed_class(
        dataname=symbol,
        name=symbol,
        store=store,
        broker=broker,
        history=history,
        qcheck=0.05,
        timeframe=bt.TimeFrame.Minutes,
    )
    cerebro.adddata(feed)
    cerebro.addsizer(EquityShare, share=share)
    defaults = {"enter": 0.5, "exit": 0.5} if issubclass(feed_class, Line) else {}
    cerebro.addstrategy(Recorded, bars=bars, allow_short=shorts, **defaults | params)
    [strategy] = cerebro.run()
    return Run(strategy, broker, feed)


def backtested(
    bars: pd.DataFrame,
    live_from: Any,
    *,
    history: int = 20,
    lot: float = 1.0,
    shorts: bool = False,
    cash: float = CASH,
    with_line: bool = True,
    **params: Any,
) -> Run:
    """The backtest of the same bars, with the venue's lots and costs."""
    first = int(np.searchsorted(bars.index.tz_convert("UTC"), pd.Timestamp(live_from)))
    frame = bars.iloc[first - history :]
    frame = frame.set_axis(frame.index.tz_convert("UTC").tz_localize(None))
    cerebro = bt.Cerebro(stdstats=False)
    broker = commissioned(LotBroker(lot=lot))
    broker.set_cash(cash)
    broker.set_slippage_perc(COSTS.in_price, slip_open=True, slip_match=True, slip_out=True)
    cerebro.broker = broker

    class Feed(bt.feeds.PandasData):  # type: ignore[misc]
        lines = ("probability",)
        params = (("probability", "probability"),)

    if with_line:
        frame = frame.assign(probability=[probability_at(when) for when in frame.index])
    feed = (Feed if with_line else bt.feeds.PandasData)(
        dataname=frame, name="SPY", timeframe=bt.TimeFrame.Minutes
    )
    cerebro.adddata(feed)
    # The newest bar of the history is decided on, as it is live.
    trade_from = frame.index[history - 1]
    defaults = {"enter": 0.5, "exit": 0.5} if with_line else {}
    cerebro.addstrategy(
        Recorded, allow_short=shorts, trade_from=str(trade_from), **defaults | params
    )
    [strategy] = cerebro.run()
    return Run(strategy, broker, feed)
