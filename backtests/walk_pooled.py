"""The walk-forward of one network over a universe, from its bars to its files."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from backtests.progress import time_spent
from backtests.reports.pooled import (
    POOLED,
    PooledResults,
    describe_universe_data,
    evaluate_pooled,
    write_pooled,
)
from backtests.reports.pooled_page import write_pooled_report
from backtests.simulation.account import Account, Costs
from backtests.synthetic.markets import market
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
from backtests.walk_forward.folds import FoldModel
from backtests.walk_forward.ledger import Ledger
from backtests.walk_forward.plan import FoldPlan, Settings
from backtests.walk_forward.registration import Registration
from backtests.walk_forward.trainer import Configuration
from backtests.walk_forward.universe import DatedFolds, lay_dated_folds
from model.bars.faults import count
from model.bars.universe import Bars, Universe, require_universe, universe_of
from model.cli import LeftOut
from model.features.joining import context_of
from model.training.config import TrainConfig, member_configs
from model.training.fitting import fit
from model.training.loop import Epoch

# Of a process that trains: what python, torch and the rest take, and how many numbers of 8 bytes
# stand for each feature at the peak (raw rows twice, scaled rows, and what is made on the way).
BASE_MEMORY, NUMBERS = 600e6, 3.0
TIMED_BATCHES = 3  # of the epoch that is timed


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
    >>> universe, _ = planted_universe("echo", 4, 600, seed=1)
    >>> config = TrainConfig(max_epochs=1, fewest_instruments=3)
    >>> plan = FoldPlan(folds=1, train_blocks=2)
    >>> results = walk_universe(universe, config, plan=plan, jobs=1, ledger="trials")
    >>> results.predictions["instrument"].nunique()
    4
    """
    request = request_of(training, plan, account, costs, jobs, ledger)
    # Before any folder is made: what can be refused costs nothing.
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
    tried = next(iter(walk.configurations.values())).tried
    found = evaluate_pooled(
        walk.dated,
        models,
        walk.settings,
        jobs=jobs,
        best=walk.best,
        left_out=walk.left_out,
        tried=tried,
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


def describe_cost(walk: PooledWalk, jobs: int) -> str:
    """Return a line on what training will take: time, as a few batches tell, and memory.

    Nothing is asked of folds that an earlier run finished: "" where none is left.
    """
    waiting = [
        (one.settings.config, job)
        for one in walk.configurations.values()
        for job in one.jobs()
        if job.finished() is None
    ]
    if not waiting:
        return ""
    per_window: dict[str, float] = {}
    epoch, most = 0.0, 0
    for config, job in waiting:
        windows = _training_windows(job.past, config)
        most = max(most, windows)
        for single in member_configs(config):
            if single.architecture not in per_window:
                per_window[single.architecture] = seconds_per_window(single)
            epoch += windows * per_window[single.architecture]
    config, processes = walk.settings.config, min(jobs, len(waiting))
    # At the least a training ends when no epoch after the first was better.
    fewest = min(config.patience + 1, config.max_epochs)
    told = " to ".join(
        f"{time_spent(epochs * epoch / processes)} ({count(epochs, 'epoch')} each)"
        for epochs in sorted({fewest, config.max_epochs})
    )
    memory = (
        BASE_MEMORY
        + NUMBERS
        * 8
        * len(config.engineer(context_of(walk.dated.universe)).names)
        * most
        / config.train
    )
    return (
        f"training {count(len(waiting), 'fold')} of up to {count(most, 'window')}, {processes} at "
        f"a time: {told}; {memory / 1e9:.1f} GB of memory for each at a time"
    )


def seconds_per_window(config: TrainConfig) -> float:
    """Return how long a window of training takes here, of an epoch of a few batches.

    config: of a single member. The first epoch is not timed: it warms up.
    """
    windows = TIMED_BATCHES * config.batch_size
    n_bars = config.preprocessor.bars_needed(windows)
    ends: list[float] = []

    def note(_: Epoch) -> None:
        ends.append(time.perf_counter())

    # Features of one's own may make nothing of a made-up market.
    ours = replace(config, outcome="direction", features="", only=False, max_epochs=2)
    fit(market("walk", n_bars).bars, ours, note)
    return (ends[-1] - ends[0]) / windows


def _training_windows(past: Bars, config: TrainConfig) -> int:
    """Return how many windows the training part holds, were each to have a label."""
    needed = config.lookback + config.sequence_length - 1
    windows = sum(max(0, len(bars) - needed + 1) for bars in universe_of(past).values())
    return int(config.train * windows)
