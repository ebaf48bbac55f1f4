"""Which bars a model and a broker may see.

A bar at fault is kept out and counted, never repaired.
"""

import math
import time
import warnings
from collections import Counter
from datetime import datetime
from datetime import time as time_of_day

import numpy as np
from numpy.typing import NDArray

from model.bars.faults import bar_faults
from model.bars.intervals import EARLIEST, day
from strategy_plugin.feeds import Bar, Feed, bar_of, is_live, nanoseconds, source_of, utc_of

REPEATED = "a bar that came before"
REVISED = "a bar that came before with other values"
LATE = "a bar older than the last one"
JUMP = "a close many times the last one, or a fraction of it"
UNFINISHED = "a bar that is not finished"
NEVER_FINISHED = "a bar that came only before its end by this machine's clock"
# What every feed delivers that reconnects: counted, not worth a warning.
EXPECTED = (REPEATED, LATE, UNFINISHED)
# More is a misplaced decimal point, not a market; if the next bar confirms the level, it is one.
HIGHEST_JUMP = 10.0
# Backtrader's end of a session where none was given.
UNSTATED = time_of_day(23, 59, 59, 999990)


class TradingWarning(UserWarning):
    """Something that whoever trades must know; each kind is said once.

    Examples
    --------
    >>> warnings.simplefilter("error", TradingWarning)  # ends the program at the first one
    """


class BarGuard:
    """A filter for a feed: bars at fault reach neither the strategy nor the broker.

    The strategy puts one before every live feed itself. A feed that is to be resampled gets it
    before the resampling.

    Parameters
    ----------
    data
        The feed, given by Backtrader.
    finished_after
        Seconds from a bar's timestamp to its end: a bar that still grows by this machine's clock
        stays out. None where no clock can tell; of daily bars it can where the feed was given its
        `sessionend` (and `tz`).

    Attributes
    ----------
    counts : collections.Counter
        The bars that were kept out, by fault.

    Examples
    --------
    >>> feed = bt.feeds.PandasData(dataname=bars)
    >>> feed.addfilter(BarGuard)
    """

    def __init__(self, data: Feed, finished_after: float | None = None) -> None:
        self.finished_after = finished_after
        self.daily = False  # whether a timestamp is a date
        self.zone = ""  # of timestamps that are not in UTC
        self._gate = Gate(data._name, highest_jump=HIGHEST_JUMP)
        self._number = 0
        self._growing: int | None = None  # time of an unfinished bar that has not come again yet

    @property
    def counts(self) -> Counter[str]:
        return self._gate.counts

    def __call__(self, data: Feed) -> bool:
        """Return True where the newest bar was taken away, as a filter of Backtrader does."""
        self._number += 1
        timestamp = nanoseconds(data.datetime[0])
        if self._is_finished(data, timestamp) and self._gate.admit(
            self._number, timestamp, bar_of(data)
        ):
            return False
        data.backwards()
        return True

    def _is_finished(self, data: Feed, timestamp: int) -> bool:
        if self._growing is not None and timestamp > self._growing:
            # The one before never came again: a slow clock, which must not pass unseen.
            self._gate.refuse(-self._number, self._growing, NEVER_FINISHED)
            self._growing = None
        finished = self._end(data, timestamp) <= time.time()
        if not finished:
            self._gate.refuse(self._number, timestamp, UNFINISHED)
            self._growing = timestamp
        elif timestamp == self._growing:
            self._growing = None
        return finished

    def _end(self, data: Feed, timestamp: int) -> float:
        # In seconds since 1970; minus infinity where no clock can tell, as for a bar long over.
        if self.finished_after is not None:
            if self.zone:
                timestamp = int(utc_of(np.array([timestamp]), self.zone)[0])
            return timestamp / 1e9 + self.finished_after
        if not self.daily or data.p.sessionend == UNSTATED or timestamp == EARLIEST:
            return -math.inf
        date = datetime.fromordinal(int(data.datetime[0]))
        return nanoseconds(data.date2num(datetime.combine(date, data.p.sessionend))) / 1e9


def guard_for(data: Feed, *, finished_after: float | None, daily: bool, zone: str = "") -> BarGuard:
    """Return the guard of a feed that is traded; a live one without a guard gets one here.

    What Backtrader resamples or replays can only be guarded by the user, before that is done: a
    guard added here would see the bars that are made, no longer those they are made of.
    """
    source = source_of(data)
    rebuilt = bool(source.resampling or source.replaying)
    guard = next((found for found, *_ in source._filters if isinstance(found, BarGuard)), None)
    if guard is None:
        guard = BarGuard(source)
        if is_live(source) and not rebuilt:
            source.addfilter(guard)
        elif is_live(source):
            warnings.warn(
                f"data {source._name!r}: nothing guards the bars that it is made of, so one at "
                "fault goes into the next. Call feed.addfilter(BarGuard) before the feed is "
                "resampled or replayed",
                TradingWarning,
                stacklevel=2,
            )
    # Of bars that are made into others the signal's clock tells nothing; and a feed that shows
    # none before its end by the exchange's clock needs none of this machine's.
    if data is source and not rebuilt and not getattr(data, "shows_finished_bars", False):
        guard.finished_after, guard.daily, guard.zone = finished_after, daily, zone
    return guard


class Gate:
    """Admits the sound bars of one feed in the order of their numbers, and counts the others.

    The first bar tells whether the feed has volume. Without one, every missing volume is 0; with
    one, it is a fault. A close more than `highest_jump` times the last, or less than such a
    fraction of it, is doubted until the next bar confirms it.
    """

    def __init__(
        self,
        name: str,
        remedy: str = "",
        highest_jump: float = math.inf,
        *,
        warns: bool = True,
    ) -> None:
        self.name, self._warns = name, warns
        self.counts: Counter[str] = Counter()
        self._remedy = remedy
        self._highest_jump = highest_jump
        self._no_volume: bool | None = None
        self._number = self._refused = 0
        self._timestamp = self._floor = EARLIEST
        self._bar: Bar | None = None
        self._doubted: tuple[int, float] | None = None  # timestamp and close of the last one

    def admit(self, number: int, timestamp: int, bar: Bar) -> Bar | None:
        """Return the bar as the model may see it, or None.

        The same number may come again with other values: a replayed bar grows.
        """
        if self._no_volume is None:
            self._no_volume = math.isnan(bar[4])
        if self._no_volume and math.isnan(bar[4]):
            bar = (*bar[:4], 0.0)
        # A growing bar may keep its time, but not fall behind the bar before it.
        floor = self._timestamp if number > self._number else self._floor
        fault = self._order_fault(timestamp, floor, bar) or bar_fault(bar)
        fault = fault or self._jump_fault(timestamp, bar)
        if fault:
            self.refuse(number, timestamp, fault)
            return None
        self._number, self._timestamp, self._floor = number, timestamp, floor
        self._bar, self._doubted = bar, None
        return bar

    def admit_all(
        self, values: NDArray[np.float64], timestamps: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Judge a whole feed: return the values as the model may see them and which are sound.

        The bars (n, 5) and timestamps (n,) come from a gate that has seen none. Without a fault
        among them, which is the usual feed, a few comparisons of arrays settle it.
        """
        if len(values) and math.isnan(values[0, 4]):
            volumes = np.where(np.isnan(values[:, 4]), 0.0, values[:, 4])
            values = np.column_stack((values[:, :4], volumes))
        open, high, low, close, volume = values.T
        sound = (low > 0) & (low <= open) & (open <= high) & (low <= close) & (close <= high)
        sound &= (high < math.inf) & (volume >= 0) & (volume < math.inf) & (timestamps > EARLIEST)
        sound[1:] &= timestamps[1:] > timestamps[:-1]
        if not sound.all():
            rows = zip(timestamps.tolist(), values.tolist(), strict=True)
            for index, (timestamp, row) in enumerate(rows):
                sound[index] = self.admit(index + 1, timestamp, tuple(row)) is not None
        return values, sound

    def refuse(self, number: int, timestamp: int, fault: str) -> None:
        """Count a bar that stays out, once however often it is shown.

        The first of each kind is warned of, unless every feed that reconnects delivers it.
        """
        if number == self._refused:
            return
        self._refused = number
        self.counts[fault] += 1
        if self._warns and self.counts[fault] == 1 and fault not in EXPECTED:
            warnings.warn(
                f"data {self.name!r}: {fault}, {day(timestamp)}, is kept from the model. Further "
                f"ones are counted.{self._remedy}",
                TradingWarning,
                stacklevel=2,
            )

    def _order_fault(self, timestamp: int, floor: int, bar: Bar) -> str:
        if timestamp > floor:
            return ""
        if timestamp < self._timestamp or timestamp == EARLIEST:
            return LATE
        return REPEATED if bar == self._bar else REVISED

    def _jump_fault(self, timestamp: int, bar: Bar) -> str:
        close = bar[3]
        if self._bar is None or not self._is_jump(close, self._bar[3]):
            return ""
        doubted, self._doubted = self._doubted, (timestamp, close)
        # Only an earlier bar confirms: the same one, shown twice, is no second witness.
        if doubted and doubted[0] < timestamp and not self._is_jump(close, doubted[1]):
            return ""
        return JUMP

    def _is_jump(self, one: float, other: float) -> bool:
        return max(one / other, other / one) > self._highest_jump


def bar_fault(bar: Bar) -> str:
    open, high, low, close, volume = bar
    # The usual bar costs a few comparisons. All rules, with their tolerances, stand in model.bars.
    if 0 < low <= open <= high < math.inf and low <= close <= high and 0 <= volume < math.inf:
        return ""
    return next(iter(bar_faults(*bar)), "")
