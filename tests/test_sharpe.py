import math

import numpy as np
import pytest
from skfolio import measures

from backtests.sharpe import Record, best_of_luck


@pytest.fixture
def returns():
    return 0.001 + 0.01 * np.random.default_rng(4).standard_t(5, 800)


def test_the_probability_of_a_sharpe_ratio_is_the_library_s(returns):
    ours = Record.of(returns).probability_above(0.02)
    assert ours == pytest.approx(measures.probabilistic_sharpe_ratio(returns, 0.02), abs=2e-3)


@pytest.mark.parametrize("trials", [2, 10, 200])
def test_the_best_of_luck_is_the_library_s(trials):
    assert best_of_luck(0.05, trials) == pytest.approx(
        measures.expected_max_sharpe_ratio(trials, 0.05)
    )


@pytest.mark.parametrize("trials", [2, 50])
def test_the_best_of_luck_is_what_luck_s_best_is(trials):
    best = np.random.default_rng(0).standard_normal((20_000, trials)).max(axis=1).mean()
    assert best_of_luck(1.0, trials) == pytest.approx(best, rel=0.1)


def test_one_trial_is_not_deflated():
    assert best_of_luck(0.1, 1) == 0.0


def test_a_record_as_long_as_needed_has_just_the_confidence(returns):
    record = Record.of(returns)
    needed = Record(
        record.ratio, round(record.bars_needed(confidence=0.9)), record.skewness, record.kurtosis
    )
    assert needed.probability_above() == pytest.approx(0.9, abs=1e-3)


def test_no_record_is_long_enough_for_a_ratio_below_the_threshold(returns):
    assert Record.of(-returns).bars_needed() == math.inf


@pytest.mark.parametrize("flat", [np.zeros(10), np.full(10, 0.01), np.array([0.1]), np.array([])])
def test_returns_that_do_not_vary_have_no_record(flat):
    assert Record.of(flat) is None
