"""Intervals: the usual spacing of timestamps, and how many bars a year of the market has.

Here too: which spacings cannot be those of one market.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EARLIEST = int(np.iinfo(np.int64).min)  # before every timestamp: also what a missing one counts as
DAY = pd.Timedelta(days=1)
YEAR = pd.Timedelta(days=365.25)
UNITS = {unit: pd.Timedelta(1, unit) for unit in ("day", "hour", "minute", "second")}
LARGEST_COUNT = 100  # of a smaller unit than days, in words
RECURRING = 20  # a spacing that occurs so often belongs to the file; a rarer one is an accident
WEEKS_OF_A_YEAR = 52


def bar_interval(index: pd.DatetimeIndex) -> pd.Timedelta:
    """Return the usual spacing.

    The commonest one, so that nights, weekends and missing bars do not count.
    """
    if len(index) < 2:
        raise ValueError(
            f"the bar interval needs at least 2 bars, got {len(index)}. Give more bars."
        )
    # An index may count in seconds; Timedelta below is told nanoseconds.
    spacings, counts = np.unique(np.diff(index.as_unit("ns").asi8), return_counts=True)
    return pd.Timedelta(int(spacings[counts.argmax()]), unit="ns")


def bars_per_year(index: pd.DatetimeIndex) -> float:
    """Return how many bars a year of this market has, inferred from the stamps.

    252 for days, 365 where weekends trade; 52, 12, 4 or 1 for longer bars; within the day the bars
    of a usual week or session times 52 weeks around the clock, or 252 sessions of an exchange.
    """
    interval = bar_interval(index)
    if interval >= 1.5 * DAY:
        return float(max(1, round(YEAR / interval)))
    # Saturdays that trade like any day; an evening on Sunday does not make a market trade weekends.
    if (index.day_of_week == 5).mean() > 0.1:
        return 365 * max(1.0, round(DAY / interval))
    if interval > 0.8 * DAY:
        return 252.0
    # Currencies and futures fill more than 100 of a week's 120 working hours.
    # Weeks from Sunday to Saturday, so that an opening on Sunday evening counts to the coming week.
    weekly = _usual_count(index.to_period("W-SAT"))
    if weekly * interval > pd.Timedelta(hours=100):
        return weekly * WEEKS_OF_A_YEAR
    return session_bars(index) * 252


def yearly_bars(bars: pd.DataFrame) -> float:
    """Return the bars of a year, as the user states them in `bars.attrs` or the timestamps show."""
    stated = bars.attrs.get("bars_per_year")
    return float(stated) if stated else bars_per_year(pd.DatetimeIndex(bars.index))


def session_bars(index: pd.DatetimeIndex) -> float:
    """Return how many bars a usual day of trading has."""
    return _usual_count(index.to_period("D"))


def _usual_count(periods: pd.PeriodIndex) -> float:
    return float(np.median(np.unique(periods.asi8, return_counts=True)[1]))


class Change(NamedTuple):
    """A place where the bars' spacing becomes another one for good."""

    position: int
    before: pd.Timedelta
    after: pd.Timedelta


def spacing_change(index: pd.DatetimeIndex) -> Change | None:
    """Return where two frequencies were pasted together, or None.

    A stretch is of another frequency if at least 20 spacings in a row are all nearly twice the
    finest recurring one, or more, and most of them equal. Holidays and thin trading are irregular
    and do not look so.
    """
    spacings = np.diff(index.as_unit("ns").asi8)
    values, counts = np.unique(spacings, return_counts=True)
    finest = values[counts >= RECURRING].min(initial=np.iinfo(np.int64).max)
    for start, stop in _runs(spacings >= 1.9 * finest):
        length, common = stop - start, np.unique(spacings[start:stop], return_counts=True)
        if length >= RECURRING and common[1].max() >= 0.6 * length:
            coarse, fine = (
                pd.Timedelta(int(common[0][common[1].argmax()]), unit="ns"),
                pd.Timedelta(int(finest), unit="ns"),
            )
            return Change(start, fine, coarse) if start else Change(stop, coarse, fine)
    return None


def _runs(wrong: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last-plus-one of each stretch of True."""
    # False at both ends gives a stretch that touches an end of the file its edge too.
    edges = np.flatnonzero(np.diff(np.r_[False, wrong, False].astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def unchanged_stretches(
    closes: NDArray[np.float64], flat: NDArray[np.bool_], shortest: int
) -> list[tuple[int, int]]:
    """Return stretches [first, stop) of at least `shortest` flat bars with one and the same close.

    flat: whether a bar has but one price.
    """
    same = np.r_[False, (closes[1:] == closes[:-1]) & flat[1:] & flat[:-1]]
    return [(start - 1, stop) for start, stop in _runs(same) if stop - start + 1 >= shortest]


def spoken(span: pd.Timedelta) -> str:
    """Return a span in words, bars' intervals exactly: "1 day", "90 minutes", "6 hours 30 minutes".

    From two years on it is rounded.
    """
    if span >= 2 * YEAR:
        return f"{span / YEAR:.1f}".removesuffix(".0") + " years"
    whole = next(
        ((span // length, unit) for unit, length in UNITS.items() if not span % length),
        (LARGEST_COUNT, ""),
    )
    if whole[0] < LARGEST_COUNT or whole[1] == "day":
        return _counted(*whole)
    parts = []
    for unit, length in UNITS.items():
        number, span = divmod(span, length)
        parts += [_counted(number, unit)] if number else []
    return " ".join(parts[:2]) or f"{span.total_seconds():g} seconds"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" + "s" * (number != 1)
