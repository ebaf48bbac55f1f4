"""What the store asks of a place that trades: one small interface, one file for each such place.

All times are in UTC; sizes are in units, below 0 for what is sold.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal, NamedTuple, Protocol

from cyclopts import Parameter

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)

OrderKind = Literal["market", "limit", "stop", "trailing_stop"]
OrderStatus = Literal["open", "partial", "filled", "canceled", "expired", "rejected"]
Stream = Literal["bars", "updates"]


def without_slash(symbol: str) -> str:
    """Return a symbol as positions and orders may bear it: a venue leaves a pair's slash out."""
    return symbol.replace("/", "")


@dataclass(frozen=True)
class VenueOptions:
    """What is asked for, and where; every field is a flag of the commands.

    Parameters
    ----------
    symbols
        What is traded, as the venue calls it: SPY, or BTC/USD.
    store
        The venue.
    feed
        Where prices of stocks come from; sip needs a subscription.
    url
        Another address than the venue's own, such as an exchange in a box.
    """

    _: KW_ONLY
    symbols: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]
    store: Literal["alpaca"] = "alpaca"
    feed: Literal["iex", "sip"] = "iex"
    url: str | None = None


class VenueError(RuntimeError):
    """The venue refused what was asked, or cannot be reached; the message says which."""

    exit_code = 10


class VenueUnreachable(VenueError):
    """No answer came: what was asked may have been done or not."""


class OrderRefused(VenueError):
    """What the venue does not do, an order above all.

    status: of its answer. short_of_money: whether money is what an order lacks.
    """

    def __init__(self, message: str, *, status: int, short_of_money: bool = False) -> None:
        super().__init__(message)
        self.status, self.short_of_money = status, short_of_money


class Asset(NamedTuple):
    """What may be traded; `lot` is the smallest part of a unit, `around_the_clock` of crypto."""

    symbol: str
    tradable: bool
    shortable: bool
    lot: float
    around_the_clock: bool


class AccountState(NamedTuple):
    """The account's money; `blocked` says why nothing may be ordered, "" where it may."""

    number: str
    cash: float
    equity: float
    buying_power: float
    blocked: str


class Holding(NamedTuple):
    """A position; `value` is its worth in money at the venue's newest price."""

    symbol: str
    size: float
    price: float
    value: float


class OrderRequest(NamedTuple):
    """An order to be sent; prices are None where the kind has none."""

    client_order_id: str
    symbol: str
    size: float
    kind: OrderKind
    limit: float | None = None
    stop: float | None = None
    trail: float | None = None


class OrderState(NamedTuple):
    """An order as the venue knows it; `filled` is signed as `size` is."""

    client_order_id: str
    venue_id: str
    symbol: str
    size: float
    filled: float
    price: float
    status: OrderStatus

    @property
    def alive(self) -> bool:
        return self.status in ("open", "partial")


class Clock(NamedTuple):
    """The venue's own time, and when it opens and closes next."""

    now: dt.datetime
    is_open: bool
    next_open: dt.datetime
    next_close: dt.datetime


class Session(NamedTuple):
    """A trading day from its open to its close."""

    date: dt.date
    opens: dt.datetime
    closes: dt.datetime


class VenueBar(NamedTuple):
    """A bar of `start` to `start` + interval; of a day it is the day's midnight at the venue."""

    symbol: str
    start: dt.datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


class Listener(Protocol):
    """Who is told of what comes by the streams, from threads of the venue's own."""

    def on_bar(self, bar: VenueBar, corrected: bool) -> None: ...
    def on_order(self, state: OrderState) -> None: ...
    def on_connection(self, stream: Stream, connected: bool) -> None: ...


class Venue(Protocol):
    """A place that trades; `waited` counts the seconds that its answers took.

    Every method raises VenueUnreachable where no answer comes, after tries of its own where a
    second one can do no harm.
    """

    name: str
    waited: float

    def asset(self, symbol: str) -> Asset:
        """Return what is known of a symbol; VenueError for one that is unknown."""
        ...

    def account(self) -> AccountState: ...
    def positions(self) -> Sequence[Holding]: ...
    def open_orders(self) -> Sequence[OrderState]: ...

    def order(self, client_order_id: str) -> OrderState | None:
        """Return the order that was sent with an id, None where there is none."""
        ...

    def submit(self, request: OrderRequest) -> OrderState:
        """Send an order once; one whose answer was lost is looked up before it is sent again.

        Raises OrderRefused for one that is not taken.
        """
        ...

    def cancel(self, state: OrderState) -> None:
        """Ask for the end of an order; OrderRefused where it has ended already."""
        ...

    def clock(self) -> Clock: ...
    def sessions(self, first: dt.date, last: dt.date) -> Sequence[Session]: ...

    def prices(self, symbol: str) -> str:
        """Return in words what kind of prices the bars of a symbol have, history and stream."""
        ...

    def bars(
        self, symbol: str, interval: dt.timedelta, start: dt.datetime, end: dt.datetime
    ) -> Sequence[VenueBar]:
        """Return the bars that begin from `start` to `end`, the one that grows included."""
        ...

    def open_streams(self, bars_of: Sequence[str], listener: Listener) -> None:
        """Begin to tell of one-minute bars of these symbols and of the account's orders."""
        ...

    def close(self) -> None: ...
