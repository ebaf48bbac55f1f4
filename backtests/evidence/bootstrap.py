"""What chance leaves open: intervals by the stationary bootstrap and the test for superior predictive ability."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from arch.bootstrap import SPA, StationaryBootstrap, StepM, optimal_block_length
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]

RESAMPLES = 2_000
SEED = 20
WIDE = 0.98  # both ends of this interval are one-sided bounds of 99 %
USUAL = 0.95
FAMILY_ERROR = 0.05


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval, low to high, and its one-sided 99 % bounds, lowest and highest."""

    value: float
    low: float
    high: float
    lowest: float
    highest: float


def auc(labels: Array, scores: Array) -> float:
    """Return the area under the ROC curve, nan for one class; ties count half (the rank form, fast enough to resample)."""
    up = labels > 0.5
    n_up, n_down = int(up.sum()), int((~up).sum())
    if not n_up or not n_down:
        return math.nan
    return float((rankdata(scores)[up].sum() - n_up * (n_up + 1) / 2) / (n_up * n_down))


def block_length(*series: Array) -> int:
    """Return the longest of the series' optimal block lengths, in bars. Source: Politis and White (2004), by arch."""
    varying = [values for values in series if np.ptp(values) > 0]
    lengths = [float(optimal_block_length(values)["stationary"].iloc[0]) for values in varying]
    return max([1, *(math.ceil(length) for length in lengths if math.isfinite(length))])


def forecast_intervals(labels: Array, probability: Array, block: int) -> dict[str, Interval]:
    """Return the intervals of AUC and accuracy over decisions that have both a label and a probability, (n,)."""

    def figures(rows: Array) -> Array:
        return np.array(
            [
                _resampled_auc(rows[:, 0], rows[:, 1]),
                np.mean((rows[:, 1] >= 0.5) == (rows[:, 0] > 0.5)),
            ]
        )

    return intervals_of(("auc", "accuracy"), figures, np.column_stack((labels, probability)), block)


def _resampled_auc(labels: Array, scores: Array) -> float:
    """Return the AUC; one half where a resample of rare labels holds one class only, and so says nothing."""
    found = auc(labels, scores)
    return 0.5 if math.isnan(found) else found


def auc_differences(
    labels: Array, probability: Array, others: Mapping[str, Array], block: int
) -> dict[str, Interval]:
    """Return the intervals of the AUC less that of each other forecast, of decisions that have all of them; paired."""

    def figures(rows: Array) -> Array:
        ours, *theirs = (_resampled_auc(rows[:, 0], said) for said in rows[:, 1:].T)
        return ours - np.array(theirs)

    rows = np.column_stack((labels, probability, *others.values()))
    return intervals_of(tuple(f"auc less {name}" for name in others), figures, rows, block)


def money_intervals(
    earned: Mapping[str, Array], bars_per_year: float, block: int
) -> dict[str, Interval]:
    """Return the intervals of the first series' mean and Sharpe ratio, and of its mean less that of each other.

    earned: net return per decision, (n,) each; all are resampled together, so the differences are paired.
    """
    ours, *others = earned

    def figures(rows: Array) -> Array:
        means, deviation = rows.mean(axis=0), rows[:, 0].std(ddof=1)
        ratio = means[0] / deviation * math.sqrt(bars_per_year) if deviation > 1e-15 else 0.0
        return np.array([means[0], ratio, *(means[0] - means[1:])])

    names = ("mean", "sharpe", *(f"less {other}" for other in others))
    return intervals_of(names, figures, np.column_stack(list(earned.values())), block)


def intervals_of(
    names: tuple[str, ...], figures: Callable[[Array], Array], rows: Array, block: int
) -> dict[str, Interval]:
    """Return the intervals of figures of rows (n, ...), which are resampled in blocks."""
    resampling = StationaryBootstrap(block, rows, seed=SEED)
    low, high = resampling.conf_int(figures, RESAMPLES, method="percentile", size=USUAL)
    lowest, highest = resampling.conf_int(
        figures, RESAMPLES, method="percentile", size=WIDE, reuse=True
    )
    ends = zip(
        figures(rows).tolist(), low.tolist(), high.tolist(), lowest.tolist(), highest.tolist()
    )
    return {name: Interval(*end) for name, end in zip(names, ends)}


def superiority(benchmark: Array, earned: Mapping[str, Array], block: int) -> float | None:
    """Return the p-value of "none of these earns more than the benchmark, however many were tried" (consistent version).

    Source: Hansen, A test for superior predictive ability, JBES 23 (2005), by arch. None where none differs from it.
    """
    losses = _losses(benchmark, earned)
    if losses.empty:
        return None
    test = SPA(np.zeros(len(losses)), losses, block_size=block, reps=RESAMPLES, seed=SEED)
    test.compute()
    return float(test.pvalues["consistent"])


def outstanding(benchmark: Array, earned: Mapping[str, Array], block: int) -> list[str]:
    """Return the names of those that earn more than the benchmark, at a chance of 5 % that any of them is named wrongly.

    Source: Romano and Wolf, Stepwise multiple testing as formalized data snooping, Econometrica 73 (2005), by arch.
    """
    losses = _losses(benchmark, earned)
    if losses.empty:
        return []
    test = StepM(
        np.zeros(len(losses)),
        losses,
        size=FAMILY_ERROR,
        block_size=block,
        reps=RESAMPLES,
        seed=SEED,
    )
    test.compute()
    return [str(name) for name in test.superior_models]


def _losses(benchmark: Array, earned: Mapping[str, Array]) -> pd.DataFrame:
    """Return what each that differs from the benchmark loses against it, in units of its own deviation.

    Hansen's statistic is studentised, arch's (8.0) is the largest of the means as they are: there the most volatile series
    would decide alone, and an edge on a quiet market would be lost among wild ones.
    """
    gains = {name: values - benchmark for name, values in earned.items()}
    return pd.DataFrame(
        {name: -gain / gain.std() for name, gain in gains.items() if np.ptp(gain) > 1e-15}
    )
