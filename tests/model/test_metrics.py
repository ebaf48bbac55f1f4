"""Scores of forecasts and figures of equity, against scikit-learn and by hand."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference
from sklearn.metrics import brier_score_loss, roc_auc_score

from model.metrics import (
    auc,
    auc_standard_error,
    balanced_accuracy,
    bar_returns,
    brier,
    calibration,
    classification_scores,
    drawdown,
    hit_rate,
    log_loss,
    log_loss_of_logits,
    matthews_correlation,
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
    # One half counts as up, as it does in trading.
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
    )


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


NOTHING = np.array([])


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])),
        min_size=2,
        max_size=50,
    )
)
def test_auc_and_brier_are_those_of_scikit_learn(pairs: list[tuple[bool, float]]) -> None:
    labels, probabilities = np.array(pairs, dtype=float).T
    assert brier(labels, probabilities) == pytest.approx(brier_score_loss(labels, probabilities))
    expected = roc_auc_score(labels, probabilities) if 0 < labels.mean() < 1 else None
    assert auc(labels, probabilities) == expected  # in every bit


@pytest.mark.parametrize("decimals", [1, 2, 17])
def test_every_score_has_the_bits_of_scikit_learn(decimals: int) -> None:
    draw = np.random.default_rng(decimals)
    for _ in range(20):
        probabilities = draw.random(700).round(decimals)
        labels = (draw.random(700) < 0.2 + 0.5 * probabilities).astype(float)
        scores = classification_scores(labels, probabilities)
        decided = probabilities >= 0.5
        assert (scores["auc"], scores["log_loss"]) == (
            roc_auc_score(labels, probabilities),
            reference.log_loss(labels, probabilities),
        )
        assert (scores["accuracy"], scores["balanced_accuracy"], scores["mcc"]) == (
            reference.accuracy_score(labels, decided),
            reference.balanced_accuracy_score(labels, decided),
            reference.matthews_corrcoef(labels, decided),
        )


@pytest.mark.parametrize("probability", [0.1, 0.9])
def test_a_forecast_that_always_says_the_same_has_no_skill(probability: float) -> None:
    scores = classification_scores(np.array([1.0, 0.0, 0.0]), np.full(3, probability))
    assert (scores["auc"], scores["balanced_accuracy"], scores["mcc"]) == (0.5, 0.5, 0.0)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_is_refused_with_its_position(fault: float) -> None:
    with pytest.raises(ValueError, match=f"numbers from 0 to 1, got {fault} at position 2. Score"):
        classification_scores(np.array([1.0, 0.0, 0.0]), np.array([0.2, 0.8, fault]))


def test_the_standard_error_of_an_auc_is_that_of_its_distribution() -> None:
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 150).astype(float)
    aucs = [roc_auc_score(labels, draw.normal(size=150)) for _ in range(500)]
    assert np.std(aucs) == pytest.approx(auc_standard_error(labels), rel=0.1)


def test_the_log_loss_of_logits_is_that_of_their_probabilities() -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=300), (draw.random(300) < 0.5).astype(float)
    assert log_loss_of_logits(logits, labels) == pytest.approx(
        reference.log_loss(labels, 1 / (1 + np.exp(-logits)))
    )


@pytest.mark.parametrize(
    "labels, directions, expected",
    [
        ([1, 0, 1, 0], [1, -1, 0, 0], 1.0),
        ([1, 0, 1, 0], [1, 1, 1, 1], 0.5),
        ([1, 0], [-1, 1], 0.0),
        ([1, 0], [0, 0], None),
    ],
)
def test_the_hit_rate_counts_bars_with_a_position(
    labels: list[int], directions: list[int], expected: float | None
) -> None:
    assert hit_rate(np.array(labels, dtype=float), np.array(directions, dtype=float)) == expected


def test_calibration_groups_neighbouring_probabilities() -> None:
    probabilities = np.linspace(0.0, 0.99, 100)
    groups = calibration((probabilities > 0.45).astype(float), probabilities)
    assert [group["bars"] for group in groups] == [10] * 10
    assert groups[0]["probability"] == pytest.approx(0.045) and groups[4][
        "frequency"
    ] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "figure", [auc, log_loss, brier, balanced_accuracy, matthews_correlation, hit_rate]
)
def test_of_nothing_every_figure_is_undefined(figure: object) -> None:
    assert figure(NOTHING, NOTHING) is None  # type: ignore[operator]
    assert calibration(NOTHING, NOTHING) == []
