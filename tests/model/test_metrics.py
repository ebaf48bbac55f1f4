"""Scores of forecasts and figures of equity, against scikit-learn and by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from model.metrics import (
    bar_returns,
    classification_scores,
    drawdown,
    max_drawdown,
    sharpe,
    total_return,
)

Array = NDArray[np.float64]
NAMES = {
    "windows",
    "up_share",
    "auc",
    "log_loss",
    "brier",
    "accuracy",
    "base_rate",
    "balanced_accuracy",
    "mcc",
}


@pytest.fixture(scope="module")
def forecasts() -> tuple[Array, Array]:
    draw = np.random.default_rng(0)
    probabilities = draw.random(500)
    return (draw.random(500) < 0.3 + 0.4 * probabilities).astype(float), probabilities


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("auc", reference.roc_auc_score),
        ("log_loss", reference.log_loss),
        ("brier", reference.brier_score_loss),
        (
            "accuracy",
            lambda labels, probabilities: reference.accuracy_score(labels, probabilities > 0.5),
        ),
        (
            "balanced_accuracy",
            lambda labels, probabilities: reference.balanced_accuracy_score(
                labels, probabilities > 0.5
            ),
        ),
        (
            "mcc",
            lambda labels, probabilities: reference.matthews_corrcoef(labels, probabilities > 0.5),
        ),
    ],
)
def test_scores_are_those_of_scikit_learn(
    forecasts: tuple[Array, Array], name: str, score: Callable[[Array, Array], float]
) -> None:
    assert classification_scores(*forecasts)[name] == pytest.approx(score(*forecasts))


def test_scores_by_hand() -> None:
    scores = classification_scores(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.9, 0.8, 0.5, 0.1]))
    assert scores == pytest.approx(
        {
            "windows": 4,
            "up_share": 0.25,
            "auc": 1.0,
            "log_loss": -np.log([0.9, 0.2, 0.5, 0.9]).mean(),
            "brier": (0.01 + 0.64 + 0.25 + 0.01) / 4,
            "accuracy": 0.5,
            "base_rate": 0.75,
            "balanced_accuracy": (1 + 1 / 3) / 2,
            "mcc": 1 / 3,
        }
    )  # one half counts as up, as it does in trading


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_leaves_undefined_what_needs_both(label: float) -> None:
    scores = classification_scores(np.full(3, label), np.array([0.2, 0.6, 0.7]))
    assert {name for name, score in scores.items() if score is None} == {
        "auc",
        "balanced_accuracy",
        "mcc",
    }
    assert scores["base_rate"] == 1.0
    assert scores["brier"] == pytest.approx(np.mean((np.array([0.2, 0.6, 0.7]) - label) ** 2))


def test_no_forecasts_have_no_scores() -> None:
    assert classification_scores(np.array([]), np.array([])) == dict.fromkeys(NAMES) | {
        "windows": 0.0
    }


def test_certain_and_wrong_forecasts_stay_finite() -> None:
    scores = classification_scores(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert all(score is not None and np.isfinite(score) for score in scores.values())
    assert (scores["auc"], scores["mcc"]) == (0.0, -1.0)


def test_scores_leave_their_inputs_alone(forecasts: tuple[Array, Array]) -> None:
    before = [array.copy() for array in forecasts]
    classification_scores(*forecasts)
    for array, copy in zip(forecasts, before):
        np.testing.assert_array_equal(array, copy)


def dated(values: list[float]) -> "pd.Series[float]":
    return pd.Series(values, index=pd.date_range("2020", periods=len(values)), dtype=float)


EQUITY = {
    "empty": [],
    "one": [100.0],
    "flat": [100.0, 100.0, 100.0],
    "rising": [100.0, 110.0, 121.0],
    "falling": [100.0, 50.0, 25.0],
    "mixed": [100.0, 120.0, 60.0, 90.0, 130.0],
}


@pytest.mark.parametrize(
    ("name", "returned", "deepest"),
    [
        ("empty", 0.0, 0.0),
        ("one", 0.0, 0.0),
        ("flat", 0.0, 0.0),
        ("rising", 0.21, 0.0),
        ("falling", -0.75, -0.75),
        ("mixed", 0.3, -0.5),
    ],
)
@pytest.mark.parametrize("kind", [np.array, dated])
def test_returns_and_drawdowns_of_named_curves(
    name: str, returned: float, deepest: float, kind: Callable[[list[float]], Array]
) -> None:
    equity = kind(EQUITY[name])
    assert total_return(equity) == pytest.approx(returned)
    assert max_drawdown(equity) == pytest.approx(deepest)
    assert np.prod(1 + bar_returns(equity)) - 1 == pytest.approx(returned)


def test_drawdown_by_bar() -> None:
    np.testing.assert_allclose(drawdown(np.array(EQUITY["mixed"])), [0, 0, -0.5, -0.25, 0])


def test_a_scaled_curve_has_the_same_drawdown() -> None:
    equity = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 300)))
    np.testing.assert_allclose(drawdown(1e6 * equity), drawdown(equity), atol=1e-12)


def test_sharpe_by_hand() -> None:
    assert sharpe(np.array([0.01, -0.01, 0.03]), 252) == pytest.approx(0.01 / 0.02 * np.sqrt(252))
    assert sharpe(np.array([-0.01, 0.01, -0.03]), 252) == pytest.approx(-0.01 / 0.02 * np.sqrt(252))


@pytest.mark.parametrize("returns", [[], [0.01], [0.0, 0.0], [0.01, 0.01, 0.01]])
def test_returns_that_do_not_vary_have_no_sharpe_ratio(returns: list[float]) -> None:
    assert sharpe(np.array(returns), 252) is None
