"""Calibration beside its null: exact probabilities pass, overconfident ones do not."""

import numpy as np
import pytest
from scipy.special import expit

from backtests.evidence.calibration import Array, equal_mass, reliability


@pytest.fixture(scope="module")
def logits() -> Array:
    return np.random.default_rng(1).normal(0, 1, 4_000)


@pytest.fixture(scope="module")
def labels(logits: Array) -> Array:
    """Outcomes for which expit(logits) is exact."""
    return (np.random.default_rng(2).random(len(logits)) < expit(logits)).astype(float)


def test_exact_probabilities_err_as_much_as_chance_does(logits: Array, labels: Array) -> None:
    found = reliability(labels, expit(logits))
    assert found.outside <= 2 and found.error < found.error_limit
    assert found.error == pytest.approx(found.error_by_chance, abs=0.01)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_overconfident_and_timid_probabilities_leave_the_band(
    logits: Array, labels: Array, factor: float
) -> None:
    found = reliability(labels, expit(factor * logits))
    assert found.outside >= 5 and found.error > 2 * found.error_limit


def test_a_thousand_windows_show_an_error_of_four_percent_by_chance_alone(
    logits: Array, labels: Array
) -> None:
    assert reliability(labels[:1_000], expit(logits[:1_000])).error_by_chance == pytest.approx(
        0.04, abs=0.01
    )


def test_every_bin_tells_its_mean_probability_and_how_often_up_was_observed() -> None:
    first, second = reliability(
        np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.2, 0.4, 0.6, 0.8]), bins=2
    ).bins
    assert (first.windows, first.probability, first.frequency) == pytest.approx((2, 0.3, 0.5))
    assert (second.windows, second.probability, second.frequency) == pytest.approx((2, 0.7, 1.0))


def test_bins_have_equal_mass_even_where_all_probabilities_are_equal() -> None:
    assert [len(group) for group in equal_mass(np.full(25, 0.53), 10)] == [3] * 5 + [2] * 5


def test_the_null_is_seeded(logits: Array, labels: Array) -> None:
    assert reliability(labels, expit(logits)) == reliability(labels, expit(logits))


def test_more_bins_than_probabilities_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"`bins` must be from 1 to the 3 probabilities there are, got 10\. Ask for fewer\.",
    ):
        reliability(np.ones(3), np.full(3, 0.5))
