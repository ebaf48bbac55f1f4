"""The barrier label: what became of a long trade with take profit, stop loss and a last bar.

Source of the idea: Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 3. The
trade is that of `BiLSTMStrategy(exit_by="barrier")`, fill by fill.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.labels.distances import average_true_ranges, distance
from model.settings import Rule, number, require

BASIS_POINT = 1e-4
SHORTEST = 2  # bars of a trade: levels work from the bar after the fill
COST = Rule("a number of basis points from 0, below 10000", number(0, below=1e4).holds)


@dataclass(frozen=True)
class Barrier:
    """Where a trade ends before its last bar, and what it costs.

    Parameters
    ----------
    stop_loss, take_profit
        "" or a distance from the entry like "3%" or "2atr", as the strategy's; one of them at
        least.
    commission
        The broker's, per side, in basis points of the trade's value.
    slippage
        How much worse than quoted an order fills, spread included, in basis points; one that fills
        at its take profit pays none.

    Raises
    ------
    ValueError
        For other words, without a level, and for costs that cannot be.

    Examples
    --------
    >>> Barrier()
    Traceback (most recent call last):
    ValueError: `take_profit` or `stop_loss` must be given with label='barrier', as '3%' or '2atr'.
    """

    stop_loss: str = ""
    take_profit: str = ""
    commission: float = 0.0
    slippage: float = 0.0

    def __post_init__(self) -> None:
        require(vars(self), {"commission": COST, "slippage": COST})
        levels = [distance(name, getattr(self, name)) for name in ("stop_loss", "take_profit")]
        if not any(levels):
            raise ValueError(
                "`take_profit` or `stop_loss` must be given with label='barrier', as '3%' or "
                "'2atr'."
            )


class Trades(NamedTuple):
    """The long trade of each decision, by the bar at whose close it falls: (n,) each.

    end: the position of the bar on which the trade ends, n where it is not over. exit: the price
    before slippage, NaN where it is not over. gain: what the trade earns after costs, as a fraction
    of what it took. ambiguous: whether its last bar reaches both levels.
    """

    end: NDArray[np.int64]
    exit: NDArray[np.float64]
    gain: NDArray[np.float64]
    ambiguous: NDArray[np.bool_]


def barrier_trades(bars: pd.DataFrame, barrier: Barrier, horizon: int) -> Trades:
    """Return what became of a long trade opened after each bar.

    It fills at the next open. At the close of the bar of the fill the levels are placed, with the
    average true range as of that bar, and work from the next bar on. A bar that opens beyond a
    level ends the trade at its open, one that reaches it at the level. What is still held at the
    close of the `horizon`-th bar, that of the fill being the first, is closed at the next open.

    Parameters
    ----------
    bars
        Columns open, high, low and close: (n,).
    barrier
        The levels, and what the trade costs.
    horizon
        Bars for which the position is held at the most, from 2.

    Returns
    -------
    Trades
        Where one bar reaches both levels, Backtrader takes the stop, as that order was sent first:
        so do these, and say so. A trade whose true range is not known is never over.

    Examples
    --------
    >>> bars = pd.DataFrame({"open": [9.0, 10, 10, 10], "high": [9.0, 10, 13, 10],
    ...                      "low": [9.0, 10, 10, 10], "close": [9.0, 10, 10, 10]})
    >>> trades = barrier_trades(bars, Barrier(take_profit="20%"), horizon=5)
    >>> trades.end.tolist(), float(trades.exit[0])
    ([2, 4, 4, 4], 12.0)
    """
    opens, highs, lows = (bars[name].to_numpy(np.float64) for name in ("open", "high", "low"))
    count, slip, fee = len(bars), barrier.slippage * BASIS_POINT, barrier.commission * BASIS_POINT
    entry = _next(opens) * (1 + slip)
    stop, take = _levels(bars, barrier, entry)
    end, exit, ambiguous = np.full(count, count), np.full(count, np.nan), np.zeros(count, bool)
    paid = exit.copy()  # the price after slippage
    held = np.flatnonzero(np.isfinite(entry) & ~np.isnan(stop) & ~np.isnan(take))
    for step in range(SHORTEST, horizon + 1):
        held = held[held + step < count]
        at = held + step
        stopped, taken = lows[at] <= stop[held], highs[at] >= take[held]
        over = stopped | taken
        ended, stopped, last = held[over], stopped[over], at[over]
        opened, floor, roof = opens[last], stop[ended], take[ended]
        price = np.where(stopped, np.minimum(opened, floor), np.maximum(opened, roof))
        end[ended], exit[ended], ambiguous[ended] = last, price, stopped & taken[over]
        # Whoever waits at a limit is paid the limit; all other orders pay for being filled.
        paid[ended] = price * np.where(stopped | (opened >= roof), 1 - slip, 1)
        held = held[~over]
    held = held[held + horizon + 1 < count]
    end[held] = held + horizon + 1
    exit[held] = opens[end[held]]
    paid[held] = exit[held] * (1 - slip)
    gain = paid * (1 - fee) / (entry * (1 + fee)) - 1
    return Trades(end, exit, gain, ambiguous)


def _next(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(values, np.nan)[1:]


def _levels(
    bars: pd.DataFrame, barrier: Barrier, entry: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the prices at which each trade stops, and takes its profit: (n,), (n,).

    Beyond all prices where there is no such level, NaN where a true range is not known.
    """
    stop_loss = distance("stop_loss", barrier.stop_loss)
    take_profit = distance("take_profit", barrier.take_profit)
    atr = np.full(len(bars), np.nan)
    # It takes a second of a million bars.
    if any(one and one.unit == "atr" for one in (stop_loss, take_profit)):
        atr = _next(average_true_ranges(bars))  # as of the bar of the fill
    none = np.full(len(bars), np.inf)
    return (
        -none if stop_loss is None else entry - stop_loss.in_price(entry, atr),
        none if take_profit is None else entry + take_profit.in_price(entry, atr),
    )
