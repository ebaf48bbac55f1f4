"""A broker on paper: orders end as a test says."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from strategy_plugin.orders import OrderManager, Stops

ENDS = ["Completed", "Canceled", "Expired", "Margin", "Rejected"]
EQUITY = 1_000.0


@dataclass
class PaperOrder:
    """An order that ends as the test says."""

    ref: int
    size: float
    protective: bool = False
    status: str = "Accepted"

    def alive(self) -> bool:
        return self.status not in ENDS

    def getstatusname(self) -> str:
        return self.status


@dataclass
class PaperBroker:
    """A broker that does what the test says; it cancels at once or leaves the cancel pending."""

    name: str = "paper"
    size: float = 0.0
    price: float = 100.0
    wanted_units: float = 9.5
    cap: float = 1.0
    cancels_at_once: bool = True
    gives_stops: bool = True
    orders: list[PaperOrder] = field(default_factory=list)
    cancels: list[PaperOrder] = field(default_factory=list)
    refs: Iterator[int] = field(default_factory=count)

    def units(self, direction: int) -> float:
        return self.wanted_units

    def room(self) -> float:
        return self.cap * EQUITY / self.price

    def send(self, size: float) -> PaperOrder | None:
        return self._send(size, protective=False)

    def protect(self, protection: Stops) -> list[PaperOrder]:
        return [
            self._send(-self.size, protective=True)
            for part in protection
            if part and self.gives_stops
        ]

    def _send(self, size: float, protective: bool) -> PaperOrder:
        order = PaperOrder(next(self.refs), size, protective)
        self.orders.append(order)
        return order

    def cancel(self, order: Any) -> None:
        self.cancels.append(order)
        if self.cancels_at_once and order.alive():
            self.end(order, "Canceled")

    def end(self, order: PaperOrder, status: str, share: float = 0.0) -> None:
        """OrderEnd an order; a share of its size is filled before."""
        filled = order.size * (1.0 if status == "Completed" else share)
        self.size = round(self.size + filled, 9)
        order.size = round(order.size - filled, 9)
        order.status = status
        if status == "Completed" and order.protective:
            for other in self.alive(protective=True):
                other.status = "Canceled"

    def alive(self, protective: bool | None = None) -> list[PaperOrder]:
        return [
            order
            for order in self.orders
            if order.alive() and protective in (None, order.protective)
        ]


def ended(orders: OrderManager, broker: PaperBroker, status: str, share: float = 0.0) -> None:
    """OrderEnd the newest order and notify, as Backtrader does, with a copy."""
    broker.end(broker.orders[-1], status, share)
    orders.notify(replace(broker.orders[-1]))
