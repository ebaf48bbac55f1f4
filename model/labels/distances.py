"""How far a stop lies from its entry: percent of the price, or average true ranges."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ATR_BARS = 14  # true ranges in the average
UNITS = ("%", "atr")

Price = TypeVar("Price", float, NDArray[np.float64])


class Distance(NamedTuple):
    """How far from the entry: percent of its price, or average true ranges."""

    amount: float
    unit: str

    def in_price(self, price: Price, atr: Price) -> Price:
        return self.amount * (price / 100 if self.unit == "%" else atr)


def distance(name: str, text: str) -> Distance | None:
    """Return the distance that a setting asks for, "" for none or like "3%" or "2atr".

    Raises ValueError for other words, and for a stop at or below a price of 0.
    """
    if not text:
        return None
    found = None
    for unit in UNITS:
        if text.endswith(unit):
            try:
                found = Distance(float(text.removesuffix(unit)), unit)
            except ValueError:
                break
    if found is None or not 0 < found.amount < math.inf:
        raise ValueError(
            f"`{name}` must be a number above 0 with its unit, like '3%' or '2atr', got {text!r}."
        )
    if name != "take_profit" and found.unit == "%" and found.amount >= 100:
        raise ValueError(f"`{name}` must be less than 100%, got {text!r}: no price lies below 0.")
    return found


def average_true_range(bars: Sequence[tuple[float, float, float]]) -> float:
    """Return the mean of the last 14 true ranges of (high, low, close); NaN where they are fewer.

    A bar's true range reaches from its low to its high, and to the close before where that lies
    outside; the first bar has none. Source: Wilder, New Concepts in Technical Trading Systems
    (1978), there with smoothing, here as a plain mean.
    """
    ranges = [
        max(high, before) - min(low, before)
        for (_, _, before), (high, low, _) in pairwise(bars[-ATR_BARS - 1 :])
    ]
    return math.fsum(ranges) / ATR_BARS if len(ranges) == ATR_BARS else math.nan


def average_true_ranges(bars: pd.DataFrame) -> NDArray[np.float64]:
    """Return `average_true_range` at each bar, to the last bit: (n,), NaN for the first 14."""
    high, low, close = (bars[name].to_numpy(np.float64) for name in ("high", "low", "close"))
    spans = np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])
    ranges, means = spans.tolist(), np.full(len(bars), np.nan)
    # Summed as the strategy sums: a stop a hair further off may be reached or not.
    means[ATR_BARS:] = [
        math.fsum(ranges[last - ATR_BARS : last]) / ATR_BARS
        for last in range(ATR_BARS, len(ranges) + 1)
    ]
    return means
