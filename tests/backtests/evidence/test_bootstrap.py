import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from backtests.evidence import bootstrap
from backtests.evidence.bootstrap import (
    AreaUnderCurve,
    Bootstrap,
    RatioOfSums,
    block_length,
    interval,
    means_of,
)


@pytest.fixture
def draw():
    return np.random.default_rng(11)


def area(labels, scores, groups=None):
    groups = np.zeros(len(labels), dtype=int) if groups is None else groups
    return AreaUnderCurve(labels, scores, groups, np.arange(len(labels)))


def test_independent_series_have_short_blocks_and_persistent_ones_long(draw):
    noise = draw.normal(size=2000)
    smooth = np.convolve(noise, np.ones(50), "valid")
    assert block_length(noise) <= 5 < 20 < block_length(noise[:1951], smooth)


def test_a_series_that_does_not_vary_needs_no_blocks():
    assert block_length(np.zeros(100)) == 1


def test_the_interval_of_a_mean_is_that_of_theory(draw):
    returns = draw.normal(0.001, 0.01, 2000)
    found = interval(Bootstrap(2000, 1).draw({"mean": means_of(returns[:, None])})["mean"][0])
    half = 1.96 * returns.std() / np.sqrt(2000)
    expected = (returns.mean(), returns.mean() - half, returns.mean() + half)
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=half / 10)
    assert found.lowest < found.low < found.high < found.highest


def test_resamples_are_the_library_s_own(draw, monkeypatch):
    """To the last digits but rounding, and however many are held at once."""
    rows = np.column_stack((1.0 * (draw.random(400) < 0.5), draw.random(400).round(2)))

    def figures(rows):
        return np.array([rows[:, 1].mean(), roc_auc_score(*rows.T)])

    source = StationaryBootstrap(7, rows, seed=bootstrap.SEED)
    expected = source.conf_int(figures, 300, method="percentile", size=0.95)
    monkeypatch.setattr(bootstrap, "CHUNK", 400 * 37)
    draws = Bootstrap(400, 7, 300).draw({"mean": means_of(rows[:, 1:]), "auc": area(*rows.T)})
    for name, value, low, high in zip(("mean", "auc"), figures(rows), *expected, strict=True):
        found = interval(draws[name][0])
        assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=1e-12)


def test_what_does_not_vary_is_its_own_bounds_and_rounding_is_nought():
    draws = Bootstrap(50, 3, 100).draw({"means": means_of(np.full((50, 2), [0.1, 1e-14]))})
    constant, rounding = (interval(one) for one in draws["means"])
    assert constant.lowest == constant.highest == constant.value == pytest.approx(0.1)
    assert (rounding.lowest, rounding.value, rounding.highest) == (0, 0, 0)


def test_pairs_are_counted_within_their_group_alone(draw):
    """Of two folds with different levels each forecasts well, and both together nothing."""
    labels = 1.0 * (draw.random(600) < np.repeat([0.2, 0.8], 300))
    groups = np.repeat([0, 1], 300)
    scores = 0.3 * labels + draw.random(600) - 2.0 * groups
    folds = [roc_auc_score(labels[groups == fold], scores[groups == fold]) for fold in (0, 1)]
    pairs = [
        (labels[groups == fold] == 1).sum() * (labels[groups == fold] == 0).sum() for fold in (0, 1)
    ]
    found = float(area(labels, scores, groups)(np.ones((600, 1)))[0, 0])
    assert found == pytest.approx(np.average(folds, weights=pairs), abs=1e-12)
    assert min(folds) <= found <= max(folds) and roc_auc_score(labels, scores) < 0.5


def test_a_row_that_several_forecasts_share_is_drawn_with_all_of_them(draw):
    labels, scores = 1.0 * (draw.random(200) < 0.5), draw.random(200)
    rows, groups = np.tile(np.arange(100), 2), np.repeat([0, 1], 100)
    counts = draw.integers(0, 3, (100, 5)).astype(float)
    found = AreaUnderCurve(labels, scores, groups, rows)(counts)[0]
    for number in range(5):
        repeated = np.repeat(np.arange(200), counts[rows, number].astype(int))
        one = area(labels[repeated], scores[repeated], groups[repeated])
        assert found[number] == pytest.approx(float(one(np.ones((len(repeated), 1)))[0, 0]))


def test_rare_labels_have_an_interval_though_some_resamples_miss_them(draw):
    labels = np.zeros(60)
    labels[7] = 1
    found = interval(Bootstrap(60, 1).draw({"auc": area(labels, draw.random(60))})["auc"][0])
    assert np.isfinite([found.low, found.high, found.lowest, found.highest]).all()


def test_the_figures_do_not_depend_on_the_threads_that_are_there(draw):
    pair = RatioOfSums(draw.normal(size=(172, 2)), np.ones((172, 2)))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(Bootstrap(172, 5).draw({"ic": pair})["ic"])
    assert found[0].tobytes() == found[1].tobytes()


def test_one_outcome_alone_makes_no_pair(draw):
    assert not area(np.ones(10), draw.random(10)).defined
    # One outcome in each fold: no fold compares anything.
    split = area(np.repeat([0.0, 1.0], 5), draw.random(10), np.repeat([0, 1], 5))
    assert not split.defined
    assert area(np.array([0.0, 1.0]), np.array([0.1, 0.2])).defined
