"""The temperature."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from model.metrics import log_loss_of_logits
from model.training.calibration import HIGHEST, LOWEST, fit_temperature

Sample = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Logits of calibrated forecasts, and labels drawn with those probabilities."""
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 1.5, 50_000)
    return logits, (draw.random(50_000) < expit(logits)).astype(float)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0, 10.0])
def test_a_known_temperature_is_found_again(sample: Sample, temperature: float) -> None:
    logits, labels = sample
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_found_has_the_least_log_loss(sample: Sample) -> None:
    logits, labels = 4 * sample[0], sample[1]
    found = fit_temperature(logits, labels)
    for other in (0.95 * found, 1.05 * found):
        assert log_loss_of_logits(logits / found, labels) < log_loss_of_logits(
            logits / other, labels
        )


def test_a_temperature_weighs_what_it_is_told_to(sample: Sample) -> None:
    """Of two halves with temperatures of their own, one counts nothing, or each the same."""
    logits, labels = sample
    mixed = np.r_[logits[:40_000] * 4, logits[40_000:]]
    first = np.r_[np.ones(40_000), np.zeros(10_000)]
    assert fit_temperature(mixed, labels, first) == pytest.approx(4, rel=0.03)
    assert fit_temperature(mixed, labels, 1 - first) == pytest.approx(1, rel=0.05)
    often = np.r_[np.full(40_000, 0.25), np.ones(10_000)]
    balanced = np.r_[0:10_000, 40_000:50_000]
    found = fit_temperature(mixed, labels, often)
    assert found == pytest.approx(fit_temperature(mixed[balanced], labels[balanced]), rel=0.03)
    assert found < 0.9 * fit_temperature(mixed, labels)


def test_weights_of_one_change_no_bit(sample: Sample) -> None:
    logits, labels = sample[0][:999] * 3, sample[1][:999]
    weighed = fit_temperature(logits, labels, np.ones(999))
    assert weighed == fit_temperature(logits, labels)


def test_logits_that_point_the_wrong_way_get_the_highest_temperature(sample: Sample) -> None:
    assert fit_temperature(-sample[0], sample[1]) == pytest.approx(HIGHEST, rel=1e-3)


def test_logits_that_are_always_right_get_the_lowest_temperature(sample: Sample) -> None:
    logits, _ = sample
    assert fit_temperature(logits, (logits > 0).astype(float)) == pytest.approx(LOWEST, rel=0.3)


@pytest.mark.parametrize("logits", [[0.0, 0.0], [1e5, -1e5], [-1e5, 1e5], [3.0, 3.0]])
def test_the_temperature_stays_within_its_bounds(logits: list[float]) -> None:
    assert LOWEST <= fit_temperature(np.array(logits), np.array([1.0, 0.0])) <= HIGHEST


def test_log_loss_by_hand() -> None:
    assert log_loss_of_logits(np.array([0.0]), np.array([1.0])) == pytest.approx(np.log(2))
    assert log_loss_of_logits(np.log([3.0, 3.0]), np.array([1.0, 0.0])) == pytest.approx(
        -(np.log(0.75) + np.log(0.25)) / 2
    )
    # `exp` would overflow.
    assert log_loss_of_logits(np.array([1000.0, -1000.0]), np.array([0.0, 0.0])) == 500.0
