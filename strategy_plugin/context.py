"""Other series beside a traded data, in a backtest and live: other datas, or joined columns.

Backtrader delivers a bar when its timestamp says, a series is joined when its bar is complete. What
is complete but comes too late for a decision is not used for it, whichever way Backtrader runs.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import COLUMNS
from model.bars.intervals import bar_interval, day, spoken
from model.bars.zones import known_zone
from model.errors import CheckpointError
from model.features.context import ContextBuffer, SeriesBars, join
from model.features.series import Clock, ContextRecord, SeriesRecord
from strategy_plugin.feeds import (
    Feed,
    TimestampConversion,
    bar_of,
    conversion_for,
    nanoseconds,
    nanoseconds_of,
    states_zone,
)
from strategy_plugin.guard import Gate, TradingWarning

DUE = "a newer bar was due"
TOO_OLD = "too old for a forecast"
TOO_LATE = "a bar that came after the decision it was complete for"
FEWEST_TO_TELL = 20  # bars whose commonest spacing is their interval

Values = NDArray[np.float64]
Stamps = NDArray[np.int64]


class OtherSeries:
    """The columns of other series at each bar of a data.

    datas: those that bring their bars, by name. frame: the bars with their columns, where the data
    is of such. counts: what is told of them, by what it is.
    """

    def __init__(
        self,
        record: ContextRecord,
        data: Feed,
        datas: Mapping[str, Feed],
        counts: Counter[str],
        *,
        timezone: str | None,
        stamp: str | None,
    ) -> None:
        self._record, self._counts = record, counts
        self._frame = None if datas else joined_frame(data, record)
        self._buffer = None if self._frame is not None else ContextBuffer(record)
        self._others = {
            series.name: _Other(series, datas[series.name], timezone, stamp)
            for series in record.series
            if series.name in datas
        }
        self._newest: tuple[object, tuple[float, ...]] = (None, ())

    def whole(self, values: Values, timestamps: Stamps, times: Stamps) -> Values:
        """Return the columns at all bars of a preloaded data: (n, columns).

        timestamps: as in training. times: Backtrader's own.
        """
        if self._frame is not None:
            return _rows_of(self._frame, self._record, times)
        others = {name: one.whole() for name, one in self._others.items()}
        joined = join(SeriesBars(values, timestamps, times), others, self._record)
        decided = self._record.clock.known(timestamps)
        for series in self._record.series:
            if series.every:
                continue
            _, stamps, arrived = others[series.name]
            assert arrived is not None  # of all that Backtrader delivers
            # The bar of ours that was decided last when it arrived; should that one have had it?
            before = np.searchsorted(times, arrived, side="left") - 1
            late = (before >= 0) & (decided[before] >= series.clock.known(stamps))
            for place in np.flatnonzero(late).tolist():
                self._note(series, TOO_LATE, int(stamps[place]))
        for stamp, ages in zip(timestamps.tolist(), joined.ages.tolist(), strict=True):
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
        if self._buffer is not None:
            row = self._buffer.row(timestamp, bar)
            self._note_ages(timestamp, self._buffer.ages)
        elif self._frame is not None:
            row = _rows_of(self._frame, self._record, np.array([time]))[0]
        self._newest = shown, tuple(row.tolist())
        return self._newest[1]

    def listen(self) -> None:
        """Take what the other datas have delivered since; to be called on each step."""
        for name, other in self._others.items():
            for timestamp, bar in other.delivered():
                if self._buffer is not None and not self._buffer.add(name, timestamp, bar):
                    self._note(other.series, TOO_LATE, timestamp)

    def _note_ages(self, timestamp: int, ages: Sequence[int]) -> None:
        for series, age in zip(self._record.series, ages, strict=True):
            if age > self._record.oldest(series):
                self._note(series, TOO_OLD, timestamp)
            # Not too old, and yet its next bar should have been there.
            elif age >= series.interval:
                self._counts[f"{series.title}: {DUE}"] += 1

    def _note(self, series: SeriesRecord, what: str, timestamp: int) -> None:
        """Count what became of a series, and warn of the first."""
        self._counts[f"{series.title}: {what}"] += 1
        if self._counts[f"{series.title}: {what}"] > 1:
            return
        remedy = (
            "Nothing is forecast until a newer one comes; see that its data goes on, or raise "
            f"`max_context_age`, which is {self._record.max_age:g} days"
            if what == TOO_OLD
            else "Training would have used it. Give feeds whose timestamps are the ends of bars, "
            "or order them so that this one comes first"
        )
        warnings.warn(
            f"data {series.title!r}: {what}, {day(timestamp)}. {remedy}. Further ones are counted",
            TradingWarning,
            stacklevel=2,
        )


class _Other:
    """A data that brings the bars of a series."""

    def __init__(
        self, series: SeriesRecord, data: Feed, timezone: str | None, stamp: str | None
    ) -> None:
        # A bar that still grows would be known before it is complete.
        if data.replaying:
            raise ValueError(
                f"data {data._name!r} must bring whole bars, as it is a series beside another, got "
                "one that is replayed. Use resampledata, or the bars themselves."
            )
        self.series, self._data = series, data
        self._gate = Gate(data._name)
        self._conversion = _conversion(series.clock, data, timezone, stamp)
        self._seen = 0
        self._unchecked: list[int] | None = []

    def whole(self) -> SeriesBars:
        """Return the sound bars of a preloaded data."""
        values, times, timestamps, _ = sound_bars(self._data, self._gate, self._conversion)
        self._require_interval(times)
        return SeriesBars(values, timestamps, times)

    def delivered(self) -> list[tuple[int, Sequence[float]]]:
        """Return the sound bars that came since the last call, with the timestamps of training."""
        found: list[tuple[int, Sequence[float]]] = []
        count = len(self._data)
        for number in range(self._seen + 1, count + 1):
            ago = number - count
            day_number = self._data.datetime[ago]
            time = nanoseconds(day_number)
            bar = self._gate.admit(number, time, bar_of(self._data, ago))
            if bar is None:
                continue
            found.append((self._conversion.timestamp(day_number), bar))
            if self._unchecked is not None:
                self._unchecked.append(time)
                # Of fewer bars the commonest distance may be that over a weekend.
                if len(self._unchecked) == FEWEST_TO_TELL:
                    self._require_interval(np.array(self._unchecked))
                    self._unchecked = None
        self._seen = count
        return found

    def _require_interval(self, times: Stamps) -> None:
        if len(times) < FEWEST_TO_TELL:
            return
        found = bar_interval(pd.DatetimeIndex(times.view("datetime64[ns]")))
        expected = pd.Timedelta(self.series.clock.interval, "s")
        if found != expected:
            raise CheckpointError(
                f"data {self._data._name!r} must have bars of {spoken(expected)} as in training, "
                f"got {spoken(found)}. Give the series that the model was trained with."
            )


def sound_bars(
    data: Feed, gate: Gate, conversion: TimestampConversion
) -> tuple[Values, Stamps, Stamps, NDArray[np.bool_]]:
    """Return the sound bars of a preloaded feed, and which of all bars they are.

    These are values (m, 5), Backtrader's own times (m,), the timestamps of training (m,), and a
    mask over all bars.
    """
    size = data.buflen()
    # Copies: a view of Backtrader's arrays would forbid it to append the next bar.
    columns = [np.array(getattr(data, field).array[:size]) for field in COLUMNS]
    day_numbers = np.array(data.datetime.array[:size])
    times = nanoseconds_of(day_numbers)
    values, sound = gate.admit_all(np.column_stack(columns), times)
    return values[sound], times[sound], conversion.timestamps(day_numbers[sound]), sound


def _conversion(
    clock: Clock, data: Feed, timezone: str | None, stamp: str | None
) -> TimestampConversion:
    local = clock.zone == "UTC" and not clock.dates and not states_zone(data)
    zone = known_zone(timezone) if local and timezone not in (None, "UTC") else ""
    return conversion_for(
        interval=clock.interval * 1_000_000_000,
        whole_days=clock.dates,
        trained=clock.stamp,
        shown=stamp or "",
        resampled=bool(data.resampling),
        replayed=False,
        zone=zone,
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
    record: ContextRecord | None, data: Feed, datas: Sequence[Feed], names: str, path: object
) -> dict[str, Feed]:
    """Return the datas of other series by name; refuse what is missing or was not trained with.

    names: those that the user states, separated by commas. path: of the checkpoint.
    """
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
    if data.replaying and len(needed) < len(wanted):
        raise ValueError(
            f"data {data._name!r} must have whole bars, of which {path} makes slower ones, got a "
            "replayed feed. Use resampledata."
        )
    # The columns are in the feed's own frame: no data need bring them.
    if not stated and joined_frame(data, record) is not None:
        return {}
    if record.ranks:
        raise ValueError(
            f"data {data._name!r} must be a feed of bars that add_context has joined, got another: "
            f"{path} reads the place of an instrument in its universe, which one data does not "
            "know. Join the bars of all, and give each as a PandasData."
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
