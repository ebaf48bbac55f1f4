"""What a network must beat on the same bars: fixed rules, and cheap learners of the same past.

A baseline is one of these learners or rules; a benchmark is whatever the strategy is held against,
so that a run's other configurations are benchmarks too. (The folder backtests/benchmarks/ measures
speed and has nothing to do with either.)
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
from joblib import Parallel
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from backtests.evidence.alpha import HOLD
from backtests.simulation.vectorised import Array
from backtests.walk_forward.folds import Fold
from backtests.walk_forward.universe import DatedFolds
from backtests.walk_forward.workers import dies_with_parent
from model.bars.universe import Universe
from model.errors import OneClassError
from model.features.joining import context_of
from model.labels.moves import MOVES
from model.metrics import log_loss_of_logits
from model.training.calibration import fit_logistic, fit_temperature
from model.training.config import TrainConfig
from model.training.data import Part, prepare, rows_reached
from model.training.preprocessor import Integers, calendar_mask, scaler_of
from model.training.windows import Windows

FAST, SLOW = 20, 50  # bars of the moving averages; the slow one spans the model's own window

# Validation chooses among the penalties, and the number of boosting steps.
PENALTIES = (1.0, 10.0, 100.0, 1_000.0)
RIDGE_PENALTIES = (1e2, 1e3, 1e4, 1e5)
BOOSTING_STEPS, BOOSTING_RATE = 100, 0.1  # scikit-learn's own
# Whole windows of a universe that ridge regression lays side by side: 140 MB, twice while they are
# turned.
AT_ONCE = 8_192


def rule_directions(bars: pd.DataFrame, *, allow_short: bool = False) -> dict[str, Array]:
    """Return the direction that each fixed rule wants at every bar's close: (n,) of -1, 0, 1."""
    close = bars["close"]
    # Above 0 is up. What is not known yet, in the first bars, is NaN and leans nowhere.
    leanings = {
        HOLD: pd.Series(1.0, index=bars.index),
        "last return": close.diff(),
        "moving averages": close.rolling(FAST).mean() - close.rolling(SLOW).mean(),
    }
    down = -1.0 if allow_short else 0.0
    return {
        name: np.select([lean > 0, lean < 0], [1.0, down], 0.0) for name, lean in leanings.items()
    }


@dataclass(frozen=True, eq=False)
class Examples:
    """The windows of one instrument's bars: what is learned from, and what is judged.

    Nothing was fitted on the judged part. raw_rows: the feature rows that its windows reach, not
    scaled, as `Checkpoint.predict` takes them: (m + sequence_length - 1, 86). at_once: how many
    whole windows are held side by side at the most; one instrument's all, in one sum.
    """

    train: Part
    validation: Part
    judged: Part
    raw_rows: Array
    at_once: int = sys.maxsize


def examples_of(bars: pd.DataFrame, config: TrainConfig, learned: int) -> Examples:
    """Cut bars into windows, of which those of the first `learned` bars may be learned from.

    These are split and scaled as `fit` on them alone would do it: the scaler sees the training part
    alone. All windows after validation are judged, the test part included, but for those decided
    before the last label that was learned from is known. Raises ValueError where none is left.
    """
    # The network's own rows: with fewer columns they would only show what the others are worth.
    features = config.engineer(context_of(bars)).transform(bars)
    length, preprocessor = config.sequence_length, config.preprocessor
    first = len(bars) - len(features) + length - 1  # the bar at whose close the first one decides
    labels = config.labelling.labels(bars)
    labelled = first + np.flatnonzero(np.isfinite(labels.values[first:]))
    ours = np.arange(first, learned - 1)
    values = np.where(labels.known[ours] < learned, labels.values[ours], np.nan)
    if config.label in MOVES:
        ours, values = ours[np.isfinite(values)], values[np.isfinite(values)]
    kept, split = preprocessor.split_labelled(ours, labels.known[ours], values)
    train, validation, _ = (ours[kept][part] for part in split)
    # The first decision at which the last label learned from is known.
    begin = int(labels.known[np.append(train, validation)].max(initial=0))
    # One in between that has no label is forecast as well: it is traded.
    judged = np.arange(begin, labelled.max(initial=0) + 1)
    if not (len(train) and len(validation) and len(judged)):
        raise ValueError(
            f"a window must be left to judge after the {learned} bars that are learned from, "
            f"got {len(bars)} bars in all. Give more bars, or leave a test part."
        )
    raw_rows = features.to_numpy()
    [learnt] = rows_reached({"": slice(0, len(features))}, train - first, length).values()
    scaler = scaler_of([raw_rows[learnt]], calendar_mask(features.index[learnt], features.columns))
    rows = scaler.transform(raw_rows)

    def part(decided: Integers) -> Part:
        # A learner aims at the labels themselves.
        values = labels.values[decided]
        windows = Windows(rows[reached_by(decided)], length, decided - decided[0])
        return Part(windows, values, values, pd.DatetimeIndex(bars.index[decided]))

    def reached_by(decided: Integers) -> slice:
        return slice(int(decided[0]) - first, int(decided[-1]) - first + length)

    return Examples(part(train), part(validation), part(judged), raw_rows[reached_by(judged)])


def logistic(examples: Examples) -> Array:
    """Return the probabilities of "up" by logistic regression.

    It reads the last row of each judged window; validation chooses the penalty.
    """
    train, validation = examples.train, examples.validation
    models = [fit_logistic(train.last_rows, train.labels, penalty) for penalty in PENALTIES]
    losses = [
        log_loss_of_logits(model.decision_function(validation.last_rows), validation.labels)
        for model in models
    ]
    best = models[int(np.argmin(losses))]
    probabilities: Array = best.predict_proba(examples.judged.last_rows)[:, 1]
    return probabilities


def boosting(examples: Examples) -> Array:
    """Return the probabilities of "up" by boosted trees.

    It reads the last row of each judged window; validation chooses the number of trees.
    """
    train, validation = examples.train, examples.validation
    trees = HistGradientBoostingClassifier(
        learning_rate=BOOSTING_RATE, max_iter=BOOSTING_STEPS, early_stopping=False, random_state=0
    ).fit(train.last_rows, train.labels)
    losses = []
    for staged in trees.staged_predict_proba(validation.last_rows):
        # log1p: 1 - p would lose the digits of a small p.
        logits = np.log(staged[:, 1]) - np.log1p(-staged[:, 1])
        losses.append(log_loss_of_logits(logits, validation.labels))
    # Stage k is the forecast of the first k + 1 trees alone.
    stages = trees.staged_predict_proba(examples.judged.last_rows)
    probabilities: Array = next(islice(stages, int(np.argmin(losses)), None))[:, 1]
    return probabilities


def ridge(examples: Examples) -> Array:
    """Return the probabilities of "up" by ridge regression.

    The move's sign is regressed on the whole of each judged window; validation chooses the
    penalty. Least squares gives scores, not probabilities: a temperature chosen on validation makes
    them so.
    """
    # Centred, so that no intercept need be solved for: the shift is put back at the end.
    signs = 2 * examples.train.labels - 1
    shift, at_once = signs.mean(), examples.at_once
    solutions = ridge_solutions(flat_windows(examples.train, at_once), signs - shift)
    labels = examples.validation.labels
    temperatures, losses = [], []
    for products in _products(examples.validation, solutions, at_once):
        scores = products + shift
        temperatures.append(fit_temperature(scores, labels))
        losses.append(log_loss_of_logits(scores / temperatures[-1], labels))
    best = int(np.argmin(losses))
    [judged] = _products(examples.judged, [solutions[best]], at_once)
    probabilities: Array = expit((judged + shift) / temperatures[best])
    return probabilities


def flat_windows(part: Part, at_once: int = sys.maxsize) -> Iterator[NDArray[np.float32]]:
    """Yield the windows of a part as rows, (k, 86 * sequence_length), at most so many at once.

    All values of a feature stand together, the oldest first.
    """
    for start in range(0, len(part), at_once):
        windows = part.windows[start : min(start + at_once, len(part))]
        flat: NDArray[np.float32] = windows.transpose(1, 2).reshape(len(windows), -1).numpy()
        yield flat


def _products(part: Part, solutions: Sequence[Array], at_once: int) -> list[Array]:
    """Return the sums of a part's windows by each solution's weights: (m,) each."""
    found = [[flat @ weights for weights in solutions] for flat in flat_windows(part, at_once)]
    return [np.concatenate(products) for products in zip(*found, strict=True)]


def ridge_solutions(windows: Iterable[NDArray[np.float32]], signs: Array) -> list[Array]:
    """Return the weights (columns,) for each penalty, of windows (k, columns) and signs (n,).

    windows: some at a time, n in all. They are solved through the smaller of the two Gram matrices:
    most folds of one instrument have fewer windows than a window has numbers.
    """
    gram, target, wide, start = np.zeros(()), np.zeros(()), False, 0
    for flat in windows:
        own = signs[start : start + len(flat)]
        start += len(flat)
        wide = len(own) == len(signs) < flat.shape[1]
        # The large product in the windows' own 32 bits, the solution in 64.
        gram = gram + np.asarray(flat @ flat.T if wide else flat.T @ flat, dtype=np.float64)
        target = target + (own if wide else flat.T.astype(np.float64) @ own)
    solutions = []
    for penalty in RIDGE_PENALTIES:
        matrix = gram + penalty * np.eye(len(gram))
        solution = np.asarray(solve(matrix, target, assume_a="pos", overwrite_a=True))
        solutions.append(flat.T @ solution if wide else solution)
    return solutions


BASELINES: dict[str, Callable[[Examples], Array]] = {
    "logistic": logistic,
    "boosting": boosting,
    "ridge": ridge,
}


def baseline_probabilities(
    examples: Examples, learners: Sequence[str] = tuple(BASELINES)
) -> dict[str, Array]:
    """Return each learner's probabilities of "up" for the judged windows, by the learner's name.

    On one thread, so that the sums, and with them the bits, are always the same.
    """
    with threadpool_limits(1):
        return {name: BASELINES[name](examples) for name in learners}


def learner_probabilities(
    bars: pd.DataFrame,
    folds: Sequence[Fold],
    config: TrainConfig,
    jobs: int = 1,
    *,
    learners: Sequence[str] = tuple(BASELINES),
) -> pd.DataFrame:
    """Return the learners' probabilities of "up" for all test decisions.

    Each is trained on each fold's past, as the model is. One column per learner, one row per test
    decision of all folds. A fold whose past lacks a class has no forecasts (NaN), nor have the last
    decisions, whose outcome is not known, and those where a feature has no number.
    """
    # max_nbytes: large arrays would be memory-mapped otherwise, and a mapped array is read-only.
    parallel = Parallel(n_jobs=min(jobs, len(folds)), max_nbytes=None)
    tasks = []
    for fold in folds:
        # Only a label of one's own knows for how many bars the last of them waits.
        stop = None if config.labelling.own else fold.stop + config.labelling.wait
        reached = bars.iloc[fold.train - fold.warm_up : stop]
        tasks.append(dies_with_parent(_learn_fold, reached, fold, config, learners))
    # Folds without forecasts leave gaps, which the index of all test decisions shows.
    forecasts: pd.DataFrame = pd.concat(parallel(tasks))
    return forecasts.reindex(bars.index[folds[0].test : folds[-1].stop])


def _learn_fold(
    bars: pd.DataFrame, fold: Fold, config: TrainConfig, learners: Sequence[str]
) -> pd.DataFrame:
    """Return the learners' probabilities of one fold, but where a feature has no number.

    bars: its past, its test block, and the bars that the last of its labels wait for.
    """
    # The fold decides at its first test bar: that bar is known then.
    learned = fold.test - fold.train + fold.warm_up + 1
    examples = examples_of(bars, config, learned)
    judged, length = examples.judged, config.sequence_length
    known = known_windows(examples.raw_rows, length)
    if len(np.unique(examples.train.labels)) < 2 or not known.any():
        return pd.DataFrame(columns=list(learners), dtype=float)
    judged = Part(
        Windows(judged.rows, length, judged.windows.starts[known]),
        judged.labels[known],
        judged.targets[known],
        judged.timestamps[known],
    )
    forecasts = baseline_probabilities(replace(examples, judged=judged), learners)
    tested = bars.index[learned - 1 : learned - 1 + fold.stop - fold.test]
    # Where trades end early, decisions of the blocks before and after are judged here, too.
    return pd.DataFrame(forecasts, judged.timestamps).loc[tested[0] : tested[-1]]


def known_windows(rows: Array, length: int) -> NDArray[np.bool_]:
    """Return which windows of feature rows hold numbers alone: (n, 86) -> (n - length + 1,).

    Where a feature has no number in one, the network does not forecast either.
    """
    known = np.isfinite(rows).all(axis=1)
    return np.asarray(sliding_window_view(known, length).all(axis=1))


def pooled_probabilities(
    dated: DatedFolds, jobs: int = 1, *, learners: Sequence[str] = tuple(BASELINES)
) -> dict[str, Array]:
    """Return each learner's probabilities for all instruments on all test dates: (dates, names).

    Each is trained on the past of each fold with all its instruments, as the network is. NaN where
    there is no window, and in a fold whose past lacks a class.
    """
    # max_nbytes: large arrays would be memory-mapped otherwise, and a mapped array is read-only.
    parallel = Parallel(n_jobs=min(jobs, len(dated.folds)), max_nbytes=None)
    tasks = [
        dies_with_parent(
            _learn_dated_fold, dated.past(fold), dated.test_bars(fold), dated.config, learners
        )
        for fold in dated.folds
    ]
    blocks: dict[str, list[pd.DataFrame]] = {name: [] for name in learners}
    for fold, found in zip(dated.folds, parallel(tasks), strict=True):
        for name in learners:
            block = found.get(name, pd.DataFrame(dtype=float))
            blocks[name].append(block.reindex(dated.test_dates(fold), columns=list(dated.universe)))
    return {name: pd.concat(own).to_numpy(float) for name, own in blocks.items()}


def _learn_dated_fold(
    past: Universe, tested: Universe, config: TrainConfig, learners: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return the learners' probabilities of one fold, dates by names each.

    tested: the bars that the windows of the test decisions reach.
    """
    try:
        data = prepare(past, config)
    except OneClassError:
        return {}
    length, n_rows = config.sequence_length, 0
    rows, starts, decided = [], [], []
    engineer = config.engineer(context_of(past))
    for own in tested.values():
        features = engineer.transform(own)
        whole = known_windows(features.to_numpy(), length)
        starts.append(n_rows + np.flatnonzero(whole))
        n_rows += len(features)
        rows.append(data.scaler.transform(features.to_numpy()))
        stamps = pd.DatetimeIndex(features.index[length - 1 :][whole])
        decided.append(stamps.as_unit("ns").asi8)
    windows = Windows(np.concatenate(rows), length, np.concatenate(starts))
    if not len(windows):
        return {}
    unknown = np.full(len(windows), np.nan)
    timestamps = pd.DatetimeIndex(np.concatenate(decided).astype("datetime64[ns]"))
    judged = Part(windows, unknown, unknown, timestamps)
    examples = Examples(data.train, data.validation, judged, np.empty((0, 0)), AT_ONCE)
    names = np.repeat(list(tested), [len(own) for own in starts])
    return {
        name: pd.Series(found, [judged.timestamps, names]).unstack()
        for name, found in baseline_probabilities(examples, learners).items()
    }
