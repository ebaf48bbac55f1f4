"""Learners see what `fit` sees, and each finds what it can; rules look at closes alone."""

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
    flat_windows,
    learner_probabilities,
    ridge_solutions,
    rule_directions,
)
from backtests.synthetic.markets import market
from backtests.walk_forward.folds import FoldPlan, lay_folds
from model.features.joining import add_context
from model.features.table import FeatureEngineer
from model.training.config import TrainConfig
from model.training.data import prepare
from tests.helpers.own_features import FILE, GAP

LEARNED, FRESH = 3_000, 1_000


@cache
def examples(name: str) -> Examples:
    return examples_of(market(name, LEARNED + FRESH, 1).bars, TrainConfig(), LEARNED)


@cache
def probabilities(name: str, learner: str) -> Array:
    return BASELINES[learner](examples(name))


def auc(name: str, learner: str) -> float:
    sample = examples(name)
    return float(roc_auc_score(sample.judged.labels, probabilities(name, learner)))


def test_the_windows_that_are_learned_from_are_those_of_fit() -> None:
    data = prepare(market("echo", LEARNED).bars, TrainConfig())
    sample = examples("echo")
    for ours, theirs in ((sample.train, data.train), (sample.validation, data.validation)):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert ours.timestamps.equals(theirs.timestamps)
    assert sample.judged.timestamps[0] == data.test.timestamps[0]
    np.testing.assert_array_equal(sample.judged.rows[: len(data.test.rows)], data.test.rows)


def test_all_windows_after_validation_are_judged() -> None:
    judged, bars = examples("echo").judged, market("echo", LEARNED + FRESH, 1).bars
    # The last decision with an outcome opens with the last bar but one.
    assert judged.timestamps.equals(bars.loc[judged.timestamps[0] :].index[:-2])
    assert len(judged) == len(judged.last_rows) == len(next(flat_windows(judged)))


def test_without_a_test_part_the_first_window_judged_is_decided_when_the_last_label_is_known() -> (
    None
):
    sample = examples_of(market("echo", 600).bars, TrainConfig(train=0.8, validation=0.2), 500)
    assert sample.judged.timestamps[0] == market("echo", 600).bars.index[499]


def test_where_no_window_is_left_to_judge_that_is_said() -> None:
    with pytest.raises(
        ValueError,
        match=r"a window must be left to judge after the 500 bars .* got 500 bars in all\. Give",
    ):
        examples_of(market("echo", 500).bars, TrainConfig(train=0.8, validation=0.2), 500)


def test_a_window_ends_with_its_last_row_at_its_decision() -> None:
    sample = examples("echo")
    newest = next(flat_windows(sample.judged))[0].reshape(86, 50)[:, -1]
    np.testing.assert_array_equal(newest, sample.judged.last_rows[0])
    features = FeatureEngineer().transform(market("echo", LEARNED + FRESH, 1).bars)
    decided = features.loc[sample.judged.timestamps[0]]
    np.testing.assert_array_equal(sample.raw_rows[49], decided)


@pytest.mark.parametrize("learner", BASELINES)
def test_nothing_that_is_judged_is_learned_from(learner: str) -> None:
    sample = examples("echo")
    unknown = np.full(len(sample.judged), np.nan)
    blind = replace(sample, judged=replace(sample.judged, labels=unknown, targets=unknown))
    np.testing.assert_array_equal(BASELINES[learner](blind), probabilities("echo", learner))


@pytest.mark.parametrize(
    ("name", "learner", "least"),
    [
        ("ar1", "logistic", 0.57),
        ("ar1", "boosting", 0.54),
        ("volrev", "boosting", 0.70),
        ("echo", "ridge", 0.80),
    ],
)
def test_each_finds_what_it_can(name: str, learner: str, least: float) -> None:
    assert auc(name, learner) > least


def test_the_last_row_tells_little_of_an_echo_from_the_middle_of_the_window() -> None:
    assert auc("echo", "ridge") > auc("echo", "logistic") + 0.1


@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
def test_ridge_solves_its_normal_equations_through_either_gram_matrix(
    shape: tuple[int, int],
) -> None:
    draw = np.random.default_rng(1)
    windows, signs = draw.normal(size=shape).astype(np.float32), draw.normal(size=shape[0])
    for penalty, weights in zip(RIDGE_PENALTIES, ridge_solutions([windows], signs), strict=True):
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


def test_of_trades_that_end_early_each_decision_is_forecast_by_its_own_fold(planted):
    bars = planted[:-180]
    config = PLAN.training(
        TrainConfig(label="barrier", take_profit="1%", stop_loss="1%", horizon=20)
    )
    folds = lay_folds(bars, PLAN, config)
    # The trades that the second fold learns from are over four bars before its first decision.
    known = config.labelling.labels(bars).known[folds[1].train : folds[1].test]
    assert known[known <= folds[1].test].max() == folds[1].test - 4
    found = learner_probabilities(bars, folds, config, learners=("logistic",))
    assert found.index.equals(bars.index[folds[0].test :])
    first = learner_probabilities(bars, folds[:1], config, learners=("logistic",))
    pd.testing.assert_frame_equal(found.loc[first.index], first)


def test_a_learner_finds_in_another_series_what_the_network_can_find_there():
    led = market("leader", 2_000, strength=0.8)
    joined = add_context(led.bars, "leader:bar_close_z", series=led.context)
    folds = lay_folds(joined, PLAN, CONFIG)
    found = {}
    for name, bars in (("alone", led.bars.loc[joined.index]), ("beside", joined)):
        forecast = learner_probabilities(bars, folds, CONFIG, learners=("logistic",))["logistic"]
        up = labels(bars, folds)[:-2]
        best = roc_auc_score(up, led.probability[up.index])
        found[name] = (roc_auc_score(up, forecast[:-2]) - 0.5) / (best - 0.5)
    assert abs(found["alone"]) < 0.1 and found["beside"] > 0.9


def test_a_learner_reads_the_rows_of_the_network(planted, folds):
    config = replace(CONFIG, features=f"{FILE}:Momentum", only=True)
    sample = examples_of(planted[:1_000], config, 900)
    data = prepare(planted[:900], config)
    np.testing.assert_array_equal(sample.train.rows, data.train.rows)
    assert sample.raw_rows.shape[1] == data.features.shape[1] == 2
    assert learner_probabilities(planted, folds, config).iloc[:-2].notna().all(axis=None)


def test_nothing_is_forecast_where_a_feature_has_no_number(planted, folds, tmp_path):
    tested = planted.index[folds[1].test : folds[1].stop]
    (tmp_path / "own.py").write_text(GAP.format(name="gap", first=tested[5], last=tested[6]))
    config = replace(CONFIG, features=f"{tmp_path / 'own.py'}:Gap")
    found = learner_probabilities(planted, folds, config, learners=("logistic",))["logistic"]
    assert found[tested[5:56]].isna().all() and found.drop(tested[5:56])[:-2].notna().all()
    (tmp_path / "none.py").write_text(GAP.format(name="all_gap", first=tested[0], last=tested[-1]))
    config = replace(CONFIG, features=f"{tmp_path / 'none.py'}:Gap")
    assert learner_probabilities(planted, folds[1:], config).isna().all(axis=None)


def test_a_past_without_a_class_has_no_learners(planted, folds):
    rising = planted.copy()
    rising["open"] = rising["low"] = np.linspace(100, 200, len(planted))
    rising["close"] = rising["high"] = rising["open"] + 0.1
    assert learner_probabilities(rising, folds, CONFIG).isna().all(axis=None)


def test_the_rules_look_at_closes_alone():
    close = np.r_[np.arange(100.0, 180.0), np.arange(180.0, 100.0, -1.0)]
    bars = pd.DataFrame({"close": close}, index=pd.date_range("2020-01-01", periods=len(close)))
    rules = rule_directions(bars, allow_short=True)
    assert (rules["buy-and-hold"] == 1).all()
    assert (rules["last return"][[1, 50, 120]] == [1, 1, -1]).all()
    assert (rules["moving averages"][[30, 60, 150]] == [0, 1, -1]).all()


def test_without_shorts_a_rule_stays_out():
    bars = pd.DataFrame({"close": [3.0, 2.0, 1.0]}, index=pd.date_range("2020-01-01", periods=3))
    assert rule_directions(bars)["last return"].tolist() == [0, 0, 0]
