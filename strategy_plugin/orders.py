"""Stop loss, take profit and trailing stop: from the words of a parameter to a distance in price."""

import math
import warnings
from collections import Counter, deque
from typing import NamedTuple, Protocol

from strategy_plugin.guard import TradingWarning

ATR_BARS = 14
UNITS = ("%", "atr")


class Distance(NamedTuple):
    """How far from the entry: percent of its price, or average true ranges."""

    amount: float
    unit: str

    def of(self, price: float, atr: float) -> float:
        """Return the distance in price."""
        return self.amount * (price / 100 if self.unit == "%" else atr)


class Stops(NamedTuple):
    """The protection of a position; None where there is none."""

    stop_loss: Distance | None = None
    take_profit: Distance | None = None
    trailing: Distance | None = None


class AverageTrueRange:
    """The mean of the last true ranges; nan until there are enough of them."""

    def __init__(self) -> None:
        self._ranges: deque[float] = deque(maxlen=ATR_BARS)
        self._close = math.nan

    @property
    def value(self) -> float:
        return math.fsum(self._ranges) / ATR_BARS if len(self._ranges) == ATR_BARS else math.nan

    def update(self, high: float, low: float, close: float) -> None:
        """Take the next bar; the first one has no close before it and so no true range."""
        if not math.isnan(self._close):
            self._ranges.append(max(high, self._close) - min(low, self._close))
        self._close = close


def stops(stop_loss: str = "", take_profit: str = "", trailing: str = "") -> Stops:
    """Return the protection that the parameters ask for, each "" or like "3%" or "2atr". Raises ValueError for other words."""
    if stop_loss and trailing:
        raise ValueError(
            f"`stop_loss` and `trailing` must not both be given, got {stop_loss!r} and {trailing!r}. "
            "A trailing stop starts as a stop loss of the same distance."
        )
    for name, text in (("stop_loss", stop_loss), ("trailing", trailing)):
        if (found := _distance(name, text)) and found.unit == "%" and found.amount >= 100:
            raise ValueError(
                f"`{name}` must be less than 100%, got {text!r}: no price lies below 0."
            )
    return Stops(
        _distance("stop_loss", stop_loss),
        _distance("take_profit", take_profit),
        _distance("trailing", trailing),
    )


def _distance(name: str, text: str) -> Distance | None:
    if not text:
        return None
    for unit in UNITS:
        number = text.removesuffix(unit).strip()
        if text.endswith(unit) and _is_positive(number):
            return Distance(float(number), unit)
    raise ValueError(
        f"`{name}` must be a number above 0 with its unit, like '3%' or '2atr', got {text!r}."
    )


def _is_positive(number: str) -> bool:
    try:
        return 0 < float(number) < float("inf")
    except ValueError:
        return False


FAILED = ("margin", "rejected")
NOTICED, FOUND, ON_CANCEL = (
    0,
    1,
    2,
)  # when an order's end was seen: before the decision, before acting on it, by cancelling
DUST = 1e-9  # units: a tenth of the smallest part that any venue trades
ROUNDING = 1e-9  # relative: a share that is just the cap is not cut


class Order(Protocol):
    """What is used of a host's order."""

    ref: int

    def alive(self) -> bool: ...
    def getstatusname(self) -> str: ...


class Venue(Protocol):
    """Where the orders of one data go, and what is held of it."""

    name: str
    facts: dict[str, float]

    @property
    def size(self) -> float: ...
    def observe(self, ago: int) -> None: ...
    def units(self, direction: int) -> float: ...
    def room(self) -> float: ...
    def market(self, size: float) -> Order | None: ...
    def protect(self, stops: Stops) -> list[Order]: ...
    def cancel(self, order: Order) -> None: ...


class Rules(NamedTuple):
    """What a desk goes by. retries: orders refused in a row before an opening is given up. patience: bars an order may stay
    unfilled. adopt: whether a position that was there at the start gets stops, though those of an earlier run may still work."""

    retries: int = 3
    patience: int = 5
    stops: Stops = Stops()
    adopt: bool = False


class End(NamedTuple):
    """What became of an order: when it was seen, the order's number among those sent, counted from 1, and its status."""

    when: int
    number: int
    status: str


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
        self.fresh = False  # whether the working order was sent in this round: whoever opens a round says when it begins
        self.ends: list[End] = []  # what ended, or was filled in part, since they were cleared last
        self._when = NOTICED
        self._numbers: dict[int, int] = {}  # of the orders sent, by ref
        self._age = 0
        self._failures: Counter[int] = (
            Counter()
        )  # refused in a row, by the direction that they led to
        self._barred = 0  # the direction not to open until the signal has left it
        self._guarded = 0.0  # the units that the protective pair was placed for
        self._placed = 0  # how many orders the pair is of
        self._at_home = False  # whether the position is known to be this run's own
        self._said: set[str] = set()

    @property
    def held(self) -> int:
        """The direction of the position as it will be when the working order is filled."""
        return self.goal if self.working is not None else direction(self.venue.size)

    def move(self, target: int, heard: bool = True) -> str:
        """Work towards the target, once a bar; return what was done, for the journal.

        heard: whether a signal speaks in the target, or is it only what is held for want of one.
        """
        self.rest()
        return self._work(self._permitted(target, heard)) if self._is_own() else "not ours"

    def rest(self) -> str:
        """See what has ended and order nothing, where nothing may be ordered."""
        self._when = FOUND
        self._sweep()
        self._when = ON_CANCEL
        return ""

    def notice(self, order: Order) -> None:
        """Take a notification of the host; orders of others and repeats are ignored."""
        self._when = NOTICED
        if not order.alive():
            self._clear(order)

    def close_books(self) -> None:
        """Count an order that the end of the run left unfilled."""
        self._sweep()
        self.counts["unfilled at end"] += self.working is not None

    def _is_own(self) -> bool:
        """Return whether the position may be worked on: one that was there at the start may have an earlier run's stops."""
        size = self.venue.size
        if self._at_home or not direction(size):
            self._at_home = True
        elif not any(self.rules.stops) or self.rules.adopt:
            self._at_home = True
            self._say(
                "found",
                f"a position of {size:+.8g} was there at the start and is taken over. Orders that an earlier run "
                "left at the broker are not seen from here: cancel them there",
            )
        else:
            self.counts["not ours"] += 1
            self._say(
                "not ours",
                f"a position of {size:+.8g} was there at the start. Stops of an earlier run may still work at "
                "the broker beside new ones, so nothing is ordered while it is held. Cancel them there and "
                "start with adopt=True",
            )
        return self._at_home

    def _work(self, target: int) -> str:
        if self.working is not None and not self._let_go(target):
            return "waiting"
        if target == direction(self.venue.size):
            return self._protect()
        return self._send(target) if self._unprotected() else "waiting"

    def _permitted(self, target: int, heard: bool) -> int:
        """Return the target, but 0 for an opening that was stopped out or given up, until the signal has left it; also 0
        while a stop is filled in parts: the rest is closed at once, as hosts cancel a pair's other order by then."""
        parts = [order for order in self.protection if order.getstatusname() == "Partial"]
        for order in parts:
            self.ends.append(End(FOUND, self._numbers[order.ref], "Partial"))
            self._stop_out()
        if heard and target != self._barred:
            self._barred = 0
        return 0 if target and target == self._barred and (parts or target != self.held) else target

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
            self._say(
                "no order",
                f"the sizer gave no units for direction {target:+d} that the cap on exposure leaves room for. "
                "Give more cash, a larger share or a higher `max_exposure`",
            )
            return "no order"
        self.working, self.goal, self._age, self.fresh = order, target, 0, True
        self._number(order)
        self.counts["sent"] += 1
        return f"{size:+.8g}"

    def _units(self, target: int) -> float:
        """Return the sizer's units, cut to the room under the cap on exposure, in whole units where the sizer's were."""
        units = abs(self.venue.units(target)) if target else 0.0
        if not math.isfinite(units):
            return 0.0
        room = self.venue.room()
        if units <= room * (1 + ROUNDING):
            return units
        self.counts["capped"] += 1
        return float(math.floor(room)) if units == math.floor(units) else room

    def _protect(self) -> str:
        """See to it that a position has a whole protective pair of its own size, and that none is left without a position."""
        size = self.venue.size
        intact = len(self.protection) == self._placed and abs(size - self._guarded) < DUST
        if not any(self.rules.stops) or (self.protection and intact):
            return ""
        if not self._unprotected():
            return "waiting"
        if not direction(size):
            return ""
        self.protection, self._guarded = self.venue.protect(self.rules.stops), size
        self._placed = len(self.protection)
        for order in self.protection:
            self._number(order)
        if self._placed < sum(part is not None for part in self.rules.stops):
            self.counts["unprotected"] += 1
            self._say(
                "unprotected",
                "the broker gave no order, or there is no price for one; the position is without its stops, "
                "which are placed again on the next bar",
            )
        return "protected" if self.protection else "unprotected"

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
            self._note(order)
            self.working = None
            self._judge(status)
        elif order.ref in [known.ref for known in self.protection]:
            self._note(order)
            self.protection = [known for known in self.protection if known.ref != order.ref]
            self._judge_stop(status)
        else:
            return
        self.counts[status] += 1

    def _number(self, order: Order) -> None:
        self._numbers[order.ref] = len(self._numbers) + 1

    def _note(self, order: Order) -> None:
        self.ends.append(End(self._when, self._numbers[order.ref], order.getstatusname()))

    def _judge(self, status: str) -> None:
        """Bar an opening that was refused too often in a row; a close is tried again on every bar."""
        if status == "completed":
            self._failures.clear()
        if status not in FAILED:
            return
        self._failures[self.goal] += 1
        if self._failures[self.goal] <= self.rules.retries:
            return
        refused = f"{self.rules.retries + 1} orders in a row were refused ({status}); "
        if not self.goal:
            self._say(
                "not closed",
                f"{refused}the position cannot be closed, and it is tried again on every bar",
            )
            return
        self._barred = self.goal
        self._failures.clear()
        self.counts["given up"] += 1
        self._say("given up", f"{refused}the direction {self.goal:+d} waits for a new signal")

    def _judge_stop(self, status: str) -> None:
        if status == "completed":
            self._stop_out()
        if status in FAILED:
            self._say(
                "stop refused",
                f"an order of the protective pair was refused ({status}); it is placed again",
            )

    def _stop_out(self) -> None:
        """Bar the direction that was stopped out; an order that fills in parts is one stop."""
        self.counts["stopped out"] += self._barred != direction(self._guarded)
        self._barred = direction(self._guarded)

    def _say(self, kind: str, what: str) -> None:
        """Warn of each kind once; `counts` has them all."""
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(f"data {self.venue.name!r}: {what}", TradingWarning, stacklevel=2)


def direction(size: float) -> int:
    """Return -1, 0 or 1; 0 also for what rounding left of a position that was filled in parts."""
    return 0 if abs(size) < DUST else 1 if size > 0 else -1
