"""Positions as plain arrays.

From probabilities to directions, and from directions to what they earn, without a broker.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy_plugin.decision import target

Array = NDArray[np.float64]


def directions(
    probability: Array, *, enter: float, exit: float, allow_short: bool = False
) -> Array:
    """Return -1, 0 or 1 for each decision, by the rule that the strategy trades by, starting from
    no position.
    """
    held, wanted = 0, []
    for said in probability.tolist():
        held = target(said, held, enter=enter, exit=exit, allow_short=allow_short)
        wanted.append(held)
    return np.array(wanted, dtype=np.float64)


def open_returns(bars: pd.DataFrame) -> Array:
    """Return, for the decision at each bar's close, the market's move from the next open to the one
    after; NaN where not known.
    """
    opened = bars["open"].to_numpy(dtype=float)
    moves = np.full(len(opened), np.nan)
    moves[:-2] = opened[2:] / opened[1:-1] - 1
    return moves


def net_returns(wanted: Array, moves: Array, cost: float = 0.0) -> Array:
    """Return what each decision earns.

    Its direction times the move, less `cost` per unit of position changed.

    wanted: (..., n) directions, moves: (n,), cost: a fraction per side. The position before the
    first decision is none.
    """
    changed = np.abs(np.diff(wanted, axis=-1, prepend=0.0))
    earned: Array = wanted * moves - cost * changed
    return earned


def n_entries(wanted: Array) -> int:
    """Count the round trips begun: changes to a position other than none."""
    return int(((np.diff(wanted, prepend=0.0) != 0) & (wanted != 0)).sum())
