"""What the model must beat: simple rules and cheap learners on the same bars, folds and costs, and luck with its own positions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from joblib import Parallel
from threadpoolctl import threadpool_limits

from backtests.baselines import BASELINES, cut
from backtests.cluster import tethered
from backtests.positions import Array, net_returns
from backtests.walk_forward import Fold
from model.labels import known_after
from model.training import TrainConfig

FAST, SLOW = 20, 50  # bars of the moving averages; the slow one spans the model's own window
SHIFTS = 200
HOLD = "buy and hold"


def rule_directions(bars: pd.DataFrame, *, allow_short: bool = False) -> dict[str, Array]:
    """Return the direction that each fixed rule wants at every bar's close: (n,) of -1, 0, 1."""
    close = bars["close"]
    leanings = {
        HOLD: pd.Series(1.0, index=bars.index),
        "last return": close.diff(),
        "moving averages": close.rolling(FAST).mean() - close.rolling(SLOW).mean(),
    }
    down = -1.0 if allow_short else 0.0
    return {
        name: np.select([lean > 0, lean < 0], [1.0, down], 0.0) for name, lean in leanings.items()
    }


def learner_probabilities(
    bars: pd.DataFrame,
    folds: Sequence[Fold],
    config: TrainConfig,
    jobs: int = 1,
    *,
    learners: Sequence[str] = tuple(BASELINES),
) -> pd.DataFrame:
    """Return what cheap learners, trained on each fold's past like the model, say of its test decisions: a column for each.

    A fold whose past lacks a class has no forecasts, and neither have the last decisions, whose outcome is not known.
    """
    parallel = Parallel(n_jobs=min(jobs, len(folds)), max_nbytes=None)
    known = known_after(config.label, config.horizon)
    tasks = (
        tethered(
            _learn_fold,
            bars.iloc[fold.train - fold.warm_up : fold.stop + known],
            fold,
            config,
            learners,
        )
        for fold in folds
    )
    said: pd.DataFrame = pd.concat(parallel(tasks))
    return said.reindex(bars.index[folds[0].test : folds[-1].stop])


def _learn_fold(
    bars: pd.DataFrame, fold: Fold, config: TrainConfig, learners: Sequence[str]
) -> pd.DataFrame:
    """Return the learners' probabilities of one fold, whose bars are its past and what its test labels wait for."""
    examples = cut(bars, config.preprocessor, learned=fold.test - fold.train + fold.warm_up + 1)
    if len(np.unique(examples.labels_of(0))) < 2:
        return pd.DataFrame(columns=list(learners), dtype=float)
    with threadpool_limits(1):  # so that the sums are always the same
        said = {learner: BASELINES[learner](examples) for learner in learners}
    return pd.DataFrame(said, index=examples.decided_at)


def shifted_means(wanted: Array, moves: Array, cost: float, count: int = SHIFTS) -> Array:
    """Return the mean net return of the directions moved along the bars by `count` evenly spaced distances, round the end.

    Exposure and turnover stay (but for the border), only the timing goes: what luck earns with such positions.
    """
    distances = np.unique(np.linspace(0, len(wanted), count + 2).astype(int)[1:-1])
    shifted = np.stack([np.roll(wanted, distance) for distance in distances])
    means: Array = net_returns(shifted, moves, cost).mean(axis=-1)
    return means
