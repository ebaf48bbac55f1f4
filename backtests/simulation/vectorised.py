"""Positions as plain arrays: from probabilities to directions to returns, without a broker."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.artefacts import repeated_rows
from strategy_plugin.decision import target

Array = NDArray[np.float64]


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


def n_entries(wanted: Array) -> int:
    """Count the round trips begun: changes to a position other than none."""
    return int(((np.diff(wanted, prepend=0.0) != 0) & (wanted != 0)).sum())
