"""The arithmetic of size: units for a share of the account, and the room under a cap on exposure. Pure functions."""

import math
from collections.abc import Sequence

import backtrader as bt
import numpy as np
from numpy.typing import NDArray


def units_of(share: float, *, equity: float, traded: int, worth: float, fractional: bool) -> float:
    """Return the units that an even part of a share of the equity buys; 0 where a figure is missing or makes no sense."""
    if not worth > 0:
        return 0.0
    units = share * equity / traded / worth
    if not 0 < units < math.inf:
        return 0.0
    return units if fractional else float(math.floor(units))


def varying_share(share: float, volatility: float, closes: Sequence[float]) -> float:
    """Return at most `share`, less where the closes vary by more than `volatility` a bar; 0 where that cannot be told."""
    moves = _moves(closes)
    if not len(moves):
        return 0.0
    varies = float(np.std(moves))
    return min(share, volatility / varies) if varies > 0 else share


def kelly_share(probability: float, cost: float, closes: Sequence[float]) -> float:
    """Return Kelly's share of the equity, the mean net return a bar over its mean square; 0 where it is not above 0.

    probability: that the direction is right. cost: a fraction a bar. The mean size and the mean square of a move are those
    of the closes. Sources: Kelly (1956); Thorp, The Kelly criterion in blackjack, sports betting and the stock market (2006).
    """
    moves = _moves(closes)
    if not len(moves):
        return 0.0
    square = float(np.mean(moves**2))
    earned = (2 * probability - 1) * float(np.mean(np.abs(moves))) - cost
    return (
        earned / square if earned > 0 and square > 0 else 0.0
    )  # NaN too: what is not known is not worth a position


def _moves(closes: Sequence[float]) -> NDArray[np.float64]:
    """Return the log returns from close to close; none where one of the closes is no price."""
    prices = np.array(closes, dtype=np.float64)
    return np.diff(np.log(prices)) if ((prices > 0) & np.isfinite(prices)).all() else np.array([])


def room_of(cap: float, *, equity: float, others: float, worth: float) -> float:
    """Return the units that a cap on exposure over equity leaves, where other positions have theirs."""
    return max(0.0, (cap * equity - others) / worth) if worth > 0 else 0.0


class FractionalCommission(bt.CommissionInfo):  # type: ignore[misc]
    """A commission scheme whose sizes need not be whole, for `order_target_percent` and its kin.

    Backtrader's own rounds down to whole units: a price above the cash then gives no order and no notice.
    """

    def getsize(self, price: float, cash: float) -> float:
        """Return the units that the cash buys."""
        unit = price if self.stocklike else self.get_margin(price)
        return float(self.p.leverage * cash / unit)


class EquityShare(bt.Sizer):  # type: ignore[misc]
    """A share of the account's equity, divided evenly among the datas that the strategy trades.

    Params:
      - share: the rest stays in cash, so that commission and an opening gap lose no order
      - fractional: False rounds down to whole units
    """

    params = (("share", 0.95), ("fractional", True))

    def __init__(self) -> None:
        if not 0 < self.p.share:
            raise ValueError(f"`share` must be above 0, got {self.p.share}.")

    def _getsizing(
        self, comminfo: bt.CommInfoBase, cash: float, data: bt.feed.AbstractDataBase, isbuy: bool
    ) -> float:
        """Return the units of a whole position, opened from nothing."""
        return self._units(comminfo, data, self.p.share)

    def _units(
        self, comminfo: bt.CommInfoBase, data: bt.feed.AbstractDataBase, share: float
    ) -> float:
        traded = len(getattr(self.strategy, "traded", self.strategy.datas))
        worth = data.close[0] * comminfo.p.mult
        return units_of(
            share,
            equity=self.broker.getvalue(),
            traded=traded,
            worth=worth,
            fractional=self.p.fractional,
        )


class VolatilityTarget(EquityShare):
    """As much of the equity as makes the account vary by a given amount a bar, and at most `share` of it.

    Params:
      - volatility: standard deviation of the account's return a bar, while a position is held (0.01 is 1 %)
      - window: bars whose close-to-close returns tell how much the market varies; no size before there are so many
    """

    params = (("volatility", 0.01), ("window", 20))  # type: ignore[assignment]  # the host adds the parent's

    def __init__(self) -> None:
        super().__init__()
        if not (0 < self.p.volatility and 2 <= self.p.window):
            raise ValueError(
                "`volatility` must be above 0 and `window` at least 2, got "
                f"volatility={self.p.volatility} and window={self.p.window}."
            )

    def _getsizing(
        self, comminfo: bt.CommInfoBase, cash: float, data: bt.feed.AbstractDataBase, isbuy: bool
    ) -> float:
        """Return the units of a whole position, opened from nothing."""
        if len(data) <= self.p.window:
            return 0.0
        return self._units(
            comminfo,
            data,
            varying_share(self.p.share, self.p.volatility, last_closes(data, self.p.window)),
        )


class CappedKelly(EquityShare):
    """As much of the equity as the probability is worth after costs, a fraction of Kelly's share and at most `share`.

    Formula:
      - f = fraction * ((2 p - 1) m - 2 c / holding) / v, where p is the probability that the direction is right, m the mean
        size and v the mean square of the last `window` close-to-close returns, and c what a side of a trade costs
      - below 0 nothing: a position that is not expected to earn its costs is not opened
      - Kelly (1956); mean over variance: Thorp, The Kelly criterion in blackjack, sports betting and the stock market (2006)

    Without leverage Kelly's share is nearly always above 1, so that `share` decides how large and the costs decide whether.

    Params:
      - fraction: of Kelly's share; a half gives up a quarter of the growth for half of the swings
      - window: bars whose returns tell how much the market moves; no size before there are so many
      - holding: bars for which a position is kept, so that it pays its costs but once in so many; 1: at once
      - cost: what a side costs beside commission, as a fraction of its value; None takes the broker's slippage
    """

    params = (("fraction", 0.5), ("window", 20), ("holding", 5), ("cost", None))  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        if not (
            0 < self.p.fraction
            and 2 <= self.p.window
            and 1 <= self.p.holding
            and (self.p.cost or 0) >= 0
        ):
            raise ValueError(
                "`fraction` must be above 0, `window` at least 2, `holding` at least 1 and `cost` at least 0 or None, "
                f"got fraction={self.p.fraction}, window={self.p.window}, holding={self.p.holding} and "
                f"cost={self.p.cost}."
            )

    def _getsizing(
        self, comminfo: bt.CommInfoBase, cash: float, data: bt.feed.AbstractDataBase, isbuy: bool
    ) -> float:
        """Return the units of a whole position, opened from nothing."""
        if len(data) <= self.p.window:
            return 0.0
        up = self._probability(data)
        cost = 2 * self._side_cost(comminfo, data) / self.p.holding
        wanted = kelly_share(up if isbuy else 1 - up, cost, last_closes(data, self.p.window))
        return self._units(comminfo, data, min(self.p.share, self.p.fraction * wanted))

    def _side_cost(self, comminfo: bt.CommInfoBase, data: bt.feed.AbstractDataBase) -> float:
        """Return what a side of a trade costs, as a fraction of its value."""
        price = data.close[0]
        other = getattr(self.broker.p, "slip_perc", 0.0) if self.p.cost is None else self.p.cost
        return float(comminfo.getcommission(1.0, price) / (price * comminfo.p.mult) + other)

    def _probability(self, data: bt.feed.AbstractDataBase) -> float:
        """Return the probability of "up" that the strategy reads on this data."""
        for lane in getattr(self.strategy, "lanes", ()):
            if lane.data is data:
                return float((lane.indicator or data).probability[lane.ago])
        source = getattr(self.strategy, "probability", None) or data
        if not hasattr(source, "probability"):
            raise ValueError(
                f"CappedKelly must know a probability, got none from {type(self.strategy).__name__}. Let it have an "
                "attribute `probability`, a DirectionProbability, or its data a line of that name."
            )
        return float(source.probability[0])


def last_closes(data: bt.feed.AbstractDataBase, window: int) -> Sequence[float]:
    """Return the closes of the last `window` moves; ValueError where the host does not keep so many."""
    kept = len(data.close.array)
    if kept <= window:
        raise ValueError(
            f"`window` must be below the bars that the host keeps, got {window} and {kept}. "
            "Leave exactbars=1 out, or give a shorter window."
        )
    closes: Sequence[float] = data.close.get(size=window + 1)
    return closes


def formula(sizer: bt.Sizer) -> dict[str, float] | None:
    """Return what the units are computed from beside the account, where that is all there is: of EquityShare alone."""
    return (
        {"share": sizer.p.share, "fractional": sizer.p.fractional}
        if type(sizer) is EquityShare
        else None
    )
