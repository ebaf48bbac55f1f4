"""A model's probability, and how far its members disagree, as Backtrader lines, the same in all of Backtrader's clocks."""

from array import array
from collections import Counter
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.read import COLUMNS, bar_interval
from model.checkpoint.buffer import FeatureBuffer as FeatureBuffer  # a public name of the plugin
from model.checkpoint.schedule import NO_FORECAST
from model.checkpoint.schedule import Schedule as Schedule  # a public name of the plugin
from model.errors import CheckpointError
from strategy_plugin.cache import remembered
from strategy_plugin.feed_time import Clock, clock_of, nanoseconds, nanoseconds_of
from strategy_plugin.guard import Gate, clean_bars, source_of


class DirectionProbability(bt.Indicator):  # type: ignore[misc]
    """The calibrated probability that the market rises over the checkpoint's horizon, decided at each bar's close.

    Formula:
      - the 86 features of each of the last 50 bars, scaled as in training, through the checkpoint's networks
      - probability: that of their mean logit; disagreement: the standard deviation of their own probabilities, 0 for one;
        out_of_range: the share of the window's values outside of their usual range in training

    Params:
      - checkpoint: a file, or a folder in which the checkpoint with the greatest `trained_until` not after the bar serves
      - max_gap: bars missing between two others beyond which no window that contains them is predicted, of daily bars a
        weekend is two and a long one three or four; None for no limit
      - timezone: the zone of the feed's stamps; None as in training, a zone that is another one is refused
      - stamp: whether the feed stamps a bar by its "open" or its "close"; None as in training, which Backtrader's own
        resampling is converted to; another one is refused, but on a replayed feed, where it is that of the bars replayed
      - precision: "fp32", in which all clocks agree to 1e-6; "bf16" is faster on processors with AMX, and probabilities
        then differ by some 1e-3 from one clock to the next

    The lines are NaN until 150 bars have been seen, before the first checkpoint of a folder, and on bars at fault (prices
    that are missing or contradict each other, stamps that do not increase), which no window ever contains.
    """

    lines: Any = ("probability", "disagreement", "out_of_range")
    params = (
        ("checkpoint", ""),
        ("max_gap", None),
        ("timezone", None),
        ("stamp", None),
        ("precision", "fp32"),
    )
    plotinfo = dict(plotname="P(up)", plotyhlines=[0.5], plothlines=[0.5], plotymargin=0.05)
    plotlines = dict(
        probability=dict(color="tab:purple", linewidth=1.0),
        disagreement=dict(color="tab:gray", linewidth=1.0, ls="--"),
        out_of_range=dict(_plotskip=True),
    )

    def __init__(self) -> None:
        _require_prices(self.data)
        if not self.p.checkpoint:
            raise ValueError(
                "`checkpoint` must name a file or a folder, got ''. Name one that model.train wrote."
            )
        self.schedule = Schedule(
            self.p.checkpoint, max_gap=self.p.max_gap, precision=self.p.precision
        )
        _require_dates(self.data, self.schedule)
        self._live = source_of(self.data).islive()
        self._host_clock = _clock(self.data, self.schedule, self.p.timezone, self.p.stamp)
        self._buffer = FeatureBuffer(self.schedule.sequence_length)
        self._gate = Gate(
            self.data._name,
            remedy=" The broker may fill on it: data.addfilter(BarGuard) keeps it out altogether.",
        )
        self._batch: _Batch | None = None
        self._seen = 0
        self._forecast = NO_FORECAST
        self._unchecked: (
            dict[int, int] | None
        ) = {}  # the host's own stamps, until there are enough to tell the interval
        self.addminperiod(self._buffer.bars_needed)

    @property
    def clock(self) -> str:
        """The host's clock: "once" where all values were computed beforehand, "next" where each was at its bar."""
        return "once" if self._batch is not None else "next"

    def stamp(self, ago: int = 0) -> int:
        """Return the stamp of a bar in nanoseconds since 1970."""
        return self._host_clock.served(self.data.datetime[ago])

    def _plotlabel(self) -> list[str]:
        return [self.schedule.path.name]

    @property
    def faults(self) -> Counter[str]:
        """The bars that the model was not shown, counted by their fault."""
        return self._gate.counts

    def inputs(self, ago: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the raw bars that the value depends on, (150, 5) and their stamps (150,); fewer until there are so many."""
        if self._batch is None:
            return self._buffer.inputs(ago)
        return self._batch.inputs(len(self.data) + ago, self._buffer.bars_needed)

    def prenext(self) -> None:
        self.next()  # the window fills from the first bar on

    def next(self) -> None:
        number = len(self.data)
        if number > self._seen:
            self._advance(number)
        changed = self._take(number, 0)
        if changed:
            self._forecast = self._predict()
        for line, value in zip(self.lines, NO_FORECAST if changed is None else self._forecast):
            line[0] = value

    def once(self, start: int, end: int) -> None:
        if (
            self._batch is None
        ):  # Backtrader calls twice: for the first bar of the minimum period and for the rest
            self._batch = _Batch(self.data, self._gate, self._host_clock)
            found = self._batch.forecasts(self.schedule)
            for line, values in zip(self.lines, found):
                line.array[: len(values)] = array("d", values.tobytes())

    def _advance(self, number: int) -> None:
        """Take the bars that the host passed without a call, and look for a new checkpoint where bars are live."""
        for missed in range(self._seen + 1, number):
            self._take(missed, missed - number)
        self._seen = number
        if self._live:
            self.schedule.refresh()

    def _take(self, number: int, ago: int) -> bool | None:
        """Show one bar to the buffer: True if the window changed, None if the bar is at fault."""
        data = self.data
        shown = (data.open[ago], data.high[ago], data.low[ago], data.close[ago], data.volume[ago])
        stamp = nanoseconds(data.datetime[ago])
        bar = self._gate.admit(number, stamp, shown)
        if bar is None:
            return None
        if self._unchecked is not None:
            self._unchecked[number] = stamp
        return self._buffer.update(number, self.stamp(ago), *bar)

    def _predict(self) -> tuple[float, ...]:
        if self._unchecked is not None and self._buffer.ready:
            require_interval(self.schedule, np.array(list(self._unchecked.values())), self.data)
            self._unchecked = None
        return self.schedule.newest(self.schedule.at(self.stamp()), self._buffer)


class _Batch:
    """All bars of a preloaded feed at once."""

    def __init__(self, data: bt.feed.AbstractDataBase, gate: Gate, clock: Clock) -> None:
        size = data.buflen()
        # Copies: a view of the host's arrays would forbid it to append the next bar.
        columns = [np.array(getattr(data, field).array[:size]) for field in COLUMNS]
        days = np.array(data.datetime.array[:size])
        shown = nanoseconds_of(days)
        values, self._clean = clean_bars(gate, np.column_stack(columns), shown)
        self._data, self._shown = data, shown[self._clean]
        self._values, self._stamps = values[self._clean], clock.served_of(days[self._clean])
        self._ranks = np.cumsum(self._clean)  # how many clean bars there are up to each bar

    def forecasts(self, schedule: Schedule) -> NDArray[np.float64]:
        """Return the rows of a Forecast at each bar: (3, bars)."""
        if len(self._shown) > 1:
            require_interval(schedule, self._shown, self._data)
        found = np.full((len(NO_FORECAST), len(self._clean)), np.nan)
        found[:, self._clean] = remembered(schedule, self._values, self._stamps)
        return found

    def inputs(self, number: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        stop = int(self._ranks[number - 1])
        reach = slice(max(0, stop - count), stop)
        return self._values[reach], self._stamps[reach]


def require_interval(
    schedule: Schedule, stamps: NDArray[np.int64], data: bt.feed.AbstractDataBase
) -> None:
    """Refuse a feed whose bars are not as long as those of training, with a CheckpointError."""
    found, expected = (
        bar_interval(pd.DatetimeIndex(stamps.view("datetime64[ns]"))),
        schedule.checkpoints[0].bar_interval,
    )
    if found != expected:
        raise CheckpointError(
            f"data {data._name!r} must have bars {expected} apart as {schedule.path} has, got {found}. "
            "Give the feed the model was trained on, or train on bars of this one."
        )


def _clock(
    data: bt.feed.AbstractDataBase, schedule: Schedule, timezone: str | None, stamp: str | None
) -> Clock:
    """Return how the feed's stamps become those of training; refuse what is stated and is not as in training."""
    if stamp not in (None, "open", "close"):
        raise ValueError(
            f"`stamp` must be 'open', 'close' or None, got {stamp!r}. "
            "Say what a stamp of the feed marks; None is as in training."
        )
    checkpoint, rebuilt = schedule.checkpoints[0], bool(data.resampling or data.replaying)
    checkpoint.require_clock(timezone, None if rebuilt else stamp)
    return clock_of(
        interval=checkpoint.bar_interval.as_unit("ns").value,
        whole_days=schedule.whole_days,
        trained=checkpoint.stamp,
        shown=stamp or "",
        resampled=bool(data.resampling),
        replayed=bool(data.replaying),
    )


def _require_prices(data: bt.feed.AbstractDataBase) -> None:
    missing = [field for field in (*COLUMNS, "datetime") if not hasattr(data, field)]
    if missing:
        raise TypeError(
            "DirectionProbability must be given a feed of bars, got "
            f"{type(data).__name__} without {', '.join(missing)}. Give it self.data, not one of its lines."
        )


def _require_dates(data: bt.feed.AbstractDataBase, schedule: Schedule) -> None:
    """Refuse dates that the host would turn into those of the day before, with a CheckpointError."""
    index = getattr(getattr(data.p, "dataname", None), "index", None)
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        return
    if not schedule.whole_days or data.resampling or data.replaying:
        return
    dates, shown = index.tz_localize(None).normalize(), index.tz_convert(None).normalize()
    if not dates.equals(shown):
        first = int((dates != shown).argmax())
        raise CheckpointError(
            f"data {data._name!r} has dates in {index.tz}, of which Backtrader makes those of UTC: "
            f"{dates[first].date()} becomes {shown[first].date()}. Give the DataFrame with tz_localize(None)."
        )
