"""The arithmetic of size: units for a share of the account, and the room under a cap on exposure. Pure functions."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def units_of(share: float, *, equity: float, traded: int, worth: float, fractional: bool) -> float:
    """Return the units that an even part of a share of the equity buys; 0 where a figure is missing or makes no sense."""
    if not worth > 0:
        return 0.0
    units = share * equity / traded / worth
    if not 0 < units < math.inf:
        return 0.0
    return units if fractional else float(math.floor(units))


def varying_share(share: float, volatility: float, closes: Sequence[float]) -> float:
    """Return at most `share`, less where the closes vary by more than `volatility` a bar; 0 where that cannot be told."""
    moves = _moves(closes)
    if not len(moves):
        return 0.0
    varies = float(np.std(moves))
    return min(share, volatility / varies) if varies > 0 else share


def kelly_share(probability: float, cost: float, closes: Sequence[float]) -> float:
    """Return Kelly's share of the equity, the mean net return a bar over its mean square; 0 where it is not above 0.

    probability: that the direction is right. cost: a fraction a bar. The mean size and the mean square of a move are those
    of the closes. Sources: Kelly (1956); Thorp, The Kelly criterion in blackjack, sports betting and the stock market (2006).
    """
    moves = _moves(closes)
    if not len(moves):
        return 0.0
    square = float(np.mean(moves**2))
    earned = (2 * probability - 1) * float(np.mean(np.abs(moves))) - cost
    return (
        earned / square if earned > 0 and square > 0 else 0.0
    )  # NaN too: what is not known is not worth a position


def _moves(closes: Sequence[float]) -> NDArray[np.float64]:
    """Return the log returns from close to close; none where one of the closes is no price."""
    prices = np.array(closes, dtype=np.float64)
    return np.diff(np.log(prices)) if ((prices > 0) & np.isfinite(prices)).all() else np.array([])


def room_of(cap: float, *, equity: float, others: float, worth: float) -> float:
    """Return the units that a cap on exposure over equity leaves, where other positions have theirs."""
    return max(0.0, (cap * equity - others) / worth) if worth > 0 else 0.0
