"""A live feed that does what real ones do: it comes late, twice, broken, and goes away."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import backtrader as bt
import pandas as pd

from tests.helpers.hosts import BARS

Bt = bt.feed.DataBase
STATUS = {name: number for number, name in enumerate(Bt._NOTIFNAMES)}


class Tick(NamedTuple):
    """One bar as the feed delivers it."""

    timestamp: pd.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float
    probability: float = math.nan


# A bar, a status, no bar yet, or something that happens meanwhile.
Event = Tick | str | None | Callable[[], None]


class LiveFeed(bt.feed.DataBase):  # type: ignore[misc]
    """Delivers the events of its `dataname`, one bar at a time."""

    def islive(self) -> bool:
        return True

    def start(self) -> None:
        super().start()
        self._events: Iterator[Event] = iter(self.p.dataname)

    def _load(self) -> bool | None:
        for event in self._events:
            if event is None:
                return None
            if isinstance(event, Tick):
                return self._show(event)
            if callable(event):
                event()
            else:
                self.put_notification(STATUS[event])
        return False

    def _show(self, tick: Tick) -> bool:
        self.lines.datetime[0] = (
            float("nan")
            if tick.timestamp is pd.NaT
            else bt.date2num(tick.timestamp.to_pydatetime())
        )
        for field in ("open", "high", "low", "close", "volume"):
            getattr(self.lines, field)[0] = getattr(tick, field)
        self.lines.openinterest[0] = 0.0
        return True


class LiveProbabilities(LiveFeed):
    """A live feed that brings its probabilities along."""

    lines = ("probability",)

    def _show(self, tick: Tick) -> bool:
        self.lines.probability[0] = tick.probability
        return super()._show(tick)


def ticks(bars: pd.DataFrame) -> list[Tick]:
    return [Tick(*row) for row in bars.itertuples()]


START = 180  # bars that are backfilled before the feed is live
TICKS = ticks(BARS)


def live(events: Sequence[Event], name: str = "live", **params: Any) -> LiveFeed:
    return LiveFeed(dataname=list(events), name=name, **params)
