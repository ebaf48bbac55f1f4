"""Positions as plain arrays: from probabilities to directions to returns, without a broker."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.artefacts import repeated_rows
from model.labels.barrier import barrier_trades
from model.labels.labelling import Labelling
from strategy_plugin.decision import target

Array = NDArray[np.float64]
NEVER = np.iinfo(np.int64).max  # where a trade ends that is not over


class Positions(NamedTuple):
    """What is held after each decision, what that catches, and what it changes: (n,) each.

    held: -1, 0 or 1. moves: the return of holding from the open after the decision to the next, or
    to where a level ends the trade. turnover: by how much the position changes.
    """

    held: Array
    moves: Array
    turnover: Array

    @classmethod
    def of(cls, held: Array, moves: Array) -> "Positions":
        """Return positions that are changed at opens alone, starting from none."""
        return cls(held, moves, np.abs(np.diff(held, prepend=0.0)))

    def net(self, cost: float = 0.0) -> Array:
        """Return the net return of each decision. cost: a fraction per side."""
        return self.held * self.moves - cost * self.turnover

    @property
    def entries(self) -> int:
        """The round trips begun: a trip that is over has changed the position twice."""
        return math.ceil(float(self.turnover.sum()) / 2)


class TradeEnds(NamedTuple):
    """Where the trade of each decision would end, were it entered: (n,) each.

    end: bars after the first decision of the bar on which it ends. rest: the return from that bar's
    open to where a level ends the trade within it; 0 where it ends at the open.
    """

    end: NDArray[np.int64]
    rest: Array


def trade_ends(bars: pd.DataFrame, labelling: Labelling, first: int = 0) -> TradeEnds:
    """Return where the trades of a barrier end, for the decisions from a position on."""
    assert labelling.barrier is not None  # the settings of a run have seen to it
    trades = barrier_trades(bars, labelling.barrier, labelling.horizon)
    opened = np.append(bars["open"].to_numpy(np.float64), np.nan)[trades.end]
    over = trades.end < len(bars)
    rest = np.where(over, trades.exit / opened - 1, 0.0)
    return TradeEnds(np.where(over, trades.end - first, NEVER)[first:], rest[first:])


def barrier_positions(
    probability: Array, moves: Array, ends: TradeEnds, *, enter: float | Array
) -> Positions:
    """Return the positions of a strategy that exits by a barrier, starting from none.

    It enters where the probability is at or above `enter`, one for all decisions or for each its
    own; the next trade can be decided on at the close of the bar on which the one before ends.
    """
    count = len(probability)
    enters = probability >= np.broadcast_to(enter, count)  # NaN does not
    held, caught, turnover = np.zeros(count), moves.copy(), np.zeros(count)
    at = 0
    while at < count:
        if not enters[at]:
            at += 1
            continue
        turnover[at] += 1
        end, stop = int(ends.end[at]), min(int(ends.end[at]), count)
        held[at:stop] = 1.0
        if end <= count:
            # Held over the last bar itself only where a level ends the trade within it.
            held[end - 1] = float(ends.rest[at] != 0)
            caught[end - 1] = ends.rest[at] or caught[end - 1]
            turnover[end - 1] += 1
        at = stop
    return Positions(held, caught, turnover)


def directions(
    probability: Array, *, enter: float | Array, exit: float | Array, allow_short: bool = False
) -> Array:
    """Return the direction wanted after each decision, -1, 0 or 1, starting from no position.

    The rule is the strategy's own: enter and exit are its thresholds, one for all decisions or for
    each its own; NaN keeps what is held.
    """
    levels = [np.broadcast_to(one, len(probability)).tolist() for one in (enter, exit)]
    # A loop, as what is held decides with what is wanted next.
    held, wanted = 0, []
    for forecast, to_enter, to_keep in zip(probability.tolist(), *levels, strict=True):
        held = target(forecast, held, enter=to_enter, exit=to_keep, allow_short=allow_short)
        wanted.append(held)
    return np.array(wanted, dtype=np.float64)


def open_returns(bars: pd.DataFrame) -> Array:
    """Return what holding earns from the open after each bar to the open after that.

    This is the trade of a decision at the bar's close, which fills at the next open; NaN for the
    last two bars, whose trade is not over. At the open of a bar that repeats another nothing fills:
    the next one takes its place.
    """
    traded = bars["open"].where(~repeated_rows(bars))
    opened = traded.bfill().fillna(bars["open"]).to_numpy(dtype=float)
    moves = np.full(len(opened), np.nan)
    moves[:-2] = opened[2:] / opened[1:-1] - 1
    return moves


def fill_moves(bars: pd.DataFrame) -> dict[str, Array]:
    """Return what holding for one bar earns by where an order fills, at each bar's decision: (n,).

    open: of the next bar, as orders do; close: the one decided at; middle: halfway between high
    and low of the next bar; later: the open one bar later. NaN where the trade is not over.
    """
    close, middle = bars["close"], (bars["high"] + bars["low"]) / 2
    moves = {
        "open": pd.Series(open_returns(bars)),
        "close": close.shift(-1) / close - 1,
        "middle": middle.shift(-2) / middle.shift(-1) - 1,
        "later": bars["open"].shift(-3) / bars["open"].shift(-2) - 1,
    }
    return {fill: move.to_numpy() for fill, move in moves.items()}


def timing_gains(held: Array, moves: Array) -> Array:
    """Return (held - its mean) times (move - its mean): (n,), (n,).

    Their mean is what timing gains beside a constant position of the same mean: covariance, which
    a position that follows volatility alone has too, where volatility and drift hang together.
    """
    # The last moves of a history are not over, and a name may have none on these dates.
    over = np.isfinite(moves)
    mean = np.nanmean(moves) if over.any() else 0.0
    return np.where(over, (held - held.mean()) * (moves - mean), 0.0)


def net_returns(wanted: Array, moves: Array, cost: float = 0.0) -> Array:
    """Return direction times move, less `cost` per unit by which the position changes.

    wanted: (..., n) directions. moves: (n,) returns of holding. cost: a fraction per side. Before
    the first decision there is no position.
    """
    changed = np.abs(np.diff(wanted, axis=-1, prepend=0.0))
    earned: Array = wanted * moves - cost * changed
    return earned
