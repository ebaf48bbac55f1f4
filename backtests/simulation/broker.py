"""One account, traded by Backtrader: what it did bar by bar, and its round trips."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.simulation.account import BASIS_POINT, Account, Costs
from backtests.simulation.vectorised import Array
from model.bars.artefacts import repeated_rows
from model.bars.faults import COLUMNS
from model.features.joining import context_of
from model.labels.labelling import Labelling
from strategy_plugin.decision import BARRIER, NEUTRAL, Reading
from strategy_plugin.instrument import TradedData
from strategy_plugin.settling import SettlingBroker
from strategy_plugin.sizers import FractionalCommission
from strategy_plugin.strategy import BiLSTMStrategy

TRADE_COLUMNS = (
    "direction",
    "decided_at",
    "opened_at",
    "closed_at",
    "bars",
    "size",
    "entry_price",
    "exit_price",
    "gross",
    "costs",
    "net",
    "return",
)


class Fill(NamedTuple):
    """An executed order.

    bar: position of the bar it was filled on. size: units, below 0 for a sale. price: as filled.
    quote: the price before spread and slippage, the bar's open or the level of a barrier.
    """

    bar: int
    size: float
    price: float
    quote: float
    commission: float


@dataclass(frozen=True, eq=False)
class Simulation:
    """What an account did from the first decision on, in Series by the bars' timestamps.

    equity: value at the close. position: units held after the open. probability: decided by at the
    close, NaN where nothing was. fills: one row per executed order. trades: one row per round trip.
    refused: why decisions, orders and fills did not come about, with how often.
    """

    equity: pd.Series
    position: pd.Series
    probability: pd.Series
    fills: pd.DataFrame
    trades: pd.DataFrame
    refused: dict[str, int]


def simulate(
    bars: pd.DataFrame,
    source: str | Path | pd.Series,
    start: int = 0,
    *,
    account: Account = Account(),
    costs: Costs = Costs(),
    vacant: Sequence[range] = (),
    traded: Labelling | None = None,
) -> Simulation:
    """Trade the bars in one continuous run of Backtrader.

    An order fills at the open after its decision, worse by half spread and slippage even where that
    lies beyond the bar's high or low: the cost is there whatever the bar's range.

    Parameters
    ----------
    source
        A checkpoint, a folder of them, or probabilities by the bars' timestamps, whoever made them;
        NaN keeps what is held.
    start
        Position of the bar at whose close the first decision falls.
    vacant
        Positions of bars at which there is no model, and so no position is held.
    traded
        The trade that each position is, with its levels; None where the forecast closes it.
    """
    cerebro = bt.Cerebro(stdstats=False)
    frame, checkpoint, neutral = fed_columns(bars), str(source), None
    feed = bt.feeds.PandasData(dataname=frame, openinterest=None)
    if isinstance(source, pd.Series):
        # Probabilities without a model bring no thresholds of their own.
        checkpoint, neutral = "", NEUTRAL
        feed = ProbabilityFeed(dataname=frame.assign(probability=source.reindex(bars.index)))
    cerebro.adddata(feed, name=str(bars.attrs.get("instrument") or "bars"))
    if (repeated := repeated_rows(bars)).any():
        cerebro.broker = TradedBroker({feed._name: repeated})
    cerebro.broker.set_cash(account.cash)
    cerebro.broker.addcommissioninfo(
        FractionalCommission(commission=costs.commission * BASIS_POINT)
    )
    # slip_open: market orders pay it too. slip_match, slip_out: beyond the bar's range as well,
    # neither refused nor capped.
    cerebro.broker.set_slippage_perc(costs.in_price, slip_open=True, slip_match=True, slip_out=True)
    exit = neutral if account.exit is None else account.exit
    closing: dict[str, object] = {"exit": exit, "allow_short": account.allow_short}
    if traded is not None and traded.barrier is not None:
        levels = {name: getattr(traded.barrier, name) for name in ("stop_loss", "take_profit")}
        closing = {"exit_by": BARRIER, "horizon": traded.horizon, **levels}
    cerebro.addstrategy(
        WalkForwardStrategy,
        checkpoint=checkpoint,
        enter=neutral if account.enter is None else account.enter,
        **closing,
        idle=",".join(f"{part.start}-{part.stop}" for part in (range(start), *vacant)),
    )
    cerebro.addanalyzer(Recorder, _name="recorder")
    return _simulation(bars, start, cerebro.run()[0])


def fed_columns(bars: pd.DataFrame) -> pd.DataFrame:
    """Return what a feed of these bars takes, the columns of other series among it."""
    context = context_of(bars)
    return bars[[*COLUMNS, *(context.names if context else ())]]


def simulate_hold(
    bars: pd.DataFrame, start: int, *, account: Account = Account(), costs: Costs = Costs()
) -> Simulation:
    """Buy at the first decision and hold to the end: the benchmark of all else.

    Size and costs are those of every other simulation; the account's thresholds do not count.
    """
    always = pd.Series(1.0, index=bars.index)
    return simulate(bars, always, start, account=Account(cash=account.cash), costs=costs)


class TradedBroker(SettlingBroker):
    """A broker at which nothing fills on bars that repeat others: the order waits for the next.

    repeated: by the name of the data which of its bars do, (n,).
    """

    def __init__(self, repeated: Mapping[str, NDArray[np.bool_]]) -> None:
        super().__init__()
        self._repeated = repeated

    def _try_exec(self, order: bt.Order) -> None:
        # Backtrader has no other place to ask whether an order may fill on this bar.
        if not self._repeated[order.data._name][len(order.data) - 1]:
            super()._try_exec(order)


class WalkForwardStrategy(BiLSTMStrategy):
    """BiLSTMStrategy that stays out of the market on given bars and keeps all other probabilities.

    Params:
      - idle: bar positions from-to (to not included), separated by commas, at which no position is
        held
    """

    params = (("idle", ""),)  # type: ignore[assignment]  # Backtrader adds the parent's

    def __init__(self) -> None:
        super().__init__()
        spans = [tuple(map(int, span.split("-"))) for span in self.p.idle.split(",") if span]
        self._idle = {position for first, stop in spans for position in range(first, stop)}
        self.probabilities: dict[int, float] = {}  # by the position of the bar decided at

    def decide(self, instrument: TradedData, reading: Reading) -> tuple[int, str]:
        position = len(instrument.data) - 1
        if position in self._idle:
            return 0, ""
        self.probabilities[position] = reading.probability
        return super().decide(instrument, reading)


class Recorder(bt.Analyzer):  # type: ignore[misc]
    """Value and position at every close, and every order that was executed."""

    def start(self) -> None:
        self.values: list[float] = []
        self.sizes: list[float] = []
        self.fills: list[Fill] = []

    def next(self) -> None:
        self.values.append(self.strategy.broker.getvalue())
        self.sizes.append(self.strategy.position.size)

    def notify_order(self, order: bt.Order) -> None:
        # Backtrader tells of an order while the bar that filled it is the newest.
        data, done = self.strategy.data, order.executed
        # A reversal that the cash does not cover ends as Margin, with its closing half executed.
        if not order.alive() and done.size:
            self.fills.append(
                Fill(
                    bar=len(data) - 1,
                    size=done.size,
                    price=done.price,
                    quote=quote_of(order, data.open[0]),
                    commission=done.comm,
                )
            )


def quote_of(order: bt.Order, opened: float) -> float:
    """Return the price before slippage of an order filled on a bar with this open.

    Of a barrier's levels, which close long positions, that is the open where it lies beyond them.
    """
    if order.exectype == bt.Order.Stop:
        return float(min(opened, order.created.price))
    return float(max(opened, order.created.price)) if order.exectype == bt.Order.Limit else opened


class ProbabilityFeed(bt.feeds.PandasData):  # type: ignore[misc]
    """Bars with a column `probability`."""

    lines = ("probability",)
    params = (("probability", "probability"), ("openinterest", None))


def _simulation(bars: pd.DataFrame, start: int, strategy: WalkForwardStrategy) -> Simulation:
    recorder, timestamps = strategy.analyzers.recorder, pd.DatetimeIndex(bars.index)
    # On bars without a decision there is no probability that anything was decided by.
    probability = np.full(len(bars), np.nan)
    probability[list(strategy.probabilities)] = list(strategy.probabilities.values())
    rows = [
        {"decided_at": timestamps[fill.bar - 1], "filled_at": timestamps[fill.bar]} | fill._asdict()
        for fill in recorder.fills
    ]
    fills = pd.DataFrame(rows, columns=["decided_at", "filled_at", *Fill._fields])
    # One data, and so one instrument, whose reasons these are.
    [reasons] = strategy.refusals().values()

    def series(values: Sequence[float] | Array, name: str) -> pd.Series:
        return pd.Series(values, index=timestamps, name=name).iloc[start:]

    return Simulation(
        series(recorder.values, "equity"),
        series(recorder.sizes, "position"),
        series(probability, "probability"),
        fills,
        round_trips(recorder.fills, timestamps, float(bars["close"].iloc[-1])),
        dict(sorted(reasons.items())),
    )


def round_trips(
    fills: Sequence[Fill], timestamps: pd.DatetimeIndex, last_price: float
) -> pd.DataFrame:
    """Return one row per round trip, from a position's opening to its end, in the order of opening.

    gross: at the quoted prices. costs: commission, spread and slippage. net: gross - costs. return:
    net over what was put in. A trip that is still open has no closed_at and is valued at
    `last_price`.
    """
    rows = []
    for trip, left in _trips(fills):
        entries = [fill for fill in trip if (fill.size > 0) == (trip[0].size > 0)]
        exits = [fill for fill in trip if (fill.size > 0) != (trip[0].size > 0)]
        size = sum(fill.size for fill in entries)  # below 0 for a short
        # What is left is worth the last price; all else was paid or earned at the quotes.
        gross = left * last_price - sum(fill.size * fill.quote for fill in trip)
        costs = sum(fill.commission + fill.size * (fill.price - fill.quote) for fill in trip)
        first, last = trip[0].bar, len(timestamps) - 1 if left else exits[-1].bar
        entry_price = _mean_price(entries)
        row = {
            "direction": "long" if size > 0 else "short",
            "decided_at": timestamps[first - 1],
            "opened_at": timestamps[first],
            "closed_at": pd.NaT if left else timestamps[last],
            "bars": last - first,
            "size": abs(size),
            "entry_price": entry_price,
            "exit_price": _mean_price(exits) if exits else math.nan,
            "gross": gross,
            "costs": costs,
            "net": gross - costs,
            "return": (gross - costs) / abs(size * entry_price),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=list(TRADE_COLUMNS))


def _trips(fills: Sequence[Fill]) -> Iterator[tuple[list[Fill], float]]:
    """Cut the fills where the position passes zero; yield each part with the units left open.

    A fill that turns the position around belongs to two trips, each with its share of the
    commission.
    """
    held, trip = 0.0, list[Fill]()
    for fill in fills:
        after = held + fill.size
        if held and after and (held > 0) != (after > 0):  # a reversal in one order
            yield [*trip, _share(fill, -held)], 0.0
            held, trip, fill = 0.0, [], _share(fill, after)
        trip.append(fill)
        held = after
        if not held:
            yield trip, 0.0
            trip = []
    if trip:
        yield trip, held


def _share(fill: Fill, size: float) -> Fill:
    return fill._replace(size=size, commission=fill.commission * size / fill.size)


def _mean_price(fills: Sequence[Fill]) -> float:
    return sum(fill.size * fill.price for fill in fills) / sum(fill.size for fill in fills)
