import numpy as np
import pandas as pd
import pytest

from backtests.simulation.account import Account, Costs
from backtests.simulation.broker import Fill, round_trips, simulate, simulate_hold
from model.bars.artefacts import repeated_rows
from tests.helpers.artefacts import clean, filled_forward
from tests.helpers.makers import random_bars, random_checkpoint

TIMESTAMPS = pd.date_range("2020-01-01", periods=10, name="date")


def trips(*fills, last=110.0):
    return round_trips([Fill(*fill) for fill in fills], TIMESTAMPS, last).to_dict("records")


def test_a_trip_goes_from_opening_to_flat():
    (trip,) = trips((2, 10, 101, 100, 1.0), (5, -10, 103, 104, 1.0))
    assert (trip["direction"], trip["size"], trip["bars"]) == ("long", 10, 3)
    assert (trip["decided_at"], trip["opened_at"], trip["closed_at"]) == (
        TIMESTAMPS[1],
        TIMESTAMPS[2],
        TIMESTAMPS[5],
    )


def test_gross_is_at_the_quotes_and_costs_are_the_rest():
    (trip,) = trips((2, 10, 101, 100, 1.0), (5, -10, 103, 104, 1.0))
    assert (trip["gross"], trip["costs"], trip["net"]) == (40, 22, 18)
    assert trip["return"] == pytest.approx(18 / 1010)


def test_a_short_trip_gains_from_a_fall():
    (trip,) = trips((1, -5, 100, 100, 0.0), (2, 5, 90, 90, 0.0))
    assert (trip["direction"], trip["net"], trip["return"]) == ("short", 50, 0.1)


def test_a_reversal_closes_one_trip_and_opens_the_next_with_its_share_of_the_commission():
    first, second = trips((1, 10, 100, 100, 1.0), (3, -25, 120, 120, 5.0), (4, 15, 110, 110, 3.0))
    assert (first["closed_at"], second["opened_at"]) == (TIMESTAMPS[3], TIMESTAMPS[3])
    assert (first["costs"], second["costs"]) == (1.0 + 2.0, 3.0 + 3.0)
    assert (first["net"], second["net"]) == (200 - 3, 150 - 6)


def test_an_open_trip_is_valued_at_the_last_price():
    (trip,) = trips((4, 10, 100, 100, 0.0))
    assert pd.isna(trip["closed_at"]) and pd.isna(trip["exit_price"])
    assert (trip["net"], trip["bars"]) == (100, 5)


def test_a_position_built_in_steps_is_one_trip():
    (trip,) = trips(
        (1, 0.1, 100, 100, 0.0), (2, 0.2, 130, 130, 0.0), (3, -(0.1 + 0.2), 140, 140, 0.0)
    )
    assert trip["entry_price"] == pytest.approx(120)
    assert trip["closed_at"] == TIMESTAMPS[3]


def test_no_fills_are_no_trips():
    assert round_trips([], TIMESTAMPS, 100.0).empty


START = 200


@pytest.fixture(scope="module")
def probability(bars):
    return pd.Series(np.random.default_rng(1).random(len(bars)), index=bars.index)


@pytest.fixture(scope="module")
def busy(bars, probability):
    """Long, short and flat in turn, without costs."""
    return simulate(
        bars,
        probability,
        START,
        account=Account(allow_short=True, enter=0.6, exit=0.5),
        costs=Costs(0, 0, 0),
    )


def value_by_position(bars, position, cash):
    """What an account is worth bar by bar.

    The old position from close to open, the new one from open to close.
    """
    opened, close = bars["open"].to_numpy(), bars["close"].to_numpy()
    gaps = np.r_[0.0, opened[1:] - close[:-1]]
    before = np.r_[0.0, position[:-1]]
    return cash + (before * gaps + position * (close - opened)).cumsum()


def test_without_costs_the_equity_is_that_of_the_positions(bars, busy):
    expected = value_by_position(bars.iloc[START:], busy.position.to_numpy(), 100_000.0)
    np.testing.assert_allclose(busy.equity, expected, rtol=1e-9)
    assert len(busy.trades) > 50 and (busy.position < 0).any()


def test_everything_is_on_the_bars_from_the_first_decision_on(bars, busy):
    for series in (busy.equity, busy.position, busy.probability):
        assert series.index.equals(bars.index[START:])


def test_a_decision_fills_at_the_next_open(bars, probability, busy):
    fill = busy.fills.iloc[0]
    assert fill["filled_at"] == bars.index[fill["bar"]]
    assert fill["decided_at"] == bars.index[fill["bar"] - 1]
    assert fill["price"] == bars["open"].loc[fill["filled_at"]]
    assert fill["decided_at"] >= bars.index[START]


def test_the_probabilities_given_are_those_recorded(probability, busy):
    pd.testing.assert_series_equal(busy.probability, probability.iloc[START:], check_names=False)


@pytest.mark.parametrize(
    "costs", [Costs(10, 0, 0), Costs(0, 10, 0), Costs(0, 0, 10), Costs(4, 3, 3)]
)
def test_every_kind_of_cost_takes_its_basis_points_on_each_side(bars, costs):
    hold = simulate_hold(bars, START, costs=costs)
    trip = hold.trades.iloc[0]
    paid = trip["size"] * bars["open"].iloc[START + 1]
    assert trip["costs"] == pytest.approx(10e-4 * paid, rel=2e-3)


def test_slippage_is_paid_beyond_the_range_of_the_bar():
    bars = random_bars(60)
    bars["high"] = bars[["open", "close"]].max(axis=1)
    bars["low"] = bars[["open", "close"]].min(axis=1)
    falling = int(np.flatnonzero(bars["close"] < bars["open"])[5])  # its open is its high
    hold = simulate_hold(bars, falling - 1, costs=Costs(0, 0, 100))
    assert hold.fills["price"].iloc[0] == pytest.approx(1.01 * bars["open"].iloc[falling])


def test_what_the_trades_earned_is_what_the_equity_gained(bars, probability):
    done = simulate(
        bars, probability, START, account=Account(allow_short=True), costs=Costs(5, 5, 5)
    )
    assert done.trades["net"].sum() == pytest.approx(done.equity.iloc[-1] - 100_000.0)
    assert done.trades["costs"].sum() > 0


def test_buy_and_hold_buys_once(bars):
    hold = simulate_hold(bars, START)
    assert len(hold.fills) == 1 and len(hold.trades) == 1
    assert hold.position.iloc[0] == 0 and (hold.position.iloc[1:] > 0).all()


def test_no_position_is_held_where_there_is_no_model(bars):
    up = pd.Series(0.9, index=bars.index)
    done = simulate(bars, up, START, vacant=[range(250, 300)])
    held = pd.Series(done.position.to_numpy() > 0, index=range(START, len(bars)))
    assert held.loc[START + 1 : 250].all() and not held.loc[251:300].any() and held.loc[301:].all()
    assert done.probability.iloc[50:100].isna().all()


def test_nan_keeps_what_is_held(bars):
    probability = pd.Series(np.nan, index=bars.index)
    probability.iloc[250] = 0.9
    done = simulate(bars, probability, START)
    assert (done.position.iloc[:51] == 0).all() and (done.position.iloc[51:] > 0).all()


def test_an_order_of_the_last_bar_is_said_to_be_unfilled(bars):
    probability = pd.Series(0.1, index=bars.index)
    probability.iloc[-1] = 0.9
    done = simulate(bars, probability, START)
    assert done.refused["unfilled at end"] == 1 and done.fills.empty


@pytest.fixture(scope="module")
def folder(bars, tmp_path_factory):
    """A schedule of two models, the second from bar 300 on."""
    path = tmp_path_factory.mktemp("schedule")
    for seed, position in enumerate((START, 300)):
        random_checkpoint(bars, bars.index[position], seed=seed).save(path / f"{position}.ckpt")
    return path


def test_a_folder_is_traded_in_one_run_over_the_border(bars, folder):
    done = simulate(bars, folder, START)
    models = [
        random_checkpoint(bars, bars.index[position], seed=seed)
        for seed, position in enumerate((START, 300))
    ]
    expected = pd.concat(
        [
            models[0].probabilities(bars).loc[bars.index[START] : bars.index[299]],
            models[1].probabilities(bars).loc[bars.index[300] :],
        ]
    )
    np.testing.assert_allclose(done.probability, expected, atol=1e-6)


def test_a_position_is_carried_over_the_border(bars, folder):
    done = simulate(bars, folder, START, account=Account(enter=0.5, exit=0.5))
    decided_long = done.probability.shift(1) >= 0.5
    assert ((done.position > 0) == decided_long).iloc[1:].all()


def test_an_order_waits_over_bars_that_repeat_others():
    bars = filled_forward(clean(1, 400))
    up = np.random.default_rng(2).random(len(bars)) < 0.5
    run = simulate(bars, pd.Series(1.0 * up, index=bars.index), 5, account=Account(), costs=Costs())
    filled = bars.index.get_indexer(run.fills["filled_at"])
    assert len(filled) > 40 and not repeated_rows(bars)[filled].any()
    assert (run.fills["quote"].to_numpy() == bars["open"].to_numpy()[filled]).all()
