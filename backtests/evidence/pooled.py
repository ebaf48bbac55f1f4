"""Pooled evidence: what a universe shows as a whole, and which of its instruments stand out.

"Stands out" is corrected for how many were tried. Whole bars are resampled, so that what
instruments have in common stays common in every resample: ten copies of one instrument are no surer
than one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.evidence.baselines import HOLD
from backtests.evidence.bootstrap import RESAMPLES, Interval, block_length, intervals_of
from backtests.evidence.decisions import STRATEGY, Decisions
from backtests.evidence.hypothesis_tests import outstanding, superiority
from backtests.simulation.vectorised import Array
from model.metrics import auc


@dataclass(frozen=True)
class Pool:
    """All figures on chance over the instruments together, as universe.json names them.

    Means are net returns per bar (a fraction, 1 = 100 %).

    Parameters
    ----------
    markets
        How many instruments.
    decisions, bars
        Decisions of all instruments, and bars at which at least one decided.
    block
        Mean length of the bootstrap's blocks, in bars.
    intervals
        By name: "auc", the mean over the instruments; "mean", the strategies' in equal parts, and
        "less buy and hold", less all instruments held in equal parts.
    superiority, series
        p of "no strategy and no benchmark on any instrument earns more than holding that
        instrument", of so many series.
    outstanding
        The instruments on which the strategy earns more than holding, at a chance of 5 % that any
        is named wrongly.
    """

    markets: int
    decisions: int
    bars: int
    block: int
    intervals: dict[str, Interval]
    superiority: float | None
    series: int
    outstanding: list[str]


def pool(instruments: Mapping[str, Decisions], *, resamples: int = RESAMPLES) -> Pool:
    """Return the evidence of all instruments' decisions together."""
    portfolio, held = (in_equal_parts(instruments, rule) for rule in (STRATEGY, HOLD))
    ours, hold = portfolio.to_numpy(), held.to_numpy()
    horizons = (decisions.horizon for decisions in instruments.values())
    # Outcomes overlap, and hang together, for as long as the label reaches.
    block = max(block_length(ours, ours - hold), *horizons)
    gains: dict[str, Array] = {}
    for name, decisions in instruments.items():
        returns = decisions.returns
        # Where an instrument does not decide it gains nothing: that changes neither the sums nor
        # the tests' ratios. Each gain is over holding that same instrument.
        decided = portfolio.index.isin(_timestamps(decisions))
        for rule, values in returns.items():
            if rule != HOLD:
                gain = np.zeros(len(ours))
                gain[decided] = values - returns[HOLD]
                gains[f"{name}: {rule}"] = gain
    strategies = {name: gains[f"{name}: {STRATEGY}"] for name in instruments}
    # The gains are less holding already, so the benchmark of the tests is nothing.
    nothing = np.zeros(len(ours))
    return Pool(
        markets=len(instruments),
        decisions=sum(len(decisions.labels) for decisions in instruments.values()),
        bars=len(ours),
        block=block,
        intervals=_intervals(instruments, ours, hold, block, resamples),
        superiority=superiority(nothing, gains, block, resamples=resamples),
        series=len(gains),
        outstanding=outstanding(nothing, strategies, block, resamples=resamples),
    )


def in_equal_parts(instruments: Mapping[str, Decisions], rule: str) -> pd.Series:
    """Return the rule's net return per bar, in equal parts of all instruments that decide there.

    rule: "strategy", or the name of a benchmark that all of them have.
    """
    return _side_by_side(instruments, lambda decisions: decisions.returns[rule]).mean(axis=1)


def _timestamps(decisions: Decisions) -> pd.DatetimeIndex:
    # Files may give seconds or nanoseconds: of one unit, equal times are equal.
    return decisions.decided_at.as_unit("ns")


def _side_by_side(
    instruments: Mapping[str, Decisions], values_of: Callable[[Decisions], Array]
) -> pd.DataFrame:
    """Return a value of every decision by timestamp, a column per instrument.

    NaN where the instrument does not decide.
    """
    columns = {
        name: pd.Series(values_of(decisions), index=_timestamps(decisions))
        for name, decisions in instruments.items()
    }
    # Instruments trade at different hours: all of them together are put in time order.
    return pd.DataFrame(columns).sort_index()


def _intervals(
    instruments: Mapping[str, Decisions], ours: Array, hold: Array, block: int, resamples: int
) -> dict[str, Interval]:
    """Return the intervals of both means, and of the mean AUC where any instrument has one."""
    labels = _side_by_side(instruments, lambda decisions: decisions.labels).to_numpy()
    probability = _side_by_side(instruments, lambda decisions: decisions.probability).to_numpy()
    n = len(instruments)

    def figures(rows: Array) -> Array:
        ours, hold = rows[:, 0], rows[:, 1]
        area = _mean_auc(rows[:, 2 : 2 + n], rows[:, 2 + n :])
        # A resample of which no instrument has both outcomes says nothing: one half.
        return np.array([ours.mean(), (ours - hold).mean(), 0.5 if np.isnan(area) else area])

    # Whole bars, all instruments in one row: drawn again together or not at all.
    rows = np.column_stack((ours, hold, labels, probability))
    names = ("mean", f"less {HOLD}", "auc")
    intervals = intervals_of(names, figures, rows, block, resamples=resamples)
    if np.isnan(_mean_auc(labels, probability)):
        del intervals["auc"]
    return intervals


def _mean_auc(labels: Array, probability: Array) -> float:
    """Return the mean over the instruments of the area under the ROC curve.

    labels, probability: (bars, instruments). NaN marks where an instrument does not decide or has
    no forecast. One of which a single outcome was observed is left out; NaN where none is left.
    """
    areas = []
    for observed, forecast in zip(labels.T, probability.T, strict=True):
        known = np.isfinite(observed) & np.isfinite(forecast)
        area = auc(observed[known], forecast[known])
        if area is not None:
            areas.append(area)
    return float(np.mean(areas)) if areas else float("nan")
