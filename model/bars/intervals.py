"""Intervals: the usual spacing of timestamps, bars a year, and spacings that no market has.

And how a timestamp and a span are written, in messages and tables.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EARLIEST = int(np.iinfo(np.int64).min)  # before every timestamp: also what a missing one counts as
DAY = pd.Timedelta(days=1)
YEAR = pd.Timedelta(days=365.25)
UNITS = {unit: pd.Timedelta(1, unit) for unit in ("day", "hour", "minute", "second")}
# Calendar months, quarters and years are one spacing each, whether by their first day, their last
# or a working day: the days that one may have, and what it counts as.
CALENDAR = (
    ("1 month", 27, 34, YEAR / 12),
    ("3 months", 87, 96, YEAR / 4),
    ("6 months", 178, 187, YEAR / 2),
    ("1 year", 362, 369, YEAR),
)
CALENDAR_SPACINGS = frozenset(usual.value for *_, usual in CALENDAR)
FEWEST_OF_CALENDAR = 5
LARGEST_COUNT = 100  # of a smaller unit than days, in words
RECURRING = 20  # a spacing that occurs so often belongs to the file; a rarer one is an accident
WEEKS_OF_A_YEAR = 52
FEWEST_JUDGED = 100  # bars of which the commonest spacing says something
COMMON = 1 / 3  # share of the commonest spacing that makes it the usual one
# Or as many are multiples of it and it is the distance of so many: minutes that seldom trade.
GRID_SHARE, LEAST_ON_GRID = 0.9, 0.05


def bar_interval(index: pd.DatetimeIndex) -> pd.Timedelta:
    """Return the usual spacing of timestamps.

    It is the commonest one, so that nights, weekends and missing bars do not count. ValueError
    where there are fewer than 2 bars.
    """
    if len(index) < 2:
        raise ValueError(
            f"the bar interval needs at least 2 bars, got {len(index)}. Give more bars."
        )
    # An index may count in seconds; Timedelta below is told nanoseconds.
    spacings, counts = np.unique(np.diff(index.as_unit("ns").asi8), return_counts=True)
    return pd.Timedelta(int(spacings[counts.argmax()]), unit="ns")


def no_usual_spacing(index: pd.DatetimeIndex) -> str:
    """Return why timestamps have no usual spacing, "" where they have one or are too few to tell.

    They have one if it is common, or if it is the step of a grid on which few bars are missing or
    many. Bars that end with a volume, a number of trades or a move of the price have neither: a
    model of one part would find the next to be of another frequency.
    """
    if len(index) < FEWEST_JUDGED:
        return ""
    # Months, quarters and years have days of different numbers.
    spacings = calendar_spacings(np.diff(index.as_unit("ns").asi8))
    values, counts = np.unique(spacings, return_counts=True)
    usual = pd.Timedelta(int(values[counts.argmax()]), unit="ns")
    share = float(counts.max() / len(spacings))
    on_grid = float((spacings % usual.value == 0).mean())
    if share >= COMMON or (share >= LEAST_ON_GRID and on_grid >= GRID_SHARE):
        return ""
    return (
        f"the commonest, {spoken(usual)}, is that of {share:.1%} of them, "
        f"and {on_grid:.1%} are multiples of it"
    )


def bars_per_year(index: pd.DatetimeIndex) -> float:
    """Return how many bars a year of this market has, inferred from the timestamps.

    252 for days, 365 where weekends trade; 52, 12, 4 or 1 for longer bars. Within the day the bars
    of a usual week times 52 where trading goes around the clock, else those of a usual session
    times 252.
    """
    interval = bar_interval(index)
    if interval >= 1.5 * DAY:
        return float(max(1, round(YEAR / interval)))
    # Saturdays that trade like any day; an evening on Sunday does not make a market trade weekends.
    if (index.day_of_week == 5).mean() > 0.1:
        return 365 * max(1.0, round(DAY / interval))
    if interval > 0.8 * DAY:
        return 252.0
    # Currencies and futures fill more than 100 of a week's 120 working hours. A week of theirs
    # begins on Sunday evening.
    weekly = _usual_count(index.to_period("W-SAT"))
    if weekly * interval > pd.Timedelta(hours=100):
        return weekly * WEEKS_OF_A_YEAR
    return session_bars(index) * 252


def yearly_bars(bars: pd.DataFrame) -> float:
    """Return the bars of a year, as the user states them in `bars.attrs` or the timestamps show."""
    stated = bars.attrs.get("bars_per_year")
    return float(stated) if stated else bars_per_year(pd.DatetimeIndex(bars.index))


def session_bars(index: pd.DatetimeIndex) -> float:
    return _usual_count(index.to_period("D"))


def hour_shares(index: pd.DatetimeIndex) -> tuple[float, ...] | None:
    """Return the share of the timestamps in each hour of the day, (24,).

    None for bars of a day or longer: their time of day says nothing.
    """
    if bar_interval(index) >= DAY:
        return None
    return tuple((np.bincount(index.hour, minlength=24) / len(index)).tolist())


def _usual_count(periods: pd.PeriodIndex) -> float:
    # The median, which a holiday or a first day that is not whole does not move.
    return float(np.median(np.unique(periods.asi8, return_counts=True)[1]))


class SpacingChange(NamedTuple):
    """A place where the bars' spacing becomes another one for good."""

    position: int
    before: pd.Timedelta
    after: pd.Timedelta


def spacing_change(index: pd.DatetimeIndex) -> SpacingChange | None:
    """Return where two frequencies were pasted together, or None.

    A stretch is of another frequency if at least 20 spacings in a row are all nearly twice the
    finest recurring one, or more, and most of them equal. Holidays and thin trading are irregular
    and do not look so.
    """
    spacings = calendar_spacings(np.diff(index.as_unit("ns").asi8))
    values, counts = np.unique(spacings, return_counts=True)
    finest = values[counts >= RECURRING].min(initial=np.iinfo(np.int64).max)
    for start, stop in _runs(spacings >= 1.9 * finest):
        values, counts = np.unique(spacings[start:stop], return_counts=True)
        # A few months in a row are no accident, as a few thin days would be.
        of_calendar = values[counts.argmax()] in CALENDAR_SPACINGS
        fewest = FEWEST_OF_CALENDAR if of_calendar else RECURRING
        if stop - start >= fewest and counts.max() >= 0.6 * (stop - start):
            coarse = pd.Timedelta(int(values[counts.argmax()]), unit="ns")
            fine = pd.Timedelta(int(finest), unit="ns")
            # A file that begins with the coarse bars changes where they end.
            if start:
                return SpacingChange(start, fine, coarse)
            return SpacingChange(stop, coarse, fine)
    return None


def calendar_spacings(spacings: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return spacings in nanoseconds, those of calendar months, quarters and years as one each."""
    days = spacings / DAY.value
    for _, shortest, longest, usual in CALENDAR:
        spacings = np.where((days >= shortest) & (days <= longest), usual.value, spacings)
    return spacings


def _runs(wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the stretches of True as [first, stop)."""
    edges = np.flatnonzero(np.diff(np.r_[False, wanted, False].astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def unchanged_stretches(
    closes: NDArray[np.float64], flat: NDArray[np.bool_], shortest: int
) -> list[tuple[int, int]]:
    """Return stretches [first, stop) of at least `shortest` flat bars with one and the same close.

    flat: whether a bar has but one price.
    """
    same = np.r_[False, (closes[1:] == closes[:-1]) & flat[1:] & flat[:-1]]
    # A run counts the bars that equal the one before; the first of them belongs to it too.
    return [(start - 1, stop) for start, stop in _runs(same) if stop - start + 1 >= shortest]


def spoken(span: pd.Timedelta) -> str:
    """Return a span in words: "1 day", "90 minutes", "6 hours 30 minutes", "2.5 years".

    What an interval of bars can be is exact; from two years on it is rounded.
    """
    for words, _, _, usual in CALENDAR:
        if span == usual:
            return words
    if span >= 2 * YEAR:
        return f"{span / YEAR:.1f}".removesuffix(".0") + " years"
    # One unit where a whole number of it says all: 90 minutes, but not 100,000 of them.
    for unit, length in UNITS.items():
        if not span % length:
            number = span // length
            if number < LARGEST_COUNT or unit == "day":
                return _counted(number, unit)
            break
    parts = []
    for unit, length in UNITS.items():
        number, span = divmod(span, length)
        parts += [_counted(number, unit)] if number else []
    return " ".join(parts[:2]) or _counted(span.total_seconds(), "second")


def _counted(number: float, unit: str) -> str:
    return f"{number:.15g} {unit}" + "s" * (number != 1)


def day(timestamp: date | np.datetime64 | str | float) -> str:
    """Return a timestamp as a reader writes it: "2015-01-19" or "2015-01-19 09:30:00".

    A midnight is taken for the date of a daily bar.
    """
    return str(pd.Timestamp(timestamp)).removesuffix(" 00:00:00")
