"""Backtrader's stamps and ours: floats that count days since the year 1, and whole nanoseconds since 1970."""
import math

import numpy as np
from numpy.typing import NDArray

EPOCH = 719_163.0  # 1970-01-01 as Backtrader's day number
NANOSECONDS_A_DAY = 86_400_000_000_000
# A day number of today resolves some 10 microseconds. Rounding to tenths of a millisecond gives back every stamp that was
# written in whole milliseconds, so that a calendar feature is the same here and in training.
STEPS_A_DAY = 864_000_000
NANOSECONDS_A_STEP = NANOSECONDS_A_DAY // STEPS_A_DAY
EARLIEST = int(np.iinfo(np.int64).min)  # before every stamp: also what a missing one counts as


def nanoseconds(day_number: float, whole_days: bool = False) -> int:
    """Return the stamp of a day number, EARLIEST for none; with `whole_days` the midnight its day began with.

    Backtrader's own readers stamp a daily bar 23:59:59.99999, while files and DataFrames have its date.
    """
    if not math.isfinite(day_number):
        return EARLIEST
    if whole_days:
        return (math.floor(day_number) - int(EPOCH)) * NANOSECONDS_A_DAY
    return round((day_number - EPOCH) * STEPS_A_DAY) * NANOSECONDS_A_STEP


def nanoseconds_of(day_numbers: NDArray[np.float64], whole_days: bool = False) -> NDArray[np.int64]:
    """Return the stamps of many day numbers, each as `nanoseconds` gives it."""
    known = np.isfinite(day_numbers)
    days = np.where(known, day_numbers, EPOCH) - EPOCH
    if whole_days:
        stamps = np.floor(days).astype(np.int64) * NANOSECONDS_A_DAY
    else:
        stamps = np.rint(days * STEPS_A_DAY).astype(np.int64) * NANOSECONDS_A_STEP
    return np.where(known, stamps, EARLIEST)
