"""The market of the exchange in a box: bars as steps of time, its sessions and its clock."""

import datetime as dt
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from model.bars.intervals import bar_interval, day
from model.errors import BarsError

NEW_YORK = "America/New_York"
OPENS, CLOSES = dt.time(9, 30), dt.time(16)  # of a day that comes as one bar
DAY = pd.Timedelta(days=1)


class Bar(NamedTuple):
    """One bar as the exchange shows it; `label` is the time that it bears."""

    label: pd.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True)
class Step:
    """An interval of time with the bars that fall into it, by symbol; all times are in UTC."""

    opens: pd.Timestamp
    ends: pd.Timestamp
    bars: Mapping[str, Bar]


@dataclass(frozen=True)
class Session:
    """A trading day, in New York's time as the exchange's calendar has it."""

    date: dt.date
    opens: pd.Timestamp
    closes: pd.Timestamp


def is_crypto(symbol: str) -> bool:
    """Return whether a symbol is a pair of cryptocurrencies: those have a slash, as BTC/USD."""
    return "/" in symbol


class Market:
    """Bars of one or several instruments on one time line.

    Parameters
    ----------
    bars
        By symbol, as `read_bars` gives them; all of one interval. Times without a zone are in UTC,
        dates are those of New York's trading days.
    live_from
        What begins before this time is history.

    Raises BarsError for bars of several intervals, for stocks that trade through the night, and
    where nothing is left to be replayed or nothing is history.
    """

    def __init__(self, bars: Mapping[str, pd.DataFrame], live_from: pd.Timestamp) -> None:
        self.symbols = tuple(bars)
        self.interval = _interval(bars)
        self.daily = self.interval >= DAY
        self.steps = self._laid_out(bars)
        self.sessions = _sessions(self.steps)
        self._require_nights()
        self._ends = [step.ends for step in self.steps]
        # A time without a zone is meant as those of the bars are.
        zone = NEW_YORK if self.daily else "UTC"
        first = (live_from if live_from.tzinfo else live_from.tz_localize(zone)).tz_convert("UTC")
        self.first_live = next(
            (number for number, step in enumerate(self.steps) if step.opens >= first),
            len(self.steps),
        )
        if not 0 < self.first_live < len(self.steps):
            raise BarsError(
                f"`live_from` must lie after the first bar, {day(self.steps[0].opens)}, and before "
                f"the last, {day(self.steps[-1].opens)}, got {day(live_from)}."
            )

    def _laid_out(self, bars: Mapping[str, pd.DataFrame]) -> list[Step]:
        at: dict[pd.Timestamp, dict[str, Bar]] = {}
        for symbol, frame in bars.items():
            labels = self._labels(frame, symbol)
            rows = frame[["open", "high", "low", "close", "volume"]].to_numpy(dtype=float).tolist()
            for label, row in zip(labels, rows, strict=True):
                at.setdefault(label, {})[symbol] = Bar(label, *row)
        return [self._step(label, at[label]) for label in sorted(at)]

    def _labels(self, frame: pd.DataFrame, symbol: str) -> list[pd.Timestamp]:
        index = pd.DatetimeIndex(frame.index)
        if self.daily:
            zone = "UTC" if is_crypto(symbol) else NEW_YORK
            # A date is a trading day of New York; of a pair that never closes one of UTC.
            return list(index.normalize().tz_localize(None).tz_localize(zone).tz_convert("UTC"))
        index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
        # Alpaca names a bar by its beginning.
        shift = self.interval if frame.attrs.get("stamp") == "close" else pd.Timedelta(0)
        return list(index - shift)

    def _step(self, label: pd.Timestamp, bars: Mapping[str, Bar]) -> Step:
        if self.daily and not any(map(is_crypto, bars)):
            date = label.tz_convert(NEW_YORK).date()
            opens, closes = (
                pd.Timestamp.combine(date, time).tz_localize(NEW_YORK).tz_convert("UTC")
                for time in (OPENS, CLOSES)
            )
            return Step(opens, closes, bars)
        return Step(label, label + self.interval, bars)

    def _require_nights(self) -> None:
        stocks = [symbol for symbol in self.symbols if not is_crypto(symbol)]
        through = [one for one in self.sessions if one.closes - one.opens > pd.Timedelta(hours=20)]
        if stocks and through:
            raise BarsError(
                f"{', '.join(stocks)} must have nights without bars as an exchange for stocks has, "
                f"got bars from {through[0].opens:%H:%M} to {through[0].closes:%H:%M} on "
                f"{through[0].date}. Of a market that never closes give a pair as the symbol, like "
                "BTC/USD."
            )

    def session_at(self, now: pd.Timestamp) -> tuple[bool, pd.Timestamp, pd.Timestamp]:
        """Return whether the market is open, when it opens next and when it closes next."""
        # Two, as the next open may be that of the one after.
        upcoming = [one for one in self.sessions if one.closes > now][:2]
        last = self.sessions[-1]
        # Beyond the bars every day is one like the last.
        while len(upcoming) < 2:
            behind = upcoming[-1] if upcoming else last
            later = behind.date + dt.timedelta(days=1)
            upcoming.append(Session(later, behind.opens + DAY, behind.closes + DAY))
        first, second = upcoming
        is_open = first.opens <= now
        return is_open, (second if is_open else first).opens, first.closes

    def completed(self, now: pd.Timestamp) -> int:
        """Return how many steps have ended at a time."""
        return bisect_right(self._ends, now)


def _interval(bars: Mapping[str, pd.DataFrame]) -> pd.Timedelta:
    intervals = {symbol: bar_interval(pd.DatetimeIndex(one.index)) for symbol, one in bars.items()}
    if len(set(intervals.values())) > 1:
        each = ", ".join(f"{symbol} {interval}" for symbol, interval in intervals.items())
        raise BarsError(f"all bars must have one interval, got {each}.")
    return next(iter(intervals.values()))


def _sessions(steps: list[Step]) -> list[Session]:
    spans: dict[dt.date, Session] = {}
    for step in steps:
        opens, closes = step.opens.tz_convert(NEW_YORK), step.ends.tz_convert(NEW_YORK)
        known = spans.get(opens.date())
        spans[opens.date()] = Session(opens.date(), known.opens if known else opens, closes)
    return list(spans.values())
