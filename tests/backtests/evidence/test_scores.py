import numpy as np
import pandas as pd
import pytest

from backtests.evidence.scores import (
    distribution_table,
    equity_table,
    forecast_scores,
    gain_table,
    rolled_bars,
)
from backtests.simulation.broker import Simulation

TIMESTAMPS = pd.date_range("2020-11-30", periods=100, freq="D", name="date")


def simulation(returns, held):
    equity = pd.Series(100 * np.cumprod([1, *np.add(returns, 1)]), index=TIMESTAMPS)
    position = pd.Series(np.broadcast_to(held, len(TIMESTAMPS)).astype(float), index=TIMESTAMPS)
    return Simulation(equity, position, position * np.nan, pd.DataFrame(), pd.DataFrame(), {})


@pytest.fixture(scope="module")
def equity():
    """The strategy holds the market on the first fifty bars."""
    moves = np.random.default_rng(3).normal(0, 0.01, 99)
    holds = np.arange(99) < 50
    return equity_table(simulation(moves * holds, np.arange(100) < 50), simulation(moves, 1), 252)


@pytest.mark.parametrize(
    "n_bars, bars_per_year, bars", [(2000, 252, 126), (200, 252, 50), (40, 252, 20)]
)
def test_half_a_year_is_rolled_or_a_quarter_of_a_short_run(n_bars, bars_per_year, bars):
    assert rolled_bars(n_bars, bars_per_year) == bars


def test_a_rolling_ratio_is_that_of_the_last_bars(equity):
    returns = equity["buy_and_hold"].pct_change()[-25:]
    assert equity["hold_rolling_sharpe"].iloc[-1] == pytest.approx(
        returns.mean() / returns.std() * np.sqrt(252)
    )
    # Flat throughout: undefined.
    assert equity["rolling_sharpe"].iloc[-1] != equity["rolling_sharpe"].iloc[-1]


@pytest.mark.parametrize(
    "periods, parts",
    [
        (("year", "month"), ["2020-11", "2020-12", "2021-01", "2021-02", "2021-03"]),
        (("year",), ["2020", "2021"]),
    ],
)
def test_the_parts_of_time_multiply_to_the_whole(equity, periods, parts):
    gains = gain_table(equity, *periods)
    assert len(gains) == len(parts)
    for column, account in (("return", "equity"), ("hold_return", "buy_and_hold")):
        assert np.prod(1 + gains[column]) == pytest.approx(
            equity[account].iloc[-1] / equity[account].iloc[0]
        )
    inside = equity.loc[parts[1], "equity"].iloc[-1] / equity.loc[parts[0], "equity"].iloc[-1] - 1
    assert gains["return"].iloc[1] == pytest.approx(inside)


def test_the_strategy_s_returns_are_those_of_the_bars_that_it_held(equity):
    table = distribution_table(equity)
    assert table["buy_and_hold"].sum() == pytest.approx(98 / 99)  # all but the furthest from 0
    middle = table[(table["from"] < 0) & (table["to"] > 0)]
    assert len(middle) == 1 and middle["from"].item() == pytest.approx(-middle["to"].item())
    assert middle["strategy"].item() < 0.2  # the idle bars are not there


def test_an_account_that_never_held_has_no_returns():
    flat = simulation(np.zeros(99), 0)
    table = distribution_table(equity_table(flat, flat, 252))
    assert table["strategy"].eq(0).all() and table["buy_and_hold"].sum() == 1


def test_only_known_labels_with_a_probability_are_scored():
    predictions = pd.DataFrame(
        {"probability": [0.9, np.nan, 0.2, 0.6], "label": [1.0, 1.0, 0.0, np.nan]}
    )
    scores = forecast_scores(predictions)
    assert (scores["windows"], scores["auc"], scores["accuracy"]) == (2, 1, 1)


def test_nothing_to_score_is_no_score():
    scores = forecast_scores(pd.DataFrame({"probability": [np.nan], "label": [1.0]}))
    assert scores["windows"] == 0 and scores["auc"] is None
