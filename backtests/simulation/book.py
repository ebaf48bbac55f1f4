"""A paper book over a universe: what weights on many instruments earn after costs, date by date.

Vectorised, without a broker: weights are taken anew at every date as shares of the money, whole
units and margin are not looked at, and what a position gains is not put in again.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.simulation.vectorised import Array, net_returns, timing_gains
from strategy_plugin.weights import BookRules, target_weights

SHARE = 0.2  # of the instruments of a date that are held long, and as many short


def rank_weights(scores: Array, share: float = SHARE) -> Array:
    """Return the weights of a book that is long the best and short the worst of each date.

    Each side holds the share of the names that have a score, at least one, in equal weights that
    sum to one half; names tied at the border are left out, and a date on which a side would be
    empty holds nothing. scores: (dates, names), NaN where there is none. Returns (dates, names).
    """
    table = pd.DataFrame(scores)
    names = table.notna().sum(axis=1).to_numpy()[:, None]
    held = np.maximum(np.floor(share * names + 1e-9), 1)  # .2 * 5 is 1
    # So many names lie below, and above: whatever their order, equal scores are treated alike.
    below = table.rank(axis=1, method="min").to_numpy() - 1
    above = names - table.rank(axis=1, method="max").to_numpy()
    # NaN compares with nothing, and is held on no side.
    best, worst = (others >= names - held for others in (below, above))
    n_best, n_worst = (side.sum(axis=1, keepdims=True) for side in (best, worst))
    whole = (n_best > 0) & (n_worst > 0) & (names > 1)
    longs, shorts = (
        np.divide(side, 2.0 * n, out=np.zeros(table.shape), where=whole & (n > 0))
        for side, n in ((best, n_best), (worst, n_worst))
    )
    return np.asarray(longs - shorts)


def kept_weights(
    scores: Array,
    rules: BookRules,
    rebalance: int = 1,
    volatility: Array | None = None,
    settle_after: int | None = None,
) -> Array:
    """Return the weights of a book that keeps what it holds within a band of ranks.

    The rule is BookStrategy's own; every `rebalance` dates the names are ranked, and between them
    weights stay. scores: (dates, names), the names in order, NaN where there is none. volatility:
    (dates, names), for weights by its inverse. settle_after: dates without a score after which a
    name is let go; None keeps it. Returns (dates, names).
    """
    weights, last, since = np.zeros(scores.shape), dict[str, float](), rebalance
    names = [f"{place:09d}" for place in range(scores.shape[1])]  # equal scores go by name
    missed = np.zeros(scores.shape[1], dtype=int)
    for row, values in enumerate(scores):
        missed = np.where(np.isfinite(values), 0, missed + 1)
        # One that has ended would keep the place of another for good.
        for place in np.flatnonzero(missed == settle_after):
            last.pop(names[place], None)
        since += 1
        if since >= rebalance:
            ranked = np.flatnonzero(np.isfinite(values))
            found = target_weights(
                {names[place]: float(values[place]) for place in ranked},
                last,
                rules,
                volatility=None
                if volatility is None
                else {names[place]: float(volatility[row, place]) for place in ranked},
            )
            # Too few to rank: the book stays, and the next date is due as well.
            if found is not None:
                last, since = {**last, **found}, 0
        weights[row, [int(name) for name in last]] = list(last.values())
    return weights


def equal_parts(held: Array, decided: NDArray[np.bool_]) -> Array:
    """Return the weights of directions in equal parts of all names that decide at a date.

    held: (dates, names) of -1, 0 or 1. decided: which of them decide: (dates, names).
    """
    names = decided.sum(axis=1, keepdims=True)
    weights = np.zeros(held.shape)
    np.divide(held, names, out=weights, where=decided)
    return weights


def book_returns(weights: Array, moves: Array, cost: float = 0.0) -> Array:
    """Return what a book earns after each date, less the cost of what it changes: (dates,).

    weights, moves: (dates, names); a move that is not known, NaN, earns nothing. cost: a fraction
    per side.
    """
    return np.asarray(net_returns(weights.T, np.nan_to_num(moves).T, cost).sum(axis=0))


def book_timing(weights: Array, moves: Array) -> Array:
    """Return what the timing of each name's weight gains, all names together: (dates,).

    weights, moves: (dates, names).
    """
    gains = [timing_gains(held, move) for held, move in zip(weights.T, moves.T, strict=True)]
    return np.asarray(np.sum(gains, axis=0))


def turnover(weights: Array) -> float:
    """Return how much of the money changes hands per date, both sides counted."""
    return float(np.abs(np.diff(weights, axis=0, prepend=0.0)).sum(axis=1).mean())
