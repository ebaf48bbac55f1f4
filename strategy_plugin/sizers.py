"""How large a position is: sizers for Backtrader, and their arithmetic as pure functions."""

import math
from collections.abc import Sequence
from typing import TypedDict

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from strategy_plugin.feeds import Feed


class FractionalCommission(bt.CommissionInfo):  # type: ignore[misc]
    """A commission scheme whose sizes need not be whole, for `order_target_percent` and its kin.

    Backtrader's own rounds down to whole units: a price above the cash then gives no order and
    no notice.

    Params:
      - commission, mult, margin, leverage and all others: those of Backtrader's CommissionInfo;
        here commission is a fraction of the value traded (0.001 is 0.1 %) unless there is a margin

    Example::

        cerebro.broker.addcommissioninfo(FractionalCommission(commission=0.001))
    """

    def getsize(self, price: float, cash: float) -> float:
        """Return the units that the cash buys.

        Parameters
        ----------
        price
            Money a unit costs.
        cash
            Money there is.

        Returns
        -------
        float
            With leverage, and not rounded.
        """
        unit = price if self.stocklike else self.get_margin(price)
        return float(self.p.leverage * cash / unit)


class EquityShare(bt.Sizer):  # type: ignore[misc]
    """A share of the account's equity, divided evenly among the datas that the strategy trades.

    Params:
      - share: the rest stays in cash, so that commission and an opening gap lose no order
      - fractional: False rounds down to whole units

    Example::

        cerebro.addsizer(EquityShare, share=0.5)
    """

    params = (("share", 0.95), ("fractional", True))

    def __init__(self) -> None:
        if not self.p.share > 0:  # NaN as well
            raise ValueError(f"`share` must be above 0, got {self.p.share}.")

    def _getsizing(self, comminfo: bt.CommInfoBase, cash: float, data: Feed, isbuy: bool) -> float:
        """Return the units of a whole position, opened from nothing."""
        return units_of(
            self._share(comminfo, data, isbuy),
            equity=self.broker.getvalue(),
            traded=len(getattr(self.strategy, "traded", self.strategy.datas)),
            worth=data.close[0] * comminfo.p.mult,
            fractional=self.p.fractional,
        )

    def _share(self, comminfo: bt.CommInfoBase, data: Feed, isbuy: bool) -> float:
        """Return the share of the equity for all positions together; what other sizers change."""
        return float(self.p.share)


class VolatilityTarget(EquityShare):
    """As much of the equity as makes the account vary by a given amount a bar.

    It is at most `share` of it.

    Params:
      - volatility: standard deviation of the account's return a bar, while a position is held
        (0.01 is 1 %)
      - window: bars whose close-to-close returns tell how much the market varies; no size before
        there are so many
      - share: the most of the equity that all positions together take; the rest stays in cash
      - fractional: False rounds down to whole units

    Example::

        cerebro.addsizer(VolatilityTarget, volatility=0.005)
    """

    # Backtrader adds the parent's params.
    params = (("volatility", 0.01), ("window", 20))  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        if not (self.p.volatility > 0 and self.p.window >= 2):
            raise ValueError(
                "`volatility` must be above 0 and `window` at least 2, got "
                f"volatility={self.p.volatility} and window={self.p.window}."
            )

    def _share(self, comminfo: bt.CommInfoBase, data: Feed, isbuy: bool) -> float:
        return varying_share(self.p.share, self.p.volatility, last_closes(data, self.p.window))


class CappedKelly(EquityShare):
    """As much of the equity as the probability is worth after costs.

    It is a fraction of Kelly's share and at most `share`.

    Formula:
      - f = fraction * ((2 p - 1) m - 2 c / holding) / v, where p is the probability that the
        direction is right, m the mean size and v the mean square of the last `window`
        close-to-close returns, and c what a side of a trade costs
      - below 0 nothing: a position that is not expected to earn its costs is not opened
      - Kelly (1956); mean over variance: Thorp, The Kelly criterion in blackjack, sports betting
        and the stock market (2006)

    Without leverage Kelly's share is nearly always above 1, so that `share` decides how large and
    the costs decide whether.

    Params:
      - fraction: of Kelly's share; a half gives up a quarter of the growth for half of the swings
      - window: bars whose returns tell how much the market moves; no size before there are so many
      - holding: bars for which a position is kept, so that it pays its costs but once in so many;
        1: at once
      - cost: what a side costs beside commission, as a fraction of its value; None takes the
        broker's slippage
      - share: the most of the equity that all positions together take; the rest stays in cash
      - fractional: False rounds down to whole units

    Example::

        cerebro.addsizer(CappedKelly, fraction=0.25, holding=10)
    """

    # Backtrader adds the parent's params.
    params = (  # type: ignore[assignment]
        ("fraction", 0.5),
        ("window", 20),
        ("holding", 5),
        ("cost", None),
    )

    def __init__(self) -> None:
        super().__init__()
        p = self.p
        if not (p.fraction > 0 and p.window >= 2 and p.holding >= 1 and (p.cost or 0) >= 0):
            raise ValueError(
                "`fraction` must be above 0, `window` at least 2, `holding` at least 1 and `cost` "
                f"at least 0 or None, got fraction={p.fraction}, window={p.window}, "
                f"holding={p.holding} and cost={p.cost}."
            )

    def _share(self, comminfo: bt.CommInfoBase, data: Feed, isbuy: bool) -> float:
        closes = last_closes(data, self.p.window)
        if not len(closes):
            return 0.0
        up, price = self._probability(data), data.close[0]
        slippage = getattr(self.broker.p, "slip_perc", 0.0) if self.p.cost is None else self.p.cost
        side = float(comminfo.getcommission(1.0, price) / (price * comminfo.p.mult) + slippage)
        # A short earns where "up" does not come true. Both sides are paid once in `holding` bars.
        kelly = kelly_share(up if isbuy else 1 - up, 2 * side / self.p.holding, closes)
        return float(min(self.p.share, self.p.fraction * kelly))

    def _probability(self, data: Feed) -> float:
        """Return the probability of "up" that the strategy reads on this data.

        A strategy needs a `probability_of(data)`, an attribute `probability` or a data with a line
        of that name; they are asked in this order.
        """
        ask = getattr(self.strategy, "probability_of", None)
        probability: float | None = ask(data) if ask is not None else None
        if probability is not None:
            return probability
        # Not `or`: a line of Backtrader is false where its value is 0.
        source = getattr(self.strategy, "probability", None)
        line = getattr(data if source is None else source, "probability", None)
        if line is None:
            raise ValueError(
                "CappedKelly must know a probability, got none from "
                f"{type(self.strategy).__name__}. Let it have an attribute `probability`, a "
                "DirectionProbability, or its data a line of that name."
            )
        return float(line[0])


class ShareParams(TypedDict):
    """The params of an EquityShare, as a journal keeps them."""

    share: float
    fractional: bool


def share_params(sizer: bt.Sizer) -> ShareParams | None:
    """Return the params by which `units_of` alone gives a sizer's units: those of EquityShare.

    None for any other sizer, whose units depend on more than the account.
    """
    if type(sizer) is not EquityShare:
        return None
    return {"share": sizer.p.share, "fractional": sizer.p.fractional}


def last_closes(data: Feed, window: int) -> Sequence[float]:
    """Return the closes of the last `window` moves, none before there are so many.

    ValueError where Backtrader does not keep so many.
    """
    if len(data) <= window:
        return []
    kept = len(data.close.array)
    if kept <= window:
        raise ValueError(
            f"`window` must be below the bars that the host keeps, got {window} and {kept}. "
            "Leave exactbars=1 out, or give a shorter window."
        )
    return data.close.get(size=window + 1)


def units_of(share: float, *, equity: float, traded: int, worth: float, fractional: bool) -> float:
    """Return the units that an even part of a share of the equity buys.

    0 where a figure is missing or makes no sense. traded: instruments that share the equity.
    worth: money a unit stands for.
    """
    if not worth > 0:  # NaN as well: a bar at fault buys nothing
        return 0.0
    units = share * equity / traded / worth
    if not 0 < units < math.inf:
        return 0.0
    return units if fractional else float(math.floor(units))


def varying_share(share: float, volatility: float, closes: Sequence[float]) -> float:
    """Return at most `share`, less where the closes vary by more than `volatility` a bar.

    0 where that cannot be told.
    """
    returns = _log_returns(closes)
    if not len(returns):
        return 0.0
    varies = float(np.std(returns))
    return min(share, volatility / varies) if varies > 0 else share


def kelly_share(probability: float, cost: float, closes: Sequence[float]) -> float:
    """Return Kelly's share of the equity, the mean net return a bar over its mean square.

    0 where it is not above 0. probability: that the direction is right. cost: a fraction a bar.
    The mean size and the mean square of a move are those of the closes. Sources: Kelly (1956);
    Thorp, The Kelly criterion in blackjack, sports betting and the stock market (2006).
    """
    returns = _log_returns(closes)
    if not len(returns):
        return 0.0
    square = float(np.mean(returns**2))
    earned = (2 * probability - 1) * float(np.mean(np.abs(returns))) - cost
    # NaN fails too: what is not known is not worth a position.
    return earned / square if earned > 0 and square > 0 else 0.0


def _log_returns(closes: Sequence[float]) -> NDArray[np.float64]:
    prices = np.array(closes, dtype=np.float64)
    if not ((prices > 0) & np.isfinite(prices)).all():
        return np.array([])  # one of the closes is no price
    return np.diff(np.log(prices))


def room_of(
    cap: float,
    *,
    equity: float,
    others: float,
    worth: float,
    share: float = math.inf,
    cost: float = 0.0,
) -> float:
    """Return the units that may be held beside the other positions.

    All together stay within the cap on exposure over equity and within the sizer's share of it.
    Without leverage they leave the money that pays for the opening, too: of a position that takes
    all the cash the order is refused.

    others, worth: money that the other positions and one unit stand for. cost: commission and
    slippage, in money, of an opening with all the equity that the others leave.
    """
    if not worth > 0:  # NaN as well
        return 0.0
    most = min(cap, share)
    # Beyond the equity itself it is the margin that decides, and only the broker knows it.
    money = min(most * equity, equity - cost if most <= 1 else math.inf) - others
    return max(0.0, money / worth)
