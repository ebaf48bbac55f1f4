"""A book's account of the walk-forward equals one of arrays alone, and accounts for every cent."""

import numpy as np
import pandas as pd
import pytest

from backtests.simulation.account import BookSettings
from backtests.simulation.account import Costs as Charges
from backtests.simulation.book_account import BookChange, simulate_book
from tests.helpers.book_account import Costs, account, ragged_universe

UNIVERSE = ragged_universe(12, 160)
DATES = pd.DatetimeIndex(sorted({date for bars in UNIVERSE.values() for date in bars.index}))
SCORES = pd.DataFrame({name: bars["probability"] for name, bars in UNIVERSE.items()}, DATES)
START = DATES[0]
ALL_ALIKE = np.ones(len(UNIVERSE))


def run(changes=((START, 1.0, 1),), source=SCORES, charges=Charges(), **book):
    return simulate_book(
        UNIVERSE,
        source,
        changes[0][0],
        changes=[BookChange(*change) for change in changes],
        book=BookSettings(**{"long": 3, "short": 3, "gross": 0.9} | book),
        costs=charges,
    )


def test_the_account_is_that_of_arrays_alone():
    charges = Charges(commission=7, half_spread=0, slippage=0)
    found = run(((START, 2.0, 3),), charges=charges, borrow=0.03, delisting_loss=0.2)
    costs = Costs(0.0007 * ALL_ALIKE, 0.03 * ALL_ALIKE)
    expected = account(UNIVERSE, costs, n=3, keep=2.0, rebalance=3, loss=0.2)
    np.testing.assert_allclose(found.equity, expected.equity, rtol=1e-12)
    np.testing.assert_allclose(found.units, expected.units, rtol=1e-9, atol=1e-9)
    assert found.fills["settled"].sum() == expected.settled > 0
    assert list(found.equity.index) == list(DATES)


def test_hold_band_and_rebalancing_change_from_their_dates_on():
    middle = DATES[80]
    found = run(((START, 1.0, 1), (middle, 3.0, 20)))
    days = found.rankings["decided_at"].drop_duplicates()
    assert (days < middle).sum() == 80 and (days >= middle).sum() == 4
    alone = run(((START, 1.0, 1),))
    assert found.equity[:80].equals(alone.equity[:80])
    assert not found.equity[90:].equals(alone.equity[90:])
    first = run(((middle, 3.0, 20),))
    assert list(first.equity.index) == list(DATES[80:]) and first.equity.iloc[0] == 100_000


def test_at_a_bar_that_repeats_another_nothing_fills():
    before = set(run().fills.query("instrument == 'n00'")["date"])
    flat = {name: bars.copy() for name, bars in UNIVERSE.items()}
    repeated = [flat["n00"].index.get_loc(date) for date in sorted(before)][::2]
    for place in repeated:
        flat["n00"].iloc[place, :5] = flat["n00"].iloc[place - 1, :5]
    found = simulate_book(
        flat, SCORES, START, changes=[BookChange(START, 1.0, 1)], book=BookSettings(3, 3)
    )
    dates = set(found.fills.query("instrument == 'n00'")["date"])
    assert len(repeated) > 10 and not dates & set(flat["n00"].index[repeated])
    assert len(dates) > 10


def test_what_is_settled_on_the_last_date_is_booked():
    stop = run().fills.query("settled")["date"].iloc[-1]
    short = {name: bars[:stop] for name, bars in UNIVERSE.items()}
    found = simulate_book(
        short,
        SCORES,
        START,
        changes=[BookChange(START, 1.0, 1)],
        book=BookSettings(3, 3, gross=0.9),
    )
    assert found.equity.index[-1] == stop == found.fills.query("settled")["date"].iloc[-1]


def test_trades_add_up_to_the_account():
    found = run(((START, 2.0, 1),), borrow=0.05)
    open_at_end = found.trades["closed_at"].isna()
    assert open_at_end.sum() == (found.units.iloc[-1] != 0).sum() and len(found.trades) > 30
    # Interest on what is still borrowed is no cost of a trade yet.
    earned = found.equity.iloc[-1] - 100_000
    assert found.trades["net"].sum() == pytest.approx(earned, rel=1e-3)
    free = run(((START, 2.0, 1),))
    assert free.trades["net"].sum() == pytest.approx(free.equity.iloc[-1] - 100_000, rel=1e-9)
