"""Other series beside a traded data, in a backtest and live: other datas, or joined columns.

Backtrader delivers a bar when its timestamp says, a series is joined when its bar is complete. What
is complete but comes too late for a decision is not used for it, whichever way Backtrader runs.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from model.bars.intervals import day
from model.features.context import ContextBuffer, SeriesBars, join
from model.features.series import UNIVERSE, ContextRecord, SeriesRecord
from strategy_plugin.delivered import DeliveredBars, Stamps, Values
from strategy_plugin.feeds import Feed
from strategy_plugin.guard import TradingWarning
from strategy_plugin.peers import Peers, Places

DUE = "a newer bar was due"
TOO_OLD = "too old for a forecast"
TOO_LATE = "a bar that came after the decision it was complete for"
UNKNOWN = "no bar of it is known yet"
NO_PLACE = "a bar that came too late to be compared"


class Standing(NamedTuple):
    """How a series stands at a bar of ours.

    age: seconds since its newest bar was complete, None without one. too_old: whether that is more
    than a forecast takes. known: whether all its columns are. n_late: its bars so far that came
    after the decision that they were complete for.
    """

    age: float | None
    too_old: bool
    known: bool
    n_late: int


class OtherSeries:
    """The columns of other series at each bar of a data.

    datas: those that bring their bars, by name. peers: those among which this one has its
    place, where that is one of the series. counts: what is told of them, by what it is. warm_up:
    the bars of the data before which nothing is forecast anyway.
    """

    def __init__(
        self,
        record: ContextRecord,
        data: Feed,
        datas: Mapping[str, Feed],
        counts: Counter[str],
        *,
        peers: Peers | None,
        timezone: str | None,
        stamp: str | None,
        warm_up: int,
    ) -> None:
        self._record, self._counts, self._data = record, counts, data
        self._warm_up = warm_up
        self._frame = None if datas else joined_frame(data, record)
        self._buffer = None if self._frame is not None else ContextBuffer(record)
        self._others = {
            series.name: DeliveredBars(series, datas[series.name], timezone, stamp)
            for series in record.series
            if series.name in datas
        }
        self._places: Places | None = None
        if peers is not None and record.ranks and self._frame is None:
            [series] = [one for one in record.series if one.name == UNIVERSE]
            self._places = peers.places(data, series, timezone, stamp)
            # Where they stand among the columns.
            self._ranked = [name in series.names for name in record.names]
        self._newest: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
        self._n_bars = 0  # of the data that were shown

    @property
    def is_placed(self) -> bool:
        """Whether a place among the bars of other datas is one of the columns."""
        return self._places is not None

    def whole(self, values: Values, timestamps: Stamps, times: Stamps) -> Values:
        """Return the columns at all bars of a preloaded data: (n, columns).

        timestamps: as in training. times: Backtrader's own.
        """
        if self._frame is not None:
            return _rows_of(self._frame, self._record, times)
        others = {name: one.whole() for name, one in self._others.items()}
        among = None if self._places is None else self._places.whole(self._data)
        joined = join(SeriesBars(values, timestamps, times), others, self._record, among)
        decided = self._record.clock.known(timestamps)
        for series in self._record.series:
            if series.name not in others:
                continue
            _, stamps, arrived = others[series.name]
            assert arrived is not None  # of all that Backtrader delivers
            # The bar of ours that was decided last when it arrived; should that one have had it?
            before = np.searchsorted(times, arrived, side="left") - 1
            late = (before >= 0) & (decided[before] >= series.clock.known(stamps))
            for place in np.flatnonzero(late).tolist():
                self._note(series, TOO_LATE, int(stamps[place]))
        for stamp, ages in zip(timestamps.tolist(), joined.ages.tolist(), strict=True):
            self._n_bars += 1
            self._note_ages(stamp, ages)
        return joined.rows

    def newest(
        self, number: int, bar: Sequence[float], timestamp: int, time: int
    ) -> tuple[float, ...]:
        """Return the columns at the newest bar, which may come again, grown or the same."""
        shown = (number, *bar)
        # Backtrader may call several times for a bar; a series takes each of ours once.
        if shown == self._newest[0]:
            return self._newest[1]
        self._n_bars += self._newest[0][:1] != (number,)
        if self._buffer is not None:
            among = () if self._places is None else self._places.row(self._data, timestamp)
            row = self._buffer.row(timestamp, bar, among)
            self._note_ages(timestamp, self._buffer.ages)
        else:
            assert self._frame is not None  # the one or the other
            row = _rows_of(self._frame, self._record, np.array([time]))[0]
        self._newest = shown, tuple(row.tolist())
        return self._newest[1]

    def completed(self, number: int, timestamp: int) -> tuple[float, ...] | None:
        """Return what `update` of a FeatureBuffer takes behind the timestamp, the newest bar anew.

        None where no more of its universe has come since it was shown, and for another bar.
        """
        shown, columns = self._newest
        if self._places is None or not shown or shown[0] != number:
            return None
        row = np.array(columns)
        row[self._ranked] = self._places.row(self._data, timestamp)
        if np.array_equal(row, columns, equal_nan=True):
            return None
        self._newest = shown, tuple(row.tolist())
        return (*shown[1:], *self._newest[1])

    @property
    def standings(self) -> dict[str, Standing]:
        """How each series stood at the newest bar, where they come bar by bar, as live ones do."""
        if self._buffer is None or not self._buffer.ages:
            return {}
        found, start = {}, 0
        for series, age in zip(self._record.series, self._buffer.ages, strict=True):
            columns = self._newest[1][start : start + len(series.columns)]
            start += len(columns)
            if series.name == UNIVERSE:
                continue  # it is no series of its own, and may be incomplete yet
            found[series.title] = Standing(
                None if age < 0 else age / 1e9,
                age > self._record.oldest(series),
                all(map(math.isfinite, columns)),
                self._counts[f"{series.title}: {TOO_LATE}"],
            )
        return found

    def listen(self) -> None:
        """Take what the other datas have delivered since; to be called on each step."""
        for name, other in self._others.items():
            for timestamp, _, bar in other.delivered():
                if self._buffer is not None and not self._buffer.add(name, timestamp, bar):
                    self._note(other.series, TOO_LATE, timestamp)

    def _note_ages(self, timestamp: int, ages: Sequence[int]) -> None:
        for series, age in zip(self._record.series, ages, strict=True):
            if age < 0:
                if self._n_bars >= self._warm_up:
                    self._note(series, NO_PLACE if series.name == UNIVERSE else UNKNOWN, timestamp)
            elif age > self._record.oldest(series):
                self._note(series, TOO_OLD, timestamp)
            # Not too old, and yet its next bar should have been there.
            elif age >= series.interval:
                self._counts[f"{series.title}: {DUE}"] += 1

    def _note(self, series: SeriesRecord, what: str, timestamp: int) -> None:
        """Count what became of a series, and warn of the first."""
        self._counts[f"{series.title}: {what}"] += 1
        if self._counts[f"{series.title}: {what}"] > 1:
            return
        remedy = {
            TOO_OLD: "Nothing is forecast until a newer one comes; see that its data goes on, or "
            f"raise `max_context_age`, which is {self._record.max_age:g} days",
            TOO_LATE: "Training would have used it. Give feeds whose timestamps are the ends of "
            "bars, or order them so that this one comes first",
            NO_PLACE: "Nothing is forecast until newer ones fill a window; see why this data lags "
            "behind the others",
            UNKNOWN: "Nothing is forecast until its bars fill a window; see that its data "
            "delivers, and give it from as early on as the bars",
        }[what]
        warnings.warn(
            f"data {series.title!r}: {what}, {day(timestamp)}. {remedy}. Further ones are counted",
            TradingWarning,
            stacklevel=2,
        )


def joined_frame(data: Feed, record: ContextRecord) -> pd.DataFrame | None:
    """Return the bars behind a feed where they are a DataFrame that add_context has joined."""
    frame = getattr(data.p, "dataname", None)
    joined = isinstance(frame, pd.DataFrame) and set(record.names) <= set(frame.columns)
    return frame if joined else None


def _rows_of(frame: pd.DataFrame, record: ContextRecord, times: Stamps) -> Values:
    """Return the columns of a frame at Backtrader's times: (n, columns)."""
    index = pd.DatetimeIndex(frame.index)
    index = index.tz_convert("UTC").tz_localize(None) if index.tz else index
    # As Backtrader gives its times back: whole milliseconds.
    places = (
        index.as_unit("ns")
        .round("ms")
        .get_indexer(pd.DatetimeIndex(times.view("datetime64[ns]")).round("ms"))
    )
    table = np.vstack(
        (frame[list(record.names)].to_numpy(np.float64), [np.nan] * len(record.names))
    )
    # Place -1, of a time that the frame does not have, is the last row, of NaN.
    return table[places]


def series_datas(
    record: ContextRecord | None,
    data: Feed,
    datas: Sequence[Feed],
    names: str,
    path: object,
    *,
    placed: bool,
) -> dict[str, Feed]:
    """Return the datas of other series by name; refuse what is missing or was not trained with.

    names: those that the user states, separated by commas. path: of the checkpoint. placed: whether
    the places among all datas are known.
    """
    if not isinstance(names, str):
        raise ValueError(
            f"`context` must name datas, as context='spy,vix', got {names!r}. Give their names."
        )
    stated = [name.strip() for name in names.split(",") if name.strip()]
    if record is None:
        if stated:
            raise ValueError(
                f"`context` must be left out, got {names!r}: {path} was trained without other "
                "series."
            )
        return {}
    wanted = [one.title for one in record.series]
    needed = set(record.others)
    if data.replaying and any(series.every for series in record.series):
        raise ValueError(
            f"data {data._name!r} must have whole bars, of which {path} makes slower ones, got a "
            "replayed feed. Use resampledata."
        )
    # The columns are in the feed's own frame: no data need bring them.
    if not stated and joined_frame(data, record) is not None:
        return {}
    if record.ranks and not placed:
        raise ValueError(
            f"`peers` must be given for data {data._name!r}, got none: {path} reads the place "
            "of an instrument among all, which one data does not know. Give one "
            "Peers(self.datas) to the indicators of all, or a feed of bars that add_context "
            "has joined."
        )
    if not stated and not needed:
        return {}
    known = {one._name: one for one in datas}
    missing = needed - set(known)
    if missing or needed - set(stated) or set(stated) - set(wanted):
        raise ValueError(
            f"`context` must name the series that {path} was trained with, "
            f"{', '.join(wanted)}, got {names!r}"
            + (f" and no data named {', '.join(sorted(missing))}" if missing else "")
            + f". Give context={','.join(record.others)!r} and a data for each, as "
            "adddata(feed, name=...), or a feed of bars that add_context has joined."
        )
    return {name: known[name] for name in record.others}
