"""The orders of one data: a state machine between the position wanted and the broker. No Backtrader here."""
import math
import warnings
from collections import Counter
from typing import NamedTuple, Protocol

from strategy_plugin.guard import TradingWarning
from strategy_plugin.stops import Stops

FAILED = ("margin", "rejected")
DUST = 1e-9  # units: a tenth of the smallest part that any venue trades


class Order(Protocol):
    """What is used of a host's order."""

    ref: int

    def alive(self) -> bool: ...
    def getstatusname(self) -> str: ...


class Venue(Protocol):
    """Where the orders of one data go, and what is held of it."""

    name: str

    @property
    def size(self) -> float: ...
    def units(self, direction: int) -> float: ...
    def room(self) -> float: ...
    def market(self, size: float) -> Order | None: ...
    def protect(self, stops: Stops) -> list[Order]: ...
    def cancel(self, order: Order) -> None: ...


class Rules(NamedTuple):
    """retries: orders refused in a row before an opening is given up. patience: bars an order may stay unfilled."""

    retries: int = 3
    patience: int = 5
    stops: Stops = Stops()


class Desk:
    """At most one working order, beside it at most one protective pair; `counts` tells what became of them.

    The host reports an order's end by notification, some at once by its state, some twice: whichever comes first
    clears the order, and it is cleared once.
    """

    def __init__(self, venue: Venue, rules: Rules) -> None:
        self.venue = venue
        self.rules = rules
        self.counts: Counter[str] = Counter()
        self.working: Order | None = None
        self.protection: list[Order] = []
        self.goal = 0  # the direction that the working order leads to
        self.aim = 0.0  # the units that the last order was to lead to
        self._age = 0
        self._failures: Counter[int] = Counter()  # openings refused in a row, by direction
        self._barred = 0  # the direction not to open until the signal has left it
        self._guarded = 0  # the direction of the position that the protective pair belongs to
        self._said: set[str] = set()

    @property
    def held(self) -> int:
        """The direction of the position as it will be when the working order is filled."""
        return self.goal if self.working is not None else direction(self.venue.size)

    def move(self, target: int, heard: bool = True) -> str:
        """Work towards the target, once a bar; return what was done, for the journal.

        heard: whether a signal speaks in the target, or is it only what is held for want of one.
        """
        self._sweep()
        target = self._permitted(target, heard)
        if self.working is not None and not self._let_go(target):
            return "waiting"
        if target == direction(self.venue.size):
            return self._protect()
        return self._send(target) if self._unprotected() else "waiting"

    def notice(self, order: Order) -> None:
        """Take a notification of the host; orders of others and repeats are ignored."""
        if not order.alive():
            self._clear(order)

    def close_books(self) -> bool:
        """Count an order that the end of the run left unfilled; True if there is one."""
        self._sweep()
        self.counts["unfilled at end"] += self.working is not None
        return self.working is not None

    def _permitted(self, target: int, heard: bool) -> int:
        """Return the target, but 0 for an opening that was stopped out or given up, until the signal has left it."""
        if heard and target != self._barred:
            self._barred = 0
        return 0 if target and target == self._barred != self.held else target

    def _let_go(self, target: int) -> bool:
        """Cancel a working order that is no longer wanted or has waited too long; True if there is none any more."""
        assert self.working is not None
        self._age += 1
        if target == self.goal and self._age <= self.rules.patience:
            return False
        self.counts["timed out"] += target == self.goal
        self.venue.cancel(self.working)
        self._sweep()
        return self.working is None

    def _send(self, target: int) -> str:
        self.aim = target * self._units(target)
        size = self.aim - self.venue.size
        order = self.venue.market(size) if direction(size) else None
        if order is None:
            self.counts["no order"] += 1
            self._say("no order", f"the sizer gave no units for direction {target:+d} that the cap on exposure leaves room for")
            return "no order"
        self.working, self.goal, self._age = order, target, 0
        self.counts["sent"] += 1
        return f"{size:+.8g}"

    def _units(self, target: int) -> float:
        """Return the sizer's units, cut to the room under the cap on exposure, in whole units where the sizer's were."""
        units = abs(self.venue.units(target)) if target else 0.0
        if not math.isfinite(units):
            return 0.0
        room = self.venue.room()
        if units <= room * (1 + 1e-9):
            return units
        self.counts["capped"] += 1
        return float(math.floor(room)) if units == math.floor(units) else room

    def _protect(self) -> str:
        """Place the protective pair of a position that lacks one."""
        if not direction(self.venue.size) or self.protection or not any(self.rules.stops):
            return ""
        self.protection, self._guarded = self.venue.protect(self.rules.stops), direction(self.venue.size)
        return "protected"

    def _unprotected(self) -> bool:
        """Cancel the protective pair; True once it is gone, so that it cannot fill beside the order that follows."""
        for order in self.protection:
            self.venue.cancel(order)
        self._sweep()
        return not self.protection

    def _sweep(self) -> None:
        """Clear what has ended without a notification, or before its notification is delivered."""
        for order in (self.working, *self.protection):
            if order is not None and not order.alive():
                self._clear(order)

    def _clear(self, order: Order) -> None:
        status = order.getstatusname().lower()
        if self.working is not None and order.ref == self.working.ref:
            self.working = None
            self._judge(status)
        elif order.ref in [known.ref for known in self.protection]:
            self.protection = [known for known in self.protection if known.ref != order.ref]
            if status == "completed":
                self._barred = self._guarded
                self.counts["stopped out"] += 1
        else:
            return
        self.counts[status] += 1

    def _judge(self, status: str) -> None:
        """Bar an opening that was refused too often in a row; a close is tried again on every bar."""
        if status == "completed":
            self._failures.clear()
        if status not in FAILED or not self.goal:
            return
        self._failures[self.goal] += 1
        if self._failures[self.goal] > self.rules.retries:
            self._barred = self.goal
            self._failures.clear()
            self.counts["given up"] += 1
            self._say("given up", f"{self.rules.retries + 1} orders in a row were refused ({status}); "
                                  f"the direction {self.goal:+d} waits for a new signal")

    def _say(self, kind: str, what: str) -> None:
        """Warn of each kind once; `counts` has them all."""
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(f"data {self.venue.name!r}: {what}", TradingWarning, stacklevel=2)


def direction(size: float) -> int:
    """Return -1, 0 or 1; 0 also for what rounding left of a position that was filled in parts."""
    return 0 if abs(size) < DUST else 1 if size > 0 else -1
