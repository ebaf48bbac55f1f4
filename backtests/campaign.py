"""The training of all folds, whatever happens on the way: finished folds are reused, lost ones are trained again."""
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import pandas as pd

from backtests.cluster import WORKER_DEATHS
from backtests.fingerprint import key_of
from backtests.state import RunState
from backtests.thresholds import Search
from backtests.walk_forward import Fold, FoldModel, OnEpoch, train_folds
from model.training import TrainConfig

TRIES = 3


class FoldsFailed(RuntimeError):
    """The processes that trained some folds died again and again."""

    exit_code = 8


def train_all(bars: pd.DataFrame, folds: Sequence[Fold], config: TrainConfig, search: Search, state: RunState, *, jobs: int = 1,
              on_epoch: OnEpoch | None = None, on_fold: Callable[[FoldModel, bool], None]) -> list[FoldModel]:
    """Return the folds' models in order, each kept in `state` as soon as it is there.

    on_fold: called with each model and whether it was found finished. A process that dies takes the folds in flight with
    it; they are trained again, up to three times together and then each alone, so that one bad fold costs no other.
    Raises FoldsFailed when all others are finished.
    """
    keys = {fold: key_of(fold.past(bars), config, search) for fold in folds}
    done = {fold: model for fold in folds if (model := state.finished(fold, keys[fold]))}
    for model in done.values():
        on_fold(model, True)

    def train(batch: Sequence[Fold]) -> None:
        for model in train_folds(bars, batch, config, search, jobs=jobs, on_epoch=on_epoch):
            state.keep(model, keys[model.fold])
            done[model.fold] = model
            on_fold(model, False)

    _insist(train, folds, done)
    return [done[fold] for fold in folds]


def _insist(train: Callable[[Sequence[Fold]], None], folds: Sequence[Fold], done: Mapping[Fold, FoldModel]) -> None:
    """Train what is not done: all missing folds together, in a few tries, then each alone."""
    for batch in chain([folds] * TRIES, ([fold] for fold in folds)):
        try:
            if waiting := [fold for fold in batch if fold not in done]:
                train(waiting)
        except WORKER_DEATHS:
            continue
    if lost := [fold for fold in folds if fold not in done]:
        numbers = ", ".join(str(fold.number) for fold in lost)
        raise FoldsFailed(f"the process that trained fold {numbers} died in every try (memory?); {len(done)} of {len(folds)} folds "
                          "are kept. The same command trains the rest.")
