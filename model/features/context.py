"""The columns of other series beside the bars of an instrument, joined by when they are known.

A history is joined at once, a live one bar by bar, to the same bits: a row holds the features of
the newest bar of each series that was complete when the instrument's bar was.
"""

import math
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from model.errors import FeatureError, did_you_mean
from model.features.series import (
    UNIVERSE,
    ContextRecord,
    Moments,
    SeriesRecord,
    as_times,
    merged_bar,
    period,
    slower_bars,
    starts_of,
)
from model.features.table import CHUNK, FEATURE_NAMES, FEATURES, our_rows
from model.features.trailing import LOOKBACK, Array

SECOND = 1_000_000_000

Key = TypeVar("Key", bound=Hashable)


class SeriesBars(NamedTuple):
    """The bars of a series: values (m, 5), timestamps (m,).

    arrived: when a host delivered them, (m,), where that is not with their completion.
    """

    values: Array
    timestamps: Moments
    arrived: Moments | None = None


class Joined(NamedTuple):
    """The columns of all series at each bar, (n, columns), and how old each series was there.

    ages: (n, series), nanoseconds since the newest bar was complete, -1 where there is none yet.
    """

    rows: Array
    ages: Moments


def require_columns(columns: Sequence[str], title: str) -> None:
    """Refuse, with a FeatureError, columns that are none of ours, and the same one twice."""
    for column in columns:
        name = column
        if title.partition(":")[0] == UNIVERSE:
            name = column.removesuffix(")").removeprefix("rank(").removeprefix("mean(")
        if name not in FEATURE_NAMES:
            raise FeatureError(
                f"the columns of {title} must be among our {len(FEATURE_NAMES)}, got {name!r}."
                f"{did_you_mean(name, FEATURE_NAMES)} model.FEATURE_NAMES are all; without columns "
                "all are taken."
            )
    if len(set(columns)) < len(columns):
        raise FeatureError(f"the columns of {title} must be named once each, got {columns}.")


@cache
def places_of(columns: tuple[str, ...]) -> tuple[list[int], int]:
    """Return where columns stand among our features, and how many bars the longest looks back."""
    places = [FEATURE_NAMES.index(name) for name in columns]
    return places, max(FEATURES[place].lookback for place in places)


def series_rows(values: Array, timestamps: Moments, columns: tuple[str, ...]) -> Array:
    """Return some of our features of each bar of a series, NaN where too few are before it: (m, k).

    A feature reads no bar beyond its own lookback, so what stands before the first may be anything:
    a series is asked for as much history as its columns need, not for that of all 86.
    """
    places, lookback = places_of(columns)
    rows = np.full((len(values), len(columns)), np.nan)
    if len(values) < lookback:
        return rows
    # Our 86 are computed in one go from a full lookback: the first bar again stands for the rest.
    spare = LOOKBACK - lookback
    filled = np.concatenate((np.repeat(values[:1], spare, axis=0), values))
    before = timestamps[0] - SECOND * np.arange(spare, 0, -1)
    found = np.empty((len(values) - lookback + 1, len(FEATURES)))
    our_rows(filled, as_times(np.concatenate((before, timestamps))), CHUNK, found)
    rows[lookback - 1 :] = found[:, places]
    return rows


def places_among(universe: Mapping[Key, SeriesBars], columns: Sequence[str]) -> dict[Key, Array]:
    """Return the place of each instrument among all, or their mean, at each of its bars: (n, k).

    Those are compared that have a bar of the same timestamp, and so one that is complete at the
    same decision. rank(ret_z_5): the share of the others below, equal ones by half, from 0 to 1;
    one half of an instrument that is alone. mean(ret_z_5): that of all.
    """
    found = {
        name: np.full((len(own.values), len(columns)), np.nan) for name, own in universe.items()
    }
    features = features_of(columns)
    rows = {
        name: series_rows(own.values, own.timestamps, features) for name, own in universe.items()
    }
    tables = {
        feature: pd.DataFrame(
            {
                name: pd.Series(rows[name][:, place], own.timestamps)
                for name, own in universe.items()
            }
        )
        for place, feature in enumerate(features)
    }
    for place, column in enumerate(columns):
        made = compared(tables[feature_of(column)], column)
        for name, own in universe.items():
            found[name][:, place] = made[name].reindex(own.timestamps)
    return found


def compared(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return what a column of a universe makes of a feature, date by date: (dates, instruments).

    table: the feature, NaN where an instrument has none. column: rank(...) or mean(...) of it.
    """
    if column.startswith("rank("):
        # Without itself: from 0, below all others, to 1, above all, however many there are.
        others = table.count(axis=1) - 1
        ranks = (table.rank(axis=1) - 1).div(others.where(others > 0), axis=0)
        return ranks.mask(ranks.isna() & table.notna(), 0.5)
    mean = table.mean(axis=1)
    return pd.DataFrame({name: mean.where(table[name].notna()) for name in table})


def feature_of(column: str) -> str:
    """Return the feature that a column of a universe compares: rank(ret_z_5) -> ret_z_5."""
    return column.removesuffix(")").partition("(")[2]


def features_of(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the features that columns of a universe compare, each once."""
    return tuple(dict.fromkeys(map(feature_of, columns)))


def place_of(own: float, values: Array, column: str) -> float:
    """Return what `compared` does for one instrument on one date: values (n,), its own among them.

    Live each bar asks for this alone, as it comes.
    """
    if math.isnan(own):
        return math.nan
    known = values[~np.isnan(values)]
    if not column.startswith("rank("):
        return float(known.mean())
    below, equal = np.count_nonzero(known < own), np.count_nonzero(known == own) - 1
    return (below + equal / 2) / (len(known) - 1) if len(known) > 1 else 0.5


def join(
    own: SeriesBars,
    others: Mapping[str, SeriesBars],
    record: ContextRecord,
    among: Array | None = None,
) -> Joined:
    """Return the columns of all series at each bar of the instrument.

    own: its bars. others: those of the series that have bars of their own, by name. among: its
    places in the universe, (n, k).
    """
    rows, ages = [], []
    for series in record.series:
        if series.name == UNIVERSE:
            assert among is not None  # whoever wants them has made them
            rows.append(among)
            ages.append(np.where(np.isnan(among).any(axis=1), -1, 0))
            continue
        if series.every:
            values, stamps, known = slower_bars(
                own.values, own.timestamps, record.clock, series.every
            )
            decided = record.clock.ends(own.timestamps)
            arrived = None
        else:
            values, stamps, arrived = others[series.name]
            known, decided = series.clock.known(stamps), record.clock.known(own.timestamps)
        # Right: a bar that is complete at the very moment of the decision is known to it.
        newest = np.searchsorted(known, decided, side="right") - 1
        # Live, what had not come yet was not known, whenever it was complete.
        if arrived is not None and own.arrived is not None:
            newest = np.minimum(newest, np.searchsorted(arrived, own.arrived, side="right") - 1)
        table = np.vstack((series_rows(values, stamps, series.columns), _nothing(series)))
        age = np.where(newest < 0, -1, decided - np.append(known, 0)[newest])
        # The last row, of NaN, is that of bars before the first and of those that are too old.
        rows.append(table[np.where(age > record.oldest(series), -1, newest)])
        ages.append(age)
    return Joined(np.hstack(rows), np.column_stack(ages))


def _nothing(series: SeriesRecord) -> Array:
    return np.full((1, len(series.columns)), np.nan)


class ContextBuffer:
    """The newest bars of all series, joined to the instrument's bar by bar as `join` does.

    Parameters
    ----------
    record
        What the series are: `Checkpoint.context`.

    Attributes
    ----------
    ages
        Of each series, how old it was at the last bar, as in `Joined`.
    """

    def __init__(self, record: ContextRecord) -> None:
        self._record = record
        self._tails = {
            series.title: _Tail(series) for series in record.series if series.name != UNIVERSE
        }
        self._decided = 0
        self.ages: tuple[int, ...] = ()

    def add(self, name: str, timestamp: int, bar: Sequence[float]) -> bool:
        """Take the next bar of a series; False where it came after a bar that should have had it.

        Parameters
        ----------
        name
            Of the series.
        timestamp
            In nanoseconds since 1970.
        bar
            Open, high, low, close, volume.
        """
        tail = self._tails[name]
        known = int(tail.series.clock.known(np.array([timestamp]))[0])
        # It waits until it is complete: a session that ends later is not known at our close.
        tail.waiting.append((known, timestamp, bar))
        return known > self._decided

    def row(self, timestamp: int, bar: Sequence[float], among: Sequence[float] = ()) -> Array:
        """Take the next bar of the instrument and return the columns of all series: (columns,).

        Parameters
        ----------
        timestamp
            In nanoseconds since 1970.
        bar
            Open, high, low, close, volume.
        among
            Its place in the universe, where that is one of the series.
        """
        clock, stamps = self._record.clock, np.array([timestamp])
        self._decided, ends = int(clock.known(stamps)[0]), int(clock.ends(stamps)[0])
        rows, ages = [], []
        for series in self._record.series:
            if series.name == UNIVERSE:
                rows.append(np.array(among))
                ages.append(-1 if np.isnan(rows[-1]).any() else 0)
                continue
            tail = self._tails[series.title]
            if series.every:
                tail.take(timestamp, bar, int(starts_of(stamps, clock, series.every)[0]), ends)
            found, age = tail.at(ends if series.every else self._decided)
            rows.append(_nothing(series)[0] if age > self._record.oldest(series) else found)
            ages.append(age)
        self.ages = tuple(ages)
        return np.concatenate(rows)


class _Tail:
    """The last bars of one series that are known, and those that are not known yet."""

    def __init__(self, series: SeriesRecord) -> None:
        self.series = series
        self.waiting: deque[tuple[int, int, Sequence[float]]] = deque()
        self._bars: deque[tuple[int, Sequence[float]]] = deque(maxlen=places_of(series.columns)[1])
        self._row, self._known = _nothing(series)[0], 0
        # Of slower bars: where the one begins that still grows, its bars so far, and whether it is
        # the first.
        self._start, self._growing, self._first = 0, list[Sequence[float]](), True

    def take(self, timestamp: int, bar: Sequence[float], start: int, ends: int) -> None:
        """Take a bar of the instrument, of which slower ones are made."""
        length = period(self.series.every)
        if self._growing and start > self._start:
            self._finish(self._start + length)
        self._start = start
        self._growing.append(bar)
        if ends >= start + length:
            self._finish(ends)

    def _finish(self, known: int) -> None:
        # The first may have begun before the first bar that was given.
        if not self._first:
            merged = merged_bar(np.array(self._growing))
            self.waiting.append((known, self._start, merged))
        self._first = False
        self._growing.clear()

    def at(self, decided: int) -> tuple[Array, int]:
        """Return the columns of the newest bar that is known at a moment, and how old it is."""
        taken = False
        while self.waiting and self.waiting[0][0] <= decided:
            self._known, timestamp, bar = self.waiting.popleft()
            self._bars.append((timestamp, bar))
            taken = True
        # A row of the series is computed once, however many bars of the instrument ask for it.
        if taken:
            stamps = np.array([timestamp for timestamp, _ in self._bars])
            values = np.array([bar for _, bar in self._bars], dtype=np.float64)
            self._row = series_rows(values, stamps, self.series.columns)[-1]
        return self._row, decided - self._known if self._bars else -1


def titles(record: ContextRecord) -> list[str]:
    """Return how the series are called, each with the columns that are taken of it."""
    all_ours = tuple(FEATURE_NAMES)
    return [
        f"{one.title} (86 of ours)" if one.columns == all_ours else ", ".join(one.names)
        for one in record.series
    ]
