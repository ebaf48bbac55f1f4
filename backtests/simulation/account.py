"""From single fills to round trips: what was opened, closed and earned."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd

from model.bars.read import COLUMNS
from strategy_plugin.decision import NEUTRAL, Reading
from strategy_plugin.instrument import TradedData
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
    """An executed order. bar: position of the bar it was filled on.

    quote: the bar's open, the price before spread and slippage.
    """

    bar: int
    size: float
    price: float
    quote: float
    commission: float


def round_trips(fills: Sequence[Fill], stamps: pd.DatetimeIndex, last_price: float) -> pd.DataFrame:
    """Return one row per round trip, from a position's opening to its end, in the order of opening.

    gross: at the quoted prices; costs: commission, spread and slippage; net = gross - costs;
    return: net over what was put in. A trip that is still open has no closed_at and is valued at
    `last_price`.
    """
    rows = [_row(trip, left, stamps, last_price) for trip, left in _trips(fills)]
    return pd.DataFrame(rows, columns=list(TRADE_COLUMNS))


def _trips(fills: Sequence[Fill]) -> Iterator[tuple[list[Fill], float]]:
    """Cut the fills where the position passes zero, and yield each part with what is left open at
    its end.

    A fill that turns the position around is shared between two trips.
    """
    held, trip = 0.0, list[Fill]()
    for fill in fills:
        after = held + fill.size
        if held and after and (held > 0) != (after > 0):
            yield [*trip, _part(fill, -held)], 0.0
            held, trip, fill = 0.0, [], _part(fill, after)
        trip.append(fill)
        held = after
        if not held:
            yield trip, 0.0
            trip = []
    if trip:
        yield trip, held


def _part(fill: Fill, size: float) -> Fill:
    return fill._replace(size=size, commission=fill.commission * size / fill.size)


def _row(
    trip: Sequence[Fill], left: float, stamps: pd.DatetimeIndex, last_price: float
) -> dict[str, object]:
    entries = [fill for fill in trip if (fill.size > 0) == (trip[0].size > 0)]
    exits = [fill for fill in trip if (fill.size > 0) != (trip[0].size > 0)]
    size = sum(fill.size for fill in entries)
    gross = left * last_price - sum(fill.size * fill.quote for fill in trip)
    costs = sum(fill.commission + fill.size * (fill.price - fill.quote) for fill in trip)
    entry_price = sum(fill.size * fill.price for fill in entries) / size
    last = len(stamps) - 1 if left else exits[-1].bar
    return {
        "direction": "long" if size > 0 else "short",
        "decided_at": stamps[trip[0].bar - 1],
        "opened_at": stamps[trip[0].bar],
        "closed_at": pd.NaT if left else stamps[last],
        "bars": last - trip[0].bar,
        "size": abs(size),
        "entry_price": entry_price,
        "exit_price": _average(exits),
        "gross": gross,
        "costs": costs,
        "net": gross - costs,
        "return": (gross - costs) / abs(size * entry_price),
    }


def _average(fills: Sequence[Fill]) -> float:
    """Return the mean price of fills by size, NaN for none."""
    return (
        sum(fill.size * fill.price for fill in fills) / sum(fill.size for fill in fills)
        if fills
        else float("nan")
    )


BASIS_POINT = 1e-4


@dataclass(frozen=True)
class Costs:
    """What a trade costs on each side, in basis points of its value (1 bp = 0.01 %).

    Every field is a flag of the command.

    Parameters
    ----------
    commission
        The broker's commission per side, in basis points of the trade's value (1 = 0.01 %).
    half_spread
        Half the distance between bid and ask, in basis points: what an order at the market pays per
        side.
    slippage
        How much worse than the quote an order fills, per side, in basis points.
    """

    commission: float = 1.0
    half_spread: float = 0.5
    slippage: float = 0.5

    def __post_init__(self) -> None:
        faults = [
            f"`{name}` must be a number of basis points from 0, got {value}."
            for name, value in vars(self).items()
            if not (math.isfinite(value) and value >= 0)
        ]
        if faults:
            raise ValueError(" ".join(faults))

    @property
    def in_price(self) -> float:
        """The part that is paid in a worse price, as a fraction of it."""
        return (self.half_spread + self.slippage) * BASIS_POINT

    @property
    def per_side(self) -> float:
        """All of it, in basis points."""
        return self.commission + self.half_spread + self.slippage

    def __str__(self) -> str:
        return (
            f"{self.per_side:g} basis points per side: commission {self.commission:g}, half spread {self.half_spread:g}, "
            f"slippage {self.slippage:g}"
        )


@dataclass(frozen=True)
class Account:
    """With what and by which rule it trades; every field is a flag of the command.

    Parameters
    ----------
    cash
        Money at the start.
    enter
        Probability from which a long position is opened; default: each checkpoint's own, or .50.
    exit
        Probability from which it is kept; default: each checkpoint's own, or .50.
    allow_short
        Also go short, by the same thresholds mirrored at one half.
    """

    cash: float = 100_000.0
    enter: float | None = None
    exit: float | None = None
    allow_short: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cash) and self.cash > 0):
            raise ValueError(f"`cash` must be above 0, got {self.cash}.")
        if (self.enter is None) != (self.exit is None):
            raise ValueError(
                f"`enter` and `exit` must be given together or not at all, got {self.enter} and {self.exit}."
            )
        if (
            self.enter is not None
            and self.exit is not None
            and not 0.5 <= self.exit <= self.enter < 1
        ):
            raise ValueError(
                f"`exit` must be at least .5 and `enter` at least that and below 1, got {self.exit} and {self.enter}."
            )


@dataclass(frozen=True, eq=False)
class Simulation:
    """What an account did, bar by bar from the first decision: Series on the bars' stamps.

    equity: value at the close. position: units held after the open. probability: decided at the
    close. fills: one row per executed order; trades: one row per round trip. refused: what was not
    decided, ordered or filled, and why, with counts.
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
) -> Simulation:
    """Trade the bars in one continuous run.

    The first decision falls at the close of the bar at position `start`.

    source: a checkpoint, a folder of them, or probabilities on the bars' stamps (any model's; NaN
    keeps what is held). vacant: positions of bars at which there is no model, and so no position is
    held. An order fills at the next open, worse by half spread and slippage even where that is
    beyond the bar's high or low: the cost is there whatever the bar's range.
    """
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(_feed(bars, source), name=str(bars.attrs.get("instrument") or "bars"))
    _set_broker(cerebro.broker, account, costs)
    idle = (range(start), *vacant)
    cerebro.addstrategy(
        WalkForwardStrategy,
        idle=",".join(f"{part.start}-{part.stop}" for part in idle),
        **_rule(source, account),
    )
    cerebro.addanalyzer(Recorder, _name="recorder")
    strategy = cerebro.run()[0]
    return _simulation(bars, start, strategy)


def simulate_hold(
    bars: pd.DataFrame, start: int, *, account: Account = Account(), costs: Costs = Costs()
) -> Simulation:
    """Buy at the first decision and hold to the end, with the size and the costs of everything
    else.
    """
    always = pd.Series(1.0, index=bars.index)
    return simulate(bars, always, start, account=Account(cash=account.cash), costs=costs)


class WalkForwardStrategy(BiLSTMStrategy):
    """BiLSTMStrategy that stays out of the market on given bars and remembers what it read on every
    other.

    Params:
      - idle: bar positions from-to (to not included), separated by commas, at which no position is
        held
    """

    params = (("idle", ""),)  # type: ignore[assignment]  # Backtrader adds the parent's

    def __init__(self) -> None:
        super().__init__()
        spans = [tuple(map(int, span.split("-"))) for span in self.p.idle.split(",") if span]
        self._idle = {position for first, stop in spans for position in range(first, stop)}
        self.said: dict[int, float] = {}

    def decide(self, instrument: TradedData, reading: Reading) -> tuple[int, str]:
        position = len(instrument.data) - 1
        if position in self._idle:
            return 0, ""
        self.said[position] = reading.probability
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
        data, done = self.strategy.data, order.executed
        # A reversal that the cash does not cover ends as Margin, with its closing half executed.
        if not order.alive() and done.size:
            self.fills.append(
                Fill(
                    bar=len(data) - 1,
                    size=done.size,
                    price=done.price,
                    quote=data.open[0],
                    commission=done.comm,
                )
            )


class ProbabilityFeed(bt.feeds.PandasData):  # type: ignore[misc]
    """Bars with a column `probability`."""

    lines = ("probability",)
    params = (("probability", "probability"), ("openinterest", None))


def _feed(bars: pd.DataFrame, source: str | Path | pd.Series) -> bt.feeds.PandasData:
    frame = bars[list(COLUMNS)]
    if isinstance(source, pd.Series):
        return ProbabilityFeed(dataname=frame.assign(probability=source.reindex(bars.index)))
    return bt.feeds.PandasData(dataname=frame, openinterest=None)


def _set_broker(broker: bt.BrokerBase, account: Account, costs: Costs) -> None:
    broker.set_cash(account.cash)
    broker.addcommissioninfo(FractionalCommission(commission=costs.commission * BASIS_POINT))
    # slip_open: market orders pay it too. slip_match, slip_out: beyond the bar's range as well,
    # neither refused nor capped.
    broker.set_slippage_perc(costs.in_price, slip_open=True, slip_match=True, slip_out=True)


def _rule(source: str | Path | pd.Series, account: Account) -> dict[str, Any]:
    """Return the strategy's params.

    Probabilities without a model have no thresholds of their own.
    """
    own = NEUTRAL if isinstance(source, pd.Series) else None
    return {
        "checkpoint": "" if isinstance(source, pd.Series) else str(source),
        "allow_short": account.allow_short,
        "enter": own if account.enter is None else account.enter,
        "exit": own if account.exit is None else account.exit,
    }


def _simulation(bars: pd.DataFrame, start: int, strategy: WalkForwardStrategy) -> Simulation:
    recorder, stamps = strategy.analyzers.recorder, pd.DatetimeIndex(bars.index)
    said = np.full(len(bars), np.nan)
    said[list(strategy.said)] = list(strategy.said.values())
    rows = [
        {"decided_at": stamps[fill.bar - 1], "filled_at": stamps[fill.bar], **fill._asdict()}
        for fill in recorder.fills
    ]
    fills = pd.DataFrame(rows, columns=["decided_at", "filled_at", *Fill._fields])
    refused = {
        reason: count
        for counts in strategy.refusals().values()
        for reason, count in sorted(counts.items())
    }

    def series(values: Any, name: str) -> pd.Series:
        return pd.Series(values, index=stamps, name=name).iloc[start:]

    return Simulation(
        series(recorder.values, "equity"),
        series(recorder.sizes, "position"),
        series(said, "probability"),
        fills,
        round_trips(recorder.fills, stamps, float(bars["close"].iloc[-1])),
        refused,
    )
