import numpy as np
import pytest
from scipy.stats import kstest
from statsmodels.regression.linear_model import OLS

from backtests.direction_tests import diebold_mariano, log_losses, pesaran_timmermann


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
    said = np.where(draw.random(1000) < 0.58, labels, 1 - labels)
    assert pesaran_timmermann(labels, said)[1] < 0.01


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
