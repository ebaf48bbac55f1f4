"""Backtrader's broker as the orders of one instrument see it.

The position, the sizer's units, the room under the cap on exposure, and the orders themselves.
"""

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import backtrader as bt

from model.labels.distances import ATR_BARS, average_true_range
from strategy_plugin.feeds import Feed, bar_of
from strategy_plugin.guard import bar_fault
from strategy_plugin.instrument import LOG, TradedData
from strategy_plugin.orders import ROUNDING, Order, Stops, direction
from strategy_plugin.ranking import common_units
from strategy_plugin.sizers import room_of


class Strategy(Protocol):
    """What is asked of the strategy whose orders these are."""

    broker: bt.BrokerBase
    traded: Sequence[TradedData]

    def buy(self, **order: object) -> Order | None: ...
    def sell(self, **order: object) -> Order | None: ...
    def cancel(self, order: Order) -> None: ...
    def getposition(self, data: Feed) -> bt.Position: ...
    def getsizing(self, data: Feed, isbuy: bool) -> float: ...
    def getsizer(self) -> bt.Sizer: ...


class BacktraderBroker:
    """The `orders.Broker` of one data feed of a strategy.

    max_exposure: cap on the sum of all positions over equity.
    """

    def __init__(self, strategy: Strategy, data: Feed, name: str, max_exposure: float) -> None:
        self.name = name
        self._max_exposure = max_exposure
        self.order_inputs: dict[str, float] = {}
        self._strategy, self._data = strategy, data
        # High, low and close of the last sound bars; the oldest gives only its close.
        self._bars: deque[tuple[float, float, float]] = deque(maxlen=ATR_BARS + 1)

    @property
    def size(self) -> float:
        return float(self._strategy.getposition(self._data).size)

    def observe(self, ago: int) -> bool:
        """Take a bar that is complete; one at fault says nothing about how far prices range.

        True where it is without fault.
        """
        self.order_inputs = {"cash": float(self._strategy.broker.getcash())}
        open, high, low, close, _ = bar_of(self._data, ago)
        sound = not bar_fault((open, high, low, close, 0.0))
        if sound:
            self._bars.append((high, low, close))
        return sound

    def units(self, direction: int) -> float:
        units = float(self._strategy.getsizing(self._data, isbuy=direction > 0))
        self.order_inputs["units"] = units
        return units

    def room(self) -> float:
        """Return the units that cap, sizer and costs leave for this instrument.

        The figures are kept in `order_inputs`, so that a journal can tell how it came about.
        """
        strategy = self._strategy
        equity = float(strategy.broker.getvalue())
        others = sum(
            exposure(strategy, instrument)
            for instrument in strategy.traded
            if instrument.data is not self._data
        )
        account = {
            "equity": equity,
            "others": float(others),
            "worth": worth(strategy, self._data),
            "cost": opening_cost(strategy, self._data, equity - others),
        }
        # A sizer of another kind need not know a share that all positions together take.
        share = getattr(getattr(strategy.getsizer(), "p", None), "share", None)
        if share is not None:
            account["share"] = float(share)
        self.order_inputs |= account
        return room_of(self._max_exposure, **account)

    def send(self, size: float, **kind: Any) -> Order | None:
        """Send an order, at the market unless the kind says otherwise."""
        send = self._strategy.buy if size > 0 else self._strategy.sell
        order = send(data=self._data, size=abs(size), **kind)
        if not LOG.isEnabledFor(logging.INFO):
            return order
        # Backtrader numbers its kinds of orders; a reader knows them by name.
        words = [
            str(bt.Order.ExecTypes[value]) if name == "exectype" else f"{name} {value:.8g}"
            for name, value in kind.items()
            if name != "oco"
        ]
        LOG.info(
            "data %r: %s: %s",
            self.name,
            "no order" if order is None else f"order {order.ref} sent",
            ", ".join([f"{size:+.8g}", *words]),
        )
        return order

    def protect(self, stops: Stops) -> list[Order]:
        """Send a stop and a limit order for the whole position; none where a price is missing.

        One filled cancels the other.
        """
        position = self._strategy.getposition(self._data)
        price, side = float(position.price), direction(position.size)
        atr = average_true_range(list(self._bars))
        loss, profit, trail = (
            part.in_price(price, atr) if part is not None else 0.0
            for part in (stops.stop_loss, stops.take_profit, stops.trailing)
        )
        # Before there are enough true ranges a distance in them is no number.
        if not (math.isfinite(loss) and math.isfinite(profit) and math.isfinite(trail)):
            return []
        # A broker may give no order (None); the other one of the pair is placed all the same.
        sent: list[Order | None] = []
        if stops.trailing is not None:
            sent.append(self.send(-position.size, exectype=bt.Order.StopTrail, trailamount=trail))
        if stops.stop_loss is not None:
            stop = price - side * loss
            sent.append(self.send(-position.size, exectype=bt.Order.Stop, price=stop))
        if stops.take_profit is not None:
            # Either the stop or the limit: Backtrader cancels the one when the other fills.
            limit, other = price + side * profit, sent[0] if sent else None
            sent.append(self.send(-position.size, exectype=bt.Order.Limit, price=limit, oco=other))
        placed = [order for order in sent if order is not None]
        self.order_inputs["placed"] = len(placed)
        return placed

    def cancel(self, order: Order) -> None:
        self._strategy.cancel(order)


def worth(strategy: Strategy, data: Feed) -> float:
    """Return the exposure of one unit, in money: a future's moves by its multiplier."""
    return float(data.lines.close[0] * strategy.broker.getcommissioninfo(data).p.mult)


def opening_cost(strategy: Strategy, data: Feed, money: float) -> float:
    """Return the commission and slippage of an opening with so much money."""
    unit = worth(strategy, data)
    if not (money > 0 and unit > 0):  # NaN as well
        return 0.0
    commission = strategy.broker.getcommissioninfo(data)
    # Not every broker has such params: a live one need not say what it takes.
    params = getattr(strategy.broker, "p", None)
    slippage = getattr(params, "slip_perc", 0.0) * money
    slippage += getattr(params, "slip_fixed", 0.0) * commission.p.mult * money / unit
    return float(commission.getcommission(money / unit, data.lines.close[0]) + slippage)


def exposure(strategy: Strategy, instrument: TradedData) -> float:
    """Return the exposure of an instrument, the order that works for it included.

    An order sent on this bar counts as filled, so that a close makes room for an opening that
    goes out beside it. An older one hangs: the greater exposure counts, with or without it.
    """
    if not len(instrument.data):
        return 0.0
    held = float(strategy.getposition(instrument.data).size)
    # Of Backtrader's orders more is known than others need: what is not filled yet.
    working: bt.Order | None = instrument.orders.working
    filled = held + (working.executed.remsize if working is not None else 0.0)
    units = abs(filled)
    if not instrument.orders.sent_this_bar:
        units = max(abs(held), units)
    return units * abs(worth(strategy, instrument.data))


def affordable_share(strategy: Strategy, wanted: Mapping[str, float]) -> float:
    """Return the share of all openings that the cash suffices for, at most 1.

    It is reckoned at the newest closes, with commission and slippage; closes bring their cash, and
    orders that are on their way keep theirs.

    wanted: units by name, of the strategy's instruments that are to get an order.
    """
    cash, needed = float(strategy.broker.getcash()), 0.0
    for instrument in strategy.traded:
        data, orders = instrument.data, instrument.orders
        # Only of these is the size asked: of a data that has not begun the broker cannot tell.
        units, working = wanted.get(instrument.name), cast(bt.Order | None, orders.working)
        if units is not None:
            size = orders.broker.size
            stays = common_units(size, units)
            cash -= _cash_taken(strategy, data, size, stays)
            needed += _cash_taken(strategy, data, stays, units)
        elif working is not None:
            size = orders.broker.size
            filled = size + working.executed.remsize
            cash -= max(0.0, _cash_taken(strategy, data, size, filled))
    # A trifle less: what is left after rounding must not lie below 0.
    return 1.0 if needed <= max(0.0, cash) else max(0.0, cash) / needed * (1 - ROUNDING)


def _cash_taken(strategy: Strategy, data: Feed, before: float, after: float) -> float:
    """Return the cash that takes a position from so many units to so many, below 0 for proceeds."""
    if before == after:
        return 0.0
    commission, price = strategy.broker.getcommissioninfo(data), data.lines.close[0]
    if commission.stocklike and getattr(getattr(strategy.broker, "p", None), "shortcash", True):
        cash = (after - before) * price  # what is sold short brings its price
    else:
        cash = (abs(after) - abs(before)) * commission.getoperationcost(1.0, price)
    if max(before, after) > 0:
        cash /= commission.get_leverage()
    turnover = abs(after - before) * worth(strategy, data)
    return float(cash + opening_cost(strategy, data, turnover))
