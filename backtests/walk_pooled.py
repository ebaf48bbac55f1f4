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
from backtests.synthetic.markets import market, parse_market
from backtests.walk import Request, configure, describe_replaced
from backtests.walk_forward.book import require_book_names
from backtests.walk_forward.folds import FoldModel
from backtests.walk_forward.plan import Settings
from backtests.walk_forward.trainer import Configuration
from backtests.walk_forward.universe import DatedFolds, lay_dated_folds
from model.bars.faults import count
from model.bars.universe import Bars, Universe, universe_of
from model.cli import LeftOut
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
    """

    dated: DatedFolds
    folder: Path
    configurations: Mapping[str, Configuration]
    left_out: Sequence[LeftOut] = ()
    best: Mapping[str, pd.Series] | None = None
    replaced: str = ""

    @property
    def settings(self) -> Settings:
        """The settings of the configuration that leads."""
        return next(iter(self.configurations.values())).settings

    @property
    def n_models(self) -> int:
        return len(self.dated.folds) * len(self.configurations)


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
    dated = lay_dated_folds(universe, settings.plan, settings.config)
    if settings.book:
        require_book_names(dated, settings.book)
    pasts = [dated.past(fold) for fold in dated.folds]
    # The ledger counts trials on one instrument alone.
    configurations = configure(
        universe, pasts, dated.folds, folder, request, tried_before=lambda *_: []
    )
    data = describe_universe_data(universe)
    replaced = describe_replaced(folder / POOLED, data, settings)
    return PooledWalk(dated, folder, configurations, left_out, best, replaced)


def finish_pooled(
    walk: PooledWalk, models: Mapping[str, Sequence[FoldModel]], jobs: int
) -> PooledResults:
    """Judge the trained models and write all files."""
    for name, one in walk.configurations.items():
        one.state.sweep(models[name])
    results = evaluate_pooled(
        walk.dated,
        models,
        walk.settings,
        jobs=jobs,
        best=walk.best,
        left_out=walk.left_out,
        checkpoints=next(iter(walk.configurations.values())).state.checkpoints,
    )
    write_pooled(walk.folder, results)
    write_pooled_report(walk.folder, results)
    return results


def planted_universe(
    text: str, instruments: int, n_bars: int, seed: int
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.Series]]:
    """Return independent histories of one planted market, and the best forecast on each.

    text: as of `parse_market`. seed: of the first; each further one has the next.
    """
    name, strengths = parse_market(text)
    width = len(str(instruments))
    bars, best = {}, {}
    for number in range(instruments):
        one = market(name, n_bars, seed + number, **strengths)
        called = f"{name}-{number + 1:0{width}d}"
        one.bars.attrs["instrument"] = called
        bars[called], best[called] = one.bars, one.probability
    return bars, best


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
    memory = BASE_MEMORY + NUMBERS * 8 * len(config.engineer.names) * most / config.train
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
