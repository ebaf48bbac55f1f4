"""The place of each data among all that a strategy trades, in a backtest and live."""

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from model.features.context import compared, feature_of, places_among, places_of, series_rows
from model.features.series import SeriesRecord
from model.features.trailing import Array
from strategy_plugin.delivered import DeliveredBars
from strategy_plugin.feeds import Feed

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
        self._places: dict[SeriesRecord, Places] = {}

    def places(self, series: SeriesRecord, timezone: str | None, stamp: str | None) -> "Places":
        """Return the places that a series of a checkpoint asks for, the same for all datas.

        Parameters
        ----------
        series
            The "universe" among those of `Checkpoint.context`.
        timezone, stamp
            Of the datas, as `DirectionProbability` has them.

        Returns
        -------
        Places
            Of every data.
        """
        if series not in self._places:
            bars = {
                number: DeliveredBars(series, data, timezone, stamp)
                for number, data in self._datas.items()
            }
            self._places[series] = Places(series, bars)
        return self._places[series]


class Places:
    """The columns of one "universe" series for each data, all at once or bar by bar.

    bars: of each data, by its identity.
    """

    def __init__(self, series: SeriesRecord, bars: Mapping[int, DeliveredBars]) -> None:
        self._columns, self._bars = series.columns, bars
        self._features = tuple(dict.fromkeys(map(feature_of, series.columns)))
        lookback = places_of(self._features)[1]
        self._tails = {number: deque[tuple[int, Sequence[float]]]([], lookback) for number in bars}
        self._dates: dict[int, dict[int, Array]] = {}  # features of each data, by timestamp
        self._made: dict[int, tuple[int, dict[int, tuple[float, ...]]]] = {}
        self._whole: dict[int, Array] | None = None

    def whole(self, data: Feed) -> Array:
        """Return the columns at each sound bar of a preloaded data: (n, columns)."""
        if self._whole is None:
            universe = {number: one.whole() for number, one in self._bars.items()}
            self._whole = places_among(universe, self._columns)
        return self._whole[id(data)]

    def row(self, data: Feed, timestamp: int) -> tuple[float, ...]:
        """Return the columns at a bar among all bars of its timestamp that have come: (columns,).

        NaN for a bar that came more than DATES dates late.
        """
        for number, bars in self._bars.items():
            for moment, bar in bars.delivered():
                self._take(number, moment, bar)
        known = self._dates.get(timestamp, {})
        if id(data) not in known:
            return (np.nan,) * len(self._columns)
        # All datas of a date ask for the same.
        count, rows = self._made.get(timestamp, (0, {}))
        if count < len(known):
            rows = self._compare(known)
            self._made[timestamp] = len(known), rows
        return rows[id(data)]

    def _take(self, number: int, timestamp: int, bar: Sequence[float]) -> None:
        tail = self._tails[number]
        tail.append((timestamp, bar))
        stamps = np.array([moment for moment, _ in tail])
        values = np.array([one for _, one in tail], dtype=np.float64)
        features = series_rows(values, stamps, self._features)[-1]
        self._dates.setdefault(timestamp, {})[number] = features
        if len(self._dates) > DATES:
            oldest = min(self._dates)
            del self._dates[oldest]
            self._made.pop(oldest, None)

    def _compare(self, known: Mapping[int, Array]) -> dict[int, tuple[float, ...]]:
        """Return the columns of each data that has a bar on a date."""
        values = np.array(list(known.values()))
        made = [
            compared(
                pd.DataFrame(values[:, self._features.index(feature_of(column))][None]), column
            )
            for column in self._columns
        ]
        rows = np.column_stack([one.to_numpy()[0] for one in made])
        return {number: tuple(row) for number, row in zip(known, rows.tolist(), strict=True)}
