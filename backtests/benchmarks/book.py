"""A book over sixty datas, and Backtrader alone with the same datas and the same orders.

Sides of the benchmark. The forecasts are there beforehand: what the network costs other rows tell.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial

import backtrader as bt
import pandas as pd

from backtests.benchmarks.engine import LATER
from backtests.benchmarks.rounds import Here, Samples, Size, Work
from backtests.benchmarks.trading import feed_of, small_model_file
from backtests.synthetic.markets import market
from strategy_plugin.book import BookStrategy
from strategy_plugin.settling import SettlingBroker

NAMES, CASH = 60, 1e6
Orders = dict[float, list[tuple[int, float]]]  # by day number: place of the data, units


@cache
def universe(bars: int) -> dict[str, pd.DataFrame]:
    """Return walks of so many bars each, by name."""
    walks = [market("walk", bars, seed).bars for seed in range(NAMES)]
    return {
        f"echo {number:02d}": walk.set_axis(walk.index + LATER) for number, walk in enumerate(walks)
    }


class BareBook(bt.Strategy):  # type: ignore[misc]
    """Sends given orders, and does nothing else."""

    params = (("orders", None),)

    def next(self) -> None:
        for place, size in self.p.orders.get(self.lines.datetime[0], ()):
            send = self.buy if size > 0 else self.sell
            send(data=self.datas[place], size=abs(size))

    def prenext(self) -> None:
        self.next()


class OrderWatch(bt.Analyzer):  # type: ignore[misc]
    """The orders of a run, by when they were sent."""

    def start(self) -> None:
        self.orders: Orders = defaultdict(list)
        self._places = {id(data): place for place, data in enumerate(self.strategy.datas)}

    def notify_order(self, order: bt.Order) -> None:
        if order.status == order.Submitted:
            place = self._places[id(order.data)]
            self.orders[order.created.dt].append((place, order.created.size))


def run_of(
    bars: int, strategy: type[bt.Strategy], broker: bt.BrokerBase, **params: object
) -> bt.Cerebro:
    """Return what runs a strategy over all datas."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = broker
    for name, sample in universe(bars).items():
        cerebro.adddata(feed_of(sample), name=name)
    cerebro.addstrategy(strategy, **params)
    return cerebro


def books(size: Size) -> list[Samples]:
    """Return the rounds of both sides: the book, and the host that sends the same orders."""
    path, bars = small_model_file(), size.ours

    def ours() -> bt.Cerebro:
        return run_of(bars, BookStrategy, SettlingBroker(cash=CASH), checkpoint=path)

    # The first run computes the forecasts, and tells the orders.
    watched = ours()
    watched.addanalyzer(OrderWatch, _name="watch")
    [strategy] = watched.run()
    orders = dict(strategy.analyzers.watch.orders)

    def theirs() -> bt.Cerebro:
        return run_of(bars, BareBook, bt.brokers.BackBroker(cash=CASH), orders=orders)

    def play(cerebro: Callable[[], bt.Cerebro], number: int) -> Work:
        [strategy] = cerebro().run()
        return Work(NAMES * bars, [strategy.broker.getvalue()])

    players = [Here(partial(play, side)) for side in (ours, theirs)]
    found = [[player.play(number) for player in players] for number in range(size.rounds)]
    return [Samples(column) for column in zip(*found, strict=True)]
