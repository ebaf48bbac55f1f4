"""Bootstrap intervals: how far a figure may lie from the true one by chance alone.

The stationary bootstrap (Politis and Romano, JASA 89, 1994) draws blocks of neighbouring bars, so
that whatever hangs together in time stays together. All series of one call are drawn together:
differences between them are paired.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray

from model.metrics import auc

Array = NDArray[np.float64]

RESAMPLES = 2_000  # of which 20 lie beyond a bound of 99 %
SEED = 20  # one for all, so that the same run has the same figures
USUAL = 0.95
WIDE = 0.98  # both ends of this interval are one-sided bounds of 99 %


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


def block_length(*series: Array) -> int:
    """Return the longest of the series' optimal block lengths, in bars.

    A series that does not vary needs none. Source: Politis and White, Automatic block-length
    selection for the dependent bootstrap, Econometric Reviews 23 (2004), by arch.
    """
    varying = [values for values in series if np.ptp(values) > 0]
    lengths = [float(optimal_block_length(values)["stationary"].iloc[0]) for values in varying]
    # Of a short series there may be no finite estimate.
    return max([1, *(math.ceil(length) for length in lengths if math.isfinite(length))])


def intervals_of(
    names: tuple[str, ...],
    figures: Callable[[Array], Array],
    rows: Array,
    block: int,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return the intervals of several figures of the same rows.

    Parameters
    ----------
    names
        One per figure.
    figures
        From rows (n, columns), drawn again or not, to figures (len(names),). Never NaN: one
        resample without a figure would leave its interval undefined.
    rows
        One per decision or bar, in time order: (n, columns).
    block
        Mean length of the blocks in which rows are drawn.
    resamples
        How often; a fifth of the default still tells clear effects.
    """
    bootstrap = StationaryBootstrap(block, rows, seed=SEED)
    low, high = bootstrap.conf_int(figures, resamples, method="percentile", size=USUAL)
    # Of the same resamples, so that the wide interval holds the usual one.
    lowest, highest = bootstrap.conf_int(
        figures, resamples, method="percentile", size=WIDE, reuse=True
    )
    ends = np.stack((figures(rows), low, high, lowest, highest), axis=1)
    return {name: Interval(*end) for name, end in zip(names, ends.tolist(), strict=True)}


def return_intervals(
    returns: Mapping[str, Array],
    bars_per_year: float,
    block: int,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return the intervals of "mean" and "sharpe" (annual) of the first series.

    Beside them stand, as "less NAME", those of its mean less the mean of each other series.
    returns: net return per decision, (n,) each, as fractions.
    """
    _, *others = returns

    def figures(rows: Array) -> Array:
        means, deviation = rows.mean(axis=0), rows[:, 0].std(ddof=1)
        # A resample in which nothing was held earns nothing: its ratio is 0, not undefined.
        ratio = means[0] / deviation * math.sqrt(bars_per_year) if deviation > 1e-15 else 0.0
        return np.array([means[0], ratio, *(means[0] - means[1:])])

    names = ("mean", "sharpe", *(f"less {other}" for other in others))
    rows = np.column_stack(list(returns.values()))
    return intervals_of(names, figures, rows, block, resamples=resamples)


def forecast_intervals(
    labels: Array, probability: Array, block: int, *, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Return the intervals of "auc" and "accuracy".

    labels, probability: of the decisions that have both, (n,).
    """

    def figures(rows: Array) -> Array:
        labels, probability = rows.T
        accuracy = np.mean((probability >= 0.5) == (labels > 0.5))
        return np.array([_resampled_auc(labels, probability), accuracy])

    rows = np.column_stack((labels, probability))
    return intervals_of(("auc", "accuracy"), figures, rows, block, resamples=resamples)


def auc_differences(
    labels: Array,
    probability: Array,
    others: Mapping[str, Array],
    block: int,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return the intervals of "auc less NAME", for each other forecast.

    labels, probability, others: of the decisions that have all of them, (n,) each.
    """

    def figures(rows: Array) -> Array:
        ours, *theirs = (_resampled_auc(rows[:, 0], forecast) for forecast in rows[:, 1:].T)
        return ours - np.array(theirs)

    names = tuple(f"auc less {name}" for name in others)
    rows = np.column_stack((labels, probability, *others.values()))
    return intervals_of(names, figures, rows, block, resamples=resamples)


def _resampled_auc(labels: Array, scores: Array) -> float:
    """Return the AUC; one half where there is one class only.

    A resample of rare labels may miss them all, and then says nothing.
    """
    area = auc(labels, scores)
    return 0.5 if area is None else area
