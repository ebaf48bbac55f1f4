import numpy as np
import pandas as pd

from backtests.scoring import forecast_scores


def test_only_known_labels_with_a_probability_are_scored():
    predictions = pd.DataFrame(
        {"probability": [0.9, np.nan, 0.2, 0.6], "label": [1.0, 1.0, 0.0, np.nan]}
    )
    scores = forecast_scores(predictions)
    assert (scores["windows"], scores["auc"], scores["accuracy"]) == (2, 1, 1)


def test_nothing_to_score_is_no_score():
    scores = forecast_scores(pd.DataFrame({"probability": [np.nan], "label": [1.0]}))
    assert scores["windows"] == 0 and scores["auc"] is None
