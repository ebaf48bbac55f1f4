import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from backtests.markets import market
from backtests.rivals import learner_probabilities, rule_directions, shifted_means
from backtests.walk_forward import FoldPlan, lay_folds
from model.training import TrainConfig

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
