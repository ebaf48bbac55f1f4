"""Bootstrap intervals: how far a figure could lie from the true one by chance, for returns and forecasts in time order.

The stationary bootstrap (Politis and Romano, JASA 89, 1994) draws blocks of neighbouring bars, so that whatever hangs
together in time stays together. All series of one call are drawn together: differences between them are paired.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]

RESAMPLES = 2_000
SEED = 20
USUAL = 0.95
WIDE = 0.98  # both ends of this interval are one-sided bounds of 99 %


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval, low to high, and its one-sided 99 % bounds, lowest and highest."""

    value: float
    low: float
    high: float
    lowest: float
    highest: float


def block_length(*series: Array) -> int:
    """Return the longest of the series' optimal block lengths, in bars. Source: Politis and White (2004), by arch."""
    varying = [values for values in series if np.ptp(values) > 0]
    lengths = [float(optimal_block_length(values)["stationary"].iloc[0]) for values in varying]
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
        From rows (n, columns), drawn again or not, to figures (len(names),). Never NaN: one resample without a figure
        would leave its interval undefined.
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
    """Return the intervals of the first series' "mean" and "sharpe" ratio (annual), and of its mean "less" that of each other.

    returns: net return per decision, (n,) each, as fractions.
    """
    _, *others = returns

    def figures(rows: Array) -> Array:
        means, deviation = rows.mean(axis=0), rows[:, 0].std(ddof=1)
        ratio = means[0] / deviation * math.sqrt(bars_per_year) if deviation > 1e-15 else 0.0
        return np.array([means[0], ratio, *(means[0] - means[1:])])

    names = ("mean", "sharpe", *(f"less {other}" for other in others))
    rows = np.column_stack(list(returns.values()))
    return intervals_of(names, figures, rows, block, resamples=resamples)


def forecast_intervals(
    labels: Array, probability: Array, block: int, *, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Return the intervals of AUC and accuracy over decisions that have both a label and a probability, (n,)."""

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
    """Return the intervals of the AUC less that of each other forecast, over decisions that have all of them, (n,)."""

    def figures(rows: Array) -> Array:
        ours, *theirs = (_resampled_auc(rows[:, 0], forecast) for forecast in rows[:, 1:].T)
        return ours - np.array(theirs)

    names = tuple(f"auc less {name}" for name in others)
    rows = np.column_stack((labels, probability, *others.values()))
    return intervals_of(names, figures, rows, block, resamples=resamples)


def _resampled_auc(labels: Array, scores: Array) -> float:
    """Return the AUC; one half where a resample of rare labels holds one class only, and so says nothing."""
    area = auc(labels, scores)
    return 0.5 if math.isnan(area) else area


def auc(labels: Array, scores: Array) -> float:
    """Return the area under the ROC curve, nan for one class; ties count half (the rank form, fast enough to resample)."""
    up = labels > 0.5
    n_up, n_down = int(up.sum()), int((~up).sum())
    if not n_up or not n_down:
        return math.nan
    return float((rankdata(scores)[up].sum() - n_up * (n_up + 1) / 2) / (n_up * n_down))
