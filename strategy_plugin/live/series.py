"""Other series of a live session: which symbols they are, and what the models see of them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from msgspec.structs import replace
from numpy.typing import NDArray

from model.bars.intervals import spoken
from model.checkpoint.schedule import Schedule
from model.context import age_words
from model.errors import CheckpointError
from model.features.context import SeriesBars, join, places_among, places_of
from model.features.series import UNIVERSE, ContextRecord, SeriesRecord, period
from model.files import as_file_name
from strategy_plugin.context import Standing
from strategy_plugin.instrument import TradedData
from strategy_plugin.live.sessions import Calendar, finished_bars
from strategy_plugin.live.store import LOG, LiveStore
from strategy_plugin.live.venue import Asset, Venue

if TYPE_CHECKING:
    from strategy_plugin.trade import Ranks, Trading


def symbols_of_series(
    schedules: Mapping[str, Schedule], trading: "Trading", ranks: "Ranks"
) -> dict[str, str]:
    """Return the venue's symbol of each series that the models read beside what is traded.

    ValueError where the user names others, CheckpointError for what is not traded live.
    """
    needs = {schedule.path: schedule.context for schedule in schedules.values()}
    for path, record in needs.items():
        if record is not None:
            _require_served(path, record, trading, ranks)
    wanted = {path: record.others if record else () for path, record in needs.items()}
    path, others = next(iter(wanted.items()))
    if different := [str(other) for other, names in wanted.items() if set(names) != set(others)]:
        raise CheckpointError(
            f"the models of a run must read the same other series, got "
            f"{', '.join(others) or 'none'} of {path} and others of {', '.join(different)}. Trade "
            "those in a run with a `tag` of its own."
        )
    given = [_named(text, others) for text in trading.context]
    if sorted(name for name, _ in given) != sorted(others):
        wants = f"trained with {', '.join(others)}" if others else "trained without such series"
        example = " ".join(f"{name}=SYMBOL" for name in others)
        raise ValueError(
            f"`context` must name the venue's symbol of each other series, got "
            f"{' '.join(trading.context) or 'none'}: {path} was {wants}. "
            + (f"Give it as {example}, or SYMBOL alone where it is the name." if others else "")
            + ("" if others else "Leave it out.")
        )
    return dict(given)


def _named(text: str, names: Sequence[str]) -> tuple[str, str]:
    """Return the series and the symbol of a text such as spy=SPY, or SPY alone."""
    name, _, symbol = text.rpartition("=")
    spelt = as_file_name(symbol).casefold()  # as the file may have been called
    same = [one for one in names if one.casefold() in (symbol.casefold(), spelt)]
    return name or next(iter(same), symbol), symbol


def _require_served(
    path: object, record: ContextRecord, trading: "Trading", ranks: "Ranks"
) -> None:
    """Refuse a model whose other series cannot be had live as it was trained with them."""
    # Who decides at each bar does not know those of the others yet.
    if record.ranks and not ranks.book:
        raise CheckpointError(
            f"{path} must be traded with `book`, got it without: it reads the place of each symbol "
            "among all, which is known when the last bar of a date has come."
        )
    own = record.clock
    for series in record.series:
        clock = series.clock
        has_bars = series.name in record.others
        if not has_bars or (clock.interval, clock.stamp) == (own.interval, own.stamp):
            continue
        raise CheckpointError(
            f"{path} must read series whose bars are like its own to be traded live, "
            f"{_kind(own.interval, own.stamp)}, got those of {series.title}, "
            f"{_kind(clock.interval, clock.stamp)}. Train it with such bars of the series."
        )
    if same := set(record.others) & set(trading.symbols):
        raise CheckpointError(
            f"{path} must call its other series otherwise than what is traded, got "
            f"{', '.join(sorted(same))}. Train it with a file of another name."
        )


def _kind(interval: int, stamp: str) -> str:
    return f"{spoken(pd.Timedelta(interval, 's'))} stamped by their {stamp}"


def assets_of_series(
    venue: Venue,
    symbols: Mapping[str, str],
    schedules: Mapping[str, Schedule],
    traded: Mapping[str, Asset],
) -> dict[str, Asset]:
    """Return what the venue knows of the series by symbol; VenueError for one that is unknown.

    CheckpointError for a series whose dates end after those of what is traded.
    """
    found = {symbol: venue.asset(symbol) for symbol in dict.fromkeys(symbols.values())}
    for symbol, schedule in schedules.items():
        for series in series_with_bars(schedule.context):
            later = found[symbols[series.name]].around_the_clock
            if (
                later
                and not traded[symbol].around_the_clock
                and series.clock.dates
                and series.clock.zone is None
            ):
                raise CheckpointError(
                    f"{schedule.path} must know when the dates of {series.name} end: those of "
                    f"{symbols[series.name]} do hours after the close of {symbol}, and a training "
                    "that says no zone took them for known. Train with --closes '16:00 "
                    f"America/New_York' and {series.name}@UTC."
                )
    return found


def series_with_bars(record: ContextRecord | None) -> list[SeriesRecord]:
    """Return the series that have bars of their own."""
    return [] if record is None else [one for one in record.series if one.name in record.others]


def bars_needed(schedule: Schedule, calendar: Calendar, interval: dt.timedelta) -> int:
    """Return how many bars make the first forecast, with those behind its slower bars."""
    slower = [one for one in (schedule.context.series if schedule.context else ()) if one.every]
    behind = [
        # The first of them is left out, and the newest may have only begun.
        calendar.most_bars(
            (places_of(one.columns)[1] + 2) * dt.timedelta(microseconds=period(one.every) // 1_000),
            interval,
        )
        for one in slower
    ]
    return schedule.bars_needed + max(behind, default=0)


def series_starts(
    store: LiveStore,
    symbols: Mapping[str, str],
    schedules: Mapping[str, Schedule],
    histories: Mapping[str, int],
) -> dict[str, tuple[dt.datetime, str]]:
    """Return from when on bars of each series are needed, and which of their ends marks them.

    histories: how many bars of what is traded are shown, by symbol.
    """
    starts: dict[str, tuple[dt.datetime, str]] = {}
    for symbol, schedule in schedules.items():
        first = store.calendars[symbol].start_of_history(
            store.now(), histories[symbol], store.interval
        )
        for series in series_with_bars(schedule.context):
            calendar, behind = store.calendars[symbols[series.name]], places_of(series.columns)[1]
            start = calendar.start_of_history(first, behind, store.interval)
            known, _ = starts.get(series.name, (start, ""))
            starts[series.name] = min(start, known), series.clock.stamp
    return starts


def newest_bars(
    store: LiveStore, symbols: Mapping[str, str], schedules: Mapping[str, Schedule]
) -> tuple[dict[str, SeriesBars], dict[str, SeriesBars]]:
    """Return the finished bars that a forecast of now is made of, with the timestamps of training.

    Those of what is traded by symbol, and those of the other series by name.
    """
    needed = {
        symbol: bars_needed(schedule, store.calendars[symbol], store.interval)
        for symbol, schedule in schedules.items()
    }
    own = {}
    for symbol, schedule in schedules.items():
        calendar = store.calendars[symbol]
        start = calendar.start_of_history(store.now(), needed[symbol], store.interval)
        own[symbol] = _bars_since(store, symbol, start, schedule.checkpoints[-1].stamp)
    starts = series_starts(store, symbols, schedules, needed)
    series = {name: _bars_since(store, symbols[name], *since) for name, since in starts.items()}
    return own, series


def _bars_since(store: LiveStore, symbol: str, start: dt.datetime, stamp: str) -> SeriesBars:
    calendar, interval = store.calendars[symbol], store.interval
    bars = finished_bars(store.venue, calendar, symbol, interval, start, store.now())
    times = [calendar.timestamp(bar, end, interval, stamp) for bar, end in bars]
    index = pd.DatetimeIndex(times, tz="UTC").tz_localize(None).as_unit("ns")
    values = np.array([bar[2:] for bar, _ in bars], dtype=np.float64).reshape(-1, 5)
    return SeriesBars(values, index.asi8)


def with_series(
    symbol: str,
    record: ContextRecord,
    own: Mapping[str, SeriesBars],
    series: Mapping[str, SeriesBars],
    max_age: float | None,
) -> tuple[NDArray[np.float64], list[str]]:
    """Return a symbol's bars with the columns of other series, and how old each is at the last.

    own, series: as `newest_bars` gives them. max_age: days, None as in training.
    """
    if max_age is not None:
        record = replace(record, max_age=float(max_age))
    among = None
    if record.ranks:
        [columns] = [one.columns for one in record.series if one.name == UNIVERSE]
        among = places_among(own, columns)[symbol]
    joined = join(own[symbol], series, record, among)
    ages = {
        one.title: None if age < 0 else age / 1e9
        for one, age in zip(record.series, joined.ages[-1].tolist(), strict=True)
        if one.name != UNIVERSE
    }
    return np.hstack((own[symbol].values, joined.rows)), age_words(ages)


class SeriesWatch:
    """Says where a series fails the forecasts of what is traded: once, until it is well again."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str], str] = {}
        self._late: dict[tuple[str, str], int] = {}

    def look(self, instrument: TradedData) -> dict[str, float | None]:
        """Return how old each series was at the newest bar, in seconds; None without a bar."""
        indicator = instrument.signal.indicator
        standings = indicator.series if indicator is not None else {}
        for title, standing in standings.items():
            key = instrument.name, title
            fault = self._fault(standing, standing.n_late > self._late.get(key, standing.n_late))
            self._late[key] = standing.n_late
            if fault and fault != self._faults.get(key):
                LOG.warning("%s: the series %s %s", instrument.name, title, fault)
            elif not fault and self._faults.get(key):
                LOG.info("%s: the series %s is there again", instrument.name, title)
            self._faults[key] = fault
        return {title: standing.age for title, standing in standings.items()}

    @staticmethod
    def _fault(standing: Standing, is_late: bool) -> str:
        if not standing.known:
            what = "is too old" if standing.too_old else "has too few bars for its columns"
            return (
                f"{what}: nothing is forecast, and nothing opened, until newer bars fill a window"
            )
        if is_late:
            return "had a bar that came after the decision it was complete for, made without it"
        return ""
