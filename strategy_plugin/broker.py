"""Backtrader's broker as the desk of one data sees it: the position, the sizer's units, the room under the cap, orders."""

import math
from typing import Any

import backtrader as bt

from strategy_plugin.guard import bar_fault
from strategy_plugin.orders import AverageTrueRange, Order, Stops, direction
from strategy_plugin.sizers import room_of


class BrokerVenue:
    """One data of a BiLSTMStrategy at its broker. facts: what this bar's orders were computed from."""

    def __init__(self, strategy: Any, data: Any, name: str) -> None:
        self._strategy, self._data, self.name = strategy, data, name
        self._atr = AverageTrueRange()
        self.facts: dict[str, float] = {}

    @property
    def size(self) -> float:
        return float(self._strategy.getposition(self._data).size)

    def observe(self, ago: int) -> None:
        """Take a bar that is complete; one at fault says nothing about how far prices range."""
        self.facts = {}
        data = self._data
        bar = (data.open[ago], data.high[ago], data.low[ago], data.close[ago], 0.0)
        if not bar_fault(bar):
            self._atr.update(*bar[1:4])

    def units(self, direction: int) -> float:
        self.facts["units"] = float(self._strategy.getsizing(self._data, isbuy=direction > 0))
        return self.facts["units"]

    def room(self) -> float:
        """Return the units that the cap on exposure leaves for this data."""
        strategy = self._strategy
        others = sum(
            exposure(strategy, lane) for lane in strategy.lanes if lane.data is not self._data
        )
        account = {
            "equity": float(strategy.broker.getvalue()),
            "others": float(others),
            "worth": worth(strategy, self._data),
        }
        self.facts |= account
        return room_of(strategy.p.max_exposure, **account)

    def market(self, size: float) -> Order | None:
        return self._send(size)

    def protect(self, protection: Stops) -> list[Order]:
        """Send a stop and a limit order for the whole position, of which one filled cancels the other; none without a price."""
        position, atr = self._strategy.getposition(self._data), self._atr.value
        price, side = float(position.price), direction(position.size)
        away = [part.of(price, atr) if part is not None else 0.0 for part in protection]
        if not all(map(math.isfinite, away)):
            return []
        loss, profit, trail = away
        sent: list[Order | None] = []
        if protection.trailing is not None:
            sent.append(self._send(-position.size, exectype=bt.Order.StopTrail, trailamount=trail))
        if protection.stop_loss is not None:
            sent.append(
                self._send(-position.size, exectype=bt.Order.Stop, price=price - side * loss)
            )
        if protection.take_profit is not None:
            oco = sent[0] if sent else None
            sent.append(
                self._send(
                    -position.size, exectype=bt.Order.Limit, price=price + side * profit, oco=oco
                )
            )
        placed = [order for order in sent if order is not None]
        self.facts["placed"] = len(placed)
        return placed

    def cancel(self, order: Order) -> None:
        self._strategy.cancel(order)

    def _send(self, size: float, **kind: Any) -> Order | None:
        send = self._strategy.buy if size > 0 else self._strategy.sell
        order: Order | None = send(data=self._data, size=abs(size), **kind)
        return order


def worth(strategy: Any, data: Any) -> float:
    """Return the exposure of one unit."""
    return float(data.close[0] * strategy.broker.getcommissioninfo(data).p.mult)


def exposure(strategy: Any, lane: Any) -> float:
    """Return the exposure of a lane: once its order is filled where that was sent just now, else the greater one, with or
    without the fill. A close that goes out beside an opening makes room for it; one that hangs does not."""
    if not len(lane.data):
        return 0.0
    held, desk = float(strategy.getposition(lane.data).size), lane.desk
    filled = held + (desk.working.executed.remsize if desk.working is not None else 0.0)
    return (abs(filled) if desk.fresh else max(abs(held), abs(filled))) * abs(
        worth(strategy, lane.data)
    )
