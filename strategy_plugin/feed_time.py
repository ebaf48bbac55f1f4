"""Backtrader's stamps and ours: floats that count days since the year 1, and whole nanoseconds since 1970."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.bars.intervals import EARLIEST

EPOCH = 719_163.0  # 1970-01-01 as Backtrader's day number
NANOSECONDS_A_DAY = 86_400_000_000_000
# A day number of today resolves some 10 microseconds. Rounding to tenths of a millisecond gives back every stamp that was
# written in whole milliseconds, so that a calendar feature is the same here and in training.
STEPS_A_DAY = 864_000_000
NANOSECONDS_A_STEP = NANOSECONDS_A_DAY // STEPS_A_DAY


def nanoseconds(day_number: float) -> int:
    """Return the stamp of a day number, EARLIEST for none."""
    if not math.isfinite(day_number):
        return EARLIEST
    return round((day_number - EPOCH) * STEPS_A_DAY) * NANOSECONDS_A_STEP


def nanoseconds_of(day_numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the stamps of many day numbers, each as `nanoseconds` gives it."""
    known = np.isfinite(day_numbers)
    steps = np.rint((np.where(known, day_numbers, EPOCH) - EPOCH) * STEPS_A_DAY).astype(np.int64)
    return np.where(known, steps * NANOSECONDS_A_STEP, EARLIEST)


class Clock(NamedTuple):
    """From a host's stamps to those that training would have given the same bars, in nanoseconds.

    grid: where it is not 0, a bar counts from the multiple of it that its stamp, `back` earlier, lies above; then `shift`
    is added. Dates are a grid of whole days: Backtrader's readers stamp a daily bar 23:59:59.99999, files and DataFrames
    have its date. Replayed bars carry the stamp of their last part, resampled ones that of their end.
    """

    grid: int = 0
    back: int = 0
    shift: int = 0

    def served(self, day_number: float) -> int:
        """Return the stamp of a day number, EARLIEST for none."""
        if self.grid == NANOSECONDS_A_DAY and math.isfinite(day_number):
            return (
                math.floor(day_number) - int(EPOCH)
            ) * NANOSECONDS_A_DAY  # exact where rounding would reach the next day
        stamp = nanoseconds(day_number)
        if stamp == EARLIEST:
            return stamp
        return (
            (stamp - self.back) // self.grid * self.grid + self.shift
            if self.grid
            else stamp + self.shift
        )

    def served_of(self, day_numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the stamps of many day numbers, each as `served` gives it."""
        stamps = nanoseconds_of(day_numbers)
        known = stamps != EARLIEST
        if self.grid == NANOSECONDS_A_DAY:
            served = (np.floor(np.where(known, day_numbers, EPOCH)) - EPOCH).astype(
                np.int64
            ) * NANOSECONDS_A_DAY
        elif self.grid:
            served = (np.where(known, stamps, 0) - self.back) // self.grid * self.grid + self.shift
        else:
            served = np.where(known, stamps, 0) + self.shift
        return np.where(known, served, EARLIEST)


def clock_of(
    *, interval: int, whole_days: bool, trained: str, shown: str, resampled: bool, replayed: bool
) -> Clock:
    """Return the clock of a feed: `trained` and `shown` say whether a stamp is a bar's "open" or "close"; "" for `shown`
    is like training, but "close" where Backtrader resampled."""
    if whole_days:
        return Clock(grid=NANOSECONDS_A_DAY)
    shown = shown or ("close" if resampled and not replayed else trained)
    if replayed:
        return Clock(
            grid=interval, back=int(shown == "close"), shift=interval if trained == "close" else 0
        )
    return Clock(shift=((trained == "close") - (shown == "close")) * interval)
