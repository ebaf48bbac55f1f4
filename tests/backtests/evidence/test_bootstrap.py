import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from backtests.evidence.bootstrap import (
    block_length,
    forecast_intervals,
    return_intervals,
)


@pytest.fixture
def draw():
    return np.random.default_rng(11)


def test_independent_series_have_short_blocks_and_persistent_ones_long(draw):
    noise = draw.normal(size=2000)
    smooth = np.convolve(noise, np.ones(50), "valid")
    assert block_length(noise) <= 5 < 20 < block_length(noise[:1951], smooth)


def test_a_series_that_does_not_vary_needs_no_blocks():
    assert block_length(np.zeros(100)) == 1


def test_the_interval_of_a_mean_is_that_of_theory(draw):
    returns = draw.normal(0.001, 0.01, 2000)
    found = return_intervals({"ours": returns}, 252, block=1)["mean"]
    half = 1.96 * returns.std() / np.sqrt(2000)
    expected = (returns.mean(), returns.mean() - half, returns.mean() + half)
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=half / 10)
    assert found.lowest < found.low < found.high < found.highest


def test_differences_are_paired(draw):
    moves = draw.normal(0, 0.02, 1000)
    found = return_intervals({"ours": moves + 1e-4, "hold": moves}, 252, block=3)
    assert (found["less hold"].low, found["less hold"].high) == (
        pytest.approx(1e-4),
        pytest.approx(1e-4),
    )
    assert found["mean"].low < 0 < found["mean"].high


def test_the_interval_of_an_auc_covers_it(draw):
    labels = (draw.random(2000) < 0.5).astype(float)
    scores = 0.5 + 0.01 * labels + 0.1 * draw.normal(size=2000)
    found = forecast_intervals(labels, scores, block=1)
    assert found["auc"].low < found["auc"].value < found["auc"].high
    assert found["auc"].value == pytest.approx(roc_auc_score(labels, scores))
    assert found["auc"].high - found["auc"].low == pytest.approx(
        2 * 1.96 / np.sqrt(3 * 2000), rel=0.1
    )


def test_rare_labels_have_an_interval_though_some_resamples_miss_them(draw):
    labels = np.zeros(60)
    labels[7] = 1
    found = forecast_intervals(labels, draw.random(60), block=1)["auc"]
    assert np.isfinite([found.low, found.high, found.lowest, found.highest]).all()


def test_the_same_series_give_the_same_figures(draw):
    returns = {"ours": draw.normal(size=300), "hold": draw.normal(size=300)}
    assert return_intervals(returns, 252, 2) == return_intervals(returns, 252, 2)
