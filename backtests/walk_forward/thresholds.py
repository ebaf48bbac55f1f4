"""Thresholds chosen on validation: the pair that would have earned most there after costs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from backtests.simulation.vectorised import Array, directions, n_entries, net_returns, open_returns
from model.checkpoint.checkpoint import Checkpoint
from strategy_plugin.decision import NEUTRAL

HIGHEST = 0.999
# A small grid on purpose: the best of many pairs on a few hundred bars would be the luckiest.
QUANTILES = (0.25, 0.5, 0.75, 0.9)
RETREATS = (0.0, 0.5, 1.0)  # how far from enter back to one half the exit lies


@dataclass(frozen=True)
class Search:
    """By what thresholds are judged. cost: fraction per side.

    fewest_trades: round trips that a pair must make to count.
    """

    cost: float
    allow_short: bool = False
    fewest_trades: int = 10


@dataclass(frozen=True)
class Choice:
    """The pair chosen, with its trades on validation and mean net return per bar.

    Chosen False: too few trades for any.
    """

    enter: float = NEUTRAL
    exit: float = NEUTRAL
    trades: int = 0
    net: float = 0.0
    chosen: bool = False

    def __str__(self) -> str:
        if not self.chosen:
            return f"thresholds .50/.50: no pair made enough trades on validation, {self.trades} at most"
        earned = f"{self.trades} trades and {1e4 * self.net:+.2f} bp per bar on validation"
        return f"thresholds {self.enter:.3f}/{self.exit:.3f}: {earned}"


def with_thresholds(
    checkpoint: Checkpoint, past: pd.DataFrame, search: Search
) -> tuple[Checkpoint, Choice]:
    """Return the checkpoint with the thresholds that its validation part chose, and the choice.

    past: the bars the checkpoint was trained on; nothing after `trained_until` is looked at.
    """
    past = past.loc[: checkpoint.trained_until]
    part = checkpoint.parts["validation"]
    first, last = (
        int(past.index.searchsorted(pd.Timestamp(str(part[side])))) for side in ("first", "last")
    )
    probability = checkpoint.probabilities(past.iloc[first - checkpoint.bars_needed + 1 : last + 1])
    choice = choose(probability.to_numpy(), open_returns(past)[first : last + 1], search)
    return replace(checkpoint, enter=choice.enter, exit=choice.exit), choice


def choose(probability: Array, moves: Array, search: Search) -> Choice:
    """Return the pair of thresholds with the best mean net return among those that trade often
    enough; ties: the lowest.
    """
    judged = [
        _judged(pair, probability, moves, search)
        for pair in candidates(probability, search.allow_short)
    ]
    fit = [choice for choice in judged if choice.trades >= search.fewest_trades]
    return max(
        fit,
        key=lambda choice: choice.net,
        default=Choice(trades=max(choice.trades for choice in judged)),
    )


def _judged(pair: tuple[float, float], probability: Array, moves: Array, search: Search) -> Choice:
    enter, exit = pair
    wanted = directions(probability, enter=enter, exit=exit, allow_short=search.allow_short)
    return Choice(
        enter, exit, n_entries(wanted), float(net_returns(wanted, moves, search.cost).mean()), True
    )


def candidates(probability: Array, allow_short: bool) -> Iterator[tuple[float, float]]:
    """Yield pairs: enter at quantiles of the probabilities on the side traded, exit there, halfway
    back and at one half.
    """
    lean = np.abs(probability - NEUTRAL) if allow_short else probability - NEUTRAL
    strong = lean[lean > 0]
    levels = np.quantile(strong, QUANTILES) if len(strong) else np.empty(0)
    for enter in sorted({NEUTRAL, *np.minimum(NEUTRAL + levels, HIGHEST).tolist()}):
        for exit in sorted({enter - retreat * (enter - NEUTRAL) for retreat in RETREATS}):
            yield enter, exit
