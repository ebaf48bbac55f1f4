"""Backtrader runs for the tests.

The ways in which the host can be set up, and what a run showed and did.
"""

from pathlib import Path
from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd

from strategy_plugin import BiLSTMStrategy, DirectionProbability
from strategy_plugin.feeds import nanoseconds
from tests.helpers.makers import walking_opens

BARS = walking_opens(230)  # what most runs are over: the last 81 have a whole window
RULES: dict[str, Any] = {"enter": 0.5, "exit": 0.5, "allow_short": True}
MODES = [
    {"preload": preload, "runonce": runonce, "exactbars": exactbars}
    for preload in (True, False)
    for runonce in (True, False)
    for exactbars in (False, 1, -1, -2)
] + [{"live": True}]


class Fill(NamedTuple):
    """What became of an order."""

    bar: int
    size: float
    price: float
    status: str


class Watched(BiLSTMStrategy):
    """Remembers what each bar showed and what became of each order."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, dict[int, float]] = {data._name: {} for data in self.datas}
        self.fills: dict[str, list[Fill]] = {data._name: [] for data in self.datas}

    def next(self) -> None:
        super().next()
        for instrument in self.traded:
            value = (
                instrument.signal.indicator.probability[0]
                if len(instrument.data) and instrument.signal.indicator is not None
                else np.nan
            )
            if not np.isnan(value):
                self.shown[instrument.data._name][len(instrument.data)] = value

    def notify_order(self, order: Any) -> None:
        super().notify_order(order)
        if not order.alive():
            fill = Fill(
                len(order.data), order.executed.size, order.executed.price, order.getstatusname()
            )
            self.fills[order.data._name].append(fill)


class Shown(bt.Strategy):  # type: ignore[misc]
    """Remembers an indicator's value at each bar number.

    The last one where a bar is shown several times.
    """

    params = (
        ("checkpoint", ""),
        ("data_number", 0),
        ("max_gap", None),
        ("timezone", None),
        ("stamp", None),
    )

    def __init__(self) -> None:
        data = self.datas[self.p.data_number]
        self.indicator = DirectionProbability(
            data,
            checkpoint=self.p.checkpoint,
            max_gap=self.p.max_gap,
            timezone=self.p.timezone,
            stamp=self.p.stamp,
        )
        self.values: dict[int, float] = {}
        self.timestamps: dict[int, int] = {}
        self.calls = 0

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        data = self.datas[self.p.data_number]
        self.calls += 1
        if len(data):
            self.values[len(data)] = self.indicator.probability[0]
            self.timestamps[len(data)] = nanoseconds(data.datetime[0])


class ProbabilityFeed(bt.feeds.PandasData):  # type: ignore[misc]
    """A feed that brings its probabilities along, in a column of the bars."""

    lines = ("probability",)
    params = (("probability", "probability"),)


def feed(bars: pd.DataFrame, name: str = "data", **params: Any) -> Any:
    """The bars as a feed, of probabilities where they have such a column."""
    kind = ProbabilityFeed if "probability" in bars else bt.feeds.PandasData
    return kind(dataname=bars, name=name, **params)


def bars_at(prices: Any, probabilities: Any, volume: float = 1.0, **dates: str) -> pd.DataFrame:
    """Daily bars that have one price each, with probabilities; by default from 2024-01-01 on."""
    columns = dict.fromkeys(("open", "high", "low", "close"), prices) | {
        "volume": volume,
        "probability": probabilities,
    }
    dates = dates or {"start": "2024-01-01"}
    return pd.DataFrame(columns, index=pd.date_range(**dates, periods=len(probabilities), freq="D"))


def host(*feeds: Any, cash: float = 10_000.0, commission: float = 0.001, **mode: Any) -> Any:
    """A Cerebro with feeds and a commission."""
    cerebro = bt.Cerebro(**({"stdstats": False} | mode))
    for one in feeds:
        cerebro.adddata(one)
    cerebro.broker.setcash(cash)
    cerebro.broker.setcommission(commission=commission)
    return cerebro


def traded(cerebro: Any, **params: Any) -> Watched:
    """Run the strategy over what the host was given."""
    cerebro.addstrategy(Watched, **params)
    strategy: Watched = cerebro.run()[0]
    return strategy


def shown(cerebro: Any, checkpoint: str | Path, data_number: int = 0) -> Shown:
    """Run nothing but the indicator."""
    cerebro.addstrategy(Shown, checkpoint=checkpoint, data_number=data_number)
    strategy: Shown = cerebro.run()[0]
    return strategy


def series(values: dict[int, float], count: int) -> Any:
    """The values by bar number as an array, NaN where none was shown."""
    return np.array([values.get(number, np.nan) for number in range(1, count + 1)])
