"""Thresholds chosen on validation: the pair that would have earned most there after costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from backtests.simulation.vectorised import (
    Array,
    Positions,
    TradeEnds,
    barrier_positions,
    directions,
    open_returns,
    trade_ends,
)
from model.bars.faults import count
from model.bars.universe import Bars, universe_of
from model.labels.labelling import Labelling
from strategy_plugin.decision import NEUTRAL

if TYPE_CHECKING:
    from model.checkpoint.checkpoint import Checkpoint

HIGHEST = 0.999  # the strategy takes no threshold of 1, which no probability would reach
# A small grid on purpose: the best of many pairs on a few hundred bars would be the luckiest.
QUANTILES = (0.25, 0.5, 0.75, 0.9)
RETREATS = (0.0, 0.5, 1.0)  # how far from enter back to one half the exit lies


class Decided(NamedTuple):
    """A forecast, and what holding earned, for each decision; ends: where trades would end."""

    probability: Array
    moves: Array
    ends: TradeEnds | None = None


@dataclass(frozen=True)
class Search:
    """What decides between pairs of thresholds.

    cost: a fraction per side. fewest_trades: round trips that a pair must make to be chosen.
    traded: the trade that each position is; None where the forecast closes it.
    """

    cost: float
    allow_short: bool = False
    fewest_trades: int = 10
    traded: Labelling | None = None

    def positions(self, decided: Decided, enter: float, exit: float) -> Positions:
        """Return the positions of a pair of thresholds on an instrument's decisions."""
        if decided.ends is not None:
            return barrier_positions(decided.probability, decided.moves, decided.ends, enter=enter)
        held = directions(decided.probability, enter=enter, exit=exit, allow_short=self.allow_short)
        return Positions.of(held, decided.moves)


@dataclass(frozen=True)
class Choice:
    """The pair chosen, with the trades it made on validation and its mean net return per bar.

    chosen: False where no pair traded often enough; `trades` is then the most that any made. A pair
    that lost is traded all the same, and said: a validation part is too short to tell a small gain
    from a small loss, and a fold that stayed out would be judged by nothing.
    """

    enter: float = NEUTRAL
    exit: float = NEUTRAL
    trades: int = 0
    net: float = 0.0
    chosen: bool = False

    @property
    def lost(self) -> bool:
        """Whether even the best pair lost on validation."""
        return self.chosen and self.net < 0

    def __str__(self) -> str:
        if not self.chosen:
            return (
                "thresholds .50/.50: no pair made enough trades on validation, "
                f"{self.trades} at most"
            )
        earned = f"{count(self.trades, 'trade')} and {1e4 * self.net:+.2f} bp per bar on validation"
        best = ", where every pair lost" if self.lost else ""
        return f"thresholds {self.enter:.3f}/{self.exit:.3f}: {earned}{best}"


def with_thresholds(
    checkpoint: Checkpoint, past: Bars, search: Search
) -> tuple[Checkpoint, Choice]:
    """Return the checkpoint with the thresholds that its validation part chose, and the choice.

    past: the bars the checkpoint was trained on. Of those after `trained_until` none is looked at:
    they are the test's. A relative forecast is traded by rank, and keeps one half.
    """
    choice = Choice()
    if checkpoint.outcome == "direction":
        choice = choose(
            [decided_on(checkpoint, own, search) for own in universe_of(past).values()], search
        )
    return replace(checkpoint, enter=choice.enter, exit=choice.exit), choice


def validation_decisions(checkpoint: Checkpoint, past: pd.DataFrame) -> pd.DataFrame:
    """Return an instrument's forecasts on validation, and what holding earned after each.

    past: its bars; of those after `trained_until` none is looked at. A row per decision whose move
    is over by then: `probability` and `move`.
    """
    past = past.loc[: checkpoint.trained_until]
    part = checkpoint.part_rows("validation", past.index)
    older = checkpoint.bars_needed - 1
    # One of a universe may begin, or end, within the part.
    first = max(part.start, older)
    if first >= part.stop:
        return pd.DataFrame({"probability": [], "move": []}, past.index[:0], dtype=float)
    # The bars before the first decision are those that its window needs, no more.
    probability = checkpoint.probabilities(past.iloc[first - older : part.stop])
    moves = open_returns(past)[first : part.stop]
    return pd.DataFrame({"probability": probability, "move": moves}).dropna(subset="move")


def validation_record(checkpoint: Checkpoint, past: pd.DataFrame, search: Search) -> pd.DataFrame:
    """Return the checkpoint's forecasts on its validation part, and what they earned there.

    past: the bars it was trained on. A row per decision: `probability`, and `net`, the return after
    costs at the checkpoint's own thresholds.
    """
    table = validation_decisions(checkpoint, past)
    enter = NEUTRAL if checkpoint.enter is None else checkpoint.enter
    exit = NEUTRAL if checkpoint.exit is None else checkpoint.exit
    positions = search.positions(_decided(table, checkpoint, past, search), enter, exit)
    return table[["probability"]].assign(net=positions.net(search.cost))


def decided_on(checkpoint: Checkpoint, past: pd.DataFrame, search: Search) -> Decided:
    """Return an instrument's decisions on validation, as pairs of thresholds are tried on them."""
    return _decided(validation_decisions(checkpoint, past), checkpoint, past, search)


def _decided(
    table: pd.DataFrame, checkpoint: Checkpoint, past: pd.DataFrame, search: Search
) -> Decided:
    """Return decisions of `validation_decisions` with the ends of their trades."""
    ends = None
    if search.traded is not None and len(table):
        past = past.loc[: checkpoint.trained_until]
        first = int(past.index.searchsorted(table.index[0]))
        ends = trade_ends(past, search.traded, first)
    return Decided(table["probability"].to_numpy(), table["move"].to_numpy(), ends)


def choose(decisions: Sequence[Decided], search: Search) -> Choice:
    """Return the pair with the best mean net return among those that trade often enough.

    decisions: of each instrument. Of equals the lowest pair wins, which trades earliest.
    """
    choices = []
    forecasts = np.concatenate([one.probability for one in decisions])
    for enter, exit in candidates(forecasts, search.allow_short):
        if search.traded is not None and exit != enter:
            continue  # no probability closes a position
        tried = [search.positions(one, enter, exit) for one in decisions]
        # Per bar, not per trade, or a pair that trades once and well would win.
        net = float(np.concatenate([one.net(search.cost) for one in tried]).mean())
        choices.append(Choice(enter, exit, sum(one.entries for one in tried), net, chosen=True))
    busy = [choice for choice in choices if choice.trades >= search.fewest_trades]
    if not busy:
        return Choice(trades=max(choice.trades for choice in choices))
    return max(busy, key=lambda choice: choice.net)


def candidates(probability: Array, allow_short: bool) -> Iterator[tuple[float, float]]:
    """Yield pairs (enter, exit), lowest first.

    enter lies at quantiles of the probabilities on the side traded, exit there, halfway back to one
    half, and at one half.
    """
    lean = np.abs(probability - NEUTRAL) if allow_short else probability - NEUTRAL
    strong = lean[lean > 0]
    # A model that never leans to the side traded leaves one half alone to choose from.
    levels = np.quantile(strong, QUANTILES) if len(strong) else np.empty(0)
    for enter in sorted({NEUTRAL, *np.minimum(NEUTRAL + levels, HIGHEST).tolist()}):
        for exit in sorted({enter - retreat * (enter - NEUTRAL) for retreat in RETREATS}):
            yield enter, exit
