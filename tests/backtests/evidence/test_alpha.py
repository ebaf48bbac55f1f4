"""The figures that decide, on records of known truth."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from backtests.evidence import alpha
from backtests.evidence.alpha import TrackRecord
from backtests.evidence.verdict import word_of

quick_figures = partial(alpha.figures_of, resamples=400)


def record(returns, benchmark, **more):
    own = {"strategy": (returns, benchmark)}
    return TrackRecord(returns, benchmark, 252, **{"tried": own, **more})


@pytest.fixture
def draw():
    return np.random.default_rng(5)


@pytest.fixture
def market(draw):
    return draw.normal(0.0005, 0.01, 1500)


def test_alpha_and_beta_are_those_of_a_regression(draw, market):
    returns = 0.0004 + 0.6 * market + draw.normal(0, 0.004, 1500)
    expected = OLS(returns, add_constant(market)).fit()
    found = quick_figures(record(returns, market)).intervals
    assert (found["alpha"].value, found["beta"].value) == pytest.approx(tuple(expected.params))
    error = float(expected.bse[0])
    assert found["alpha"].high - found["alpha"].low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_a_benchmark_that_does_not_vary_has_no_beta(draw):
    returns = draw.normal(0.001, 0.01, 500)
    found = quick_figures(record(returns, np.zeros(500))).intervals
    assert found["beta"].value == found["beta"].high == 0
    assert found["alpha"] == found["mean"] == found["gain"]


def test_full_holding_has_no_alpha_and_never_trading_has_none(market):
    for returns in (market, np.zeros(1500)):
        figures = quick_figures(record(returns, market))
        assert figures.intervals["alpha"].highest == 0
        assert figures.superiority is None and figures.power.alpha is None
        assert word_of(figures) == "no edge"


def test_a_timer_right_on_54_of_100_days_is_an_edge_though_it_earns_less_than_holding(draw):
    """Long or flat under a drift of 15 % a year: what the comparison with full holding hides."""
    moves = draw.normal(0.0006, 0.01, 12_000)
    right = draw.random(12_000) < 0.54
    held = np.where(right, moves > 0, moves <= 0).astype(float)
    figures = quick_figures(record(held * moves, moves))
    assert figures.intervals["gain"].value < figures.intervals["alpha"].value
    assert word_of(figures) == "edge"


def test_a_certain_loss_in_alpha_and_against_the_benchmark_is_worse(draw, market):
    returns = market - 0.0005 + draw.normal(0, 0.001, 1500)
    assert word_of(quick_figures(record(returns, market))) == "worse"
    # Less than the benchmark alone is not worse: half the exposure may be wanted.
    rising = market + 0.001
    half = quick_figures(record(0.5 * rising, rising))
    assert half.intervals["gain"].highest < 0 and word_of(half) != "worse"


def test_the_best_of_many_needs_more(draw, market):
    mine = draw.normal(0.0006, 0.01, 1500)
    many = {str(number): (draw.normal(0, 0.01, 1500), market) for number in range(60)}
    alone = quick_figures(record(mine, market))
    among = quick_figures(record(mine, market, tried={"mine": (mine, market), **many}))
    assert alone.superiority < among.superiority
    assert alone.power.test_alone < among.power.test_alone < 1.8 * alone.power.test_alone
    assert alone.intervals == among.intervals


def test_the_alpha_that_shows_with_80_percent_power_does(draw):
    """By the whole rule, on 300 records of which each has just that alpha."""
    n, one = 400, partial(alpha.figures_of, resamples=200)
    noise = draw.normal(0, 0.01, (300, n))
    market = draw.normal(0, 0.01, n)
    shown = one(record(noise[0], market)).power.alpha * np.std(noise) / noise[0].std()
    words = [word_of(one(record(shown + values, market))) for values in noise]
    assert np.mean([word == "edge" for word in words]) == pytest.approx(0.8, abs=0.09)


def test_decisions_needed_grow_as_the_alpha_shrinks(draw, market):
    residual = draw.normal(0, 0.01, 1500)
    residual -= residual.mean()
    strong, weak = (
        quick_figures(record(residual + size, market)).power for size in (0.0008, 0.0004)
    )
    assert weak.decisions_for_alpha == pytest.approx(4 * strong.decisions_for_alpha, rel=0.2)
    assert quick_figures(record(residual - 0.0004, market)).power.decisions_for_alpha is None


def test_sharpe_ratios_are_annual_and_their_difference_is_paired(draw, market):
    returns = market + 0.0002
    found = quick_figures(record(returns, market)).intervals
    expected = np.sqrt(252) * returns.mean() / returns.std(ddof=1)
    assert found["sharpe"].value == pytest.approx(expected)
    difference = np.sqrt(252) * 0.0002 / market.std(ddof=1)
    assert found["sharpe less benchmark"].value == pytest.approx(difference)
    spread, own = (
        found[name].high - found[name].low for name in ("sharpe less benchmark", "sharpe")
    )
    assert spread < own / 10


def test_small_returns_lose_no_digits(draw, market):
    small = quick_figures(record(1e-6 * (1.0 + market), 1e-6 * market)).intervals
    assert small["beta"].value == pytest.approx(1.0, abs=1e-6)


def test_fills_at_the_close_that_gain_nothing_forbid_an_edge(draw):
    moves = draw.normal(0, 0.01, 3000)
    held = (moves + draw.normal(0, 0.02, 3000) > 0).astype(float)
    whole = record(held * moves, moves)
    assert word_of(quick_figures(whole)) == "edge"
    nothing = {"close": draw.normal(0, 1e-4, 3000)}
    assert word_of(quick_figures(replace(whole, timing=nothing))) == "cannot tell"
