"""A walk: the walk-forward over one market, from its bars to its files, before and after the training that all walks share."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from backtests.campaign import Course
from backtests.evidence import Trials
from backtests.fingerprint import key_of
from backtests.ledger import Ledger
from backtests.report import write_report
from backtests.results import Results, Settings, evaluate, summary, write_results
from backtests.state import RunState
from backtests.walk_forward import Fold, FoldModel, lay_folds


@dataclass(frozen=True, eq=False)
class Walk:
    """All that is known of a walk before it is trained.

    name: the market's in a universe, "" where there is but one. key: the digest of all that decides the results. trials: the
    others that the ledger held at the start. best: what the best possible forecast says at each bar, on a planted market.
    """

    bars: pd.DataFrame
    settings: Settings
    folder: Path
    folds: Sequence[Fold]
    state: RunState
    ledger: Ledger
    key: str
    trials: Trials
    best: pd.Series | None = None
    name: str = ""

    @property
    def course(self) -> Course:
        """What is to be trained."""
        search = self.settings.plan.search(self.settings.account, self.settings.costs)
        return Course(self.bars, self.folds, self.settings.config, search, self.state, self.name)


def begin(bars: pd.DataFrame, folder: Path, settings: Settings, ledger: Ledger, *, fresh: bool = False,
          best: pd.Series | None = None, name: str = "") -> Walk:
    """Lay the folds and open the folder; what cannot be walked over is refused before any training.

    fresh: forget what an earlier run finished there.
    """
    folds = lay_folds(bars, settings.plan, settings.config)
    state = RunState(folder)
    state.require_own()
    if fresh:
        state.forget()
    key = key_of(bars, settings)
    trials = Trials(tuple(state.frozen(key, ledger.others(key))))
    return Walk(bars, settings, folder, folds, state, ledger, key, trials, best, name)


def finish(walk: Walk, models: Sequence[FoldModel], jobs: int) -> Results:
    """Trade the trained models, judge, write all files, and enter the trial in the ledger."""
    walk.state.sweep(models)
    results = evaluate(walk.bars, models, walk.state.checkpoints, walk.settings, trials=walk.trials, jobs=jobs, best=walk.best)
    write_results(walk.folder, results)
    write_report(walk.folder, results)
    ratio = results.evidence.sharpe.per_bar if results.evidence.sharpe else 0.0
    walk.ledger.enter(walk.key, ratio, {"seed": walk.settings.config.seed, **summary(results)["settings"]})
    return results
