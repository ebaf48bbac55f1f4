"""A book over all folds: what each fold's validation chooses for it, and its one account."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel

from backtests.simulation.account import BASIS_POINT, BookSettings
from backtests.simulation.book import book_returns, kept_weights
from backtests.simulation.book_account import BookChange, BookSimulation, simulate_book
from backtests.simulation.vectorised import Array
from backtests.walk_forward.folds import FoldModel
from backtests.walk_forward.plan import Settings
from backtests.walk_forward.thresholds import validation_decisions
from backtests.walk_forward.universe import DatedFolds
from backtests.walk_forward.workers import dies_with_parent
from model.bars.universe import Universe
from model.checkpoint.checkpoint import Checkpoint
from model.errors import BarsError, Setting
from strategy_plugin.startup import require_book

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


def choose_book(checkpoint: Checkpoint | None, past: Universe, settings: Settings) -> BookChoice:
    """Return what the settings of the book leave open as the checkpoint's validation would have it.

    It goes by a paper book: that of the account but for drift, whole units and borrow. Of equals
    the first wins, which keeps and waits least. The first is also taken where there is no model.

    past: the bars that the checkpoint was trained on.
    """
    book, cost = settings.book or BookSettings(), settings.costs.per_side * BASIS_POINT
    # What the user gives is not chosen.
    keeps = KEEPS if book.keep is None else (book.keep,)
    rebalances = REBALANCES if book.rebalance is None else (book.rebalance,)
    choices = [BookChoice(keep, every) for keep in keeps for every in rebalances]
    if checkpoint is None or len(choices) == 1:
        return choices[0]
    settings.config.own  # noqa: B018 - in another process, where own features are not known
    scores, moves, volatility = _validation(checkpoint, past, book.window)
    tried = []
    for choice in choices:
        # The rule of the account, on arrays: each of nine runs of Backtrader a fold would cost more
        # than all of these together.
        weights = kept_weights(
            scores,
            book.rules(choice.keep),
            choice.rebalance,
            None if book.weights == "equal" else volatility,
            book.settle_after,
        )
        # Where nothing was ever held there is nothing to compare.
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


def choose_books(
    dated: DatedFolds, models: Sequence[FoldModel], settings: Settings, jobs: int = 1
) -> list[BookChoice]:
    """Return the choice of each fold, in their order."""
    parallel = Parallel(n_jobs=min(jobs, len(models)), max_nbytes=None)
    return list(
        parallel(
            dies_with_parent(choose_book, model.checkpoint, dated.past(model.fold), settings)
            for model in models
        )
    )


def trade_book(
    dated: DatedFolds,
    models: Sequence[FoldModel],
    source: Path | pd.DataFrame,
    settings: Settings,
    choices: Sequence[BookChoice],
) -> BookSimulation:
    """Trade all test blocks in one account, in one continuous run: positions are carried over.

    source: the folder of checkpoints, or the forecasts of all test dates: (dates, names). A fold
    without a model leaves the book as it is. choices: of each model's fold.
    """
    # A choice holds from its fold's first decision on, and what is held then goes on under it.
    starts = [dated.dates[model.fold.test] for model in models]
    return simulate_book(
        dated.traded_bars,
        source,
        starts[0],
        changes=[
            BookChange(start, choice.keep, choice.rebalance)
            for start, choice in zip(starts, choices, strict=True)
        ],
        book=settings.book or BookSettings(),
        account=settings.account,
        costs=settings.costs,
    )


def require_book_names(dated: DatedFolds, book: BookSettings) -> None:
    """Refuse a book that the names of the test dates can never fill, before anything is trained.

    BarsError where they are too few; ValueError for settings that no number of them would fit.
    """
    rules, names = book.rules(1.0), len(dated.traded_bars)
    long, short = rules.counts(names)
    if names < max(long + short, book.fewest):
        raise BarsError(
            f"a book of {long} long and {short} short, and at least {book.fewest} that are ranked, "
            f"must have {max(long + short, book.fewest)} names with bars on the test dates, got "
            f"{names}. Give more of them, or lower ",
            Setting("long"),
            ", ",
            Setting("short"),
            " or ",
            Setting("fewest"),
            ".",
        )
    require_book(rules, names)
