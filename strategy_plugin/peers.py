"""The place of each data among all that a strategy trades, in a backtest and live."""

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from model.bars.intervals import day
from model.features.context import (
    SeriesBars,
    feature_of,
    features_of,
    place_of,
    places_among,
    places_of,
    series_rows,
)
from model.features.series import SeriesRecord
from model.features.trailing import Array
from strategy_plugin.delivered import Delivered, DeliveredBars
from strategy_plugin.feeds import Feed, is_live

DATES = 64  # that are remembered: a bar that comes later still has no place


class Peers:
    """The datas among which a model sees the place of each; one for all datas of a strategy.

    Parameters
    ----------
    datas
        Those that are compared, of one timeframe.

    Examples
    --------
    >>> class Own(bt.Strategy):
    ...     def __init__(self):
    ...         peers = Peers(self.datas)
    ...         self.probabilities = [
    ...             DirectionProbability(data, checkpoint="ranks.ckpt", peers=peers)
    ...             for data in self.datas
    ...         ]
    """

    def __init__(self, datas: Sequence[Feed]) -> None:
        # By identity: to Backtrader's lines an equal is one whose newest value is the same.
        self._datas = {id(data): data for data in datas}
        self._places: dict[tuple[SeriesRecord, str | None, str | None], Places] = {}

    def places(
        self, data: Feed, series: SeriesRecord, timezone: str | None, stamp: str | None
    ) -> "Places":
        """Return the places that a series of a checkpoint asks for, the same for all datas.

        Parameters
        ----------
        data
            Whose place is asked for.
        series
            The "universe" among those of `Checkpoint.context`.
        timezone, stamp
            Of the datas, as `DirectionProbability` has them.

        Returns
        -------
        Places
            Of every data.

        Raises
        ------
        ValueError
            For a data that is none of them, or that would be compared with itself alone.
        """
        if id(data) not in self._datas or len(self._datas) < 2:
            names = ", ".join(repr(one._name) for one in self._datas.values())
            raise ValueError(
                f"`peers` must be data {data._name!r} and the others that it is compared with, got "
                f"{names}. Give the datas of all, or a feed of bars that add_context has joined."
            )
        key = series, timezone, stamp
        if key not in self._places:
            bars = {
                number: DeliveredBars(series, one, timezone, stamp, warns=False)
                for number, one in self._datas.items()
            }
            self._places[key] = Places(series, self._datas, bars)
        return self._places[key]


class Places:
    """The columns of one "universe" series for each data, all at once or bar by bar.

    datas, bars: by a data's identity.
    """

    def __init__(
        self,
        series: SeriesRecord,
        datas: Mapping[int, Feed],
        bars: Mapping[int, DeliveredBars],
    ) -> None:
        self._columns, self._datas, self._bars = series.columns, datas, bars
        self._features = features_of(series.columns)
        self._compares = [self._features.index(feature_of(column)) for column in series.columns]
        lookback = places_of(self._features)[1]
        self._tails = {number: deque[tuple[int, Sequence[float]]]([], lookback) for number in bars}
        self._dates: dict[int, dict[int, Array]] = {}  # features of each data, by timestamp
        self._times: dict[int, tuple[int, int]] = {}  # Backtrader's own, and of which data
        self._asked = np.iinfo(np.int64).min  # newest timestamp of which a place was asked for
        self._live = any(is_live(data) for data in datas.values())
        self._whole: dict[int, Array] | None = None

    def whole(self, data: Feed) -> Array:
        """Return the columns at each sound bar of a preloaded data: (n, columns)."""
        if self._whole is None:
            universe = {number: one.whole() for number, one in self._bars.items()}
            self._require_one_time(universe)
            self._whole = places_among(universe, self._columns)
        return self._whole[id(data)]

    def row(self, data: Feed, timestamp: int) -> tuple[float, ...]:
        """Return the columns at a bar among all bars of its timestamp that have come: (columns,).

        NaN for a bar that came more than DATES dates late.
        """
        for number, bars in self._bars.items():
            for delivered in bars.delivered():
                self._take(number, delivered)
        self._asked = max(self._asked, timestamp)
        known = self._dates.get(timestamp, {})
        own = known.get(id(data))
        if own is None:
            return (np.nan,) * len(self._columns)
        values = np.array(list(known.values()))
        return tuple(
            place_of(own[place], values[:, place], column)
            for place, column in zip(self._compares, self._columns, strict=True)
        )

    def _take(self, number: int, delivered: Delivered) -> None:
        timestamp = delivered.timestamp
        # Live a date is waited for, whenever its bars come.
        if not self._live:
            self._note_time(number, timestamp, delivered.time)
            self._require_in_time(number, timestamp)
        tail = self._tails[number]
        tail.append((timestamp, delivered.bar))
        stamps = np.array([moment for moment, _ in tail])
        values = np.array([one for _, one in tail], dtype=np.float64)
        features = series_rows(values, stamps, self._features)[-1]
        self._dates.setdefault(timestamp, {})[number] = features
        if len(self._dates) > DATES:
            oldest = min(self._dates)
            del self._dates[oldest]
            self._times.pop(oldest, None)

    def _require_in_time(self, number: int, timestamp: int) -> None:
        """Refuse a bar of a date of which a place was given without it.

        Backtrader shows the last hour of a day at once where minutes are missing at its end, before
        those of the other datas.
        """
        if timestamp <= self._asked:
            raise ValueError(
                f"data {self._datas[number]._name!r} must show its bar of {day(timestamp)} in the "
                "same step as the others, got it after a place among them was asked for. Give "
                "bars that are made before the run, as DataFrames of read_bars, rather than "
                "resampled ones with bars missing at their ends."
            )

    def _require_one_time(self, universe: Mapping[int, SeriesBars]) -> None:
        for number, bars in universe.items():
            assert bars.arrived is not None  # of all that Backtrader delivers
            moments = zip(bars.timestamps.tolist(), bars.arrived.tolist(), strict=True)
            for timestamp, time in moments:
                self._note_time(number, timestamp, time)
        self._times.clear()

    def _note_time(self, number: int, timestamp: int, time: int) -> None:
        """Refuse bars of one date that Backtrader delivers one after the other.

        The places of the first would be made without those that come later, or with what nobody
        knew at the time.
        """
        before, other = self._times.setdefault(timestamp, (time, number))
        twice = number in self._dates.get(timestamp, {}) or (other == number and before != time)
        if before == time and not twice:
            return
        name, beside = self._datas[number]._name, self._datas[other]._name
        raise ValueError(
            f"data {name!r} must have one bar on {day(timestamp)}, at the time of day that the "
            f"others have, got one at {day(time)} beside one of {beside!r} at {day(before)}: they "
            "are compared as one date. Give all feeds one time of day, or DataFrames of read_bars."
        )
