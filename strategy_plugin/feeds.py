"""Backtrader's data feeds: what is asked of one, its bars, and its day numbers as timestamps.

Backtrader stores a time as a float that counts days since the year 1. The rest of the house counts
whole nanoseconds since 1970, as pandas does.
"""

import datetime as dt
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.intervals import EARLIEST

EPOCH = 719_163.0  # 1970-01-01 as Backtrader's day number
NANOSECONDS_A_DAY = 86_400_000_000_000
# A day number of today resolves some 10 microseconds. Rounding to tenths of a millisecond gives
# back every timestamp that was written in whole milliseconds, so that a calendar feature is the
# same here and in training.
STEPS_A_DAY = 864_000_000
NANOSECONDS_A_STEP = NANOSECONDS_A_DAY // STEPS_A_DAY

Bar = tuple[float, float, float, float, float]  # open, high, low, close, volume


class Line(Protocol):
    """One value a bar; line[0] is that of the newest bar, line[-1] that of the bar before."""

    array: Sequence[float]

    def __getitem__(self, ago: int) -> float: ...
    def get(self, *, size: int) -> Sequence[float]: ...


class FeedParams(Protocol):
    """What is asked of a feed's params."""

    dataname: object
    sessionend: dt.time


class Lines(Protocol):
    """The lines of a bar."""

    open: Line
    high: Line
    low: Line
    close: Line
    volume: Line
    datetime: Line


class Feed(Protocol):
    """What the plugin asks of a data feed of Backtrader, whose own classes have no types."""

    LIVE: int
    p: FeedParams
    lines: Lines
    open: Line
    high: Line
    low: Line
    close: Line
    volume: Line
    datetime: Line
    resampling: int
    replaying: bool
    data: "Feed"  # of a clone the feed that it repeats
    _clone: bool
    _name: str
    _filters: list[tuple[object, ...]]
    _timeframe: int
    _compression: int

    def __len__(self) -> int: ...
    def addfilter(self, added: object) -> None: ...
    def backwards(self) -> None: ...
    def buflen(self) -> int: ...
    def date2num(self, when: dt.datetime) -> float: ...
    def getlinealiases(self) -> Sequence[str]: ...
    def islive(self) -> bool: ...


def bar_of(feed: Feed, ago: int = 0) -> Bar:
    """Return the prices and the volume of the newest bar, or with ago=-1 of the one before."""
    # By `lines` and not by the feed's own attributes, which Backtrader looks up last and slowly.
    lines = feed.lines
    return lines.open[ago], lines.high[ago], lines.low[ago], lines.close[ago], lines.volume[ago]


def source_of(feed: Feed) -> Feed:
    """Return the feed that delivers the bars.

    Backtrader clones a feed that is resampled beside itself, and a clone never says it is live.
    """
    while feed._clone:
        feed = feed.data
    return feed


def parts_of(feed: Feed) -> Sequence[Feed]:
    """Return the feeds that Backtrader's chaindata or rolloverdata joins, or the feed by itself."""
    source = source_of(feed)
    # As its Chainer and its RollOver call them; no other feed has either.
    joined = [*getattr(source, "_args", ()), *getattr(source, "_rolls", ())]
    return [part for one in joined for part in parts_of(one)] or [source]


def is_live(feed: Feed) -> bool:
    """Return whether a feed's bars come as they happen.

    Joined feeds say so of themselves, and only mean that Backtrader must not preload them: they
    are live where one of their parts is.
    """
    return any(part.islive() for part in parts_of(feed))


def zoned_indexes(feed: Feed) -> list[pd.DatetimeIndex]:
    """Return the timestamps of the DataFrames behind a feed that state their zone."""
    frames = [getattr(part.p, "dataname", None) for part in parts_of(feed)]
    indexes = [getattr(frame, "index", None) for frame in frames]
    return [
        index for index in indexes if isinstance(index, pd.DatetimeIndex) and index.tz is not None
    ]


def states_zone(feed: Feed) -> bool:
    """Return whether the feed itself says in which zone its times are: it then shows UTC."""
    return bool(zoned_indexes(feed)) or any(
        getattr(part.p, "tzinput", None) is not None for part in parts_of(feed)
    )


def utc_of(timestamps: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return local timestamps as those of UTC: (n,) -> (n,).

    Of an hour that happens twice the first is meant: the second comes as bars that came before, and
    a guard keeps those out. Raises ValueError for a time that does not exist in the zone.
    """
    index = pd.DatetimeIndex(timestamps.view("datetime64[ns]"))
    first = np.ones(len(index), dtype=np.bool_)
    utc = index.tz_localize(zone, ambiguous=first, nonexistent="NaT")
    if utc.hasnans:
        raise ValueError(
            f"`timezone` must be the zone of the feed, got {zone!r}, where "
            f"{index[utc.isna()][0]} does not exist: clocks went forward. Is it the right one?"
        )
    return utc.asi8


def nanoseconds(day_number: float) -> int:
    """Return the timestamp of a day number, EARLIEST for a missing one.

    Exact for all times that were whole milliseconds.
    """
    if not math.isfinite(day_number):
        return EARLIEST
    return round((day_number - EPOCH) * STEPS_A_DAY) * NANOSECONDS_A_STEP


def nanoseconds_of(day_numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the timestamps of many day numbers, each as `nanoseconds` gives it: (n,) -> (n,)."""
    known = np.isfinite(day_numbers)
    steps = np.rint((np.where(known, day_numbers, EPOCH) - EPOCH) * STEPS_A_DAY).astype(np.int64)
    return np.where(known, steps * NANOSECONDS_A_STEP, EARLIEST)


class TimestampConversion(NamedTuple):
    """From a feed's day numbers to the timestamps that training gave the same bars.

    With a `grid` above 0, a bar belongs to the multiple of it at or before its own time less
    `back`; then local times of a `zone` become UTC, and `shift` is added. Dates are a
    grid of whole days: Backtrader's readers stamp a daily bar 23:59:59.99999, files and DataFrames
    have its date.
    Replayed bars carry the time of their last part, resampled ones that of their end.
    """

    grid: int = 0  # nanoseconds, as back and shift are
    back: int = 0
    shift: int = 0
    zone: str = ""  # "" where the feed shows the zone of training

    def timestamp(self, day_number: float) -> int:
        if self.grid == NANOSECONDS_A_DAY and math.isfinite(day_number):
            # Exact where rounding to a step would reach the next day.
            return (math.floor(day_number) - int(EPOCH)) * NANOSECONDS_A_DAY
        timestamp = nanoseconds(day_number)
        if timestamp == EARLIEST:
            return timestamp
        if self.grid:
            timestamp = (timestamp - self.back) // self.grid * self.grid
        if self.zone:
            timestamp = int(utc_of(np.array([timestamp]), self.zone)[0])
        return timestamp + self.shift

    def timestamps(self, day_numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return many timestamps, each as `timestamp` gives it: (n,) -> (n,)."""
        known = np.isfinite(day_numbers)
        if self.grid == NANOSECONDS_A_DAY:
            days = np.floor(np.where(known, day_numbers, EPOCH)) - EPOCH
            return np.where(known, days.astype(np.int64) * NANOSECONDS_A_DAY, EARLIEST)
        # 0 stands in for a missing time: EARLIEST less anything would overflow.
        timestamps = np.where(known, nanoseconds_of(day_numbers), 0)
        if self.grid:
            timestamps = (timestamps - self.back) // self.grid * self.grid
        if self.zone:
            timestamps = utc_of(timestamps, self.zone)
        return np.where(known, timestamps + self.shift, EARLIEST)


def conversion_for(
    *,
    interval: int,
    whole_days: bool,
    trained: str,
    shown: str,
    resampled: bool,
    replayed: bool,
    zone: str = "",
) -> TimestampConversion:
    """Return how a feed's times become those of training.

    Parameters
    ----------
    interval
        From one bar to the next, in nanoseconds.
    whole_days
        Whether the timestamps of training are dates.
    trained, shown
        Whether training and the feed stamp a bar by its "open" or its "close". "" for `shown` is
        as in training, but "close" where Backtrader resampled, which it stamps by the end.
    resampled, replayed
        What Backtrader makes of the feed.
    zone
        Of the feed's times where training had UTC, "" where they are as in training.
    """
    if whole_days:
        return TimestampConversion(grid=NANOSECONDS_A_DAY)
    shown = shown or ("close" if resampled and not replayed else trained)
    # A replayed bar carries the time of its last part, somewhere within it: the grid finds its
    # beginning. Stamped by the close, the last part ends where the next bar begins.
    if replayed:
        shift = interval if trained == "close" else 0
        back = int(shown == "close")
        return TimestampConversion(grid=interval, back=back, shift=shift, zone=zone)
    shift = ((trained == "close") - (shown == "close")) * interval
    return TimestampConversion(shift=shift, zone=zone)
