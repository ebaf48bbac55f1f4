"""The broker and the orders of a run that is over, as its journal tells of them."""

import math
from collections import defaultdict
from dataclasses import dataclass

from strategy_plugin.journal import Entry, or_nan
from strategy_plugin.orders import Order, OrderManager, Seen, Stops
from strategy_plugin.sizers import ShareParams, room_of, units_of

RECORDED_LATER = ("share", "cost")  # figures of the room for an order


@dataclass
class RecordedOrder:
    """An order with the status that the journal tells; ref is its number among those sent."""

    ref: int
    status: str = "Accepted"

    def alive(self) -> bool:
        return self.status in ("Accepted", "Partial")

    def getstatusname(self) -> str:
        return self.status


class RecordedBroker:
    """The broker of one instrument as the journal tells of it."""

    def __init__(
        self, name: str, max_exposure: float, sizer: ShareParams | None, traded: int
    ) -> None:
        self.name = name
        self.size = 0.0
        self.order_inputs: dict[str, float] = {}
        self._max_exposure, self._sizer, self._traded = max_exposure, sizer, traded
        self._gives_orders = True
        self._orders: list[RecordedOrder] = []
        self._ends_on_cancel: dict[int, str] = {}

    def begin_bar(self, entry: Entry, orders: OrderManager) -> None:
        """Take a line's position and account, and notify of what had ended before it.

        What is missing in the line is NaN, which comes out as another order.
        """
        self.size, self._gives_orders = entry["position"], entry["order"] != "no order"
        self.order_inputs = defaultdict(lambda: math.nan)
        self.order_inputs |= {name: or_nan(value) for name, value in entry["facts"].items()}
        for order in self._ended(entry, Seen.NOTIFIED):
            orders.notify(order)

    def end_orders_found(self, entry: Entry) -> None:
        """End what was found to have ended; what ended by its cancelling waits for that."""
        self._ended(entry, Seen.FOUND)
        self._ends_on_cancel = {
            number: status for seen, number, status in entry["ends"] if seen == Seen.ON_CANCEL
        }

    def observe(self, ago: int) -> bool:
        """Nothing to see: what the orders were computed from stands in the journal."""
        return True

    def units(self, direction: int) -> float:
        inputs = self.order_inputs
        if self._sizer is None:
            return inputs["units"]
        equity, worth = inputs["equity"], inputs["worth"]
        return units_of(**self._sizer, equity=equity, worth=worth, traded=self._traded)

    def room(self) -> float:
        account = {name: self.order_inputs[name] for name in ("equity", "others", "worth")}
        # Journals of earlier days, and sizers without a share, have fewer figures.
        more = {name: value for name, value in self.order_inputs.items() if name in RECORDED_LATER}
        return room_of(self._max_exposure, **account, **more)

    def send(self, size: float) -> Order | None:
        return self._new_order() if self._gives_orders else None

    def protect(self, stops: Stops) -> list[Order]:
        return [self._new_order() for _ in range(int(self.order_inputs.get("placed", 0)))]

    def cancel(self, order: Order) -> None:
        # One that the journal does not end here was still alive after its cancel.
        known = self._orders[order.ref - 1]
        known.status = self._ends_on_cancel.get(order.ref, known.status)

    def _new_order(self) -> RecordedOrder:
        self._orders.append(RecordedOrder(len(self._orders) + 1))
        return self._orders[-1]

    def _ended(self, entry: Entry, when: Seen) -> list[RecordedOrder]:
        ended = []
        for seen, number, status in entry["ends"]:
            # A number that was never sent again is a difference, and was reported as one.
            if seen == when and number <= len(self._orders):
                self._orders[number - 1].status = status
                ended.append(self._orders[number - 1])
        return ended
