"""What the account did over time: its value beside buy-and-hold bar by bar, by month and year, and how often which return came."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from backtests.simulation import Simulation
from model.metrics import bar_returns, drawdown

BINS = 61  # odd, so that one lies around 0
TAIL = 0.001  # of buy-and-hold's returns at either end, where no bins are
FEWEST_ROLLED, MOST_ROLLED = (
    20,
    0.25,
)  # bars of the rolling Sharpe ratio, and the share of all bars that they may be


def equity_table(strategy: Simulation, hold: Simulation, bars_per_year: float) -> pd.DataFrame:
    """Return both accounts at every close from the first decision on; what is undefined is missing."""
    ours, theirs = strategy.equity, hold.equity
    bars = rolled_bars(len(ours), bars_per_year)
    return pd.DataFrame(
        {
            "equity": ours,
            "drawdown": drawdown(ours.to_numpy()),
            "buy_and_hold": theirs,
            "position": strategy.position,
            "probability": strategy.probability,
            "hold_drawdown": drawdown(theirs.to_numpy()),
            "rolling_sharpe": _rolling_sharpe(ours, bars, bars_per_year),
            "hold_rolling_sharpe": _rolling_sharpe(theirs, bars, bars_per_year),
        }
    )


def rolled_bars(n_bars: int, bars_per_year: float) -> int:
    """Return over how many bars the rolling Sharpe ratio is taken: half a year, of short series less."""
    return max(FEWEST_ROLLED, min(round(bars_per_year / 2), int(MOST_ROLLED * n_bars)))


def _rolling_sharpe(equity: pd.Series, bars: int, bars_per_year: float) -> pd.Series:
    returns = equity.pct_change().rolling(bars)
    ratio: pd.Series = returns.mean() / returns.std().replace(0.0, np.nan) * np.sqrt(bars_per_year)
    return ratio


def month_table(equity: pd.DataFrame) -> pd.DataFrame:
    """Return what both accounts gained in each month: columns year, month, return and hold_return."""
    return _gains(
        equity, {"year": lambda stamps: stamps.year, "month": lambda stamps: stamps.month}
    )


def year_table(equity: pd.DataFrame) -> pd.DataFrame:
    """Return what both accounts gained in each year: columns year, return and hold_return."""
    return _gains(equity, {"year": lambda stamps: stamps.year})


def _gains(
    equity: pd.DataFrame, parts: dict[str, Callable[[pd.DatetimeIndex], pd.Index]]
) -> pd.DataFrame:
    stamps, money = pd.DatetimeIndex(equity.index), equity[["equity", "buy_and_hold"]]
    ends = money.groupby([part(stamps).rename(name) for name, part in parts.items()]).last()
    gains = ends / ends.shift().fillna(money.iloc[0]) - 1
    return gains.set_axis(["return", "hold_return"], axis=1).reset_index()


def distribution_table(equity: pd.DataFrame) -> pd.DataFrame:
    """Return how often a bar's return lay between two ends: the shares of all bars of buy-and-hold's, and of the strategy's those
    of the bars on which it held a position."""
    theirs, ours = (bar_returns(equity[column].to_numpy()) for column in ("buy_and_hold", "equity"))
    holds = equity["position"].to_numpy() != 0
    span = float(np.abs(np.quantile(theirs, (TAIL, 1 - TAIL))).max()) or 0.01
    edges = np.linspace(-span, span, BINS + 1)
    return pd.DataFrame(
        {
            "from": edges[:-1],
            "to": edges[1:],
            "buy_and_hold": _shares(theirs, edges),
            "strategy": _shares(ours[holds[1:] | holds[:-1]], edges),
        }
    )


def _shares(returns: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(returns, edges)[0] / max(1, len(returns))
