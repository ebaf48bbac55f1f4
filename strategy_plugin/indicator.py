"""A model's probability as Backtrader lines, the same in all of Backtrader's modes."""

import math
import warnings
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import backtrader as bt
import numpy as np
import pandas as pd
from msgspec.structs import replace
from numpy.typing import NDArray

from model.bars.faults import COLUMNS
from model.bars.intervals import EARLIEST, bar_interval
from model.bars.zones import known_zone
from model.checkpoint.buffer import FeatureBuffer as FeatureBuffer  # a public name of the plugin
from model.checkpoint.schedule import NO_FORECAST
from model.checkpoint.schedule import Schedule as Schedule  # a public name of the plugin
from model.errors import CheckpointError
from model.features.registry import own_features
from strategy_plugin.cache import cached_forecasts
from strategy_plugin.context import OtherSeries, Standing, series_datas
from strategy_plugin.delivered import sound_bars
from strategy_plugin.feeds import (
    Feed,
    TimestampConversion,
    bar_of,
    conversion_for,
    is_live,
    nanoseconds,
    states_zone,
    zoned_indexes,
)
from strategy_plugin.guard import Gate, TradingWarning
from strategy_plugin.hours import HourWatch


class DirectionProbability(bt.Indicator):  # type: ignore[misc]
    """The calibrated probability that the market rises over the checkpoint's horizon.

    It is decided at each bar's close.

    Formula:
      - the 86 features of each of the last 50 bars, scaled as in training, through the
        checkpoint's networks
      - probability: that of their mean logit
      - disagreement: the standard deviation of their own probabilities, 0 for one network
      - out_of_range: the share of the window's values outside of their usual range in training

    Params:
      - checkpoint: a file, or a folder in which the checkpoint with the greatest `trained_until`
        not after the bar serves
      - max_gap: bars missing between two others beyond which no window that contains them is
        predicted, of daily bars a weekend is two and a long one three or four; None for no limit
      - timezone: the zone of the feed's timestamps; None as in training. Times within the day of
        another zone are converted where training had UTC, all else is refused
      - stamp: whether the feed stamps a bar by its "open" or its "close"; None as in training,
        which Backtrader's own resampling is converted to; another one is refused, but on a
        replayed feed, where it is that of the bars replayed
      - context: the datas of the other series that the checkpoint was trained with, by name,
        separated by commas; "" where there are none, and for a feed of bars that add_context joined
      - peers: one Peers of all datas for the indicators of all, where the checkpoint reads
        the place of each among them; a strategy of this package makes it
      - max_context_age: days by which the newest bar of a series may be older than one of its
        intervals, beyond which there is no forecast; None as in training
      - features: the features of one's own that the checkpoint was trained with, as
        my_features.py:Momentum, separated by commas; "" where all are registered
      - precision: "fp32", in which all modes agree to 1e-6; "bf16" is faster on processors with
        AMX, and probabilities then differ by some 1e-3 from one mode to the next

    The lines are NaN until 150 bars have been seen, before the first checkpoint of a folder, and
    on bars at fault (prices that are missing or contradict each other, timestamps that do not
    increase), which no window ever contains.

    Example::

        class MyStrategy(bt.Strategy):
            def __init__(self):
                self.probability = DirectionProbability(self.data, checkpoint="nasdaq.ckpt")

        cerebro.addstrategy(MyStrategy)
    """

    lines: Any = ("probability", "disagreement", "out_of_range")
    params = (
        ("checkpoint", ""),
        ("max_gap", None),
        ("timezone", None),
        ("stamp", None),
        ("features", ""),
        ("context", ""),
        ("peers", None),
        ("max_context_age", None),
        ("precision", "fp32"),
    )
    plotinfo: ClassVar = dict(
        plotname="P(up)", plotyhlines=[0.5], plothlines=[0.5], plotymargin=0.05
    )
    plotlines: ClassVar = dict(
        probability=dict(color="tab:purple", linewidth=1.0),
        # Near 0 both, in the same panel they would press the probability flat.
        disagreement=dict(_plotskip=True),
        out_of_range=dict(_plotskip=True),
    )

    def __init__(self) -> None:
        _require_bars(self.data)
        if not self.p.checkpoint:
            raise ValueError(
                "`checkpoint` must name a file or a folder, got ''. Name one that model.train "
                "wrote."
            )
        own_features(self.p.features)  # known from here on
        self.schedule = Schedule(
            self.p.checkpoint, max_gap=self.p.max_gap, precision=self.p.precision
        )
        _require_dates(self.data, self.schedule)
        # Only where bars are live may a folder get another checkpoint: a backtest must not change.
        self._live = is_live(self.data)
        self._conversion = _conversion(self.data, self.schedule, self.p.timezone, self.p.stamp)
        # What states its zone needs no watching.
        self.zone_stated = self.p.timezone is not None or states_zone(self.data)
        self._hours = HourWatch([] if self.zone_stated else self.schedule.checkpoints)
        self._buffer = FeatureBuffer(self.schedule.sequence_length, self.schedule.engineer)
        self._gate = Gate(
            self.data._name,
            remedy=" The broker may fill on it: data.addfilter(BarGuard) keeps it out altogether.",
        )
        self._others = self._other_series()
        self._whole_feed: _WholeFeed | None = None
        self._seen = 0  # the number of the last bar that was shown
        self._forecast = NO_FORECAST
        self._stamped = (math.nan, EARLIEST)  # a day number and its timestamp
        # Backtrader's own times by bar number, until there are enough to tell the interval.
        self._unchecked: dict[int, int] | None = {}
        self.addminperiod(self._buffer.bars_needed)

    def _other_series(self) -> OtherSeries | None:
        record = self.schedule.context
        # Its owner is a strategy, or another indicator of one.
        datas = getattr(self._owner, "datas", [])
        named = series_datas(
            record,
            self.data,
            datas,
            self.p.context,
            self.schedule.path,
            placed=self.p.peers is not None,
        )
        if record is None:
            return None
        if self.p.max_context_age is not None:
            record = replace(record, max_age=float(self.p.max_context_age))
        return OtherSeries(
            record,
            self.data,
            named,
            self._gate.counts,
            peers=self.p.peers,
            timezone=self.p.timezone,
            stamp=self.p.stamp,
            warm_up=self._buffer.bars_needed,
        )

    @property
    def series(self) -> dict[str, Standing]:
        """How each other series stood at the newest bar, by its title; live, else empty."""
        return {} if self._others is None else self._others.standings

    @property
    def mode(self) -> str:
        """Backtrader's way of running: "once" for all bars beforehand, "next" for bar by bar."""
        return "once" if self._whole_feed is not None else "next"

    @property
    def faults(self) -> Counter[str]:
        """The bars that the model was not shown, counted by their fault, and old other series.

        In `once` mode all are known from the first bar on.
        """
        return self._gate.counts

    def timestamp(self, ago: int = 0) -> int:
        """Return when a bar was, in nanoseconds since 1970.

        Parameters
        ----------
        ago
            0 for this bar, -1 for the one before it.

        Returns
        -------
        int
            The time of training: in its zone, at a bar's open or close as there.
        """
        number = self.data.lines.datetime[ago]
        # Asked for by several on each bar.
        if number != self._stamped[0]:
            self._stamped = number, self._conversion.timestamp(number)
        return self._stamped[1]

    def behind(self, ago: int = 0) -> int:
        """Return by how many nanoseconds a bar may be older than its timestamp.

        Above 0 only where the feed looks like one in another zone.

        Parameters
        ----------
        ago
            0 for the newest bar, -1 for the one before.

        Returns
        -------
        int
            Of this bar.
        """
        return self._hours.behind(len(self.data) + ago) if self._hours.is_doubted else 0

    @property
    def zone(self) -> str:
        """The zone from which the feed's times are converted to UTC, "" where none is."""
        return self._conversion.zone

    def inputs(self, ago: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the raw bars that the value depends on.

        Parameters
        ----------
        ago
            0 for the value of this bar, -1 for that of the one before it.

        Returns
        -------
        values
            (150, 5): open, high, low, close, volume, and the columns of other series; fewer rows
            until there are so many.
        timestamps
            (150,), in nanoseconds since 1970, as `timestamp` gives them.
        """
        if self._whole_feed is None:
            return self._buffer.inputs(ago)
        return self._whole_feed.inputs(len(self.data) + ago, self._buffer.bars_needed)

    def _plotlabel(self) -> list[str]:
        return [self.schedule.path.name]

    def once(self, start: int, end: int) -> None:
        # Backtrader calls twice: for the first bar of the minimum period and for the rest.
        if self._whole_feed is not None:
            return
        self._whole_feed = _WholeFeed(self.data, self._gate, self._conversion, self._others)
        self._watch_hours(*self._whole_feed.numbered)
        forecasts = self._whole_feed.forecasts(self.schedule)
        for line, values in zip(self.lines, forecasts, strict=True):
            line.array[: len(values)] = array("d", values.tobytes())

    def prenext(self) -> None:
        self.next()  # the window fills from the first bar on

    def next(self) -> None:
        number = len(self.data)
        if self._others is not None:
            self._others.listen()
        # Backtrader calls again where another feed moves or a replayed bar grows.
        if number > self._seen:
            for passed in range(self._seen + 1, number):  # bars that came several at once
                self._show(passed, passed - number)
            self._seen = number
            if self._live:
                self.schedule.refresh()
        changed = self._show(number, 0)
        # The network is asked only where the window is another one than before.
        if changed:
            if self._unchecked is not None and self._buffer.ready:
                times = np.array(list(self._unchecked.values()))
                require_interval(self.schedule, times, self.data)
                self._unchecked = None
            self._forecast_newest()
        self._write(NO_FORECAST if changed is None else self._forecast)

    @property
    def is_placed(self) -> bool:
        """Whether forecasts depend on the bars of other datas of the same date."""
        return self._others is not None and self._others.is_placed

    def complete(self) -> bool:
        """Forecast the newest bar anew, where more of its date has come since it was shown.

        Returns
        -------
        bool
            Whether the forecast is another: the place among all datas is that among those with a
            bar of the date, and live they come one by one.
        """
        number = len(self.data)
        if self._others is None or not number or number != self._seen:
            return False
        bar = self._others.completed(number, self.timestamp())
        if bar is None:
            return False
        # As a bar that has grown: what it was before leaves no trace.
        self._buffer.update(number, self.timestamp(), *bar)
        self._forecast_newest()
        self._write(self._forecast)
        return True

    def _forecast_newest(self) -> None:
        checkpoint = self.schedule.at(self.timestamp())
        self._forecast = self.schedule.newest(checkpoint, self._buffer)

    def _write(self, forecast: Sequence[float]) -> None:
        for line, value in zip(self.lines, forecast, strict=True):
            line[0] = value

    def _show(self, number: int, ago: int) -> bool | None:
        """Show a bar to the buffer: True if the window changed, None if the bar is at fault.

        The gate judges by Backtrader's own times, in which order and repeats are plain.
        """
        time = nanoseconds(self.data.datetime[ago])
        bar = self._gate.admit(number, time, bar_of(self.data, ago))
        if bar is None:
            return None
        if self._unchecked is not None:
            self._unchecked[number] = time
        timestamp = self.timestamp(ago)
        self._watch_hours(np.array([number]), np.array([timestamp]))
        others = self._others.newest(number, bar, timestamp, time) if self._others else ()
        return self._buffer.update(number, timestamp, *bar, *others)

    def _watch_hours(self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64]) -> None:
        if self._hours.see(numbers, timestamps):
            warnings.warn(
                f"data {self.data._name!r}: {self._hours.describe()}", TradingWarning, stacklevel=2
            )


class _WholeFeed:
    """The sound bars of a preloaded feed."""

    def __init__(
        self,
        data: Feed,
        gate: Gate,
        conversion: TimestampConversion,
        others: OtherSeries | None,
    ) -> None:
        self._data = data
        values, self._times, self._timestamps, self._sound = sound_bars(data, gate, conversion)
        if others is not None:
            columns = others.whole(values, self._timestamps, self._times)
            values = np.hstack((values, columns))
        self._values = values
        self._counts = np.cumsum(self._sound)  # of sound bars up to each bar

    def forecasts(self, schedule: Schedule) -> NDArray[np.float64]:
        """Return the rows of a Forecast at each bar, NaN where it is at fault: (3, bars)."""
        if len(self._times) > 1:
            require_interval(schedule, self._times, self._data)
        forecasts = np.full((len(NO_FORECAST), len(self._sound)), np.nan)
        forecasts[:, self._sound] = cached_forecasts(schedule, self._values, self._timestamps)
        return forecasts

    @property
    def numbered(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of the sound bars and their timestamps."""
        return np.flatnonzero(self._sound) + 1, self._timestamps

    def inputs(self, number: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        stop = int(self._counts[number - 1])
        window = slice(max(0, stop - count), stop)
        return self._values[window], self._timestamps[window]


def require_interval(schedule: Schedule, times: NDArray[np.int64], data: Feed) -> None:
    """Refuse a feed whose bars are not as long as those of training, with a CheckpointError.

    times: Backtrader's own, as the feed shows them: dates would hide what lies within a day.
    """
    found = bar_interval(pd.DatetimeIndex(times.view("datetime64[ns]")))
    expected = schedule.checkpoints[0].bar_interval
    if found != expected:
        raise CheckpointError(
            f"data {data._name!r} must have bars {expected} apart as {schedule.path} has, got "
            f"{found}. Give the feed the model was trained on, or train on bars of this one."
        )


def _conversion(
    data: Feed, schedule: Schedule, timezone: str | None, stamp: str | None
) -> TimestampConversion:
    """Return how the feed's times become those of training.

    Refuses, with a CheckpointError, what the user states to be otherwise than in training.
    """
    if stamp not in (None, "open", "close"):
        raise ValueError(
            f"`stamp` must be 'open', 'close' or None, got {stamp!r}. "
            "Say what a stamp of the feed marks; None is as in training."
        )
    # Backtrader stamps what it rebuilds itself, so there the param speaks of what it is made of.
    checkpoint, rebuilt = schedule.checkpoints[0], bool(data.resampling or data.replaying)
    zone = ""
    # Dates stay what they are, and what a feed's own zone made UTC is none to convert again.
    in_utc = checkpoint.timezone == "UTC" and not schedule.whole_days and not states_zone(data)
    if in_utc and timezone not in (None, "UTC"):
        zone, timezone = known_zone(timezone), None
    checkpoint.require_clock(timezone, None if rebuilt else stamp)
    return conversion_for(
        interval=checkpoint.bar_interval.as_unit("ns").value,
        whole_days=schedule.whole_days,
        trained=checkpoint.stamp,
        shown=stamp or "",
        resampled=bool(data.resampling),
        replayed=bool(data.replaying),
        zone=zone,
    )


def _require_bars(data: object) -> None:
    missing = [field for field in (*COLUMNS, "datetime") if not hasattr(data, field)]
    if missing:
        raise TypeError(
            f"DirectionProbability must be given a feed of bars, got {type(data).__name__} without "
            f"{', '.join(missing)}. Give it self.data, not one of its lines."
        )


def _require_dates(data: Feed, schedule: Schedule) -> None:
    """Refuse dates that Backtrader would turn into those of the day before.

    It stores all times in UTC: midnight in Tokyo is an afternoon of the day before.
    """
    if not schedule.whole_days or data.resampling or data.replaying:
        return
    for index in zoned_indexes(data):
        dates, shown = index.tz_localize(None).normalize(), index.tz_convert(None).normalize()
        if dates.equals(shown):
            continue
        first = int((dates != shown).argmax())
        raise CheckpointError(
            f"data {data._name!r} has dates in {index.tz}, of which Backtrader makes those of UTC: "
            f"{dates[first].date()} becomes {shown[first].date()}. Give the DataFrame with "
            "tz_localize(None)."
        )
