"""Other series beside the bars of an instrument: what a checkpoint keeps of them, and their clocks.

A clock says when a bar is complete. Two series are joined by that, never by their timestamps: a
daily bar that is stamped by its date is not known on the morning of that date.
"""

import math
import re
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from msgspec import Meta, Struct
from numpy.typing import NDArray

from model.bars.intervals import CALENDAR, bar_interval, spoken
from model.errors import FeatureError, did_you_mean
from model.features.trailing import Array, Times

DAY, HOUR, MINUTE = 86_400_000_000_000, 3_600_000_000_000, 60_000_000_000
MONDAY = 4 * DAY  # 1970-01-05: weeks begin on Mondays
UNITS = {"W": 7 * DAY, "D": DAY, "h": HOUR, "min": MINUTE}
# The days of the longest month, quarter, half and year.
LONGEST = dict(zip((usual.value for *_, usual in CALENDAR), (31, 92, 184, 366), strict=True))
OWN = "self"  # what the instrument's own slower bars are called
UNIVERSE = "universe"  # and what its place among the others is
TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
Moments = NDArray[np.int64]  # nanoseconds since 1970

Word = Annotated[str, Meta(pattern=r"^[^\s:,@]{1,100}$")]


class Clock(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the bars of a series are complete.

    interval: in seconds. stamp: which end of a bar its timestamp marks. dates: whether timestamps
    are dates; a bar is then complete when the date ends in the `zone`, or at `closes` on it. zone:
    of dates; that of times is UTC. None where it is not known: then it is that of what it is joined
    with.
    """

    interval: Annotated[int, Meta(ge=1, le=10**9)]
    stamp: Literal["open", "close"]
    dates: bool
    zone: str | None
    closes: Annotated[str, Meta(pattern=r"^([01]\d:[0-5]\d|2[0-3]:[0-5]\d)?$")] = ""

    @classmethod
    def of(cls, bars: pd.DataFrame, words: str = "") -> Self:
        """Return the clock of bars as `read_bars` gives them.

        words: what a user says of dates, a zone or a time and a zone, as "16:00 America/New_York".
        Raises FeatureError for other words.
        """
        index = pd.DatetimeIndex(bars.index)
        dates = bool((index == index.normalize()).all()) and bar_interval(index) >= pd.Timedelta(
            1, "D"
        )
        closes, zone = clock_words(words)
        if not dates and (closes or (zone and bars.attrs.get("timezone") is None)):
            raise FeatureError(
                f"{words!r} must be said of dates alone, got bars within the day, whose times say "
                "when they end. Leave it out; the zone of such times is the `timezone` of their "
                "reading."
            )
        stamp: Literal["open", "close"] = "close" if bars.attrs.get("stamp") == "close" else "open"
        return cls(
            interval=max(1, int(bar_interval(index).total_seconds())),
            stamp=stamp,
            dates=dates,
            zone=(dates and zone) or bars.attrs.get("timezone"),
            closes=closes if dates else "",
        )

    def ends(self, timestamps: Moments) -> Moments:
        """Return where bars end by their own clock, dates by the midnight after: (n,) -> (n,)."""
        interval = self.interval * 1_000_000_000
        if not self.dates:
            return timestamps + interval * (self.stamp == "open")
        # A month has days of different numbers: counted as the longest, it is never early.
        days = LONGEST.get(_calendar(interval), interval // DAY)
        return timestamps + DAY * (max(1, days) if self.stamp == "open" else 1)

    def known(self, timestamps: Moments) -> Moments:
        """Return the moments at which bars are complete, in UTC where the zone is known: (n,)."""
        ends = self.ends(timestamps)
        if not self.dates:
            return ends
        if self.closes:
            hours, minutes = map(int, self.closes.split(":"))
            ends = ends - DAY + hours * HOUR + minutes * MINUTE
        if self.zone in (None, "UTC"):
            return ends
        local = pd.DatetimeIndex(ends.view("datetime64[ns]"))
        # Of an hour that happens twice the later one, which is never early.
        later = np.zeros(len(local), dtype=np.bool_)
        return local.tz_localize(self.zone, ambiguous=later, nonexistent="shift_forward").asi8


def _calendar(interval: int) -> int:
    """Return a spacing of a month, a quarter or a year as the usual one, any other as it is."""
    for _, shortest, longest, usual in CALENDAR:
        if shortest * DAY <= interval <= longest * DAY:
            return usual.value
    return interval


class SeriesRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a checkpoint keeps of another series.

    every: of slower bars of the instrument itself, as "1W"; "" of a series with bars of its own.
    columns: those of our features that are taken of it; of "universe" as rank(ret_z_5), the place
    of an instrument among all, or mean(ret_z_5), their mean.
    """

    name: Word
    every: Annotated[str, Meta(pattern=r"^(\d{1,4}(W|D|h|min))?$")]
    columns: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=1_000)]
    clock: Clock

    @property
    def interval(self) -> int:
        """How long its bars are, in nanoseconds."""
        return period(self.every) if self.every else self.clock.interval * 1_000_000_000

    @property
    def title(self) -> str:
        """How messages and columns call it: spy, or self:1W."""
        return f"{self.name}:{self.every}" if self.every else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """The columns as they stand beside those of the instrument: spy:ret_z_5."""
        return tuple(f"{self.title}:{column}" for column in self.columns)


class ContextRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a checkpoint keeps of all other series.

    clock: of the instrument's own bars. max_age: the days by which the newest bar of a series may
    be older than one of its intervals; beyond there is no forecast.
    """

    clock: Clock
    max_age: Annotated[float, Meta(ge=0, le=1e6)]
    series: Annotated[tuple[SeriesRecord, ...], Meta(min_length=1, max_length=100)]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in order."""
        return tuple(name for series in self.series for name in series.names)

    @property
    def others(self) -> tuple[str, ...]:
        """The names of the series that have bars of their own."""
        return tuple(
            series.name for series in self.series if not series.every and series.name != UNIVERSE
        )

    @property
    def ranks(self) -> bool:
        """Whether one of them is the universe, and rows take the bars of all its instruments."""
        return any(series.name == UNIVERSE for series in self.series)

    def oldest(self, series: SeriesRecord) -> int:
        """Return the nanoseconds since its newest bar beyond which a series gives no forecast."""
        return series.interval + round(self.max_age * DAY)


def clock_words(words: str) -> tuple[str, str]:
    """Return the time and the zone in which dates end, "" for what is not said.

    Raises FeatureError for words that say no such thing.
    """
    closes, _, zone = words.strip().rpartition(" ")
    known, fault = available_timezones(), ""
    if closes and not TIME_OF_DAY.fullmatch(closes):
        fault = f"{closes!r} is no time of a day."
    elif zone and zone not in known:
        fault = f"{zone!r} is no zone.{did_you_mean(zone, known)}"
    if fault:
        raise FeatureError(
            "when the bars of a date are complete must be said as America/New_York or 16:00 "
            f"America/New_York, got {words!r}: {fault}"
        )
    return closes, zone


def require_comparable(own: Clock, other: Clock, place: str) -> None:
    """Refuse, with a FeatureError, clocks of which nobody can say which is ahead.

    place: how the user names the other series.
    """
    zone = "America/New_York"
    if (own.zone is None) != (other.zone is None) or (
        own.zone is None and own.dates != other.dates
    ):
        remedies = {
            "the bars": f"`closes` as '16:00 {zone}'" if own.dates else f"`timezone` as {zone}",
            place: f"{place}@{zone}",
        }
        clocks = {"the bars": own, place: other}
        unknown = [what for what, clock in clocks.items() if clock.zone is None]
        raise FeatureError(
            f"`context` must say when bars are known: the zone of {' and '.join(unknown)} is not "
            f"stated, and those of {place} are joined by the time at which they were complete. "
            f"Give {' and '.join(remedies[what] for what in unknown)}, in the zone that is theirs."
        )
    if own.dates and not own.closes and not other.dates:
        raise FeatureError(
            f"`closes` must say when the day of the bars ends, got none: {place} has bars of "
            f"{spoken(pd.Timedelta(other.interval, 's'))}, and only those before it are known at "
            f"the decision. Give it as '16:00 {zone}'."
        )


def period(every: str) -> int:
    """Return how long slower bars are, in nanoseconds: "1W", "4h"; FeatureError for other words."""
    number, unit = every.rstrip("WDhmin"), every.lstrip("0123456789")
    if not number.isdigit() or not 0 < int(number) < 10_000 or unit not in UNITS:
        raise FeatureError(
            f"`context` must name slower bars as self:1W, self:2D, self:4h or self:30min, got "
            f"self:{every}.{'' if unit in UNITS else did_you_mean(unit, UNITS)} Write it so."
        )
    return int(number) * UNITS[unit]


def slower_bars(
    values: Array, timestamps: Moments, clock: Clock, every: str
) -> tuple[Array, Moments, Moments]:
    """Return the whole slower bars of an instrument, and their starts and ends.

    A week is whole once the clock has passed its end, not with the last bar that it happens to
    have: whether another one comes on Friday is not known on Thursday. The first is left out, as
    its bars may have begun before the first that is given.

    values: (n, 5). Returns (m, 5), (m,), (m,), the last two by the instrument's own clock.
    """
    length, starts = period(every), starts_of(timestamps, clock, every)
    first, whole = np.unique(starts, return_index=True)
    borders = [*whole.tolist(), len(values)]
    ends = clock.ends(timestamps)
    # Where bars overlap, the last of a period may end after it.
    complete = np.maximum(first + length, ends[np.array(borders[1:]) - 1])
    kept = np.flatnonzero(complete <= ends[-1])[1:] if len(ends) else np.arange(0)
    merged = np.empty((len(kept), 5))
    for row, place in enumerate(kept.tolist()):
        merged[row] = merged_bar(values[borders[place] : borders[place + 1]])
    return merged, first[kept], complete[kept]


def starts_of(timestamps: Moments, clock: Clock, every: str) -> Moments:
    """Return where the slower bars begin to which bars belong: (n,) -> (n,)."""
    length = period(every)
    # A bar belongs where it begins; stamped by its close, just before its timestamp.
    begins = timestamps - (clock.stamp == "close" and not clock.dates)
    return (begins - MONDAY) // length * length + MONDAY


def merged_bar(bars: Array) -> tuple[float, float, float, float, float]:
    """Return several bars as one: (n, 5) -> open, high, low, close, volume."""
    # The exact sum: the same whichever of them come together.
    volume = math.fsum(bars[:, 4].tolist())
    return bars[0, 0], bars[:, 1].max(), bars[:, 2].min(), bars[-1, 3], volume


def as_times(moments: Moments) -> Times:
    return moments.view("datetime64[ns]")
