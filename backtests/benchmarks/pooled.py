"""One network for many instruments: beside one instrument, pandas, and itself on one process.

Sides of the benchmark.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from backtests.benchmarks.features import PandasTools, usual_features
from backtests.benchmarks.pybroker import EPOCHS, NAMES, planted
from backtests.benchmarks.rounds import Round, Work, scratch
from backtests.benchmarks.trading import trade_together
from backtests.benchmarks.training import CONFIG, WINDOW, folds_of, last_losses, trained
from backtests.synthetic.markets import market
from backtests.walk_forward.plan import FoldPlan
from backtests.walk_forward.universe import DatedFolds, lay_dated_folds
from model.bars.universe import Bars
from model.training.config import TrainConfig
from model.training.data import prepare
from model.training.fitting import fit

STOCKS = 60
POOLED = replace(CONFIG, fewest_instruments=NAMES)


def windows_pooled(windows: int) -> Round:
    """Return a training of one epoch over as many windows of several instruments."""
    needed = WINDOW + 2 + round(windows / NAMES / POOLED.train)
    return _trainings(planted(NAMES, needed), POOLED)


def windows_alone(windows: int) -> Round:
    """Return the same over as many windows of one."""
    return _trainings(market("echo", WINDOW + 2 + round(windows / CONFIG.train)).bars, CONFIG)


def _trainings(bars: Bars, config: TrainConfig) -> Round:
    def play(number: int) -> Work:
        part = fit(bars, replace(config, seed=number)).parts["train"]
        return Work(float(part["windows"] or 0))

    return play


def prepared(bars: int) -> Round:
    """Return what makes sixty instruments ready to train on: features, labels, split and scaler."""

    def play(number: int) -> Work:
        data = prepare(planted(STOCKS, bars), TrainConfig())
        last = [block.stop - 1 for block in data.blocks.values()]
        return Work(1, data.features.to_numpy()[last].ravel().tolist())

    return play


def features_of_each(bars: int) -> Round:
    """Return what computes the features alone in pandas, one instrument after the other."""

    def play(number: int) -> Work:
        rows = [
            usual_features(own, PandasTools()).to_numpy()[-1]
            for own in planted(STOCKS, bars).values()
        ]
        return Work(1, np.concatenate(rows).tolist())

    return play


def folds_pooled(bars: int, jobs: str = "1") -> Round:
    """Return all folds of a walk-forward over several instruments, in so many processes."""
    plan = FoldPlan(folds=4, train_blocks=4)
    dated = lay_dated_folds(planted(NAMES, bars), plan, plan.training(POOLED))

    def play(number: int) -> Work:
        pasts = [dated.past(fold) for fold in dated.folds]
        models = trained(pasts, dated.folds, dated.config, jobs=int(jobs))
        return Work(len(models), last_losses(models))

    return play


def walk_ours(bars: int) -> Round:
    """Return PyBroker's windows as folds by date, with all their trades in one account."""

    def play(number: int) -> Work:
        universe, folder = planted(NAMES, bars), scratch() / "walk-pooled"
        config = FoldPlan().training(replace(POOLED, max_epochs=EPOCHS))
        # Its dates are those at which a window is whole.
        dates = pd.DatetimeIndex(next(iter(universe.values())).index[WINDOW - 1 :])
        folds = [
            replace(
                one, **{end: getattr(one, end) - WINDOW + 1 for end in ("train", "test", "stop")}
            )
            for one in folds_of(bars)
        ]
        dated = DatedFolds(universe, dates, folds, config)
        models = trained([dated.past(fold) for fold in folds], folds, config)
        folder.mkdir(exist_ok=True)
        for model in models:
            if model.checkpoint:
                model.checkpoint.save(folder / model.name)
        trade_together(universe, str(folder))
        return Work(1, last_losses(models))

    return play
