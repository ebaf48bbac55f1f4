"""Under its null each p-value is uniform, with fat tails and clusters of volatility as well."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kstest

from backtests.evidence.alpha import TrackRecord, draw
from backtests.evidence.hypothesis_tests import (
    SharpeRatio,
    diebold_mariano,
    log_losses,
    pesaran_timmermann,
    shifted_means,
)
from backtests.simulation.vectorised import Array, net_returns
from backtests.synthetic.skills import Cell, moves_in

DRAWS = 500
N = 800
HELD = 5  # bars
NULL = Cell("nothing is known", lambda moves, draw: np.zeros(len(moves.moves)))
# Chance alone gives less in one test of a thousand.
LEAST = 0.001

PValue = Callable[[Array, np.random.Generator], float]


def coins(rng: np.random.Generator) -> Array:
    """Positions that know nothing, held for some bars."""
    return np.repeat(rng.integers(0, 2, N // HELD), HELD).astype(float)


def directions(moves: Array, rng: np.random.Generator) -> float:
    # The share of "up" that is forecast changes slowly, as a model's does.
    ups = 0.5 + 0.1 * np.sin(np.arange(N) / 50)
    found = pesaran_timmermann((moves > 0).astype(float), (rng.random(N) < ups).astype(float))
    assert found
    return found[1]


def losses(moves: Array, rng: np.random.Generator) -> float:
    labels = (moves > 0).astype(float)
    ours, theirs = (0.5 + 0.05 * np.tanh(rng.standard_normal(N)) for _ in range(2))
    found = diebold_mariano(log_losses(labels, ours), log_losses(labels, theirs))
    assert found
    return found[1]


def luck(moves: Array, rng: np.random.Generator) -> float:
    held = coins(rng)
    shifted, net = shifted_means(held, moves, 0.0), net_returns(held, moves, 0.0).mean()
    return float((1 + (shifted >= net).sum()) / (1 + len(shifted)))


def sharpe(moves: Array, rng: np.random.Generator) -> float:
    found = SharpeRatio.of(coins(rng) * moves)
    assert found
    return 1 - found.probability_above()


def superiority(moves: Array, rng: np.random.Generator) -> float:
    held, cash = coins(rng), np.zeros(N)
    tried = {str(shift): (np.roll(held, 37 * shift) * moves, cash) for shift in range(3)}
    record = TrackRecord(held * moves, cash, 252, tried)
    test = draw(record, resamples=500).test
    assert test
    return test.p


@pytest.mark.parametrize(
    "p_value",
    [directions, losses, luck, sharpe, pytest.param(superiority, marks=pytest.mark.slow)],
)
def test_a_p_value_is_uniform_under_its_null(p_value: PValue) -> None:
    found = []
    for seed in range(DRAWS):
        rng = np.random.default_rng([seed, 8])
        found.append(p_value(moves_in(NULL, N, rng).moves, rng))
    assert kstest(found, "uniform").pvalue > LEAST
    # Three standard errors of a share of 5 % of so many.
    assert np.mean(np.array(found) < 0.05) < 0.05 + 3 * (0.05 * 0.95 / DRAWS) ** 0.5
