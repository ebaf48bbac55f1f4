"""The decisions that are judged: what was known, said and held at each, beside the benchmarks on the same bars."""

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
    """The judged decisions, one entry each, of which both outcome and market move are known.

    labels: 0/1. probability: of up, nan where there was no model. moves: the market from the next open to the one after.
    strategy: the direction held. benchmarks: the direction of each rule or learner. forecasts: the learners' probabilities.
    cost: fraction per side. horizon: of the label, in bars. decided_at: the stamps, where several markets are to be held together.
    variants: the names of other configurations on the same folds, which stand among benchmarks and forecasts.
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
        """Return the same with other configurations on the same folds as benchmarks."""
        return replace(
            self,
            benchmarks={
                **self.benchmarks,
                **{name: other.strategy for name, other in others.items()},
            },
            forecasts={
                **self.forecasts,
                **{name: other.probability for name, other in others.items()},
            },
            variants=tuple(others),
        )

    @property
    def returns(self) -> dict[str, Array]:
        """The net return of each decision, of the strategy and of every rival."""
        wanted = {STRATEGY: self.strategy, **self.benchmarks}
        return {
            name: net_returns(direction, self.moves, self.cost)
            for name, direction in wanted.items()
        }


def decisions_of(
    bars: pd.DataFrame,
    predictions: pd.DataFrame,
    position: pd.Series,
    learners: pd.DataFrame,
    settings: Settings,
) -> Decisions:
    """Return the test decisions whose outcome and market move are known, with what every rival does on the same bars.

    position: units that Backtrader held after each open; the strategy's direction is that after the next one. Learners trade
    at one half.
    """
    test, account = slice(len(bars) - len(predictions), len(bars)), settings.account
    held = np.sign(position.shift(-1).to_numpy())
    moves = open_returns(bars)[test]
    known = np.isfinite(moves) & predictions["label"].notna().to_numpy()
    rules = rule_directions(bars, allow_short=account.allow_short)
    said = {str(name): learners[name].to_numpy() for name in learners}
    by_half = {"enter": NEUTRAL, "exit": NEUTRAL}
    benchmarks = {name: wanted[test] for name, wanted in rules.items()}
    benchmarks |= {
        name: directions(values, **by_half, allow_short=account.allow_short)
        for name, values in said.items()
    }
    return Decisions(
        labels=predictions["label"].to_numpy(float)[known],
        probability=predictions["probability"].to_numpy(float)[known],
        moves=moves[known],
        strategy=held[known],
        benchmarks={name: wanted[known] for name, wanted in benchmarks.items()},
        forecasts={name: values[known] for name, values in said.items()},
        cost=settings.costs.per_side * BASIS_POINT,
        bars_per_year=yearly_bars(bars),
        horizon=settings.config.horizon,
        decided_at=pd.DatetimeIndex(bars.index[test][known]),
    )
