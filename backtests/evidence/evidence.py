"""What a walk-forward shows and what it leaves to chance: every figure with its interval, every claim with its test."""

from dataclasses import dataclass, field

import numpy as np

from backtests.evidence.baselines import HOLD, shifted_means
from backtests.evidence.bootstrap import (
    Interval,
    auc_differences,
    block_length,
    forecast_intervals,
    money_intervals,
    superiority,
)
from backtests.evidence.decisions import STRATEGY, Decisions
from backtests.evidence.hypothesis_tests import (
    TrackRecord,
    diebold_mariano,
    expected_maximum,
    log_losses,
    pesaran_timmermann,
)
from backtests.simulation.vectorised import Array, n_entries, net_returns

COST_GRID = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)  # basis points per side


@dataclass(frozen=True)
class Trials:
    """The Sharpe ratios per bar of the other configurations that were tried on these data."""

    others: tuple[float, ...] = ()

    def luck(self, own: float) -> float:
        """Return the best ratio that so many trials, this one among them, would show without skill."""
        ratios = (*self.others, own)
        return expected_maximum(float(np.std(ratios, ddof=1)), len(ratios)) if self.others else 0.0


@dataclass(frozen=True)
class SharpeFigures:
    """The Sharpe ratio per bar; the probability that it is above 0, and above the best of luck among so many trials; how
    many bars would show it above 0 with 95 % confidence, None where none would."""

    per_bar: float
    probable: float
    deflated: float
    trials: int
    bars_needed: float | None


@dataclass(frozen=True)
class CostRow:
    """What the same decisions would have earned at another cost per side, in basis points: mean per bar and in all."""

    cost: float
    mean: float
    total: float
    sharpe: float | None


@dataclass(frozen=True)
class Evidence:
    """All figures on chance. Means are net returns per bar (a fraction, 1 = 100 %), Sharpe ratios are annual.

    intervals: by name, "less NAME" of the strategy's mean less a rival's, "auc less NAME" of the AUC less that of another
    configuration; rivals: by name, the mean net return of each.
    superiority, superiority_to_cash: p of "nothing tried earns more than buy-and-hold, than nothing". direction: Pesaran
    and Timmermann's statistic and p. losses: Diebold and Mariano's against each forecast. luck: share of shifted positions
    that earn as much. gross, net: mean return per bar; turnover: position changed per bar; break_even: the cost per side in
    basis points that eats all.
    """

    decisions: int
    block: int
    intervals: dict[str, Interval]
    rivals: dict[str, dict[str, float]]
    superiority: float | None
    superiority_to_cash: float | None
    direction: tuple[float, float] | None
    losses: dict[str, tuple[float, float] | None]
    luck: float
    sharpe: SharpeFigures | None
    gross: float
    net: float
    turnover: float
    break_even: float | None
    costs: list[CostRow] = field(default_factory=list)


def evidence_of(decisions: Decisions, trials: Trials = Trials()) -> Evidence:
    """Return the evidence of a walk-forward's decisions."""
    earned = decisions.returns
    ours, hold = earned[STRATEGY], earned[HOLD]
    block = max(block_length(ours, ours - hold), decisions.horizon)  # outcomes overlap for as long
    gross, turnover = (
        float(net_returns(decisions.strategy, decisions.moves).mean()),
        _turnover(decisions.strategy),
    )
    intervals = money_intervals(earned, decisions.bars_per_year, block) | _forecasts(
        decisions, block
    )
    return Evidence(
        decisions=len(ours),
        block=block,
        intervals=intervals,
        rivals={name: _rival(values, decisions.bars_per_year) for name, values in earned.items()},
        superiority=superiority(
            hold, {name: values for name, values in earned.items() if name != HOLD}, block
        ),
        superiority_to_cash=superiority(np.zeros(len(ours)), earned, block),
        direction=_direction(decisions),
        losses=_losses(decisions),
        luck=_luck(decisions, float(ours.mean())),
        sharpe=_sharpe(ours, trials),
        gross=gross,
        net=float(ours.mean()),
        turnover=turnover,
        break_even=1e4 * gross / turnover if turnover else None,
        costs=[_at_cost(decisions, cost) for cost in COST_GRID],
    )


def _forecasts(decisions: Decisions, block: int) -> dict[str, Interval]:
    """Return the intervals of the forecasts where a model made some, and both outcomes came."""
    said = np.isfinite(decisions.probability)
    labels = decisions.labels[said]
    if not 0 < labels.sum() < len(labels):
        return {}
    return forecast_intervals(labels, decisions.probability[said], block) | _differences(
        decisions, block
    )


def _differences(decisions: Decisions, block: int) -> dict[str, Interval]:
    """Return the intervals of the AUC less that of every other configuration."""
    others = {name: decisions.forecasts[name] for name in decisions.variants}
    both = np.isfinite(np.column_stack((decisions.probability, *others.values()))).all(axis=1)
    labels = decisions.labels[both]
    if not others or not 0 < labels.sum() < len(labels):
        return {}
    ours, theirs = decisions.probability[both], {name: said[both] for name, said in others.items()}
    return auc_differences(labels, ours, theirs, block)


def _rival(values: Array, bars_per_year: float) -> dict[str, float]:
    deviation = float(values.std(ddof=1))
    return {
        "mean": float(values.mean()),
        "total": float(np.prod(1 + values) - 1),
        "sharpe": float(values.mean() / deviation * np.sqrt(bars_per_year))
        if deviation > 1e-15
        else 0.0,
    }


def _direction(decisions: Decisions) -> tuple[float, float] | None:
    said = np.isfinite(decisions.probability)
    return pesaran_timmermann(
        decisions.labels[said], (decisions.probability[said] >= 0.5).astype(float)
    )


def _losses(decisions: Decisions) -> dict[str, tuple[float, float] | None]:
    """Compare the log loss with that of one half, which knows nothing, and of each learner."""
    forecasts = {"one half": np.full(len(decisions.labels), 0.5), **decisions.forecasts}
    found = {}
    for name, other in forecasts.items():
        both = np.isfinite(decisions.probability) & np.isfinite(other)
        ours, theirs = (
            log_losses(decisions.labels[both], said[both])
            for said in (decisions.probability, other)
        )
        found[name] = (
            diebold_mariano(ours, theirs, decisions.horizon)
            if both.sum() > 10 * decisions.horizon
            else None
        )
    return found


def _luck(decisions: Decisions, mean: float) -> float:
    """Return the share of the strategy's own positions, shifted, that earn at least as much: a one-sided p-value."""
    shifted = shifted_means(decisions.strategy, decisions.moves, decisions.cost)
    return float((1 + (shifted >= mean - 1e-15).sum()) / (1 + len(shifted)))


def _turnover(wanted: Array) -> float:
    """Return the position changed per bar."""
    return float(np.abs(np.diff(wanted, prepend=0.0)).mean())


def _at_cost(decisions: Decisions, cost: float) -> CostRow:
    values = net_returns(decisions.strategy, decisions.moves, cost * 1e-4)
    row = _rival(values, decisions.bars_per_year)
    return CostRow(
        cost, row["mean"], row["total"], row["sharpe"] if n_entries(decisions.strategy) else None
    )


def sharpe_per_bar(earned: Array) -> float:
    """Return the Sharpe ratio per bar by which trials are compared, 0 where nothing was earned or lost."""
    record = TrackRecord.of(earned)
    return record.ratio if record else 0.0


def _sharpe(earned: Array, trials: Trials) -> SharpeFigures | None:
    """Return the figures of the Sharpe ratio, None where nothing was earned or lost."""
    record = TrackRecord.of(earned)
    if record is None:
        return None
    needed = record.bars_needed()
    return SharpeFigures(
        record.ratio,
        record.probability_above(),
        record.probability_above(trials.luck(record.ratio)),
        len(trials.others) + 1,
        needed if np.isfinite(needed) else None,
    )
