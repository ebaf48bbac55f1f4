"""A book's account in Backtrader equals one computed from arrays alone, day by day."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from strategy_plugin import BookStrategy
from tests.helpers.book_account import Costs, account, book_run, ragged_universe

UNIVERSE = ragged_universe()
DRAW = np.random.default_rng(7)
COSTS = Costs(DRAW.uniform(0, 0.002, len(UNIVERSE)), DRAW.uniform(0, 0.1, len(UNIVERSE)))


@pytest.mark.parametrize(
    ("book", "params"),
    [
        ({"n": 4}, {}),
        ({"n": 3, "keep": 2.0, "rebalance": 5}, {}),
        ({"n": 5, "gross": 1.6, "loss": 0.3}, {"delisting_loss": 0.3}),
        ({"n": 4, "patience": 2}, {}),
        ({"n": 4, "whole": True}, {"fractional": False}),
    ],
    ids=str,
)
def test_the_equity_is_that_of_an_independent_account(
    book: dict[str, Any], params: dict[str, Any]
) -> None:
    expected = account(UNIVERSE, COSTS, **book)
    shared = {name: value for name, value in book.items() if name not in ("n", "loss", "whole")}
    rules = {"long": book["n"], "short": book["n"], "keep": 1.0, "gross": 0.9} | shared
    strategy = book_run(UNIVERSE, COSTS, **rules, **params)
    rows = strategy.analyzers.watcher.rows.values()
    np.testing.assert_allclose([sizes for _, sizes in rows], expected.units, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose([equity for equity, _ in rows], expected.equity, rtol=1e-12)
    assert (np.diff(expected.units, axis=0) != 0).sum() > 300
    settled = sum(counts["settled"] for counts in strategy.refusals().values())
    assert settled == expected.settled
    assert settled > 1 or "rebalance" in book


def planted(seed: int, coefficient: float, names: int = 20, dates: int = 60) -> Any:
    """A universe whose scores are known to go with the move from the next open to the one after."""
    draw = np.random.default_rng(seed)
    known, noise = draw.normal(size=(2, names, dates))
    moves = 0.01 * (coefficient * known + np.sqrt(1 - coefficient**2) * noise)
    # The score at t is of the move from the open of t + 1.
    opens = 50 * np.exp(np.cumsum(np.roll(moves, 2, axis=1), axis=1))
    index = pd.bdate_range("2010-01-01", periods=dates)
    return {
        f"n{number:02d}": pd.DataFrame(
            dict.fromkeys(("open", "high", "low", "close"), opens[number])
            | {"volume": 1e6, "probability": 0.5 + 0.1 * np.tanh(known[number])},
            index=index,
        )
        for number in range(names)
    }


def test_a_forecast_of_known_skill_earns_the_sharpe_ratio_of_theory() -> None:
    n, coefficient, names = 4, 0.05, 20
    free = Costs(np.zeros(names), np.zeros(names))
    draws = np.sort(np.random.default_rng(0).normal(size=(20_000, names)), axis=1)
    # Grinold (1989): the coefficient times the mean score of either side, over their noise.
    expected = coefficient * draws[:, -n:].mean() * np.sqrt(2 * n)
    found = []
    for seed in range(20):
        universe = planted(seed, coefficient)
        strategy = book_run(universe, kind=BookStrategy, long=n, short=n, keep=1.0, gross=0.9)
        equity = np.array([equity for equity, _ in strategy.analyzers.watcher.rows.values()])
        returns = np.diff(equity)[2:] / equity[2:-1]
        found.append(returns.mean() / returns.std())
    # Lo (2002): the standard error of a Sharpe ratio over so many independent dates.
    error = np.sqrt((1 + expected**2 / 2) / (len(found) * len(returns)))
    assert abs(np.mean(found) - expected) < 2 * error < expected
    np.testing.assert_allclose(equity, account(universe, free, n=n).equity, rtol=1e-12)
