"""A paper book: its weights by hand, and what they earn beside a loop over names."""

import numpy as np
import pytest

from backtests.simulation.book import (
    book_returns,
    equal_parts,
    kept_weights,
    rank_weights,
    turnover,
)
from strategy_plugin.weights import BookRules

NAN = np.nan


@pytest.fixture(scope="module")
def draw():
    return np.random.default_rng(3)


def test_the_best_fifth_is_held_long_and_the_worst_short():
    [weights] = rank_weights(np.array([np.arange(10.0)]))
    assert weights.tolist() == [-0.25, -0.25, 0, 0, 0, 0, 0, 0, 0.25, 0.25]


@pytest.mark.parametrize(
    "scores, weights",
    [
        ([0.1, NAN, 0.3, 0.2], [-0.5, 0, 0.5, 0]),  # who has no score is not held
        ([0.1, 0.1, 0.3, 0.2], [0, 0, 0, 0]),  # nobody is worst: no side is held
        ([0.1, 0.1, 0.1, 0.1], [0, 0, 0, 0]),
        ([NAN, NAN, 0.3, NAN], [0, 0, 0, 0]),  # alone nobody is best
        ([NAN, NAN, NAN, NAN], [0, 0, 0, 0]),
        ([0.2, 0.1], [0.5, -0.5]),
    ],
)
def test_what_cannot_be_ranked_is_not_held(scores, weights):
    assert rank_weights(np.array([scores])).tolist() == [weights]


def test_names_tied_at_the_border_are_left_out_and_the_side_keeps_its_weight():
    [weights] = rank_weights(np.array([[5, 4, 4, 3, 3, 3, 3, 2, 1, 0.0]]))
    assert weights.tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0, -0.25, -0.25]


def test_the_order_of_the_names_does_not_matter(draw):
    scores = draw.integers(0, 12, (200, 17)).astype(float)
    order = draw.permutation(17)
    assert (rank_weights(scores)[:, order] == rank_weights(scores[:, order])).all()


def test_no_side_weighs_more_than_the_other(draw):
    scores = np.where(draw.random((300, 23)) < 0.3, NAN, draw.normal(size=(300, 23)))
    weights = rank_weights(scores)
    assert np.abs(weights.sum(axis=1)).max() < 1e-12
    assert np.abs(weights).sum(axis=1) == pytest.approx(1)
    assert not weights[np.isnan(scores)].any()


def test_a_name_that_has_ended_gives_its_place_back_when_it_is_settled():
    scores = np.tile([0.9, 0.6, 0.4], (6, 1))
    scores[2:, 0] = NAN
    rules = BookRules(long=1, short=1, keep=1.0, gross=1.0)
    weights = kept_weights(scores, rules, settle_after=2)
    assert weights[:3].tolist() == [[0.5, 0, -0.5]] * 3
    assert weights[3:].tolist() == [[0, 0.5, -0.5]] * 3
    assert (kept_weights(scores, rules) == [0.5, 0, -0.5]).all()


def test_equal_parts_are_those_of_the_names_that_decide():
    held, decided = np.array([[1.0, 1, 0], [1, -1, 1]]), np.array([[1, 1, 1], [1, 1, 0]], bool)
    assert equal_parts(held, decided).tolist() == [[1 / 3, 1 / 3, 0], [0.5, -0.5, 0]]
    assert equal_parts(held, decided & False).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_book_earns_what_a_loop_over_dates_and_names_gives(draw):
    weights, moves = rank_weights(draw.normal(size=(50, 12))), draw.normal(0, 0.01, (50, 12))
    moves[7, 3] = NAN  # a move that never came
    expected, before = [], np.zeros(12)
    for wanted, move in zip(weights, moves):
        earned = sum(w * m for w, m in zip(wanted, move) if np.isfinite(m))
        expected.append(earned - 0.001 * sum(abs(w - b) for w, b in zip(wanted, before)))
        before = wanted
    assert book_returns(weights, moves, 0.001) == pytest.approx(expected, abs=1e-15)
    paid = book_returns(weights, moves).mean() - book_returns(weights, moves, 0.001).mean()
    assert turnover(weights) == pytest.approx(paid / 0.001)
