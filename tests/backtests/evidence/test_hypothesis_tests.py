import math

import numpy as np
import pytest
from arch.bootstrap import SPA, StepM
from scipy.stats import kstest
from skfolio import measures
from statsmodels.regression.linear_model import OLS

from backtests.evidence.bootstrap import SEED, Bootstrap, means_of
from backtests.evidence.hypothesis_tests import (
    SharpeRatio,
    diebold_mariano,
    expected_maximum,
    in_own_deviations,
    log_losses,
    outstanding,
    pesaran_timmermann,
    shifted_means,
    superiority,
)


@pytest.fixture
def draw():
    return np.random.default_rng(7)


def test_without_skill_the_p_values_are_uniform_even_under_drift(draw):
    tests = [
        pesaran_timmermann(*(1.0 * (draw.random(400) < share) for share in (0.6, 0.7)))
        for _ in range(500)
    ]
    assert kstest([p for _, p in tests], "uniform").pvalue > 0.01


def test_skill_in_direction_is_found(draw):
    labels = 1.0 * (draw.random(1000) < 0.5)
    forecast = np.where(draw.random(1000) < 0.58, labels, 1 - labels)
    assert pesaran_timmermann(labels, forecast)[1] < 0.01


def test_always_saying_up_is_no_forecast_of_direction(draw):
    assert pesaran_timmermann(1.0 * (draw.random(100) < 0.5), np.ones(100)) is None


def test_for_one_bar_it_is_the_t_test_of_the_mean_difference(draw):
    loss, other = draw.exponential(1, 300), draw.exponential(1.2, 300)
    expected = OLS(loss - other, np.ones(300)).fit()
    statistic, p = diebold_mariano(loss, other)
    assert (statistic, p) == (
        pytest.approx(expected.tvalues[0]),
        pytest.approx(expected.pvalues[0]),
    )


def test_longer_horizons_count_the_overlap(draw):
    """With uniform weights, as in the source: statsmodels' HAC with its own kernel function."""
    steps = draw.normal(0, 1, 404)
    difference = 0.1 + np.convolve(steps, np.ones(5), "valid")
    fitted = OLS(difference, np.ones(400)).fit(
        cov_type="HAC",
        cov_kwds={
            "maxlags": 4,
            "weights_func": lambda lags: np.ones(lags + 1),
            "use_correction": False,
        },
    )
    correction = np.sqrt((400 + 1 - 10 + 5 * 4 / 400) / 400)
    assert diebold_mariano(difference, np.zeros(400), horizon=5)[0] == pytest.approx(
        correction * fitted.tvalues[0]
    )


def test_equal_losses_cannot_be_compared(draw):
    loss = draw.random(50)
    assert diebold_mariano(loss, loss) is None


def test_log_losses_are_finite_at_certainty():
    assert np.isfinite(log_losses(np.array([1.0, 0.0]), np.array([0.0, 1.0]))).all()
    assert log_losses(np.array([1.0, 0.0]), np.array([0.8, 0.2])).tolist() == pytest.approx(
        [-np.log(0.8)] * 2
    )


@pytest.fixture
def returns():
    return 0.001 + 0.01 * np.random.default_rng(4).standard_t(5, 800)


def test_the_probability_of_a_sharpe_ratio_is_the_library_s(returns):
    ours = SharpeRatio.of(returns).probability_above(0.02)
    assert ours == pytest.approx(measures.probabilistic_sharpe_ratio(returns, 0.02), abs=2e-3)


@pytest.mark.parametrize("trials", [2, 10, 200])
def test_the_expected_maximum_is_the_library_s(trials):
    assert expected_maximum(0.05, trials) == pytest.approx(
        measures.expected_max_sharpe_ratio(trials, 0.05)
    )


@pytest.mark.parametrize("trials", [2, 50])
def test_the_expected_maximum_is_the_mean_of_luck_s_best(trials):
    best = np.random.default_rng(0).standard_normal((20_000, trials)).max(axis=1).mean()
    assert expected_maximum(1.0, trials) == pytest.approx(best, rel=0.1)


def test_one_trial_is_not_deflated():
    assert expected_maximum(0.1, 1) == 0.0


def test_a_record_as_long_as_needed_has_just_the_confidence(returns):
    record = SharpeRatio.of(returns)
    needed = SharpeRatio(
        record.ratio, round(record.bars_needed(confidence=0.9)), record.skewness, record.kurtosis
    )
    assert needed.probability_above() == pytest.approx(0.9, abs=1e-3)


def test_no_record_is_long_enough_for_a_ratio_below_the_threshold(returns):
    assert SharpeRatio.of(-returns).bars_needed() == math.inf


@pytest.mark.parametrize("flat", [np.zeros(10), np.full(10, 0.01), np.array([0.1]), np.array([])])
def test_returns_that_do_not_vary_have_no_record(flat):
    assert SharpeRatio.of(flat) is None


def test_shifted_positions_lose_their_timing_and_nothing_else():
    draw = np.random.default_rng(1)
    moves = draw.normal(0, 0.01, 3000)
    oracle = np.sign(moves)
    means = shifted_means(oracle, moves, cost=0.0)
    assert len(means) == 200
    assert means.max() < 0.1 * (oracle * moves).mean() and abs(means.mean()) < 1e-4


def drawn(series, block=2, resamples=400):
    """The series in their own units, and the draws of their means."""
    gains = in_own_deviations(series)
    bootstrap = Bootstrap(len(next(iter(series.values()))), block, resamples)
    return gains, bootstrap.draw({"gains": means_of(gains.to_numpy())})["gains"], block


def test_one_clear_winner_among_many_is_superior(draw):
    losers = {str(number): draw.normal(0, 0.01, 1000) for number in range(5)}
    winner = {"winner": draw.normal(0.003, 0.01, 1000)}
    assert superiority(*drawn(losers)).p > 0.05
    assert superiority(*drawn(losers | winner)).p < 0.01


def test_no_p_value_is_0(draw):
    sure = drawn({"sure": draw.normal(1.0, 0.01, 300)}, resamples=200)
    assert superiority(*sure).p == 1 / 201


def test_an_edge_on_a_quiet_instrument_is_not_lost_among_wild_ones(draw):
    wild = {str(number): draw.normal(0, 0.2, 1000) for number in range(5)}
    series = wild | {"quiet": draw.normal(0.0002, 0.001, 1000)}
    assert superiority(*drawn(series)).p < 0.01
    assert outstanding(*drawn(series)) == ["quiet"]


def test_what_earns_nothing_cannot_be_superior():
    assert superiority(*drawn({"same": np.zeros(100)})) is None
    assert outstanding(*drawn({"same": np.zeros(100)})) == []


@pytest.mark.parametrize("block", [1, 2, 9])
def test_both_tests_are_the_library_s_on_the_same_resamples(draw, block):
    """arch's, whose variances take a loop over all lags: here they are one Fourier transform."""
    means = (0.002, 0.0015, 0.001, 0.0, -0.0005, -0.003)
    series = {str(mean): draw.normal(mean, 0.01, 600) for mean in means}
    gains, draws, _ = drawn(series, block, resamples=500)
    losses = -gains
    spa = SPA(np.zeros(600), losses, block_size=block, reps=500, seed=SEED)
    spa.compute()
    found = superiority(gains, draws, block)
    # Theirs is the share of the resamples; ours counts what was found as one more.
    assert found.p == pytest.approx((1 + 500 * spa.pvalues["consistent"]) / 501, abs=1e-12)
    assert found.critical == pytest.approx(spa.critical_values(0.05)["consistent"], abs=1e-12)
    steps = StepM(np.zeros(600), losses, 0.05, block_size=block, reps=500, seed=SEED)
    steps.compute()
    assert outstanding(gains, draws, block) == steps.superior_models
