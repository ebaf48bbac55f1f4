"""How large a position is: the one owner of size, and commission for units that can be divided."""
import math

import backtrader as bt
import numpy as np


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

    def _getsizing(self, comminfo: bt.CommInfoBase, cash: float, data: bt.feed.AbstractDataBase, isbuy: bool) -> float:
        """Return the units of a whole position, opened from nothing."""
        return self._units(comminfo, data, self.p.share)

    def _units(self, comminfo: bt.CommInfoBase, data: bt.feed.AbstractDataBase, share: float) -> float:
        traded = len(getattr(self.strategy, "traded", self.strategy.datas))
        units = share * self.broker.getvalue() / traded / (data.close[0] * comminfo.p.mult)
        if not 0 < units < math.inf:
            return 0.0
        return units if self.p.fractional else float(math.floor(units))


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
            raise ValueError("`volatility` must be above 0 and `window` at least 2, got "
                             f"volatility={self.p.volatility} and window={self.p.window}.")

    def _getsizing(self, comminfo: bt.CommInfoBase, cash: float, data: bt.feed.AbstractDataBase, isbuy: bool) -> float:
        """Return the units of a whole position, opened from nothing."""
        if len(data) <= self.p.window:
            return 0.0
        closes = np.array(data.close.get(size=self.p.window + 1))
        varies = float(np.std(np.diff(np.log(closes))))
        return self._units(comminfo, data, min(self.p.share, self.p.volatility / varies) if varies > 0 else self.p.share)
