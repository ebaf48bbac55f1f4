"""The exact filters: they read no future and agree with the sum over every path the hidden state
could have taken.
"""

from collections.abc import Callable
from itertools import product
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from backtests.synthetic import optimum as filters
from backtests.synthetic.markets import market
from backtests.synthetic.optimum import Array


@pytest.mark.parametrize(
    "read, name",
    [
        (lambda bars: filters.regime_probability(bars, delta=0.35, flip=1 / 60), "regime"),
        (lambda bars: filters.volrev_probability(bars, strength=0.7, ratio=3, stay=0.98), "volrev"),
        (lambda bars: filters.echo_probability(bars, strength=0.9, lag=25), "echo"),
        (lambda bars: filters.magecho_probability(bars, m=2, lag=25), "magecho"),
        (
            lambda bars: filters.latch_probability(
                bars, strength=0.75, wick=4, shortest=40, longest=50
            ),
            "latch",
        ),
        (
            lambda bars: filters.shared_probability(bars, common=0.5, strength=0.6, lag=5),
            "shared",
        ),
    ],
)
def test_another_future_leaves_the_probability_as_it_was(
    read: Callable[[pd.DataFrame], Array], name: str
) -> None:
    bars, probability = market(name, 1_000).bars, market(name, 1_000).probability
    other = pd.concat([bars[:600], market(name, 400, 2).bars])
    np.testing.assert_allclose(read(other)[:600], probability[:600], rtol=0, atol=1e-12)
    np.testing.assert_allclose(read(bars[:600]), probability[:600], rtol=0, atol=1e-12)


def brute_force(
    weight: Callable[[tuple[int, ...]], float], up: Callable[[int], float], n_bars: int
) -> float:
    """P(up next) as the weighted mean over every path of the hidden state."""
    paths = list(product((0, 1), repeat=n_bars))
    weights = [weight(path) for path in paths]
    return sum(weight * up(path[-1]) for weight, path in zip(weights, paths)) / sum(weights)


def test_the_regime_filter_agrees_with_the_sum_over_all_paths() -> None:
    bars, delta, flip = market("regime", 9, 5).bars, 0.35, 1 / 60
    z = filters.moves(bars)

    def weight(path: tuple[int, ...]) -> float:
        turns = np.abs(np.diff(path))
        return float(
            np.prod(np.where(turns, flip, 1 - flip))
            * norm.pdf(z, np.where(path, -delta, delta)).prod()
        )

    def up(state: int) -> float:
        rising = (1 - flip) * (state == 0) + flip * (state == 1)
        return float(rising * ndtr(delta) + (1 - rising) * ndtr(-delta))

    assert brute_force(weight, up, 9) == pytest.approx(
        market("regime", 9, 5).probability.iloc[-1], rel=1e-9
    )


def test_the_filter_of_an_echo_under_a_factor_is_the_regression_on_all_bars_before() -> None:
    """The mean of jointly normal moves, solved for at once, is that of the filter bar by bar."""
    sample = market("shared", 23, 5, common=0.4, strength=0.8, lag=3)
    z, apart = filters.moves(sample.bars), np.arange(24)
    apart = np.abs(apart[:, None] - apart)
    covariance = np.where(apart % 3 == 0, 0.6 * 0.8 ** (apart / 3), 0.0) + 0.4 * np.eye(24)
    weights = np.linalg.solve(covariance[:23, :23], covariance[:23, 23])
    deviation = sqrt(covariance[23, 23] - weights @ covariance[:23, 23])
    assert ndtr(weights @ z / deviation) == pytest.approx(sample.probability.iloc[-1], abs=1e-9)


def bridge_density(x: Array, extreme: Array, s: Array) -> Array:
    """The density of a bridge's maximum from 0 to x; of its minimum with both signs turned."""
    return (4 * extreme - 2 * x) / s**2 * np.exp(-2 * extreme * (extreme - x) / s**2)


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_the_volrev_filter_agrees_with_the_sum_over_all_paths(seed: int) -> None:
    sample = market("volrev", 9, seed, stay=0.8)
    z = filters.moves(sample.bars)
    high, low = (
        filters.log_ratio(sample.bars[column], sample.bars["open"]) for column in ("high", "low")
    )

    def weight(path: tuple[int, ...]) -> float:
        s = np.where(path, 3, 1) / sqrt(5)
        expected = np.concatenate([[0], (np.where(path, -0.7, 0.7) * z / s)[:-1]])
        moves = norm.pdf(z / s, expected, np.where(np.arange(9) > 0, sqrt(0.51), 1)) / s
        chain = np.where(np.diff(path), 0.2, 0.8).prod()
        return float(
            chain * (moves * bridge_density(z, high, s) * bridge_density(-z, -low, s)).prod()
        )

    def up(state: int) -> float:
        return float(ndtr((0.7, -0.7)[state] * z[-1] * sqrt(5) / (1, 3)[state] / sqrt(0.51)))

    assert brute_force(weight, up, 9) == pytest.approx(sample.probability.iloc[-1], rel=1e-9)
