"""How large a position is: the one owner of size, and commission for units that can be divided."""
import backtrader as bt

from strategy_plugin.sizing import units_of, varying_share


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
        worth = data.close[0] * comminfo.p.mult
        return units_of(share, equity=self.broker.getvalue(), traded=traded, worth=worth, fractional=self.p.fractional)


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
        kept = len(data.close.array)
        if kept <= self.p.window:
            raise ValueError(f"`window` must be below the bars that the host keeps, got {self.p.window} and {kept}. "
                             "Leave exactbars=1 out, or give a shorter window.")
        closes = data.close.get(size=self.p.window + 1)
        return self._units(comminfo, data, varying_share(self.p.share, self.p.volatility, closes))


def formula(sizer: bt.Sizer) -> dict[str, float] | None:
    """Return what the units are computed from beside the account, where that is all there is: of EquityShare alone."""
    return {"share": sizer.p.share, "fractional": sizer.p.fractional} if type(sizer) is EquityShare else None
