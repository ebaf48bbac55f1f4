"""The walk-forward over one market, from its bars to its files.

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
    """What is asked for, beside the bars.

    architectures: each is tried on the same folds, the first one leads. dask: a scheduler's
    address. ledger: its file; None for the default. fresh: forget what an earlier run finished.
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

    configurations: by architecture; the files of the first one lead. name: the market's in a
    universe, "" where there is but one. best: what the best possible forecast gives at each bar, on
    a planted market.
    """

    bars: pd.DataFrame
    folder: Path
    folds: Sequence[Fold]
    configurations: Mapping[str, Configuration]
    ledger: Ledger
    best: pd.Series | None = None
    name: str = ""

    @property
    def settings(self) -> Settings:
        """The settings of the first configuration."""
        return next(iter(self.configurations.values())).settings


def begin(
    bars: pd.DataFrame,
    folder: Path,
    request: Request,
    *,
    best: pd.Series | None = None,
    name: str = "",
) -> Walk:
    """Lay the folds and open the folders.

    What cannot be walked over is refused before any training.

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
    keys = {one: key_of(bars, own) for one, own in tried.items()}
    configurations = {}
    for one, own in tried.items():
        state = RunState(folder if one == request.architectures[0] else folder / one)
        state.require_own()
        if request.fresh:
            state.forget()
        # What is tried in this run counts as itself, not as something that the ledger held before.
        others = state.sharpes_at_start(keys[one], ledger.others(*keys.values()))
        label = one if len(tried) > 1 else ""
        configurations[one] = Configuration(
            bars, folds, own, state, store, name, label, keys[one], tuple(others)
        )
    return Walk(bars, folder, folds, configurations, ledger, best, name)


def trained(walk: Walk) -> dict[str, list[FoldModel]] | None:
    """Return the models of each configuration; None where a fold of any is missing."""
    found = {name: one.models() for name, one in walk.configurations.items()}
    whole = {name: models for name, models in found.items() if models is not None}
    return whole if len(whole) == len(found) else None


def finish(walk: Walk, models: Mapping[str, list[FoldModel]], jobs: int) -> dict[str, Results]:
    """Trade the trained models, judge, write all files, and enter the trials in the ledger.

    Return the results by architecture, the first one's first.
    """
    for name, configuration in walk.configurations.items():
        configuration.state.sweep(models[name])
    results = evaluate_all(
        walk.bars,
        {
            name: TrainedConfiguration(
                models[name], one.state.checkpoints, one.settings, Trials(one.other_sharpes)
            )
            for name, one in walk.configurations.items()
        },
        jobs=jobs,
        best=walk.best,
    )
    compared = results if len(results) > 1 else {}
    if compared:
        write_comparison(walk.folder, compared)
    else:  # of an earlier run
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
