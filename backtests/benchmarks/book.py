"""A book over sixty datas, and Backtrader alone with the same datas and the same orders.

Sides of the benchmark. The forecasts are there beforehand: what the network costs other rows tell.
"""

from collections import defaultdict
from functools import cache
from typing import Any

import backtrader as bt
import pandas as pd

from backtests.benchmarks.engine import LATER
from backtests.benchmarks.trading import feed_of
from backtests.synthetic.markets import market
from strategy_plugin.book import BookStrategy

NAMES = 60
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


def run(bars: int, strategy: type[bt.Strategy], broker: bt.BrokerBase, **params: Any) -> Any:
    """Run a strategy over all datas and return it."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = broker
    for name, sample in universe(bars).items():
        cerebro.adddata(feed_of(sample), name=name)
    cerebro.addstrategy(strategy, **params)
    if strategy is BookStrategy:
        cerebro.addanalyzer(OrderWatch, _name="watch")
    return cerebro.run()[0]
