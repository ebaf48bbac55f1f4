"""A walk: the walk-forward over one market, from its bars to its files, before and after the training that all walks share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from backtests.evidence.decisions import STRATEGY
from backtests.evidence.evidence import Trials, sharpe_per_bar
from backtests.reports.html import write_report
from backtests.reports.results import (
    COMPARISON,
    Candidate,
    Results,
    describe_settings,
    evaluate_all,
    write_comparison,
    write_results,
)
from backtests.walk_forward.fingerprint import CODE, key_of
from backtests.walk_forward.folds import Fold, FoldModel, Settings, lay_folds
from backtests.walk_forward.ledger import Ledger, ledger_of
from backtests.walk_forward.store import MemberStore, RunState
from backtests.walk_forward.trainer import Course
from model.provenance import code_digest


@dataclass(frozen=True)
class Request:
    """What is asked for, beside the bars.

    architectures: of the settings, each to be tried on the same folds, the first the one that leads. dask: a scheduler's
    address. ledger: its file; None for the default. fresh: forget what an earlier run finished.
    """

    settings: Settings
    architectures: Sequence[str]
    jobs: int
    dask: str | None
    ledger: Path | None
    fresh: bool


@dataclass(frozen=True, eq=False)
class Variant:
    """One of the settings that are tried on a market, and where its results go.

    key: the digest of all that decides them. trials: the others that the ledger held at the start.
    """

    name: str
    settings: Settings
    folder: Path
    state: RunState
    key: str
    trials: Trials
    course: Course


@dataclass(frozen=True, eq=False)
class Walk:
    """All that is known of a walk before it is trained: the first variant is the one whose files lead.

    name: the market's in a universe, "" where there is but one. best: what the best possible forecast says at each bar, on a
    planted market.
    """

    bars: pd.DataFrame
    folder: Path
    folds: Sequence[Fold]
    variants: Sequence[Variant]
    ledger: Ledger
    best: pd.Series | None = None
    name: str = ""

    @property
    def courses(self) -> list[Course]:
        """What is to be trained."""
        return [variant.course for variant in self.variants]


def begin(
    bars: pd.DataFrame,
    folder: Path,
    request: Request,
    *,
    best: pd.Series | None = None,
    name: str = "",
) -> Walk:
    """Lay the folds and open the folders; what cannot be walked over is refused before any training.

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
    search = settings.plan.search(settings.account, settings.costs)
    variants = []
    for one, own in tried.items():
        place = folder if one == request.architectures[0] else folder / one
        state = RunState(place)
        state.require_own()
        if request.fresh:
            state.forget()
        trials = Trials(tuple(state.frozen(keys[one], ledger.others(*keys.values()))))
        course = Course(
            bars, folds, own.config, search, state, store, name, one if len(tried) > 1 else ""
        )
        variants.append(Variant(one, own, place, state, keys[one], trials, course))
    return Walk(bars, folder, folds, variants, ledger, best, name)


def trained(walk: Walk) -> dict[str, list[FoldModel]] | None:
    """Return the models of each variant; None where a fold of any is missing."""
    found = {variant.name: variant.course.models() for variant in walk.variants}
    whole = {name: models for name, models in found.items() if models is not None}
    return whole if len(whole) == len(found) else None


def finish(walk: Walk, models: dict[str, list[FoldModel]], jobs: int) -> dict[str, Results]:
    """Trade the trained models, judge, write all files, and enter the trials in the ledger; return the first variant's first."""
    candidates = {}
    for variant in walk.variants:
        variant.state.sweep(models[variant.name])
        candidates[variant.name] = Candidate(
            models[variant.name], variant.state.checkpoints, variant.settings, variant.trials
        )
    results = evaluate_all(walk.bars, candidates, jobs=jobs, best=walk.best)
    compared = results if len(results) > 1 else {}
    if compared:
        write_comparison(walk.folder, compared)
    else:  # of an earlier run
        (walk.folder / COMPARISON).unlink(missing_ok=True)
    for variant in walk.variants:
        found = results[variant.name]
        write_results(variant.folder, found)
        write_report(variant.folder, found, compared if variant is walk.variants[0] else {})
        what = {
            "seed": variant.settings.config.seed,
            "code": code_digest(*CODE),
            **describe_settings(variant.settings),
        }
        walk.ledger.enter(variant.key, sharpe_per_bar(found.decisions.returns[STRATEGY]), what)
    return results
