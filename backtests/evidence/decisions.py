"""The decisions that are judged: what was forecast, held and observed, beside the benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.evidence.alpha import HOLD, TrackRecord
from backtests.evidence.baselines import rule_directions
from backtests.evidence.bootstrap import AreaUnderCurve
from backtests.simulation.account import BASIS_POINT
from backtests.simulation.broker import Simulation
from backtests.simulation.vectorised import (
    Array,
    Positions,
    barrier_positions,
    directions,
    fill_moves,
    open_returns,
    timing_gains,
    trade_ends,
)
from backtests.walk_forward.folds import Settings
from model.bars.artefacts import FlagRecord, flags_of
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
    folds
        The number of the fold that decided.
    ties
        Whether the move of the label is 0: no direction was right there.
    fills
        By where an order fills, as of `fill_moves`, the move that it would catch.
    decided_at
        The timestamps; needed where several instruments are pooled.
    flags
        What the bars say against themselves.
    variants
        The names of the run's other configurations, which stand among benchmarks and forecasts.
    by_barrier
        By name, the positions of those that levels close within a bar: what they catch is not the
        whole move.
    """

    labels: Array
    probability: Array
    moves: Array
    strategy: Array
    benchmarks: Mapping[str, Array]
    forecasts: Mapping[str, Array]
    folds: NDArray[np.intp]
    ties: NDArray[np.bool_]
    fills: Mapping[str, Array]
    cost: float
    bars_per_year: float
    horizon: int = 1
    decided_at: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([]))
    flags: Sequence[FlagRecord] = ()
    variants: tuple[str, ...] = ()
    by_barrier: Mapping[str, Positions] = field(default_factory=dict)

    def with_variants(self, others: Mapping[str, "Decisions"]) -> "Decisions":
        """Return the same with other configurations on the same folds among the benchmarks."""
        held = {name: other.strategy for name, other in others.items()}
        forecasts = {name: other.probability for name, other in others.items()}
        by_barrier = {
            name: other.by_barrier[STRATEGY] for name, other in others.items() if other.by_barrier
        }
        return replace(
            self,
            benchmarks={**self.benchmarks, **held},
            forecasts={**self.forecasts, **forecasts},
            variants=tuple(others),
            by_barrier={**self.by_barrier, **by_barrier},
        )

    def variant(self, name: str) -> "Decisions":
        """Return the decisions of one of the run's other configurations."""
        own = {STRATEGY: self.by_barrier[name]} if name in self.by_barrier else {}
        return replace(
            self,
            strategy=self.benchmarks[name],
            probability=self.forecasts[name],
            variants=(),
            by_barrier={**self.by_barrier, **own},
        )

    @property
    def positions(self) -> dict[str, Positions]:
        """What was held and caught, of the strategy first and then of every benchmark."""
        held = {STRATEGY: self.strategy, **self.benchmarks}
        return {
            name: self.by_barrier.get(name) or Positions.of(direction, self.moves)
            for name, direction in held.items()
        }

    @property
    def returns(self) -> dict[str, Array]:
        """The net return of each decision, of the strategy first and then of every benchmark."""
        return {name: own.net(self.cost) for name, own in self.positions.items()}

    @property
    def net(self) -> pd.Series:
        """The net return of each of the strategy's decisions by its timestamp."""
        returns = self.positions[STRATEGY].net(self.cost)
        # Bars may count in other units; dates of several runs are held against each other.
        return pd.Series(returns, self.decided_at.as_unit("ns"))

    @property
    def record(self) -> TrackRecord:
        """The track record by which these decisions are judged, beside buy-and-hold."""
        returns = self.returns
        hold = returns[HOLD]
        others = {name: values for name, values in returns.items() if name != STRATEGY}
        forecasts = {name: self.forecasts[name] for name in self.variants}
        return TrackRecord(
            returns=returns[STRATEGY],
            benchmark=hold,
            periods_per_year=self.bars_per_year,
            # Buy-and-hold is what is to be beaten: it is no try at that.
            tried={name: (values, hold) for name, values in returns.items() if name != HOLD},
            others=others,
            timing={fill: timing_gains(self.strategy, moves) for fill, moves in self.fills.items()},
            forecasts=self.area(self.probability),
            moves=self.moves,
            hits=np.where(
                np.isfinite(self.probability), (self.probability >= NEUTRAL) == self.labels, np.nan
            ),
            compared={
                # Paired: over the decisions that both forecast.
                name: (
                    self.area(np.where(np.isfinite(other), self.probability, np.nan)),
                    self.area(np.where(np.isfinite(self.probability), other, np.nan)),
                )
                for name, other in forecasts.items()
            },
            horizon=self.horizon,
            flags=self.flags,
        )

    def area(self, forecast: Array) -> AreaUnderCurve:
        """Return the area under the ROC curve of a forecast within folds, over what moved."""
        # Where the price did not move neither direction was right.
        judged = np.flatnonzero(np.isfinite(forecast) & ~self.ties)
        return AreaUnderCurve(self.labels[judged], forecast[judged], self.folds[judged], judged)


def positions_of(account: Simulation, bars: pd.DataFrame) -> Positions:
    """Return what an account held after each of its decisions, and caught, closed by levels: (n,).

    A level that ends a trade within a bar leaves it a part of the move, and Backtrader shows no
    position at the close of that bar.
    """
    first = len(bars) - len(account.position)
    # The position stands at the bar at whose open it was taken: that of a decision, one bar later.
    held = np.sign(account.position.shift(-1, fill_value=0.0).to_numpy(np.float64))
    moves, turnover = open_returns(bars)[first:], np.zeros(len(held))
    opens = bars["open"].to_numpy(np.float64)
    for bar, quote in zip(account.fills["bar"], account.fills["quote"], strict=True):
        decision = bar - 1 - first
        turnover[decision] += 1
        if quote != opens[bar]:
            held[decision], moves[decision] = 1.0, quote / opens[bar] - 1
    return Positions(held, moves, turnover)


def decisions_of(
    bars: pd.DataFrame,
    predictions: pd.DataFrame,
    strategy: Array | Positions,
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
        The direction held after the open that follows each test decision; of a barrier the
        positions.
    learners
        The probabilities of each cheap learner, a column each. They trade at one half, and exit as
        the strategy does.
    settings
        Of the run: account, costs and horizon are taken from here.
    """
    test, allow_short = slice(len(bars) - len(predictions), len(bars)), settings.account.allow_short
    fills = {fill: moves[test] for fill, moves in fill_moves(bars).items()}
    # Of the last decisions, neither the fill after next nor the outcome is there yet.
    known = np.isfinite(fills["open"]) & predictions["label"].notna().to_numpy()
    labels = settings.config.labelling.labels(bars)
    ties = labels.tied[test]
    # One half is no choice: a threshold chosen for each would be one more thing fitted.
    forecasts = {str(name): learners[name].to_numpy() for name in learners}
    # Rules see the whole history, so that an average is warm at the first test decision.
    benchmarks = {
        name: direction[test]
        for name, direction in rule_directions(bars, allow_short=allow_short).items()
    } | {
        name: directions(forecast, enter=NEUTRAL, exit=NEUTRAL, allow_short=allow_short)
        for name, forecast in forecasts.items()
    }
    by_barrier = {}
    if isinstance(strategy, Positions) and settings.traded is not None:
        ends = trade_ends(bars, settings.traded, test.start)
        by_barrier = {STRATEGY: strategy} | {
            name: barrier_positions(forecast, fills["open"], ends, enter=NEUTRAL)
            for name, forecast in forecasts.items()
        }
    held = strategy.held if isinstance(strategy, Positions) else strategy
    benchmarks |= {name: own.held for name, own in by_barrier.items() if name != STRATEGY}
    return Decisions(
        labels=predictions["label"].to_numpy(float)[known],
        probability=predictions["probability"].to_numpy(float)[known],
        moves=fills["open"][known],
        strategy=held[known],
        benchmarks={name: direction[known] for name, direction in benchmarks.items()},
        forecasts={name: forecast[known] for name, forecast in forecasts.items()},
        folds=predictions["fold"].to_numpy(np.intp)[known],
        ties=ties[known],
        fills={fill: moves[known] for fill, moves in fills.items()},
        cost=settings.costs.per_side * BASIS_POINT,
        bars_per_year=yearly_bars(bars),
        horizon=max(settings.config.horizon, labels.longest),
        decided_at=pd.DatetimeIndex(bars.index[test][known]),
        flags=flags_of(bars),
        by_barrier={
            name: Positions(*(part[known] for part in own)) for name, own in by_barrier.items()
        },
    )
