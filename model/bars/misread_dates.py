"""Timestamps that whoever wrote them had misread: each is sound, and all of them prove it.

Days taken for months, epochs in a wrong unit, hours of a clock of twelve. Sorted by such times the
bars would be a shuffled market.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from model.bars.faults import Findings, Mask
from model.bars.intervals import DAY, bar_interval, day

FEWEST_DATES = 20  # of either kind, from which on a rule without an exception is no accident
MOST_AT_WEEKENDS = 0.1
FEWEST_DAYS, FEWEST_BARS, MOST_FALLS = 3, 3, 0.5  # days, bars of each, share of the days
# Seconds of today, taken for milliseconds or less, are in it: until 2054.
AFTER_FIRST_EPOCHS = pd.Timestamp("1970-02-01")


def judge_misread(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse timestamps that were misread; `rows` are in the order of the file."""
    known = rows[rows["timestamp"].notna()]
    index = pd.DatetimeIndex(known["timestamp"])
    if len(index) < FEWEST_DATES:
        return
    if index.min() >= pd.Timestamp(0) and index.max() < AFTER_FIRST_EPOCHS:
        if bar_interval(index.sort_values()) < DAY:
            findings.fault(
                f"all times lie in January 1970 (first {findings.locate(known.iloc[0])}): epochs "
                "that were read in a wrong unit? Give the numbers themselves, which are read by "
                "their size."
            )
    elif _days_are_months(index.normalize().unique()):
        first = known[(index.day <= 12) & (index.day != index.month)].iloc[0]
        findings.fault(
            f"day and month have changed places in all dates with a day up to 12 (first "
            f"{findings.locate(first)}): only so the dates are in order or on working days. Give "
            "the original file as it is."
        )
    elif (again := _falls_within_days(index)).any():
        later, before = known[again].iloc[0], known.iloc[int(again.argmax()) - 1]
        findings.fault(
            f"times of day fall back once within a day, on {again.sum()} days (first from "
            f"{findings.locate(before)} to {day(later['timestamp'])}): a clock of twelve hours, "
            "or an evening under the date of the next day? Write times of 24 hours and the date "
            "on which each bar was traded, or sort the rows if the times are right."
        )


def _days_are_months(dates: pd.DatetimeIndex) -> bool:
    """Return whether day and month have changed places wherever the day could be a month."""
    early = dates.day <= 12
    if (early & (dates.day != dates.month)).sum() < FEWEST_DATES or (~early).sum() < FEWEST_DATES:
        return False
    swapped = pd.to_datetime(
        {"year": dates.year, "month": dates.day, "day": dates.month}, errors="coerce"
    )
    meant = dates.where(~early, pd.DatetimeIndex(swapped))
    if _in_order(meant) and not _in_order(dates):
        return True
    weekend = dates.day_of_week >= 5
    return bool(
        weekend[early].mean() > MOST_AT_WEEKENDS
        and not weekend[~early].any()
        and not (meant.day_of_week >= 5).any()
    )


def _in_order(dates: pd.DatetimeIndex) -> bool:
    return dates.is_monotonic_increasing or dates.is_monotonic_decreasing


def _falls_within_days(index: pd.DatetimeIndex) -> Mask:
    """Return which rows are earlier than the row before, if most days have just one such row.

    Days whose rows stand newest first have more, days in order none.
    """
    days = index.normalize().to_numpy()
    falls = np.r_[False, (np.diff(index.asi8) < 0) & (days[1:] == days[:-1])]
    numbers = pd.Series(falls).groupby(days).agg(["sum", "size"])
    long = numbers.loc[numbers["size"] >= FEWEST_BARS, "sum"]
    once = (long == 1).sum() >= max(FEWEST_DAYS, MOST_FALLS * len(numbers))
    return falls if once and (numbers["sum"] <= 1).all() else np.zeros_like(falls)
