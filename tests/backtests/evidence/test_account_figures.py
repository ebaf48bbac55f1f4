"""What the owner of an account asks: figures by hand."""

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.account_figures import (
    account_figures,
    longest_under_water,
    trade_figures,
)


def test_a_year_that_doubles_and_one_that_halves_make_nothing_a_year() -> None:
    figures = account_figures(np.array([1.0, 2.0, 1.0]), bars_per_year=1)
    assert figures.return_a_year == 0.0 and figures.max_drawdown == -0.5
    # Returns of 1 and -.5 lie .75 from their mean; of two the sample deviation is 2**.5 of that.
    assert figures.volatility == pytest.approx(0.75 * 2**0.5) and figures.longest_under_water == 1


def test_the_rate_is_compound_and_the_volatility_annual() -> None:
    figures = account_figures(1.01 ** np.arange(13), bars_per_year=4)
    assert figures.return_a_year == pytest.approx(1.01**4 - 1)
    assert figures.volatility == pytest.approx(0, abs=1e-12)
    assert account_figures(np.array([1.0, 1.1, 1.0]), 100).volatility == pytest.approx(
        10 * np.std([0.1, 1 / 1.1 - 1], ddof=1)
    )


@pytest.mark.parametrize("equity, years, rate", [([1.0, 0.5, 0.0], 1, -1.0), ([1.0], 1, 0.0)])
def test_an_account_that_lost_all_or_did_nothing_has_a_rate(
    equity: list[float], years: float, rate: float
) -> None:
    assert account_figures(np.array(equity), years).return_a_year == rate


def test_mean_over_volatility_is_the_sharpe_ratio() -> None:
    equity = np.cumprod(1 + np.random.default_rng(3).normal(0.001, 0.01, 30))
    figures = account_figures(equity, 252)
    mean = np.mean(np.diff(equity) / equity[:-1])
    assert figures.sharpe == pytest.approx(252 * mean / figures.volatility)


def test_a_rate_that_no_number_holds_is_none() -> None:
    """Minutes that more than doubled: the rate of a year has over 300 digits."""
    assert account_figures(np.linspace(1.0, 2.2, 501), 525_600).return_a_year is None


@pytest.mark.parametrize(
    "equity, bars",
    [
        ([1, 2, 3], 0),
        ([3, 2, 1], 2),  # it has not ended
        ([1, 3, 2, 2, 3, 2, 4], 2),
        ([2, 1, 2, 1, 1, 1], 3),
        ([1, 1, 1], 0),
    ],
)
def test_the_longest_time_under_water(equity: list[float], bars: int) -> None:
    assert longest_under_water(np.array(equity, dtype=float)) == bars


def test_trades_by_hand() -> None:
    trades = pd.DataFrame(
        {"net": [5.0, -2.0, 3.0], "return": [0.05, -0.02, 0.03], "bars": [1, 4, 7]}
    )
    fills = pd.DataFrame({"size": [1.0, -1.0, 2.0, -2.0], "price": [100.0, 105.0, 50.0, 49.0]})
    found = trade_figures(trades, fills, np.full(11, 100.0), bars_per_year=5)
    assert (found.trades, found.holding) == (3, 4.0)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert (found.mean_win, found.mean_loss) == (pytest.approx(0.04), -0.02)
    # 403 of value in two years, on an account of 100.
    assert found.turnover_a_year == pytest.approx(403 / 100 / 2)


def test_of_no_trades_nothing_is_known() -> None:
    none = pd.DataFrame({"net": [], "return": [], "bars": []})
    found = trade_figures(none, pd.DataFrame({"size": [], "price": []}), np.ones(10), 5)
    assert (found.trades, found.turnover_a_year) == (0, 0.0)
    assert (found.hit_rate, found.mean_win, found.mean_loss, found.holding) == (None,) * 4
