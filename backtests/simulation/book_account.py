"""A book's account, traded by Backtrader over a universe: what it did date by date, its trades."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import backtrader as bt
import pandas as pd

from backtests.simulation.account import BASIS_POINT, Account, BookSettings, Costs
from backtests.simulation.broker import (
    Fill,
    ProbabilityFeed,
    TradedBroker,
    fed_columns,
    round_trips,
)
from model.bars.artefacts import repeated_rows
from model.bars.universe import Universe
from strategy_plugin.book import BookStrategy
from strategy_plugin.feeds import nanoseconds
from strategy_plugin.sizers import FractionalCommission


class BookChange(NamedTuple):
    """From a date on, the hold band and the dates from one ranking to the next."""

    date: pd.Timestamp
    keep: float
    rebalance: int


class BookFill(NamedTuple):
    """An executed order of an instrument.

    date: of the bar it was filled on. size: units, below 0 for a sale. price: as filled. quote: the
    bar's open, before spread and slippage; of a settlement its price. interest: what borrowing cost
    since the last close of a part, paid by then. volume: of the bar.
    """

    date: pd.Timestamp
    instrument: str
    size: float
    price: float
    quote: float
    commission: float
    interest: float
    volume: float
    settled: bool


@dataclass(frozen=True, eq=False)
class BookSimulation:
    """What a book's account did from the first date on which it could decide.

    equity: value at each date's close. units, closes: held and worth then, (dates, names); NaN
    where a name has no bar. owed: value at entry of all shorts. fills: a row per executed order.
    trades: a row per round trip of a name. rankings: a row per name that a ranking gave a weight,
    with its probability. refused: by instrument why what was decided did not come about, with how
    often.
    """

    equity: pd.Series
    units: pd.DataFrame
    closes: pd.DataFrame
    owed: pd.Series
    fills: pd.DataFrame
    trades: pd.DataFrame
    rankings: pd.DataFrame
    refused: Mapping[str, Mapping[str, int]]


def simulate_book(
    universe: Universe,
    source: Path | pd.DataFrame,
    start: pd.Timestamp,
    *,
    changes: Sequence[BookChange],
    book: BookSettings = BookSettings(),
    account: Account = Account(),
    costs: Costs = Costs(),
) -> BookSimulation:
    """Trade a universe in one account, in one continuous run of Backtrader.

    Orders fill as in `simulate`; a name that has no bar for a while is settled at its last close.

    Parameters
    ----------
    universe
        Bars by name, those before `start` that the first forecast needs among them.
    source
        A checkpoint or a folder of them, or probabilities: (dates, names), NaN where there is none.
    start
        The first date on which may be decided.
    changes
        What `keep` and `rebalance` are from a date on, the first of them from the start on.
    """
    # By name, so that the order in which the files came decides nothing.
    universe = {name: universe[name] for name in sorted(universe)}
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = TradedBroker({n: repeated_rows(bars) for n, bars in universe.items()})
    for name, bars in universe.items():
        frame = fed_columns(bars)
        feed = bt.feeds.PandasData(dataname=frame, openinterest=None)
        if isinstance(source, pd.DataFrame):
            # A forecast stands on a date, of which the name may have no bar.
            known = source[name].reindex(pd.DatetimeIndex(bars.index).as_unit("ns"))
            feed = ProbabilityFeed(dataname=frame.assign(probability=known.to_numpy()))
        cerebro.adddata(feed, name=name)
    cerebro.broker.set_cash(account.cash)
    cerebro.broker.addcommissioninfo(
        FractionalCommission(commission=costs.commission * BASIS_POINT, interest=book.borrow)
    )
    cerebro.broker.set_slippage_perc(costs.in_price, slip_open=True, slip_match=True, slip_out=True)
    _, keep, rebalance = changes[0]
    cerebro.addstrategy(
        WalkForwardBook,
        **book.params(keep, rebalance),
        checkpoint="" if isinstance(source, pd.DataFrame) else str(source),
        trade_from=start.isoformat(),
        changes=",".join(f"{one.date.value} {one.keep} {one.rebalance}" for one in changes),
    )
    cerebro.addanalyzer(BookRecorder, _name="recorder")
    return _simulation(universe, start, cerebro.run()[0])


class WalkForwardBook(BookStrategy):
    """BookStrategy whose hold band and rebalancing change over time, and that keeps its rankings.

    Params:
      - changes: "TIME KEEP REBALANCE", separated by commas: what holds from a time on, in
        nanoseconds since 1970
    """

    params = (("changes", ""),)  # type: ignore[assignment]  # Backtrader adds the parent's

    def __init__(self) -> None:
        super().__init__()
        words = [change.split() for change in self.p.changes.split(",") if change]
        self._changes = deque((int(time), float(keep), int(every)) for time, keep, every in words)
        # Date, name, probability and weight of each name that a ranking gave one.
        self.rankings: list[tuple[pd.Timestamp, str, float, float]] = []

    def next(self) -> None:
        now, ranked = nanoseconds(self.lines.datetime[0]), self.n_ranked
        while self._changes and self._changes[0][0] <= now:
            _, keep, every = self._changes.popleft()
            # What is held goes on: a new band closes nothing by itself.
            self.book.rules, self.book.rebalance = self.book.rules._replace(keep=keep), every
        super().next()
        if self.n_ranked > ranked:
            decided = {instrument.name: instrument.decision for instrument in self.traded}
            self.rankings += [
                (pd.Timestamp(now), name, decided[name].reading.probability, weight)
                for name, weight in self.book.weights.items()
                if weight
            ]


class BookRecorder(bt.Analyzer):  # type: ignore[misc]
    """Value and positions at every date's close, and every order that was executed."""

    def start(self) -> None:
        self.dates: list[pd.Timestamp] = []
        self.values: list[float] = []
        self.units: list[list[float]] = []
        self.owed: list[float] = []
        self.fills: list[BookFill] = []

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        strategy = self.strategy
        held = [strategy.getposition(data) for data in strategy.datas]
        self.dates.append(pd.Timestamp(nanoseconds(strategy.lines.datetime[0])))
        self.values.append(strategy.broker.getvalue())
        self.units.append([position.size for position in held])
        self.owed.append(-sum(one.size * one.price for one in held if one.size < 0))

    def notify_order(self, order: bt.Order) -> None:
        data, done = order.data, order.executed
        # Parts are told once, when the order has ended.
        if order.alive() or not done.size:
            return
        settled = "settled" in order.info
        # A settlement, which needs no bar, was made at the end of the date before it is told.
        date = self.dates[-1] if settled else pd.Timestamp(nanoseconds(data.datetime[0]))
        quote = done.price if settled else data.open[0]
        scheme = self.strategy.broker.getcommissioninfo(data)
        commission = scheme.getcommission(done.size, done.price)
        self.fills.append(
            BookFill(
                date,
                data._name,
                done.size,
                done.price,
                quote,
                commission,
                done.comm - commission,  # to Backtrader both are commission
                data.volume[0],
                settled,
            )
        )

    def stop(self) -> None:
        # What was settled on the last date nobody is told of any more.
        while (order := self.strategy.broker.get_notification()) is not None:
            self.notify_order(order)


def _simulation(
    universe: Universe, start: pd.Timestamp, strategy: WalkForwardBook
) -> BookSimulation:
    recorder, names = strategy.analyzers.recorder, list(universe)
    dates = pd.DatetimeIndex(recorder.dates, name="date").as_unit("ns")
    closes = pd.DataFrame(
        {
            name: bars["close"].set_axis(pd.DatetimeIndex(bars.index).as_unit("ns"))
            for name, bars in universe.items()
        },
        dates,
    )
    places = {date: place for place, date in enumerate(recorder.dates)}
    trades = []
    for name in names:
        own = [
            Fill(places[one.date], one.size, one.price, one.quote, one.commission + one.interest)
            for one in recorder.fills
            if one.instrument == name
        ]
        # What is still held at the end is closed on paper, at the last close.
        trips = round_trips(own, dates, float(universe[name]["close"].iloc[-1]))
        trips.insert(0, "instrument", name)
        trades.append(trips)
    # The bars before are there for the first forecast alone.
    since = slice(int(dates.searchsorted(start)), None)
    return BookSimulation(
        pd.Series(recorder.values, dates, name="equity").iloc[since],
        pd.DataFrame(recorder.units, dates, names).iloc[since],
        closes.iloc[since],
        pd.Series(recorder.owed, dates, name="owed").iloc[since],
        pd.DataFrame(recorder.fills, columns=list(BookFill._fields)),
        pd.concat([one for one in trades if len(one)] or trades[:1]).sort_values(
            ["opened_at", "instrument"], ignore_index=True
        ),
        pd.DataFrame(
            strategy.rankings, columns=["decided_at", "instrument", "probability", "weight"]
        ),
        {name: dict(sorted(counts.items())) for name, counts in strategy.refusals().items()},
    )
