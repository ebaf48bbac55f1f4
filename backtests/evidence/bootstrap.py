"""The bootstrap: how far a figure may lie from the true one by chance alone.

The stationary bootstrap (Politis and Romano, JASA 89, 1994) draws blocks of neighbouring rows, so
that whatever hangs together in time stays together. A resample is held as how often it holds each
row. A mean is then one sum, an area under the ROC curve needs no sorting, and all figures of one
call come from the same resamples: what is compared is paired.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]
# From how often each row was drawn, (rows, b), to a figure of each of the b resamples, (k, b).
Figure = Callable[[Array], Array]

RESAMPLES = 2_000  # of which 20 lie beyond a bound of 99 %
SEED = 20  # one for all, so that the same run has the same figures
CHUNK = 400_000  # counts held at once: 3 MB stay in the cache, whatever the number of rows
REMEMBERED = 25_000_000  # counts of resamples that are kept for the next call, 50 MB
NOUGHT = 1e-12  # what is nearer to 0 is rounding
# The ends of the 95 % interval, and the one-sided bounds of 99 %.
ENDS = (2.5, 97.5, 1.0, 99.0)


@dataclass(frozen=True)
class Interval:
    """A figure with its intervals.

    low, high: the ends of the 95 % interval; lowest, highest: the one-sided 99 % bounds.
    """

    value: float
    low: float
    high: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of so many rows in blocks of this mean length, the same on every call."""

    rows: int
    block: int
    resamples: int = RESAMPLES

    def draw(self, figures: Mapping[str, Figure]) -> dict[str, Array]:
        """Return each figure as it is found, and then in every resample: (k, 1 + resamples)."""
        # The rows as they are, each once.
        once = np.ones((self.rows, 1))
        draws = {name: [figure(once)] for name, figure in figures.items()}
        small = self.rows * self.resamples <= REMEMBERED
        # With more threads the library splits sums elsewhere: the last digits would depend on them.
        with threadpool_limits(1):
            for counts in _remembered(self) if small else _counts(self):
                drawn = counts.astype(np.float64)
                for name, figure in figures.items():
                    draws[name].append(figure(drawn))
        return {name: np.concatenate(parts, axis=1) for name, parts in draws.items()}


def _counts(bootstrap: Bootstrap) -> Iterator[NDArray[np.uint16]]:
    """Yield how often each row is drawn in each resample, (rows, b), some resamples at a time."""
    source = StationaryBootstrap(bootstrap.block, np.arange(bootstrap.rows), seed=SEED)
    size = max(1, CHUNK // bootstrap.rows)
    for start in range(0, bootstrap.resamples, size):
        chunk = range(start, min(start + size, bootstrap.resamples))
        counts = [np.bincount(source.update_indices(), minlength=bootstrap.rows) for _ in chunk]
        # A row of all resamples lies together: rows are what the figures take and sum.
        yield np.stack(counts, axis=1).astype(np.uint16)


@lru_cache(maxsize=2)
def _remembered(bootstrap: Bootstrap) -> list[NDArray[np.uint16]]:
    # The markets of a universe, and the cells of a grid, draw the same rows again and again.
    return list(_counts(bootstrap))


def means_of(columns: Array) -> Figure:
    """Return the figure that is the mean of each column, (rows, k)."""

    def means(counts: Array) -> Array:
        # Every resample has as many draws as there are rows.
        drawn: Array = columns.T @ counts / len(columns)
        return drawn

    return means


class _Places(NamedTuple):
    """Forecasts in the order of their groups and scores.

    up, not_up: the bootstrap's rows of each outcome. first, last: of each forecast of "up", how
    many of "not up" lie below its place, and up to its end. borders: how many of each outcome come
    before each group, and in all.
    """

    up: NDArray[np.intp]
    not_up: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    borders: list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class AreaUnderCurve:
    """The figure that is the AUC of forecasts, counting pairs within their own group alone.

    The level of one fold's probabilities says nothing about another's: a pair of two folds would
    compare them. Ties count half.

    Parameters
    ----------
    labels, scores
        1 for up and 0 for not, and the forecast: (m,).
    groups
        (m,), whole numbers: the fold, of several instruments that of each.
    rows
        (m,), the bootstrap's row in which each is drawn.
    """

    labels: Array
    scores: Array
    groups: NDArray[np.intp]
    rows: NDArray[np.intp]

    def __call__(self, counts: Array) -> Array:
        """Return the AUC of each resample, (1, b); one half where no pair was drawn."""
        places = self._places
        below = np.zeros((len(places.not_up) + 1, counts.shape[1]))
        np.cumsum(counts[places.not_up], axis=0, out=below[1:])
        weights = counts[places.up]
        wins = np.einsum("ij,ij->j", weights, below[places.first])
        if (places.last != places.first).any():
            wins += np.einsum("ij,ij->j", weights, below[places.last])
            wins /= 2
        # Per group: the pairs there are, less what lies below in earlier groups.
        pairs = np.zeros(counts.shape[1])
        for (up, not_up), (up_stop, not_up_stop) in pairwise(places.borders):
            ups, earlier = weights[up:up_stop].sum(axis=0), below[not_up]
            wins -= ups * earlier
            pairs += ups * (below[not_up_stop] - earlier)
        areas: Array = np.divide(wins, pairs, out=np.full_like(wins, 0.5), where=pairs > 0)
        return areas[None]

    @cached_property
    def _places(self) -> _Places:
        # Once for all resamples: their order is that of the forecasts.
        order = np.lexsort((self.scores, self.groups))
        up, rows = self.labels[order] > 0.5, self.rows[order]
        groups, scores = self.groups[order], self.scores[order]
        # Equal scores of one group are one place.
        starts = np.r_[True, (np.diff(scores) != 0) | (np.diff(groups) != 0)]
        stops = np.r_[np.flatnonzero(starts)[1:], len(up)]
        place = np.cumsum(starts)[up] - 1
        n_not_up, n_up = np.r_[0, np.cumsum(~up)], np.r_[0, np.cumsum(up)]
        borders = np.flatnonzero(np.r_[True, np.diff(groups) != 0, True])
        return _Places(
            up=rows[up],
            not_up=rows[~up],
            first=n_not_up[np.flatnonzero(starts)[place]],
            last=n_not_up[stops[place]],
            borders=list(zip(n_up[borders].tolist(), n_not_up[borders].tolist(), strict=True)),
        )

    @property
    def defined(self) -> bool:
        """Whether any group has both outcomes, so that there is a pair to compare."""
        borders = self._places.borders if len(self.labels) else []
        return any(
            up < up_stop and not_up < not_up_stop
            for (up, not_up), (up_stop, not_up_stop) in pairwise(borders)
        )


@dataclass(frozen=True, eq=False)
class RatioOfSums:
    """The figure that is a sum over rows by another, and `otherwise` where that one is 0.

    numerators, denominators: (rows, k).
    """

    numerators: Array
    denominators: Array
    otherwise: float = 0.0

    def __call__(self, counts: Array) -> Array:
        """Return the k ratios of each resample, (k, b)."""
        whole = self.denominators.T @ counts
        ratios = np.full_like(whole, self.otherwise)
        np.divide(self.numerators.T @ counts, whole, out=ratios, where=whole > NOUGHT)
        return ratios

    @property
    def defined(self) -> bool:
        """Whether there is anything to divide by."""
        return bool((self.denominators > 0).any())


def area_within_rows(labels: Array, scores: Array) -> RatioOfSums:
    """Return the figure that is the AUC of pairs within a row of the bootstrap alone, as a date.

    A row drawn twice counts twice: `AreaUnderCurve`, whose groups reach over rows, would pair it
    with itself. Ties count half. labels: 1, 0 or NaN; scores: NaN where there is none: (rows,
    names). Source: Mann and Whitney (1947).
    """
    judged = np.isfinite(labels) & np.isfinite(scores)
    ranks = pd.DataFrame(np.where(judged, scores, np.nan)).rank(axis=1).to_numpy()
    up = judged & (labels > 0.5)
    n_up, n_not_up = up.sum(axis=1), (judged & ~up).sum(axis=1)
    # Of the ranks of those that rose, what they have beyond their own number they have won.
    wins = np.where(up, ranks, 0.0).sum(axis=1) - n_up * (n_up + 1) / 2
    pairs = (n_up * n_not_up).astype(float)
    return RatioOfSums(np.where(pairs > 0, wins, 0.0)[:, None], pairs[:, None], otherwise=0.5)


Area = AreaUnderCurve | RatioOfSums


def interval(draws: Array) -> Interval:
    """Return a figure with its intervals, of what `Bootstrap.draw` gives: (1 + resamples,).

    What does not vary is its own bounds, and what is nearer to 0 than 1e-12 is 0.
    """
    value, resampled = float(draws[0]), draws[1:]
    # Resamples of a constant differ by rounding, and a bound that is rounding would decide.
    if np.ptp(resampled) <= NOUGHT:
        resampled = draws[:1]
    ends = [value, *np.percentile(resampled, ENDS).tolist()]
    return Interval(*(end if abs(end) > NOUGHT else 0.0 for end in ends))


def block_length(*series: Array) -> int:
    """Return the longest of the series' optimal block lengths, in rows.

    A series that does not vary needs none. Source: Politis and White, Automatic block-length
    selection for the dependent bootstrap, Econometric Reviews 23 (2004), by arch.
    """
    varying = [values for values in series if np.ptp(values) > NOUGHT]
    lengths = [float(optimal_block_length(values)["stationary"].iloc[0]) for values in varying]
    # Of a short series there may be no finite estimate.
    return max([1, *(math.ceil(length) for length in lengths if math.isfinite(length))])
