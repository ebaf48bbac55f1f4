"""How long a book holds, chosen on validation: what would have earned most there after costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtests.simulation.account import BookSettings
from backtests.simulation.book import book_returns, kept_weights
from backtests.simulation.vectorised import Array
from backtests.walk_forward.thresholds import validation_decisions
from model.bars.faults import count
from model.bars.universe import Universe

if TYPE_CHECKING:
    from model.checkpoint.checkpoint import Checkpoint

# A small grid on purpose, as that of thresholds: the best of many would be the luckiest.
KEEPS, REBALANCES = (1.0, 2.0, 3.0), (1, 5, 20)


@dataclass(frozen=True)
class BookChoice:
    """The hold band and the rebalancing of a fold.

    net: what they earned per date on validation, after costs; None where nothing was to be chosen,
    or nothing could be ranked.
    """

    keep: float
    rebalance: int
    net: float | None = None

    def __str__(self) -> str:
        words = f"keep {self.keep:g}, rebalance {self.rebalance}"
        if self.net is None:
            return words
        lost = ", where each of them lost" if self.net < 0 else ""
        return f"{words}: {1e4 * self.net:+.2f} bp per bar on validation{lost}"


def choose_book(
    checkpoint: Checkpoint | None, past: Universe, book: BookSettings, cost: float
) -> BookChoice:
    """Return what the settings leave open as the checkpoint's validation part would have it.

    It goes by a paper book, to whose account `simulate_book` comes within its drift and its whole
    units. Of equals the first wins, which keeps and waits least. The first is also taken where
    there is no model.

    Parameters
    ----------
    past
        The bars that the checkpoint was trained on.
    cost
        Of trading, a fraction per side.
    """
    keeps = KEEPS if book.keep is None else (book.keep,)
    rebalances = REBALANCES if book.rebalance is None else (book.rebalance,)
    choices = [BookChoice(keep, every) for keep in keeps for every in rebalances]
    if checkpoint is None or len(choices) == 1:
        return choices[0]
    scores, moves, volatility = _validation(checkpoint, past, book.window)
    tried = []
    for choice in choices:
        weights = kept_weights(
            scores,
            book.rules(choice.keep),
            choice.rebalance,
            None if book.weights == "equal" else volatility,
        )
        if weights.any():
            net = float(book_returns(weights, moves, cost).mean())
            tried.append(BookChoice(choice.keep, choice.rebalance, net))
    return max(tried, key=lambda choice: choice.net or 0.0, default=choices[0])


def _validation(checkpoint: Checkpoint, past: Universe, window: int) -> tuple[Array, Array, Array]:
    """Return forecasts, next moves and volatilities on validation: (dates, names) each."""
    columns = {}
    for name, bars in past.items():
        decided = validation_decisions(checkpoint, bars)
        moves = np.log(bars["close"]).diff()
        columns[name] = decided.assign(volatility=moves.rolling(window).std(ddof=0))
    tables = pd.concat(columns, axis=1, sort=True).swaplevel(axis=1)
    scores, moves, volatility = (
        tables[part].to_numpy() for part in ("probability", "move", "volatility")
    )
    return scores, moves, volatility


def describe_choices(choices: Mapping[int, BookChoice]) -> str:
    """Return a line on what was chosen, by the number of the fold."""
    told = "; ".join(f"fold {number} {choice}" for number, choice in choices.items())
    return f"{count(len(choices), 'fold')}: {told}"
