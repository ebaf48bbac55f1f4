"""Pooled evidence: what a universe shows as a whole, and which of its instruments stand out.

"Stands out" is corrected for how many were tried. Whole dates are resampled, so that what
instruments have in common stays common in every resample: ten copies of one instrument are no surer
than one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.evidence.alpha import HOLD, WORTH, Figures, TrackRecord, draw, residual
from backtests.evidence.bootstrap import RESAMPLES, AreaUnderCurve
from backtests.evidence.decisions import STRATEGY, Decisions
from backtests.simulation.vectorised import Array
from model.bars.artefacts import named_flags


@dataclass(frozen=True, kw_only=True)
class Pool(Figures):
    """All figures on chance over the instruments together, as universe.json names them.

    Returns are those of all instruments in equal parts, the benchmark is all of them held; a pair
    of the AUC is of one instrument and fold; `decisions` counts dates.

    Parameters
    ----------
    markets
        How many instruments.
    forecasts
        Decisions of all instruments.
    series
        How many the test takes in: every strategy and benchmark on any instrument, over holding
        that instrument.
    correlation
        The mean correlation of two instruments' gains; None for one, or where nothing varies.
    independent
        So many independent decisions would say as much as these.
    outstanding
        The instruments on which the strategy has an alpha, at a chance of 5 % that any is named
        wrongly.
    """

    markets: int
    forecasts: int
    series: int
    correlation: float | None
    independent: float
    outstanding: list[str]


def pool(
    instruments: Mapping[str, Decisions], *, worth: float = WORTH, resamples: int = RESAMPLES
) -> Pool:
    """Return the evidence of all instruments' decisions together."""
    record = pooled_record(instruments)
    drawn = draw(record, resamples)
    strategies = {f"{name}: {STRATEGY}": name for name in instruments}
    n_decisions = sum(len(decisions.labels) for decisions in instruments.values())
    correlation = _mean_correlation(instruments)
    # Kish's design effect: with q between them, k gains of a date are worth k / (1 + (k - 1) q).
    per_date = n_decisions / len(record.returns)
    shared = 1 + (per_date - 1) * max(correlation or 0.0, 0.0)
    return Pool(
        **vars(drawn.figures(worth)),
        markets=len(instruments),
        forecasts=n_decisions,
        series=len(record.tried),
        correlation=correlation,
        independent=n_decisions / shared,
        outstanding=[strategies[name] for name in drawn.outstanding(list(strategies))],
    )


def pooled_record(instruments: Mapping[str, Decisions]) -> TrackRecord:
    """Return the track record of all instruments in equal parts."""
    returns = in_equal_parts(instruments, STRATEGY)
    records = {name: decisions.record for name, decisions in instruments.items()}
    places = {
        name: returns.index.get_indexer(_timestamps(decisions))
        for name, decisions in instruments.items()
    }

    def on_dates(name: str, values: Array) -> Array:
        # Where an instrument does not decide it gains nothing: that changes neither the sums nor
        # the tests' ratios.
        spread = np.zeros(len(returns))
        spread[places[name]] = values
        return spread

    fills = next(iter(records.values())).timing
    return TrackRecord(
        returns=returns.to_numpy(),
        benchmark=in_equal_parts(instruments, HOLD).to_numpy(),
        periods_per_year=float(np.mean([one.bars_per_year for one in instruments.values()])),
        tried={
            f"{name}: {rule}": (on_dates(name, ours), on_dates(name, hold))
            for name, record in records.items()
            for rule, (ours, hold) in record.tried.items()
        },
        timing={
            fill: np.mean([on_dates(name, one.timing[fill]) for name, one in records.items()], 0)
            for fill in fills
        },
        forecasts=_area(instruments, places),
        horizon=max(record.horizon for record in records.values()),
        flags=named_flags((name, record.flags) for name, record in records.items()),
    )


def _area(
    instruments: Mapping[str, Decisions], places: Mapping[str, NDArray[np.intp]]
) -> AreaUnderCurve:
    """Return the area over all forecasts, whose pairs are of one instrument and fold."""
    areas = [decisions.area(decisions.probability) for decisions in instruments.values()]
    # Folds are numbered anew on each instrument: no two share a group.
    step = 1 + max(int(area.groups.max(initial=0)) for area in areas)
    return AreaUnderCurve(
        np.concatenate([area.labels for area in areas]),
        np.concatenate([area.scores for area in areas]),
        np.concatenate([area.groups + number * step for number, area in enumerate(areas)]),
        np.concatenate(
            [place[area.rows] for place, area in zip(places.values(), areas, strict=True)]
        ),
    )


def _mean_correlation(instruments: Mapping[str, Decisions]) -> float | None:
    """Return the mean correlation between the gains of two instruments, on common dates."""

    def gain(decisions: Decisions) -> Array:
        returns = decisions.returns
        return residual(returns[STRATEGY], returns[HOLD])

    between = _side_by_side(instruments, gain).corr().to_numpy()
    pairs = between[np.triu_indices_from(between, 1)]
    known = pairs[np.isfinite(pairs)]
    return float(known.mean()) if len(known) else None


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
