"""The cheap forecasts: they see what `fit` sees, and each finds what it can."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from backtests.evidence.baselines import (
    BASELINES,
    RIDGE_PENALTIES,
    Array,
    Examples,
    examples_of,
    learner_probabilities,
    ridge_solutions,
    rule_directions,
    shifted_means,
)
from backtests.synthetic.markets import market
from backtests.walk_forward.folds import FoldPlan, lay_folds
from model.training.config import TrainConfig
from model.training.data import prepare
from model.training.windows import DataPreprocessor

LEARNED, FRESH = 3_000, 1_000


@cache
def examples(name: str) -> Examples:
    return examples_of(market(name, LEARNED + FRESH, 1).bars, DataPreprocessor(), LEARNED)


@cache
def said(name: str, forecast: str) -> Array:
    return BASELINES[forecast](examples(name))


def auc(name: str, forecast: str) -> float:
    return float(roc_auc_score(examples(name).labels_of(2), said(name, forecast)))


def test_the_windows_that_are_learned_from_are_those_of_fit() -> None:
    data = prepare(market("echo", LEARNED).bars, TrainConfig())
    sample = examples("echo")
    assert sample.parts[:2] == data.split[:2] and sample.parts[2].start == data.split[2].start
    np.testing.assert_array_equal(
        sample.rows[: len(data.features)], data.scaler.transform(data.features.to_numpy())
    )


def test_all_windows_after_validation_are_judged() -> None:
    sample = examples("echo")
    assert sample.parts[2].stop == LEARNED + FRESH - 151 == len(sample.labels)
    assert (
        len(sample.decided_at)
        == len(sample.labels_of(2))
        == len(sample.last_rows(2))
        == len(sample.flat_windows(2))
    )


def test_without_a_test_part_the_first_window_judged_is_decided_when_the_last_label_is_known() -> (
    None
):
    sample = examples_of(market("echo", 600).bars, DataPreprocessor(train=0.8, validation=0.2), 500)
    assert sample.decided_at[0] == market("echo", 600).bars.index[499]


def test_where_no_window_is_left_to_judge_that_is_said() -> None:
    with pytest.raises(
        ValueError,
        match=r"a window must be left to judge after the 500 bars .* got 500 bars in all\. Give",
    ):
        examples_of(market("echo", 500).bars, DataPreprocessor(train=0.8, validation=0.2), 500)


def test_a_window_ends_with_its_last_row_at_its_decision() -> None:
    sample = examples("echo")
    np.testing.assert_array_equal(
        np.sort(sample.flat_windows(2)[0].reshape(86, 50)[:, -1]), np.sort(sample.last_rows(2)[0])
    )
    np.testing.assert_array_equal(sample.raw_rows[49], sample.features.loc[sample.decided_at[0]])


@pytest.mark.parametrize("forecast", BASELINES)
def test_nothing_that_is_judged_is_learned_from(forecast: str) -> None:
    sample = examples("echo")
    blind = replace(sample, labels=sample.labels.copy())
    blind.labels_of(2)[:] = np.nan
    np.testing.assert_array_equal(BASELINES[forecast](blind), said("echo", forecast))


@pytest.mark.parametrize(
    ("name", "forecast", "least"),
    [
        ("ar1", "logistic", 0.57),
        ("ar1", "boosting", 0.54),
        ("volrev", "boosting", 0.70),
        ("echo", "ridge", 0.80),
    ],
)
def test_each_finds_what_it_can(name: str, forecast: str, least: float) -> None:
    assert auc(name, forecast) > least


def test_the_last_row_tells_little_of_an_echo_from_the_middle_of_the_window() -> None:
    assert auc("echo", "ridge") > auc("echo", "logistic") + 0.1


@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
def test_ridge_solves_its_normal_equations_through_either_gram_matrix(
    shape: tuple[int, int],
) -> None:
    draw = np.random.default_rng(1)
    windows, signs = draw.normal(size=shape).astype(np.float32), draw.normal(size=shape[0])
    for penalty, weights in zip(RIDGE_PENALTIES, ridge_solutions(windows, signs), strict=True):
        np.testing.assert_allclose(
            windows.T @ (signs - windows @ weights), penalty * weights, atol=1e-2
        )


PLAN = FoldPlan(folds=2, train_blocks=3)
CONFIG = PLAN.training(TrainConfig())


@pytest.fixture(scope="module")
def planted():
    return market("ar1", n_bars=1200, seed=1, strength=0.6).bars


@pytest.fixture(scope="module")
def folds(planted):
    return lay_folds(planted, PLAN, CONFIG)


@pytest.fixture(scope="module")
def learned(planted, folds):
    return learner_probabilities(planted, folds, CONFIG)


def labels(bars, folds):
    return (bars["open"].shift(-2) > bars["open"].shift(-1)).iloc[folds[0].test : folds[-1].stop]


def test_every_test_decision_with_an_outcome_has_a_forecast_of_every_learner(
    planted, folds, learned
):
    assert list(learned) == ["logistic", "boosting", "ridge"]
    assert learned.index.equals(planted.index[folds[0].test :])
    assert learned.iloc[:-2].notna().all(axis=None) and learned.iloc[-2:].isna().all(axis=None)


@pytest.mark.parametrize("learner", ["logistic", "boosting"])
def test_a_learner_finds_a_planted_edge(planted, folds, learned, learner):
    assert roc_auc_score(labels(planted, folds)[:-2], learned[learner][:-2]) > 0.6


def test_a_learner_is_blind_to_the_test_block(planted, folds, learned):
    poisoned = planted.copy()
    poisoned.iloc[folds[0].test + 40 :, :4] *= np.linspace(1, 3, len(planted) - folds[0].test - 40)[
        :, None
    ]
    again = learner_probabilities(poisoned, folds[:1], CONFIG)
    pd.testing.assert_frame_equal(again.iloc[:38], learned.iloc[:38])


def test_a_past_without_a_class_has_no_learners(planted, folds):
    rising = planted.copy()
    rising["open"] = rising["low"] = np.linspace(100, 200, len(planted))
    rising["close"] = rising["high"] = rising["open"] + 0.1
    assert learner_probabilities(rising, folds, CONFIG).isna().all(axis=None)


def test_the_rules_look_at_closes_alone():
    close = np.r_[np.arange(100.0, 180.0), np.arange(180.0, 100.0, -1.0)]
    bars = pd.DataFrame({"close": close}, index=pd.date_range("2020-01-01", periods=len(close)))
    rules = rule_directions(bars, allow_short=True)
    assert (rules["buy and hold"] == 1).all()
    assert (rules["last return"][[1, 50, 120]] == [1, 1, -1]).all()
    assert (rules["moving averages"][[30, 60, 150]] == [0, 1, -1]).all()


def test_without_shorts_a_rule_stays_out():
    bars = pd.DataFrame({"close": [3.0, 2.0, 1.0]}, index=pd.date_range("2020-01-01", periods=3))
    assert rule_directions(bars)["last return"].tolist() == [0, 0, 0]


def test_shifted_positions_lose_their_timing_and_nothing_else():
    draw = np.random.default_rng(1)
    moves = draw.normal(0, 0.01, 3000)
    oracle = np.sign(moves)
    means = shifted_means(oracle, moves, cost=0.0)
    assert len(means) == 200
    assert means.max() < 0.1 * (oracle * moves).mean() and abs(means.mean()) < 1e-4
