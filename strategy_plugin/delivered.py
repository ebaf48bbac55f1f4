"""The sound bars that a data brings, at once or as they come, with the timestamps of training."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import COLUMNS
from model.bars.intervals import bar_interval, spoken
from model.bars.zones import known_zone
from model.errors import CheckpointError
from model.features.context import SeriesBars
from model.features.series import Clock, SeriesRecord
from strategy_plugin.feeds import (
    Feed,
    TimestampConversion,
    bar_of,
    conversion_for,
    nanoseconds,
    nanoseconds_of,
    states_zone,
)
from strategy_plugin.guard import Gate

FEWEST_TO_TELL = 20  # bars whose commonest spacing is their interval

Values = NDArray[np.float64]
Stamps = NDArray[np.int64]


class Delivered(NamedTuple):
    """A sound bar: its timestamp as in training, Backtrader's own time, and the values."""

    timestamp: int
    time: int
    bar: Sequence[float]


class DeliveredBars:
    """The sound bars of a data that brings those of a series, with the timestamps of training.

    warns: whether the first bar at fault is told here, and not by whoever trades the data.
    """

    def __init__(
        self,
        series: SeriesRecord,
        data: Feed,
        timezone: str | None,
        stamp: str | None,
        *,
        warns: bool = True,
    ) -> None:
        # A bar that still grows would be known before it is complete.
        if data.replaying:
            raise ValueError(
                f"data {data._name!r} must bring whole bars, as others are joined with them, got "
                "one that is replayed. Use resampledata, or the bars themselves."
            )
        self.series, self._data = series, data
        self._gate = Gate(data._name, warns=warns)
        self._conversion = _conversion(series.clock, data, timezone, stamp)
        self._seen = 0
        # One that makes its bars itself knows their interval, however few minutes have a trade.
        self._unchecked = None if getattr(data, "shows_finished_bars", False) else list[int]()

    def whole(self) -> SeriesBars:
        """Return the sound bars of a preloaded data."""
        values, times, timestamps, _ = sound_bars(self._data, self._gate, self._conversion)
        self._require_interval(times)
        return SeriesBars(values, timestamps, times)

    def delivered(self) -> list[Delivered]:
        """Return the sound bars that came since the last call."""
        found: list[Delivered] = []
        count = len(self._data)
        for number in range(self._seen + 1, count + 1):
            ago = number - count
            day_number = self._data.datetime[ago]
            time = nanoseconds(day_number)
            bar = self._gate.admit(number, time, bar_of(self._data, ago))
            if bar is None:
                continue
            found.append(Delivered(self._conversion.timestamp(day_number), time, bar))
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
