import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from backtests.scoring import auc_interval, forecast_scores


def test_the_interval_of_an_auc_is_as_wide_as_chance_makes_it():
    draw = np.random.default_rng(1)
    labels = np.repeat([1.0, 0.0], [60, 90])
    found = [roc_auc_score(labels, draw.standard_normal(150) + 0.5 * labels) for _ in range(1000)]
    low, high = auc_interval(float(np.mean(found)), 60, 90, z=1.0)
    assert (high - low) / 2 == pytest.approx(np.std(found), rel=0.1)


def test_more_decisions_make_a_narrower_interval():
    few, many = auc_interval(0.5, 50, 50), auc_interval(0.5, 5000, 5000)
    assert many[1] - many[0] < (few[1] - few[0]) / 9


def test_only_known_labels_with_a_probability_are_scored():
    predictions = pd.DataFrame({"probability": [0.9, np.nan, 0.2, 0.6], "label": [1.0, 1.0, 0.0, np.nan]})
    scores = forecast_scores(predictions)
    assert (scores["windows"], scores["auc"], scores["accuracy"]) == (2, 1, 1)


def test_nothing_to_score_is_no_score():
    scores = forecast_scores(pd.DataFrame({"probability": [np.nan], "label": [1.0]}))
    assert scores["windows"] == 0 and scores["auc"] is None
