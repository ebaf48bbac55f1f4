"""The cheap forecasts: they see what `fit` sees, and each finds what it can."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from backtests.baselines import BASELINES, RIDGE_PENALTIES, Array, Examples, cut, ridge_solutions
from backtests.markets import market
from model.training import TrainConfig, prepare
from model.windows import DataPreprocessor

LEARNED, FRESH = 3_000, 1_000


@cache
def examples(name: str) -> Examples:
    return cut(market(name, LEARNED + FRESH, 1).bars, DataPreprocessor(), LEARNED)


@cache
def said(name: str, forecast: str) -> Array:
    return BASELINES[forecast](examples(name))


def auc(name: str, forecast: str) -> float:
    return float(roc_auc_score(examples(name).labels_of(2), said(name, forecast)))


def test_the_windows_that_are_learned_from_are_those_of_fit() -> None:
    data = prepare(market("echo", LEARNED).bars, TrainConfig())
    sample = examples("echo")
    assert sample.parts[:2] == data.parts[:2] and sample.parts[2].start == data.parts[2].start
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
    sample = cut(market("echo", 600).bars, DataPreprocessor(train=0.8, validation=0.2), 500)
    assert sample.decided_at[0] == market("echo", 600).bars.index[499]


def test_where_no_window_is_left_to_judge_that_is_said() -> None:
    with pytest.raises(
        ValueError,
        match=r"a window must be left to judge after the 500 bars .* got 500 bars in all\. Give",
    ):
        cut(market("echo", 500).bars, DataPreprocessor(train=0.8, validation=0.2), 500)


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
