"""The walk-forward of one network over a universe, from its bars to its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from backtests.reports.pooled import (
    POOLED,
    PooledResults,
    describe_universe_data,
    evaluate_pooled,
    write_pooled,
)
from backtests.reports.pooled_page import write_pooled_report
from backtests.simulation.account import Account, BookSettings, Costs
from backtests.walk import (
    Request,
    configure,
    describe_replaced,
    enter_trial,
    kept_in,
    ledger_of,
    registration_of,
    request_of,
    train_walk,
)
from backtests.walk_forward.book import require_book_names
from backtests.walk_forward.folds import FoldModel
from backtests.walk_forward.ledger import Ledger
from backtests.walk_forward.plan import FoldPlan, Settings
from backtests.walk_forward.registration import Registration
from backtests.walk_forward.trainer import Configuration
from backtests.walk_forward.universe import DatedFolds, lay_dated_folds
from model.bars.universe import Universe, require_universe, universe_of
from model.cli import LeftOut
from model.errors import BarsError
from model.training.config import TrainConfig


@dataclass(frozen=True, eq=False)
class PooledWalk:
    """All that is known of a walk over a universe before it is trained.

    best: the best possible probability at each bar of a planted market, by instrument.
    registration: of this run, None where it was not registered.
    """

    dated: DatedFolds
    folder: Path
    configurations: Mapping[str, Configuration]
    ledger: Ledger
    left_out: Sequence[LeftOut] = ()
    best: Mapping[str, pd.Series] | None = None
    replaced: str = ""
    registration: Registration | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the configuration that leads."""
        return next(iter(self.configurations.values())).settings

    @property
    def n_models(self) -> int:
        return len(self.dated.folds) * len(self.configurations)


def walk_universe(
    universe: Universe,
    training: TrainConfig = TrainConfig(),
    *,
    plan: FoldPlan = FoldPlan(),
    account: Account = Account(),
    costs: Costs = Costs(),
    book: BookSettings | None = None,
    folder: str | Path | None = None,
    jobs: int | None = None,
    ledger: str | Path | None = None,
) -> PooledResults:
    """Walk forward with one network for a universe, as backtests/run.py --pooled does.

    Parameters
    ----------
    universe
        The bars of each instrument by name, as `read_bars` gives them.
    training, plan, account, costs, folder, jobs, ledger
        As of `walk_bars`.
    book
        How names are ranked and held in one account; None ranks relative forecasts by default, and
        holds each name in its own direction otherwise.

    Returns
    -------
    PooledResults
        With tables `folds`, `predictions` and `equity`, what each forecaster was worth in
        `by_date`, the `verdict` and `plot()`.

    Raises
    ------
    BarsError
        For bars that make no universe, or too few dates.
    FoldsFailed
        Where a fold could not be trained; the others are kept in the folder.

    Examples
    --------
    >>> from backtests.synthetic import planted_universe
    >>> planted = planted_universe("echo", 4, 600, seed=1)
    >>> universe = {name: market.bars for name, market in planted.items()}
    >>> config = TrainConfig(max_epochs=1, fewest_instruments=3)
    >>> plan = FoldPlan(folds=1, train_blocks=2)
    >>> results = walk_universe(universe, config, plan=plan, jobs=1, ledger="trials")
    >>> results.predictions["instrument"].nunique()
    4
    """
    if book is None and training.outcome == "relative":
        book = BookSettings()
    request = request_of(training, plan, account, costs, jobs, ledger, book)
    # Before any folder is made: what can be refused costs nothing.
    if not isinstance(universe, Mapping):
        raise BarsError(
            f"`universe` must be a dict of bars by name, got {type(universe).__name__}. Give "
            "{name: read_bars(file), ...}."
        )
    require_universe(universe, training.fewest_instruments)
    with kept_in(folder) as place:
        walk = begin_pooled(universe, place, request)
        models = train_walk(walk.configurations, walk.n_models, request.jobs)
        results, _ = finish_pooled(walk, models, request.jobs)
    return results


def begin_pooled(
    universe: Universe,
    folder: Path,
    request: Request,
    *,
    left_out: Sequence[LeftOut] = (),
    best: Mapping[str, pd.Series] | None = None,
) -> PooledWalk:
    """Lay the folds and open the folders: what can be refused is refused before training."""
    # In the order of the names, so that that of the files decides nothing.
    settings, universe = request.settings, universe_of(universe)
    ledger = ledger_of(universe, request, planted=best is not None)
    dated = lay_dated_folds(universe, settings.plan, settings.config)
    if settings.book:
        # A book that nothing could fill would be found out after hours of training.
        require_book_names(dated, settings.book)
    # Cut here, so that no worker ever holds a bar after its fold begins.
    pasts = [dated.past(fold) for fold in dated.folds]
    configurations = configure(universe, pasts, dated.folds, folder, request, ledger.others)
    data = describe_universe_data(universe)
    # Last of all that may refuse: whatever stands in the folder then is of this run.
    registration = registration_of(folder, request, configurations, data, ledger)
    replaced = describe_replaced(folder / POOLED, data, settings)
    return PooledWalk(dated, folder, configurations, ledger, left_out, best, replaced, registration)


def finish_pooled(
    walk: PooledWalk, models: Mapping[str, Sequence[FoldModel]], jobs: int
) -> tuple[PooledResults, int]:
    """Judge the trained models, write all files, and enter the trials in the ledger.

    Return the results, and how many of the trials are new to the ledger.
    """
    for name, one in walk.configurations.items():
        one.state.sweep(models[name])
    # Its checkpoints are traded; the others are judged by what they forecast.
    leading = next(iter(walk.configurations.values()))
    found = evaluate_pooled(
        walk.dated,
        models,
        walk.settings,
        jobs=jobs,
        best=walk.best,
        left_out=walk.left_out,
        tried=leading.tried,
        checkpoints=leading.state.checkpoints,
    )
    results = replace(found, registration=walk.registration)
    write_pooled(walk.folder, results)
    write_pooled_report(walk.folder, results)
    entered = 0
    for one, trial in zip(walk.configurations.values(), results.trials.values(), strict=True):
        entered += enter_trial(
            walk.ledger, one, trial.positions, trial.held, trial.net, results.panel.bars_per_year
        )
    return results, entered
