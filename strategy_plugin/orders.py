"""The orders of one instrument: one at work at a time, and the stops that protect a position."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, Self

from model.labels.distances import Distance, distance
from strategy_plugin.decision import BARRIER, PROBABILITY
from strategy_plugin.guard import TradingWarning

REFUSED = ("margin", "rejected")
# Of a refusal for margin; a share of 1 leaves nothing that commission and a gap could take.
MARGIN_REMEDY = (
    ". The money does not reach for the units, commission and the gap to the next open: give the "
    "sizer a smaller share, like cerebro.addsizer(EquityShare, share=0.95), or a book less `gross`"
)
DUST = 1e-9  # units: a tenth of the smallest part that any broker trades
ROUNDING = 1e-9  # relative: a share that is just the cap is not cut


class Order(Protocol):
    """What is used of a broker's order."""

    ref: int

    def alive(self) -> bool: ...
    def getstatusname(self) -> str: ...


class Execution(Protocol):
    """What of an order is filled so far."""

    size: float
    price: float
    comm: float


class FilledOrder(Order, Protocol):
    """What else Backtrader's own orders tell."""

    data: object
    executed: Execution


class Broker(Protocol):
    """Where the orders of one instrument go, and what is held of it.

    order_inputs: what this bar's orders were computed from, for the journal.
    """

    name: str
    order_inputs: dict[str, float]

    @property
    def size(self) -> float: ...
    def observe(self, ago: int) -> bool: ...
    def units(self, direction: int) -> float: ...
    def room(self) -> float: ...
    def send(self, size: float) -> Order | None: ...
    def protect(self, stops: "Stops") -> list[Order]: ...
    def cancel(self, order: Order) -> None: ...


class Stops(NamedTuple):
    """The protection of a position; None where there is none."""

    stop_loss: Distance | None = None
    take_profit: Distance | None = None
    trailing: Distance | None = None


class OrderRules(NamedTuple):
    """What orders go by; params of the strategy.

    retries: orders refused in a row before an opening is given up. patience: bars an order may
    stay unfilled. adopt: whether a position that was there at the start gets stops, though those
    of an earlier run may still work.
    """

    retries: int = 3
    patience: int = 5
    stops: Stops = Stops()
    adopt: bool = False
    exit_by: str = PROBABILITY

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        protection = stops(*(params[name] for name in Stops._fields))
        # Journals of earlier days have no such param.
        exit_by = params.get("exit_by", PROBABILITY)
        return cls(params["retries"], params["patience"], protection, params["adopt"], exit_by)


class Seen(IntEnum):
    """When the end of an order was seen; the numbers stand in journals."""

    NOTIFIED = 0  # before the decision
    FOUND = 1  # after the decision, before it was acted on
    ON_CANCEL = 2  # when it was cancelled


class OrderEnd(NamedTuple):
    """What became of an order.

    number: among the orders sent, counted from 1.
    """

    seen: Seen
    number: int
    status: str


class OrderManager:
    """At most one working order, beside it at most one protective pair.

    A broker reports an order's end by notification, some at once by the order's state, some
    twice: whichever comes first clears the order, and it is cleared once.
    """

    def __init__(self, broker: Broker, rules: OrderRules) -> None:
        self.broker = broker
        self.rules = rules
        self.counts: Counter[str] = Counter()  # what became of orders, and why there was none
        self.working: Order | None = None
        self.working_direction = 0  # the direction that the working order leads to
        self.protection: list[Order] = []
        self.aim: float | None = None  # units that the order sent on this bar is to lead to
        # Whether the working order was sent on this bar: whoever opens a bar resets it.
        self.sent_this_bar = False
        self._wanted_units = 0.0  # that `move_to` was last asked for
        # What ended, or was filled in part, since this list was cleared last.
        self.ends: list[OrderEnd] = []
        self._seen = Seen.NOTIFIED
        self._numbers: dict[int, int] = {}  # of the orders sent, by ref
        self._bars_working = 0
        # Refused in a row, by the direction that they led to.
        self._refusals: Counter[int] = Counter()
        self.barred = 0  # the direction not to open until the signal has left it
        self.bars_held = 0  # closes at which there was a position, without a break
        self._protected_size = 0.0  # units that the protective pair was placed for
        self._n_protective = 0  # orders that the pair was placed as
        self._is_ours = False  # whether the position is known to be of this run
        self._warned: set[str] = set()

    @property
    def held(self) -> int:
        """The direction of the position as it will be when the working order is filled."""
        return direction(self.broker.size) if self.working is None else self.working_direction

    def count_bar(self) -> None:
        """Count a bar that is complete, and on which something may be ordered."""
        self.bars_held = self.bars_held + 1 if direction(self.broker.size) else 0

    def works_towards(self, units: float) -> bool:
        """Return whether an order is on its way to a position of so many units."""
        return self.working is not None and abs(units - self._wanted_units) < DUST

    def move(self, target: int, has_forecast: bool = True) -> str:
        """Work towards a direction, once a bar; return what was done, for the journal.

        That is the units of an order that was sent, or "waiting", "no order", "protected",
        "unprotected" or "not ours"; "" where nothing was to be done.

        has_forecast: whether a signal speaks in the target, or it is only what is held for want
        of one.
        """
        self.rest()
        if not self._may_trade():
            return "not ours"
        target = self._permitted(target, has_forecast)
        is_wanted = target == self.working_direction
        if self.working is not None and not self._cancel_working(is_wanted):
            return "waiting"
        if target == direction(self.broker.size):
            return self._protect()
        # A stop that is still there could fill beside the order that follows.
        return self._send(target) if self._cancel_protection() else "waiting"

    def move_to(self, units: float) -> str:
        """Work towards a position of so many units, once a bar; return what was done as `move`.

        There are no stops beside it. An opening that was given up waits for other units.
        """
        self.rest()
        if not self._may_trade():
            return "not ours"
        is_wanted = abs(units - self._wanted_units) < DUST
        if not is_wanted:
            self.barred, self._wanted_units = 0, units
        if self.working is not None and not self._cancel_working(is_wanted):
            return "waiting"
        size = self.broker.size
        if abs(units - size) < DUST or (self.barred and abs(units) > abs(size)):
            return ""
        return self._order(units, direction(units))

    def rest(self) -> str:
        """See what has ended and order nothing.

        Alone where nothing may be ordered: what ends meanwhile is not to be missed.
        """
        self.aim = None
        self._seen = Seen.FOUND
        self._clear_ended()
        self._seen = Seen.ON_CANCEL
        return ""

    def notify(self, order: Order) -> None:
        """Take a notification of the broker; orders of others and repeats are ignored.

        Backtrader notifies with a copy of the order: it is known by its ref.
        """
        self._seen = Seen.NOTIFIED
        if not order.alive():
            self._clear(order)

    def count_unfilled(self) -> None:
        """Count an order that the end of the run left unfilled."""
        self._clear_ended()
        self.counts["unfilled at end"] += self.working is not None

    def _may_trade(self) -> bool:
        """Whether the position is this run's, to be worked on.

        Beside one that was there at the start stops of an earlier run may still work: nothing is
        ordered until it is closed, unless it is to be adopted.
        """
        if self._is_ours:
            return True
        size = self.broker.size
        if not direction(size):
            self._is_ours = True
        elif not any(self.rules.stops) or self.rules.adopt:
            self._is_ours = True
            remark = (
                ". Orders that an earlier run left at the broker are not seen from here: cancel "
                "them there"
            )
            self._warn_once(
                "found",
                f"a position of {size:+.8g} was there at the start and is taken over"
                f"{'' if self.rules.adopt else remark}",
            )
        else:
            self.counts["not ours"] += 1
            self._warn_once(
                "not ours",
                f"a position of {size:+.8g} was there at the start. Stops of an earlier run may "
                "still work at the broker beside new ones, so nothing is ordered while it is held. "
                "Cancel them there and start with adopt=True",
            )
        return self._is_ours

    def _permitted(self, target: int, has_forecast: bool) -> int:
        """Return the target, or 0 where its direction was stopped out or given up.

        Such a direction is barred until the signal has left it. It is also 0 while a stop is
        filled in parts: the rest is closed at once, as brokers cancel a pair's other order by
        then.
        """
        partial = [order for order in self.protection if order.getstatusname() == "Partial"]
        for order in partial:
            self.ends.append(OrderEnd(Seen.FOUND, self._numbers[order.ref], "Partial"))
            self._stop_out()
        if has_forecast and target != self.barred:
            self.barred = 0
        is_barred = target != 0 and target == self.barred
        return 0 if is_barred and (partial or target != self.held) else target

    def _cancel_working(self, is_wanted: bool) -> bool:
        """Cancel an order that is not wanted or has waited too long; True once it is gone.

        A cancel may take a broker time, and the order may still be filled until then.
        """
        assert self.working is not None
        self._bars_working += 1
        if is_wanted and self._bars_working <= self.rules.patience:
            return False
        # Still wanted, so it waited too long: it goes, and a new one takes its place.
        self.counts["timed out"] += is_wanted
        self.broker.cancel(self.working)
        self._clear_ended()
        return self.working is None

    def _cancel_protection(self) -> bool:
        for order in self.protection:
            self.broker.cancel(order)
        self._clear_ended()
        return not self.protection

    def _send(self, target: int) -> str:
        return self._order(target * self.units_of(target), target)

    def _order(self, aim: float, target: int) -> str:
        """Send an order that leads to so many units, which are of the direction wanted."""
        size = aim - self.broker.size
        order = self.broker.send(size) if direction(size) else None
        if order is None:
            self.counts["no order"] += 1
            self._warn_once(
                "no order",
                f"the sizer gave no units for direction {target:+d} that the other positions leave "
                "room for: all together stay within `max_exposure`, the sizer's share and the "
                "cash. Give more cash, a larger share or a higher `max_exposure`",
            )
            return "no order"
        self.working, self.working_direction, self.aim = order, target, aim
        self._bars_working, self.sent_this_bar = 0, True
        self._numbers[order.ref] = len(self._numbers) + 1
        self.counts["sent"] += 1
        return f"{size:+.8g}"

    def units_of(self, target: int) -> float:
        """Return the sizer's units for a direction, cut to the room that cap and costs leave.

        They stay whole units where the sizer's were.
        """
        units = abs(self.broker.units(target)) if target else 0.0
        if not math.isfinite(units):
            return 0.0
        # A close needs no room; an opening is cut rather than refused.
        room = self.broker.room()
        if units <= room * (1 + ROUNDING):
            return units
        self.counts["capped"] += 1
        return float(math.floor(room)) if units == math.floor(units) else room

    def _protect(self) -> str:
        """Give the position a whole protective pair of its own size.

        One that is not whole, or was placed for another size, is cancelled first.
        """
        size = self.broker.size
        intact = len(self.protection) == self._n_protective
        intact = intact and abs(size - self._protected_size) < DUST
        if not any(self.rules.stops) or (self.protection and intact):
            return ""
        if not self._cancel_protection():
            return "waiting"
        if not direction(size):
            return ""
        self.protection, self._protected_size = self.broker.protect(self.rules.stops), size
        self._n_protective = len(self.protection)
        for order in self.protection:
            self._numbers[order.ref] = len(self._numbers) + 1
        if self._n_protective < sum(part is not None for part in self.rules.stops):
            self.counts["unprotected"] += 1
            self._warn_once(
                "unprotected",
                "the broker gave no order, or there is no price for one; the position is without "
                "its stops, which are placed again on the next bar",
            )
        return "protected" if self.protection else "unprotected"

    def _clear_ended(self) -> None:
        # Some end without a notification, or before it is delivered.
        for order in (self.working, *self.protection):
            if order is not None and not order.alive():
                self._clear(order)

    def _clear(self, order: Order) -> None:
        is_working = self.working is not None and order.ref == self.working.ref
        if not is_working and order.ref not in [known.ref for known in self.protection]:
            return
        status = order.getstatusname()
        self.ends.append(OrderEnd(self._seen, self._numbers[order.ref], status))
        self.counts[status.lower()] += 1
        if is_working:
            self.working = None
            self._note_refusals(status.lower())
            return
        self.protection = [known for known in self.protection if known.ref != order.ref]
        if status.lower() == "completed":
            self._stop_out()
            if self.rules.exit_by == BARRIER:
                self.barred = 0  # the next trade is a decision of its own
        elif status.lower() in REFUSED:
            self._warn_once(
                "stop refused",
                f"an order of the protective pair was refused ({status.lower()}); "
                "it is placed again",
            )

    def _note_refusals(self, status: str) -> None:
        """Bar an opening that was refused too often in a row.

        A close is tried again on every bar: a position must not be kept for want of tries.
        """
        if status == "completed":
            self._refusals.clear()
        if status not in REFUSED:
            return
        wanted = self.working_direction
        self._refusals[wanted] += 1
        if self._refusals[wanted] <= self.rules.retries:
            return
        remedy = MARGIN_REMEDY if status == "margin" else ""
        refused = f"{self.rules.retries + 1} orders in a row were refused ({status}){remedy}; "
        if not wanted:
            self._warn_once(
                "not closed",
                f"{refused}the position cannot be closed, and it is tried again on every bar",
            )
            return
        self.barred = wanted
        self._refusals.clear()
        self.counts["given up"] += 1
        self._warn_once("given up", f"{refused}the direction {wanted:+d} waits for a new signal")

    def _stop_out(self) -> None:
        """Bar the direction that was stopped out; an order that fills in parts is one stop."""
        stopped = direction(self._protected_size)
        self.counts["stopped out"] += self.barred != stopped
        self.barred = stopped

    def _warn_once(self, kind: str, what: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(f"data {self.broker.name!r}: {what}", TradingWarning, stacklevel=2)


def direction(size: float) -> int:
    if abs(size) < DUST:
        return 0  # what rounding left of a position that was filled in parts
    return 1 if size > 0 else -1


def stops(stop_loss: str = "", take_profit: str = "", trailing: str = "") -> Stops:
    """Return the protection that the params ask for, each "" or like "3%" or "2atr".

    Raises ValueError for other words.
    """
    if stop_loss and trailing:
        raise ValueError(
            f"`stop_loss` and `trailing` must not both be given, got {stop_loss!r} and "
            f"{trailing!r}. A trailing stop starts as a stop loss of the same distance."
        )
    given = {"stop_loss": stop_loss, "take_profit": take_profit, "trailing": trailing}
    return Stops(**{name: distance(name, text) for name, text in given.items()})
