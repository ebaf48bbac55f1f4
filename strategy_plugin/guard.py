"""Which bars a model and a broker may see: a bar at fault is kept out and counted, never repaired."""
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bars import bar_faults
from strategy_plugin.clock import EARLIEST, nanoseconds

LATE = "stamps must increase"

Bar = tuple[float, float, float, float, float]  # open, high, low, close, volume


class TradingWarning(UserWarning):
    """Something that whoever trades must know; each is said once."""


class Gate:
    """Admits the bars of one feed in the order of their numbers; `counts` holds the others by fault.

    The first bar tells whether the feed has volume: without one, every missing volume is 0; with one, it is a fault.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._no_volume: bool | None = None
        self._number = self._refused = 0
        self._stamp = self._floor = EARLIEST

    def admit(self, number: int, stamp: int, bar: Bar) -> Bar | None:
        """Return the bar as the model may see it, or None; the same number may come again with other values."""
        if self._no_volume is None:
            self._no_volume = bool(np.isnan(bar[4]))
        if self._no_volume and bar[4] != bar[4]:
            bar = (*bar[:4], 0.0)
        floor = self._stamp if number > self._number else self._floor
        fault = LATE if stamp <= floor else bar_fault(bar)
        if fault:
            self._count(number, fault)
            return None
        self._number, self._stamp, self._floor = number, stamp, floor
        return bar

    def _count(self, number: int, fault: str) -> None:
        if number != self._refused:  # hosts show one bar many times
            self.counts[fault] += 1
        self._refused = number


def bar_fault(bar: Bar) -> str:
    """Return what is wrong with a bar, the empty string for nothing."""
    open, high, low, close, volume = bar
    if 0 < low <= open <= high < np.inf and low <= close <= high and 0 <= volume < np.inf:
        return ""  # the usual bar costs a few comparisons; the rules with their tolerances have one home
    return next(iter(bar_faults(*bar)), "")


def clean_bars(
    values: NDArray[np.float64], stamps: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], Counter[str]]:
    """Return the values (n, 5) with a missing volume made 0, which bars a `Gate` would admit (n,), and its counts."""
    if len(values) and np.isnan(values[0, 4]):
        values = np.column_stack((values[:, :4], np.nan_to_num(values[:, 4])))
    open, high, low, close, volume = values.T
    clean = (0 < low) & (low <= open) & (open <= high) & (low <= close) & (close <= high) & (high < np.inf)
    clean &= (0 <= volume) & (volume < np.inf)
    faults = {index: fault for index in np.flatnonzero(~clean).tolist() if (fault := bar_fault(tuple(values[index].tolist())))}
    clean[:] = True
    clean[list(faults)] = False
    reached = np.maximum.accumulate(np.concatenate(([EARLIEST], np.where(clean, stamps, EARLIEST))))
    late = np.flatnonzero(stamps <= reached[:-1])
    clean[late] = False
    return values, clean, Counter((faults | dict.fromkeys(late.tolist(), LATE)).values())


class BarGuard:
    """A filter for a feed: `data.addfilter(BarGuard)`. Bars at fault reach neither strategy nor broker; `counts` has them.

    The strategy puts one before every live feed itself. A feed that is to be resampled gets it before the resampling.
    """

    def __init__(self, data: Any = None) -> None:
        self._gate = Gate()
        self._number = 0

    @property
    def counts(self) -> Counter[str]:
        return self._gate.counts

    def __call__(self, data: Any) -> bool:
        """Return True where the newest bar was taken away, as a Backtrader filter does."""
        self._number += 1
        bar = (data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0])
        if self._gate.admit(self._number, nanoseconds(data.datetime[0]), bar) is not None:
            return False
        data.backwards()
        return True
