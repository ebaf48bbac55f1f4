"""Cheap forecasts that a network must beat: on the last feature row alone, and a straight line through the whole window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
from joblib import Parallel
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from backtests.simulation.vectorised import Array, net_returns
from backtests.walk_forward.folds import Fold
from backtests.walk_forward.workers import tethered
from model.checkpoint.member import cut_windows
from model.features.table import FeatureEngineer
from model.labels import known_after, make_labels
from model.training.calibration import fit_temperature, log_loss
from model.training.config import TrainConfig
from model.training.windows import DataPreprocessor, Split

# Validation chooses among the penalties, and the number of boosting steps.
LOGISTIC_PENALTIES = (1.0, 10.0, 100.0, 1_000.0)
RIDGE_PENALTIES = (1e2, 1e3, 1e4, 1e5)
BOOSTING_STEPS, BOOSTING_RATE = 100, 0.1


@dataclass(frozen=True, eq=False)
class Examples:
    """Windows of a market: what is learned from and what is judged.

    features: raw rows (n, 86) on their bars' stamps; rows: the same, scaled. labels (m,) by window. parts: the windows
    of training, of validation and those judged, which nothing was fitted on.
    """

    features: pd.DataFrame
    rows: NDArray[np.float32]
    labels: Array
    parts: Split
    length: int

    def labels_of(self, part: int) -> Array:
        return self.labels[self.parts[part]]

    def last_rows(self, part: int) -> NDArray[np.float32]:
        """Return the newest feature row of each window of a part: (windows, 86)."""
        return self.rows[self._decisions(part)]

    def flat_windows(self, part: int) -> NDArray[np.float32]:
        """Return the windows of a part, each as one long row: (windows, 50 * 86)."""
        reached = self.parts[part]
        windows = cut_windows(self.rows, self.length)[reached].transpose(0, 2, 1)
        flat: NDArray[np.float32] = windows.reshape(len(windows), -1)
        return flat

    @property
    def raw_rows(self) -> Array:
        """The raw rows that the windows to be judged reach."""
        judged = self.parts[2]
        return self.features.to_numpy()[judged.start : judged.stop + self.length - 1]

    @property
    def decided_at(self) -> pd.Index:
        """The stamps of the bars at whose close the windows to be judged are complete."""
        return self.features.index[self._decisions(2)]

    def _decisions(self, part: int) -> slice:
        reached = self.parts[part]
        return slice(reached.start + self.length - 1, reached.stop + self.length - 1)


def examples_of(bars: pd.DataFrame, preprocessor: DataPreprocessor, learned: int) -> Examples:
    """Cut bars into windows of which only the first `learned` bars' are split for learning, as `fit` on these would.

    All windows after them are judged, together with the test part. Raises ValueError where there are none.
    """
    features = FeatureEngineer().transform(bars)
    labels = make_labels(bars, preprocessor.label, preprocessor.horizon).loc[features.index]
    _, outcomes = preprocessor.create_sequences(features, labels)
    train, validation, _ = preprocessor.split(len(outcomes) - (len(bars) - learned))
    scaler = preprocessor.fit_scaler(features, train)
    judged = slice(
        validation.stop + known_after(preprocessor.label, preprocessor.horizon) - 1, len(outcomes)
    )
    if judged.start >= judged.stop:
        raise ValueError(
            f"a window must be left to judge after the {learned} bars that are learned from, "
            f"got {len(bars)} bars in all. Give more bars, or leave a test part."
        )
    rows = scaler.transform(features.to_numpy())
    return Examples(
        features, rows, outcomes, (train, validation, judged), preprocessor.sequence_length
    )


def logistic(examples: Examples) -> Array:
    """Return the probabilities of logistic regression on the last row."""
    models = [
        LogisticRegression(C=1 / penalty, max_iter=2_000).fit(
            examples.last_rows(0), examples.labels_of(0)
        )
        for penalty in LOGISTIC_PENALTIES
    ]
    losses = [
        log_loss(model.decision_function(examples.last_rows(1)), examples.labels_of(1))
        for model in models
    ]
    said: Array = models[int(np.argmin(losses))].predict_proba(examples.last_rows(2))[:, 1]
    return said


def boosting(examples: Examples) -> Array:
    """Return the probabilities of boosted trees on the last row, with the number of trees that validation chose."""
    settings = {
        "learning_rate": BOOSTING_RATE,
        "max_iter": BOOSTING_STEPS,
        "early_stopping": False,
        "random_state": 0,
    }
    trees = HistGradientBoostingClassifier(**settings).fit(
        examples.last_rows(0), examples.labels_of(0)
    )
    losses = [
        log_loss(_logit(said[:, 1]), examples.labels_of(1))
        for said in trees.staged_predict_proba(examples.last_rows(1))
    ]
    best: Array = next(
        islice(trees.staged_predict_proba(examples.last_rows(2)), int(np.argmin(losses)), None)
    )[:, 1]
    return best


def ridge(examples: Examples) -> Array:
    """Return the probabilities of ridge regression on the whole window, penalty and temperature chosen on validation."""
    signs = 2 * examples.labels_of(0) - 1
    shift = signs.mean()
    solutions = ridge_solutions(examples.flat_windows(0), signs - shift)
    temperatures, losses = [], []
    for weights in solutions:
        scores = _scores(examples.flat_windows(1), weights, shift)
        temperatures.append(fit_temperature(scores, examples.labels_of(1)))
        losses.append(log_loss(scores / temperatures[-1], examples.labels_of(1)))
    best = int(np.argmin(losses))
    said: Array = expit(
        _scores(examples.flat_windows(2), solutions[best], shift) / temperatures[best]
    )
    return said


BASELINES: dict[str, Callable[[Examples], Array]] = {
    make.__name__: make for make in (logistic, boosting, ridge)
}


def baseline_probabilities(examples: Examples) -> dict[str, Array]:
    """Return what each baseline says of the windows to be judged; on one thread, so that the sums are always the same."""
    with threadpool_limits(1):
        return {name: forecast(examples) for name, forecast in BASELINES.items()}


def ridge_solutions(windows: NDArray[np.float32], signs: Array) -> list[Array]:
    """Return the weights (columns,) for each penalty, through the smaller of the two Gram matrices of windows (n, columns)."""
    wide = windows.shape[0] < windows.shape[1]
    gram = np.asarray(windows @ windows.T if wide else windows.T @ windows, dtype=np.float64)
    target = signs if wide else windows.T.astype(np.float64) @ signs
    ridges = (gram + penalty * np.eye(len(gram)) for penalty in RIDGE_PENALTIES)
    solutions = [
        np.asarray(solve(matrix, target, assume_a="pos", overwrite_a=True)) for matrix in ridges
    ]
    return [windows.T @ solution for solution in solutions] if wide else solutions


def _scores(windows: NDArray[np.float32], weights: Array, shift: float) -> Array:
    scores: Array = windows @ weights + shift
    return scores


def _logit(probabilities: Array) -> Array:
    logits: Array = np.log(probabilities) - np.log1p(-probabilities)
    return logits


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
    examples = examples_of(
        bars, config.preprocessor, learned=fold.test - fold.train + fold.warm_up + 1
    )
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
