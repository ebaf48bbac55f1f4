"""The walk-forward over one instrument, from its bars to its files.

`begin` lays the folds and opens the folders, the trainer trains what all walks of a run need, and
`finish` trades, judges and writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from backtests.evidence.decisions import STRATEGY
from backtests.evidence.evidence import Trials, sharpe_per_bar
from backtests.reports.html import write_report
from backtests.reports.results import (
    COMPARISON,
    Results,
    TrainedConfiguration,
    describe_settings,
    evaluate_all,
    write_comparison,
    write_results,
)
from backtests.walk_forward.fingerprint import CODE, key_of
from backtests.walk_forward.folds import Fold, FoldModel, Settings, lay_folds
from backtests.walk_forward.ledger import Ledger, ledger_of
from backtests.walk_forward.store import MemberStore, RunState
from backtests.walk_forward.trainer import Configuration
from model.provenance import code_digest


@dataclass(frozen=True)
class Request:
    """What a user asks for, beside the bars.

    architectures: each is tried on the same folds, the first one leads. jobs: processes. dask: a
    scheduler's address. ledger: its file; None for the default. fresh: forget what an earlier run
    finished.
    """

    settings: Settings
    architectures: Sequence[str]
    jobs: int
    dask: str | None
    ledger: Path | None
    fresh: bool


@dataclass(frozen=True, eq=False)
class Walk:
    """All that is known of a walk before it is trained.

    configurations: by architecture; the files of the first one lead. best: the best possible
    probability at each bar, on a synthetic market. instrument: its name in a universe, "" where
    there is but one.
    """

    bars: pd.DataFrame
    folder: Path
    folds: Sequence[Fold]
    configurations: Mapping[str, Configuration]
    ledger: Ledger
    best: pd.Series | None = None
    instrument: str = ""

    @property
    def settings(self) -> Settings:
        """The settings of the configuration that leads."""
        return next(iter(self.configurations.values())).settings

    @property
    def n_models(self) -> int:
        return len(self.folds) * len(self.configurations)

    def models(self) -> dict[str, list[FoldModel]] | None:
        """Return the models by architecture; None where a fold of any is missing."""
        models = {}
        for name, configuration in self.configurations.items():
            of_folds = configuration.models()
            if of_folds is None:
                return None
            models[name] = of_folds
        return models


def begin(
    bars: pd.DataFrame,
    folder: Path,
    request: Request,
    *,
    best: pd.Series | None = None,
    instrument: str = "",
) -> Walk:
    """Lay the folds and open the folders, so that what can be refused is refused before training.

    Each architecture but the first has a folder of its own in that of the first.
    """
    settings, ledger, store = request.settings, ledger_of(bars, request.ledger), MemberStore(folder)
    folds = lay_folds(bars, settings.plan, settings.config)
    if request.fresh:
        store.forget()
    tried = {
        one: replace(settings, config=replace(settings.config, architecture=one))
        for one in request.architectures
    }
    # All keys first: none of the run's configurations counts as another trial for the others.
    keys = {one: key_of(bars, own) for one, own in tried.items()}
    configurations = {}
    for one, own in tried.items():
        state = RunState(folder if one == request.architectures[0] else folder / one)
        # Before anything is trained: a foreign checkpoint would be traded with the run's own.
        state.require_own()
        if request.fresh:
            state.forget()
        others = state.sharpes_at_start(keys[one], ledger.others(*keys.values()))
        label = one if len(tried) > 1 else ""  # messages of a single one need no name
        configurations[one] = Configuration(
            bars, folds, own, state, store, instrument, label, keys[one], tuple(others)
        )
    return Walk(bars, folder, folds, configurations, ledger, best, instrument)


def finish(walk: Walk, models: Mapping[str, list[FoldModel]], jobs: int) -> dict[str, Results]:
    """Trade the trained models, judge, write all files, and enter the trials in the ledger.

    Return the results by architecture, those of the one that leads first.
    """
    trained = {}
    for name, one in walk.configurations.items():
        # The strategy trades whatever checkpoints lie in the folder.
        one.state.sweep(models[name])
        trained[name] = TrainedConfiguration(
            models[name], one.state.checkpoints, one.settings, Trials(one.other_sharpes)
        )
    results = evaluate_all(walk.bars, trained, jobs=jobs, best=walk.best)
    compared = results if len(results) > 1 else {}
    if compared:
        write_comparison(walk.folder, compared)
    else:
        # One of an earlier run with more architectures would be taken for this run's.
        (walk.folder / COMPARISON).unlink(missing_ok=True)
    for number, (name, one) in enumerate(walk.configurations.items()):
        found = results[name]
        write_results(one.state.folder, found)
        write_report(one.state.folder, found, {} if number else compared)
        entry = {
            "seed": one.settings.config.seed,
            "code": code_digest(*CODE),
            **describe_settings(one.settings),
        }
        walk.ledger.enter(one.key, sharpe_per_bar(found.decisions.returns[STRATEGY]), entry)
    return results
