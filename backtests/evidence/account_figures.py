"""What the owner of an account asks: how much a year, how rough, how long under water, how often.

They are of the account by close, and stand beside those of what it is held against.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.simulation.vectorised import Array
from model.metrics import bar_returns, max_drawdown, sharpe, total_return

# What no figure knows; said wherever they are shown.
LEFT_OUT = (
    "Left out: cash earns no interest, shorts pay no borrow, dividends count only where the prices "
    "hold them, and a list made of today's instruments has lost those that went under."
)


@dataclass(frozen=True, kw_only=True)
class AccountFigures:
    """An account from its first decision on.

    Parameters
    ----------
    return_a_year
        Compound, a fraction; None where it passes every number, as of minutes that gained half.
    volatility
        Sample standard deviation of the returns per bar, as of the Sharpe ratio, annual, a
        fraction.
    sharpe
        Annual; None where returns do not vary.
    max_drawdown
        The deepest fall below the highest value so far, a fraction below 0.
    longest_under_water
        Bars of the longest time below the highest value so far; one that has not ended counts.
    """

    return_a_year: float | None
    volatility: float
    sharpe: float | None
    max_drawdown: float
    longest_under_water: int


@dataclass(frozen=True, kw_only=True)
class TradeFigures:
    """The round trips of an account; None where there is none of the kind.

    Parameters
    ----------
    hit_rate
        Share of the trades that earned more than they cost.
    mean_win, mean_loss
        Return of a trade, net over what was put in, of those that did and of the others.
    holding
        Bars from the fill that opened a trade to the one that closed it, in the mean.
    turnover_a_year
        Value bought and sold in a year, over the account's value in the mean.
    """

    trades: int
    hit_rate: float | None
    mean_win: float | None
    mean_loss: float | None
    holding: float | None
    turnover_a_year: float


def account_figures(equity: Array, bars_per_year: float) -> AccountFigures:
    """Return the figures of an account's value at each close: (n,), the first before any trade."""
    returns = bar_returns(equity)
    return AccountFigures(
        return_a_year=_return_a_year(equity, len(returns) / bars_per_year),
        volatility=float(returns.std(ddof=1)) * bars_per_year**0.5 if len(returns) > 1 else 0.0,
        sharpe=sharpe(returns, bars_per_year),
        max_drawdown=max_drawdown(equity),
        longest_under_water=longest_under_water(equity),
    )


def _return_a_year(equity: Array, years: float) -> float | None:
    growth = 1 + total_return(equity)
    if not years:
        return 0.0
    if growth <= 0:
        return -1.0  # what has lost all has no rate at which it might have shrunk
    try:
        return float(growth ** (1 / years)) - 1
    except OverflowError:
        return None


def longest_under_water(equity: Array) -> int:
    """Return the bars of the longest time below the highest value so far.

    >>> longest_under_water(np.array([1.0, 1.2, 1.1, 1.0, 1.2, 1.3, 1.2]))
    2
    """
    at_top = np.flatnonzero(equity >= np.maximum.accumulate(equity))
    # Of a time that has not ended, the end of the account is its last bar.
    return int((np.diff(np.append(at_top, len(equity))) - 1).max(initial=0))


def trade_figures(
    trades: pd.DataFrame, fills: pd.DataFrame, equity: Array, bars_per_year: float
) -> TradeFigures:
    """Return the figures of round trips, of fills and of the account they were made in.

    trades, fills: of a `Simulation`. equity: (n,). A trade that is open at the end counts at the
    last close.
    """
    earned, won = trades["return"].to_numpy(float), trades["net"].to_numpy(float) > 0
    years = max(1, len(equity) - 1) / bars_per_year
    traded = float((fills["size"].abs() * fills["price"]).sum())

    def mean(values: Array) -> float | None:
        return float(values.mean()) if len(values) else None

    return TradeFigures(
        trades=len(trades),
        hit_rate=mean(won.astype(float)),
        mean_win=mean(earned[won]),
        mean_loss=mean(earned[~won]),
        holding=mean(trades["bars"].to_numpy(float)),
        turnover_a_year=traded / float(equity.mean()) / years,
    )
