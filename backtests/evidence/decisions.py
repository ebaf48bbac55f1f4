"""The decisions that are judged: what was forecast, held and observed, beside the benchmarks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from backtests.evidence.baselines import rule_directions
from backtests.simulation.account import BASIS_POINT
from backtests.simulation.vectorised import Array, directions, net_returns, open_returns
from backtests.walk_forward.folds import Settings
from model.bars.intervals import yearly_bars
from strategy_plugin.decision import NEUTRAL

STRATEGY = "strategy"


@dataclass(frozen=True, eq=False)
class Decisions:
    """The decisions of one instrument that can be judged, in time order.

    Those whose outcome and whose move are known. Every array has one entry per decision, (n,).

    Parameters
    ----------
    labels
        What was observed: 1 for up, 0 for not.
    probability
        The forecast of up, NaN where there was no model.
    moves
        The instrument's return from the next open to the one after.
    strategy
        The direction held over the move: -1, 0 or 1.
    benchmarks
        By name, the direction of everything that the strategy is held against: rules, learners,
        other configurations.
    forecasts
        By name, the probabilities of those of them that forecast.
    cost
        Per side, a fraction.
    horizon
        Of the label, in bars.
    decided_at
        The timestamps; needed where several instruments are pooled.
    variants
        The names of the run's other configurations, which stand among benchmarks and forecasts.
    """

    labels: Array
    probability: Array
    moves: Array
    strategy: Array
    benchmarks: Mapping[str, Array]
    forecasts: Mapping[str, Array]
    cost: float
    bars_per_year: float
    horizon: int = 1
    decided_at: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([]))
    variants: tuple[str, ...] = ()

    def with_variants(self, others: Mapping[str, "Decisions"]) -> "Decisions":
        """Return the same with other configurations on the same folds among the benchmarks."""
        held = {name: other.strategy for name, other in others.items()}
        forecasts = {name: other.probability for name, other in others.items()}
        return replace(
            self,
            benchmarks={**self.benchmarks, **held},
            forecasts={**self.forecasts, **forecasts},
            variants=tuple(others),
        )

    @property
    def returns(self) -> dict[str, Array]:
        """The net return of each decision, of the strategy first and then of every benchmark."""
        held = {STRATEGY: self.strategy, **self.benchmarks}
        return {
            name: net_returns(direction, self.moves, self.cost) for name, direction in held.items()
        }


def decisions_of(
    bars: pd.DataFrame,
    predictions: pd.DataFrame,
    strategy: Array,
    learners: pd.DataFrame,
    settings: Settings,
) -> Decisions:
    """Return the test decisions that can be judged, beside every benchmark on the same bars.

    Parameters
    ----------
    bars
        The whole history; the test decisions are at its last bars.
    predictions
        One row per test decision: columns label and probability.
    strategy
        The direction held after the open that follows each test decision.
    learners
        The probabilities of each cheap learner, a column each. They trade at one half.
    settings
        Of the run: account, costs and horizon are taken from here.
    """
    test, allow_short = slice(len(bars) - len(predictions), len(bars)), settings.account.allow_short
    moves = open_returns(bars)[test]
    # Of the last decisions, neither the fill after next nor the outcome is there yet.
    known = np.isfinite(moves) & predictions["label"].notna().to_numpy()
    forecasts = {str(name): learners[name].to_numpy() for name in learners}
    # Rules see the whole history, so that an average is warm at the first test decision.
    benchmarks = {
        name: direction[test]
        for name, direction in rule_directions(bars, allow_short=allow_short).items()
    } | {
        name: directions(forecast, enter=NEUTRAL, exit=NEUTRAL, allow_short=allow_short)
        for name, forecast in forecasts.items()
    }
    return Decisions(
        labels=predictions["label"].to_numpy(float)[known],
        probability=predictions["probability"].to_numpy(float)[known],
        moves=moves[known],
        strategy=strategy[known],
        benchmarks={name: direction[known] for name, direction in benchmarks.items()},
        forecasts={name: forecast[known] for name, forecast in forecasts.items()},
        cost=settings.costs.per_side * BASIS_POINT,
        bars_per_year=yearly_bars(bars),
        horizon=settings.config.horizon,
        decided_at=pd.DatetimeIndex(bars.index[test][known]),
    )
