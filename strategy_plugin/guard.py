"""Which bars a model and a broker may see: a bar at fault is kept out and counted, never repaired."""

import math
import time
import warnings
from collections import Counter
from datetime import datetime
from datetime import time as time_of_day
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bars.faults import bar_faults, day
from model.bars.intervals import EARLIEST
from strategy_plugin.feed_time import nanoseconds

REPEATED = "a bar that came before"
REVISED = "a bar that came before with other values"
LATE = "a bar older than the last one"
JUMP = "a close many times the last one, or a fraction of it"
UNFINISHED = "a bar that is not finished"
NEVER_FINISHED = "a bar that came only before its end by this machine's clock"
UNSTATED = time_of_day(23, 59, 59, 999990)  # the host's end of a session where none was given
EXPECTED = (
    REPEATED,
    LATE,
    UNFINISHED,
)  # what every reconnecting feed delivers: counted, not worth a warning
HIGHEST_JUMP = (
    10.0  # a misplaced decimal point, not a market; if the next bar confirms the level, it is one
)

Bar = tuple[float, float, float, float, float]  # open, high, low, close, volume


class TradingWarning(UserWarning):
    """Something that whoever trades must know; each kind is said once."""


class Gate:
    """Admits the bars of one feed in the order of their numbers; `counts` holds the others by fault.

    The first bar tells whether the feed has volume: without one, every missing volume is 0; with one, it is a fault.
    """

    def __init__(self, name: str, remedy: str = "", highest_jump: float = math.inf) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self._remedy = remedy
        self._highest_jump = highest_jump
        self._no_volume: bool | None = None
        self._number = self._refused = 0
        self._stamp = self._floor = EARLIEST
        self._bar: Bar | None = None
        self._suspect: tuple[int, float] | None = None  # stamp and close of the bar doubted last

    def admit(self, number: int, stamp: int, bar: Bar) -> Bar | None:
        """Return the bar as the model may see it, or None; the same number may come again with other values."""
        if self._no_volume is None:
            self._no_volume = math.isnan(bar[4])
        if self._no_volume and math.isnan(bar[4]):
            bar = (*bar[:4], 0.0)
        floor = self._stamp if number > self._number else self._floor
        fault = (
            self._order_fault(stamp, floor, bar) or bar_fault(bar) or self._jump_fault(stamp, bar)
        )
        if fault:
            self.refuse(number, stamp, fault)
            return None
        self._number, self._stamp, self._floor, self._bar, self._suspect = (
            number,
            stamp,
            floor,
            bar,
            None,
        )
        return bar

    def refuse(self, number: int, stamp: int, fault: str) -> None:
        """Count a bar that stays out, once however often it is shown."""
        if number == self._refused:
            return
        self._refused = number
        self.counts[fault] += 1
        if self.counts[fault] == 1 and fault not in EXPECTED:
            warnings.warn(
                f"data {self.name!r}: {fault}, {day(stamp)}, is kept from the model. Further ones are "
                f"counted.{self._remedy}",
                TradingWarning,
                stacklevel=2,
            )

    def _order_fault(self, stamp: int, floor: int, bar: Bar) -> str:
        if stamp > floor:
            return ""
        if stamp < self._stamp or stamp == EARLIEST:
            return LATE
        return REPEATED if bar == self._bar else REVISED

    def _jump_fault(self, stamp: int, bar: Bar) -> str:
        """Doubt a close that is out of all proportion, unless it confirms that of an earlier bar doubted before."""
        if self._bar is None or _ratio(bar[3], self._bar[3]) <= self._highest_jump:
            return ""
        doubted, self._suspect = self._suspect, (stamp, bar[3])
        confirms = (
            doubted is not None
            and doubted[0] < stamp
            and _ratio(bar[3], doubted[1]) <= self._highest_jump
        )
        return "" if confirms else JUMP


class BarGuard:
    """A filter for a feed: `data.addfilter(BarGuard)`. Bars at fault reach neither strategy nor broker; `counts` has them.

    The strategy puts one before every live feed itself. A feed that is to be resampled gets it before the resampling.
    With `finished_after`, the seconds from a bar's stamp to its end, a bar that the clock says is still growing stays out;
    of daily bars the clock can say it where the feed was given its `sessionend` (and `tz`).
    """

    def __init__(self, data: Any, finished_after: float | None = None) -> None:
        self.finished_after = finished_after
        self.daily = False  # whether a stamp is a date
        self._gate = Gate(data._name, highest_jump=HIGHEST_JUMP)
        self._number = 0
        self._growing: int | None = None  # stamp of an unfinished bar that has not come again yet

    @property
    def counts(self) -> Counter[str]:
        return self._gate.counts

    def __call__(self, data: Any) -> bool:
        """Return True where the newest bar was taken away, as a Backtrader filter does."""
        self._number += 1
        stamp = nanoseconds(data.datetime[0])
        bar = (data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0])
        if (
            self._is_finished(data, stamp)
            and self._gate.admit(self._number, stamp, bar) is not None
        ):
            return False
        data.backwards()
        return True

    def _is_finished(self, data: Any, stamp: int) -> bool:
        if self._growing is not None and stamp > self._growing:
            self._gate.refuse(-self._number, self._growing, NEVER_FINISHED)
            self._growing = None
        finished = self._end(data, stamp) <= time.time()
        if not finished:
            self._gate.refuse(self._number, stamp, UNFINISHED)
            self._growing = stamp
        elif stamp == self._growing:
            self._growing = None
        return finished

    def _end(self, data: Any, stamp: int) -> float:
        """Return when a bar ends, in seconds since 1970; for ever ago where no clock can tell."""
        if self.finished_after is not None:
            return stamp / 1e9 + self.finished_after
        if not self.daily or data.p.sessionend == UNSTATED or stamp == EARLIEST:
            return -math.inf
        day = datetime.fromordinal(int(data.datetime[0]))
        return nanoseconds(data.date2num(datetime.combine(day, data.p.sessionend))) / 1e9


def source_of(data: Any) -> Any:
    """Return the feed that delivers: the host clones one that is resampled beside itself, and a clone never says it is live."""
    while data._clone:
        data = data.data
    return data


def guard_of(data: Any) -> BarGuard | None:
    """Return the guard that was put before a feed."""
    return next((found for found, *_ in data._filters if isinstance(found, BarGuard)), None)


def bar_fault(bar: Bar) -> str:
    """Return what is wrong with a bar, the empty string for nothing."""
    open, high, low, close, volume = bar
    if 0 < low <= open <= high < math.inf and low <= close <= high and 0 <= volume < math.inf:
        return ""  # the usual bar costs a few comparisons; the rules with their tolerances have one home
    return next(iter(bar_faults(*bar)), "")


def clean_bars(
    gate: Gate,
    values: NDArray[np.float64],
    stamps: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the values (n, 5) as the gate admits them, and which bars it does (n,)."""
    if len(values) and math.isnan(values[0, 4]):
        values = np.column_stack((values[:, :4], np.nan_to_num(values[:, 4])))
    open, high, low, close, volume = values.T
    usual = (
        (0 < low)
        & (low <= open)
        & (open <= high)
        & (low <= close)
        & (close <= high)
        & (high < math.inf)
    )
    usual &= (0 <= volume) & (volume < math.inf) & (stamps > EARLIEST)
    usual[1:] &= stamps[1:] > stamps[:-1]
    if usual.all():
        return values, usual
    bars = zip(range(1, len(values) + 1), stamps.tolist(), values.tolist())
    return values, np.array(
        [gate.admit(number, stamp, tuple(bar)) is not None for number, stamp, bar in bars]
    )


def _ratio(one: float, other: float) -> float:
    return max(one / other, other / one)
