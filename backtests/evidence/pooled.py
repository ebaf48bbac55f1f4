"""What a universe shows as a whole: its markets held in equal parts, and which of them stand out though so many were tried."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.evidence.baselines import HOLD
from backtests.evidence.bootstrap import (
    Interval,
    auc,
    block_length,
    intervals_of,
    outstanding,
    superiority,
)
from backtests.evidence.decisions import STRATEGY, Decisions
from backtests.simulation.vectorised import Array


@dataclass(frozen=True)
class Pool:
    """All figures on chance over the markets together. Means are net returns per bar (a fraction, 1 = 100 %).

    decisions: of all markets; bars: at which at least one decided. intervals: "auc", the mean over the markets; "mean", the
    strategies' in equal parts, and "less buy and hold", less all markets held in equal parts. superiority: p of "no strategy
    and no rival on any market earns more than holding that market", of so many series. outstanding: the markets on which the
    strategy earns more than holding, at a chance of 5 % that any of them is named wrongly.
    """

    markets: int
    decisions: int
    bars: int
    block: int
    intervals: dict[str, Interval]
    superiority: float | None
    series: int
    outstanding: list[str]


def in_equal_parts(markets: Mapping[str, Decisions], rule: str) -> pd.Series:
    """Return the net return per bar of the rule on all markets that decide there, in equal parts."""
    return _side_by_side(markets, lambda found: found.returns[rule]).mean(axis=1)


def pool(markets: Mapping[str, Decisions]) -> Pool:
    """Return the evidence of all markets' decisions together."""
    ours, hold = (
        in_equal_parts(markets, STRATEGY).to_numpy(),
        in_equal_parts(markets, HOLD).to_numpy(),
    )
    block = max(
        block_length(ours, ours - hold), *(found.horizon for found in markets.values())
    )  # outcomes overlap for as long
    gains = {
        f"{name}: {rule}": gain
        for name, found in markets.items()
        for rule, gain in _gains(found).items()
    }
    # Where a market does not decide it gains nothing: that changes neither the sums nor the tests' ratios.
    aligned = {
        name: gain.reindex(_stamps(markets), fill_value=0.0).to_numpy()
        for name, gain in gains.items()
    }
    strategies = {name: aligned[f"{name}: {STRATEGY}"] for name in markets}
    nothing = np.zeros(len(ours))
    return Pool(
        markets=len(markets),
        decisions=sum(len(found.labels) for found in markets.values()),
        bars=len(ours),
        block=block,
        intervals=_intervals(markets, ours, hold, block),
        superiority=superiority(nothing, aligned, block),
        series=len(aligned),
        outstanding=outstanding(nothing, strategies, block),
    )


def _gains(found: Decisions) -> dict[str, pd.Series]:
    """Return what each rule on a market earns more than holding it."""
    earned = found.returns
    return {
        rule: pd.Series(values - earned[HOLD], index=found.decided_at)
        for rule, values in earned.items()
        if rule != HOLD
    }


def _stamps(markets: Mapping[str, Decisions]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(
        np.unique(
            np.concatenate(
                [found.decided_at.as_unit("ns").to_numpy() for found in markets.values()]
            )
        )
    )


def _side_by_side(
    markets: Mapping[str, Decisions], figure: Callable[[Decisions], Array]
) -> pd.DataFrame:
    """Return a figure of every decision, a column per market, NaN where it does not decide."""
    columns = {
        name: pd.Series(figure(found), index=found.decided_at.as_unit("ns"))
        for name, found in markets.items()
    }
    return pd.DataFrame(columns, index=_stamps(markets))


def _intervals(
    markets: Mapping[str, Decisions], ours: Array, hold: Array, block: int
) -> dict[str, Interval]:
    """Return the intervals; whole bars are resampled, so that what markets have in common stays common."""
    labels = _side_by_side(markets, lambda found: found.labels).to_numpy()
    said = _side_by_side(markets, lambda found: found.probability).to_numpy()
    n = len(markets)
    judged = [column for column in range(n) if _both_outcomes(labels[:, column], said[:, column])]

    def figures(rows: Array) -> Array:
        ours, hold = rows[:, 0], rows[:, 1]
        return np.array(
            [
                ours.mean(),
                (ours - hold).mean(),
                _mean_auc(rows[:, 2 : 2 + n], rows[:, 2 + n :], judged),
            ]
        )

    names = ("mean", f"less {HOLD}", "auc")
    found = intervals_of(names, figures, np.column_stack((ours, hold, labels, said)), block)
    return {name: interval for name, interval in found.items() if name != "auc" or judged}


def _both_outcomes(labels: Array, said: Array) -> bool:
    known = np.isfinite(labels) & np.isfinite(said)
    return bool(known.any() and np.ptp(labels[known]) > 0)


def _mean_auc(labels: Array, said: Array, judged: list[int]) -> float:
    """Return the mean over the markets of the area under the ROC curve; a market of one outcome in a resample is left out."""
    found = []
    for column in judged:
        known = np.isfinite(labels[:, column]) & np.isfinite(said[:, column])
        found.append(auc(labels[known, column], said[known, column]))
    whole = [value for value in found if np.isfinite(value)]
    return float(np.mean(whole)) if whole else 0.5
