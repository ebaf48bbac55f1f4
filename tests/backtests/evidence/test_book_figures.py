"""What a book's account earned: every part of it is found again by another way."""

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.book_figures import BookAccount
from backtests.simulation.account import Account, BookSettings, Costs
from backtests.simulation.book import book_returns, kept_weights, turnover
from backtests.simulation.book_account import BookChange, simulate_book
from backtests.simulation.vectorised import open_returns
from tests.helpers.book_account import ragged_universe

UNIVERSE = ragged_universe(20, 150, holes=0.0)
UNIVERSE = {name: bars for name, bars in UNIVERSE.items() if len(bars) == 150}
DATES = next(iter(UNIVERSE.values())).index
SCORES = pd.DataFrame({name: bars["probability"] for name, bars in UNIVERSE.items()}, DATES)
COSTS = Costs(commission=3, half_spread=2, slippage=1)


def account(costs=COSTS, keep=1.0, rebalance=1, source=SCORES, **book):
    settings = BookSettings(**{"long": 2, "short": 2} | book)
    changes = [BookChange(DATES[0], keep, rebalance)]
    made = simulate_book(UNIVERSE, source, DATES[0], changes=changes, book=settings, costs=costs)
    return BookAccount(made, settings, costs, 252.0, resamples=50)


@pytest.fixture(scope="module")
def traded():
    return account(borrow=0.08)


def test_gross_less_costs_less_borrow_is_what_the_account_gained(traded):
    days = traded.days
    assert days["net"].equals(days["equity"].pct_change().fillna(0.0)) or np.allclose(
        days["net"], days["equity"].pct_change().fillna(0.0), atol=1e-15
    )
    np.testing.assert_allclose(days["costs"], 6e-4 * days["turnover"], rtol=2e-3)
    np.testing.assert_allclose(days["borrow"], 0.08 * days["owed"], rtol=1e-9, atol=1e-12)
    free = account().days
    np.testing.assert_allclose(free["gross"] - free["costs"], free["net"], atol=1e-14)


def test_the_account_earns_what_its_weights_earn_in_a_paper_book():
    """Both vectorised from open to open, at the weights that each open left."""
    found = account(Costs(0, 0, 0), keep=2.0, rebalance=5)
    opens = np.column_stack([bars["open"] for bars in UNIVERSE.values()])
    moves = np.column_stack([open_returns(bars) for bars in UNIVERSE.values()])
    units, equity = found.simulation.units.to_numpy(), found.days["equity"].to_numpy()
    at_open = equity[:-1] + (units[:-1] * (opens[1:] - found.closes.to_numpy()[:-1])).sum(axis=1)
    weights = units[1:] * opens[1:] / at_open[:, None]
    paper = book_returns(weights, moves[:-1])
    np.testing.assert_allclose(paper[:-1], at_open[1:] / at_open[:-1] - 1, rtol=1e-9, atol=1e-12)
    assert turnover(found.decided_weights.to_numpy()) == pytest.approx(
        found.days["turnover"].mean(), rel=0.2
    )


def test_the_paper_book_that_chooses_holds_the_names_of_the_account():
    found = account(Costs(0, 0, 0), keep=2.0, rebalance=5)
    rules = found.book.rules(2.0)
    weights = kept_weights(SCORES.to_numpy(), rules, 5)
    rankings = found.simulation.rankings.pivot(
        index="decided_at", columns="instrument", values="weight"
    ).reindex(columns=SCORES.columns)
    assert len(rankings) == 30
    np.testing.assert_allclose(weights[::5], rankings.fillna(0.0))
    assert (weights[:5] == weights[0]).all()


def test_the_grid_is_that_of_runs_at_other_costs(traded):
    grid = traded.cost_grid.set_index(["cost", "borrow"])
    assert grid["charged"].sum() == 1
    assert grid.loc[(6.0, 0.08), "net"] == pytest.approx(traded.figures.net, rel=1e-3)
    dearer = account(Costs(commission=20, half_spread=0, slippage=0), borrow=0.03).figures
    assert grid.loc[(20.0, 0.03), "net"] == pytest.approx(dearer.net, abs=1e-6)
    at_break_even = traded.figures.break_even
    even = account(Costs(max(0.0, at_break_even), 0, 0), borrow=0.08).figures
    assert even.net == pytest.approx(0.0 if at_break_even > 0 else even.net, abs=1e-6)


def test_alpha_and_beta_are_those_of_a_regression_on_all_in_equal_parts(traded):
    closes = pd.DataFrame({name: bars["close"] for name, bars in UNIVERSE.items()})
    market = closes.pct_change().mean(axis=1).fillna(0.0)
    np.testing.assert_allclose(traded.days["universe"], market, atol=1e-14)
    beta, alpha = np.polyfit(market[1:], traded.days["net"][1:], 1)
    figures = traded.figures
    assert figures.beta.value == pytest.approx(beta)
    assert figures.alpha.value == pytest.approx(alpha)


def test_exposure_and_concentration_of_four_equal_names(traded):
    figures = traded.figures
    assert figures.long == pytest.approx(0.475, abs=0.02)
    assert figures.short == pytest.approx(0.475, abs=0.02)
    assert figures.names == pytest.approx(4) and figures.exposed == pytest.approx(
        148 / 149, abs=6e-3
    )
    assert 0.25 < figures.largest < 0.27 and 3.9 < figures.effective_names <= 4
    alone = account(short=0, weights="inverse-volatility").days
    # Before there are so many moves no name has a volatility.
    assert not alone["long"][:21].any() and alone["long"][25:].mean() == pytest.approx(
        0.95, abs=0.03
    )
    assert not alone["short"].any()


def test_with_the_money_of_the_capacity_one_fill_in_twenty_takes_a_hundredth(traded):
    figures = traded.figures
    fills = account(borrow=0.08).simulation.fills
    share = fills["size"].abs() / fills["volume"]
    assert figures.participation == pytest.approx(share.median())
    larger = simulate_book(
        UNIVERSE,
        SCORES,
        DATES[0],
        changes=[BookChange(DATES[0], 1.0, 1)],
        book=traded.book,
        costs=COSTS,
        account=Account(cash=figures.capacity),
    ).fills
    assert ((larger["size"].abs() / larger["volume"]) > 0.01).mean() == pytest.approx(
        0.05, abs=0.02
    )


def test_of_a_book_that_never_traded_the_figures_are_nought():
    nothing = account(fewest=10, source=SCORES.where(SCORES > 1))
    figures = nothing.figures
    assert (figures.net, figures.turnover, figures.names, figures.capacity) == (0, 0, 0, None)
    assert figures.break_even is None and not len(nothing.names) and not len(nothing.positions)


def test_the_names_add_up_and_the_best_stands_first(traded):
    names = traded.names
    assert names["net"].is_monotonic_decreasing
    np.testing.assert_allclose(names["long"] + names["short"], names["net"])
    assert names["net"].sum() == pytest.approx(traded.simulation.trades["net"].sum())


def test_positions_are_those_held_at_each_close(traded):
    table = traded.positions
    last = table[table["date"] == DATES[-1]]
    assert len(last) == 4 and last["weight"].abs().sum() == pytest.approx(0.95, abs=0.05)
    np.testing.assert_allclose(
        last["weight"], last["units"] * last["close"] / traded.days["equity"].iloc[-1]
    )
