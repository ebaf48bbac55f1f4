"""The account of the exchange in a box: what it accepts, how it fills, what then is held.

Market orders fill at the next open, worse by half spread and slippage, and pay a commission, as
`backtests.simulation.account` has it in Backtrader; stop and limit orders fill within a bar.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import NAMESPACE_OID, UUID, uuid5

import pandas as pd

from backtests.exchange_box.market import Bar
from backtests.simulation.account import BASIS_POINT, Costs

Status = Literal["accepted", "partially_filled", "filled", "canceled", "expired", "rejected"]
OPEN: tuple[Status, ...] = ("accepted", "partially_filled")
# Of the equity, what may be opened: that of a margin account, so that an opening can go out beside
# the close that pays for it. What fills must be paid with cash.
MULTIPLIER = 2
DUST = 1e-12  # units: what rounding leaves of a position


class Refusal(Exception):
    """A request that the exchange refuses, with the status and the code of its answer."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Listing:
    """What may be traded of an instrument.

    lot: the smallest part of a unit, 1 where only whole ones are traded.
    """

    symbol: str
    lot: float = 1.0
    tradable: bool = True
    shortable: bool = True
    crypto: bool = False

    @property
    def uuid(self) -> UUID:
        return uuid5(NAMESPACE_OID, self.symbol)

    @property
    def id(self) -> str:
        return str(self.uuid)


@dataclass
class Order:
    """An order as the exchange keeps it; prices are in money, sizes in units above 0."""

    id: str
    client_order_id: str
    symbol: str
    side: Literal["buy", "sell"]
    size: float
    kind: Literal["market", "limit", "stop", "trailing_stop"]
    in_force: str
    submitted: pd.Timestamp
    limit: float | None = None
    stop: float | None = None
    trail: float | None = None
    status: Status = "accepted"
    filled: float = 0.0
    price: float = 0.0
    ended: pd.Timestamp | None = None

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


@dataclass
class Holding:
    """Units held, below 0 for a short, and their mean price."""

    size: float = 0.0
    price: float = 0.0


@dataclass
class Fill:
    """A part of an order that was executed."""

    order: Order
    size: float
    price: float


@dataclass
class TradingAccount:
    """One account, whose cash pays for its fills, and all its orders as they came."""

    cash: float
    costs: Costs
    listings: Mapping[str, Listing]
    orders: dict[str, Order] = field(default_factory=dict)  # by client_order_id
    holdings: dict[str, Holding] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)  # the newest close by symbol
    halted: bool = False

    def value(self) -> float:
        worth = (one.size * self.last[symbol] for symbol, one in self.holdings.items())
        return self.cash + math.fsum(worth)

    def buying_power(self) -> float:
        exposure = sum(abs(one.size) * self.last[symbol] for symbol, one in self.holdings.items())
        working = sum(
            (order.size - order.filled) * self.last[order.symbol]
            for order in self.open_orders()
            if self._opens(order)
        )
        # Orders that work have their money set aside, as Alpaca does.
        return max(0.0, MULTIPLIER * self.value() - exposure - working)

    def _opens(self, order: Order) -> bool:
        held = self.holdings.get(order.symbol, Holding()).size
        # What lies against the position brings money, or takes none.
        return held * order.sign >= 0

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        return [
            order
            for order in self.orders.values()
            if order.is_open and symbol in (None, order.symbol)
        ]

    def order(self, number: str) -> Order:
        """Return the order with the exchange's own number; Refusal where there is none."""
        found = next((one for one in self.orders.values() if one.id == number), None)
        if found is None:
            raise Refusal(404, 40410000, f"order not found for {number}")
        return found

    def submit(self, order: Order) -> Order:
        """Take an order; raise Refusal for one that the exchange does not accept."""
        if order.client_order_id in self.orders:
            raise Refusal(422, 40010001, "client_order_id must be unique")
        listing = self.listings.get(order.symbol)
        if listing is None:
            raise Refusal(422, 42210000, f'could not find asset "{order.symbol}"')
        if not listing.tradable:
            raise Refusal(422, 42210000, f"asset {order.symbol} is not tradable")
        lots = order.size / listing.lot
        # 1e-6: a tenth of a unit times ten is not quite one.
        if not order.size > 0 or abs(lots - round(lots)) > 1e-6:
            raise Refusal(422, 42210000, f"qty must be a multiple of {listing.lot:g}")
        # Alpaca refuses to let one account buy from itself.
        if any(other.sign != order.sign for other in self._at_market(order.symbol)):
            raise Refusal(403, 40310000, "potential wash trade detected. use complex orders")
        self._require_cover(order, listing)
        if order.trail is not None and order.stop is None:
            order.stop = self.last[order.symbol] + order.sign * order.trail
        self.orders[order.client_order_id] = order
        return order

    def _at_market(self, symbol: str) -> list[Order]:
        return [order for order in self.open_orders(symbol) if order.kind == "market"]

    def _require_cover(self, order: Order, listing: Listing) -> None:
        """Refuse what is more than there is: units to close, or money to open."""
        held = self.holdings.get(order.symbol, Holding()).size
        if held * order.sign < 0:
            working = sum(
                other.size - other.filled
                for other in self.open_orders(order.symbol)
                if other.sign == order.sign
            )
            available = abs(held) - working
            if order.size > available + DUST:
                raise Refusal(
                    403,
                    40310000,
                    f"insufficient qty available for order (requested: {order.size:g}, "
                    f"available: {max(0.0, available):g})",
                )
            return
        if order.sign < 0 and not listing.shortable:
            raise Refusal(422, 42210000, f'asset "{order.symbol}" cannot be sold short')
        if order.size * self.last[order.symbol] > self.buying_power():
            raise Refusal(403, 40310000, "insufficient buying power")

    def cancel(self, order: Order, now: pd.Timestamp) -> None:
        if not order.is_open:
            raise Refusal(422, 42210000, f'order is already in "{order.status}" state')
        order.status, order.ended = "canceled", now

    def expire(self, before: pd.Timestamp, now: pd.Timestamp) -> list[Order]:
        """End the orders for the day that were sent before its close."""
        ended = [
            order
            for order in self.open_orders()
            if order.in_force == "day" and order.submitted < before
        ]
        for order in ended:
            order.status, order.ended = "expired", now
        return ended

    def fill_at_open(
        self, symbol: str, open: float, now: pd.Timestamp, share: float = 1.0
    ) -> Iterator[Fill | Order]:
        """Fill the market orders; yield each fill, and each order that is rejected at its fill.

        share: the part of each order that finds a counterpart now.
        """
        if self.halted:
            return
        for order in self._at_market(symbol):
            price = self._with_costs(order, open)
            left = order.size - order.filled
            lot = self.listings[symbol].lot
            # A part is whole lots as well.
            size = left if share >= 1 else math.floor(left * share / lot) * lot
            cost = size * price * (1 + self.costs.commission * BASIS_POINT)
            # The open may lie above the close by which the order was let in.
            if order.sign > 0 and self._opens(order) and cost > self.cash + DUST:
                order.status, order.ended = "rejected", now
                yield order
            elif size > 0:
                yield self._fill(order, size, price, now)

    def fill_within(self, symbol: str, bar: Bar, now: pd.Timestamp) -> Iterator[Fill]:
        """Fill the stop and limit orders that a bar reaches."""
        if self.halted:
            return
        for order in self.open_orders(symbol):
            price = None
            if order.kind == "limit" and order.limit is not None:
                best = min if order.sign > 0 else max
                reached = bar.low if order.sign > 0 else bar.high
                if (reached - order.limit) * order.sign <= 0:
                    # A bar that opens beyond the limit fills there: better than was asked for.
                    price = best(bar.open, order.limit)
            elif order.stop is not None:
                worst = max if order.sign > 0 else min
                reached = bar.high if order.sign > 0 else bar.low
                if (reached - order.stop) * order.sign >= 0:
                    # A gap over the stop fills at the open, which is worse.
                    price = self._with_costs(order, worst(bar.open, order.stop))
            if price is not None:
                yield self._fill(order, order.size - order.filled, price, now)
            elif order.trail is not None and order.stop is not None:
                # It follows the price one way only.
                nearer = min if order.sign > 0 else max
                order.stop = nearer(order.stop, bar.close + order.sign * order.trail)

    def _with_costs(self, order: Order, price: float) -> float:
        return price * (1 + order.sign * self.costs.in_price)

    def _fill(self, order: Order, size: float, price: float, now: pd.Timestamp) -> Fill:
        held = self.holdings.setdefault(order.symbol, Holding())
        after = held.size + order.sign * size
        if held.size * order.sign >= 0:
            # What closes leaves the mean price of the rest as it is.
            held.price = (abs(held.size) * held.price + size * price) / abs(after)
        held.size = after
        if abs(after) < DUST:
            del self.holdings[order.symbol]
        self.cash -= order.sign * size * price
        self.cash -= size * price * self.costs.commission * BASIS_POINT
        order.price = (order.price * order.filled + price * size) / (order.filled + size)
        order.filled += size
        whole = order.size - order.filled < DUST
        order.status = "filled" if whole else "partially_filled"
        order.ended = now if whole else None
        return Fill(order, size, price)
