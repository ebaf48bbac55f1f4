"""The store: one venue, its streams and its clock, shared by the feeds and the broker."""

import datetime as dt
import logging
import time
import warnings
from collections.abc import Mapping
from itertools import chain
from queue import SimpleQueue
from types import MappingProxyType
from typing import NamedTuple

from strategy_plugin.guard import TradingWarning
from strategy_plugin.live.sessions import Calendar
from strategy_plugin.live.venue import (
    DAY,
    Asset,
    Clock,
    OrderState,
    Stream,
    Venue,
    VenueBar,
    VenueError,
    VenueUnreachable,
)

LOG = logging.getLogger("strategy_plugin.live")
SECONDS_TO_CONNECT = 30.0


class Pace(NamedTuple):
    """How long the store waits, in seconds.

    idle: without a bar, before the history is asked for it. poll: between two looks at the clock
    where no stream tells that time has passed. settle: after a close, before the day's bar is taken
    for final. wait: for the bars of other series that are complete when one of ours is.
    """

    idle: float = 75.0
    poll: float = 20.0
    settle: float = 900.0
    wait: float = 5.0


REAL = Pace()


class Arrived(NamedTuple):
    """A minute in a feed's queue."""

    bar: VenueBar
    corrected: bool


class Connection(NamedTuple):
    """In its place: that a stream of the venue broke, or has come back."""

    back: bool


Bars = SimpleQueue[Arrived | Connection]


class LiveStore:
    """Connects feeds and broker with a venue.

    Parameters
    ----------
    venue
        Where is traded.
    assets
        By symbol what is traded; the first one's feed asks for the clock.
    interval
        Of the bars: whole minutes up to a day, or a day.
    others
        By symbol what is looked at and not traded.
    """

    def __init__(
        self,
        venue: Venue,
        assets: Mapping[str, Asset],
        interval: dt.timedelta,
        pace: Pace = REAL,
        others: Mapping[str, Asset] = MappingProxyType({}),
    ) -> None:
        self.venue, self.assets, self.interval, self.pace = venue, assets, interval, pace
        # What is traded may be looked at too.
        known = {**others, **assets}
        calendars = {kind: Calendar(venue, kind) for kind in (True, False)}
        self.calendars = {
            symbol: calendars[asset.around_the_clock] for symbol, asset in known.items()
        }
        self._bars: dict[str, list[Bars]] = {symbol: [] for symbol in known}
        self.orders: SimpleQueue[OrderState | None] = SimpleQueue()  # None: the stream came back
        self.clock: Clock | None = None
        self._asked_at = self._seen_at = self._waited = 0.0
        self._silent_until = 0.0  # after the clock gave no answer, when it is asked for again
        self._due = False  # whether a minute or a bar came since the clock was asked for
        self._connected: dict[Stream, bool] = {}
        self._started = self._stopped = False
        self._broken: set[Stream] = set()

    @property
    def patience(self) -> float:
        """Seconds that a bar waits for those of other series; days are asked for several times."""
        return self.pace.wait if self.interval < DAY else self.pace.wait + 3 * self.pace.poll

    def bars_of(self, symbol: str) -> Bars:
        """Return a queue that gets the minutes of a symbol from now on, for one feed alone."""
        queue: Bars = SimpleQueue()
        self._bars[symbol].append(queue)
        return queue

    def start(self) -> None:
        """Ask for the time, and open the streams; once, whoever begins."""
        if self._started:
            return
        self._started = True
        # Before the streams: in lockstep the clock of one who listens moves time on.
        self.ask_clock()
        symbols = [] if self.interval >= DAY else list(self._bars)
        self.venue.open_streams(symbols, self)
        streams: list[Stream] = ["updates", "bars"] if symbols else ["updates"]
        until = time.monotonic() + SECONDS_TO_CONNECT
        while not all(self._connected.get(stream) for stream in streams):
            if time.monotonic() > until:
                raise VenueUnreachable(
                    f"{self.venue.name} opened no stream of {' and '.join(streams)} within "
                    f"{SECONDS_TO_CONNECT:.0f} seconds."
                )
            time.sleep(0.005)

    def ask_clock(self) -> Clock:
        self.clock, self._asked_at, self._due = self.venue.clock(), time.monotonic(), False
        return self.clock

    def now(self) -> dt.datetime:
        """Return the venue's time: as it said last, and what has passed since."""
        assert self.clock is not None
        return self.clock.now + dt.timedelta(seconds=time.monotonic() - self._asked_at)

    def turn(self, symbol: str) -> None:
        """Ask for the clock where the decisions on the newest bars are carried out, or none came.

        One feed asks for all.
        """
        if symbol != next(iter(self.assets)):
            return
        # In minutes a bar may be on its way: before time is asked on, the history is asked for it.
        quiet = self.pace.poll if self.interval >= DAY else 2 * max(self.pace.poll, self.pace.idle)
        now = time.monotonic()
        if now < self._silent_until or not (self._due or now - self._asked_at > quiet):
            return
        try:
            self.ask_clock()
        except VenueError as error:
            # Said once: whoever is told five times a second of one outage hears no other alarm.
            tell = LOG.info if self._silent_until else LOG.warning
            tell("%s The clock is asked for again until it answers.", error)
            self._silent_until = now + self.pace.poll
            return
        if self._silent_until:
            LOG.info("the clock of %s answers again", self.venue.name)
            self._silent_until = 0.0

    def seen(self) -> None:
        """Note that a minute or a bar came: the clock is asked for once it is dealt with."""
        self._due = True
        self._seen_at, self._waited = time.perf_counter(), self.venue.waited

    def since_seen(self) -> tuple[float, float]:
        """Return the seconds since the newest bar came, and those of them for the venue's answers.

        The newest of several symbols on one bar counts.
        """
        return time.perf_counter() - self._seen_at, self.venue.waited - self._waited

    def on_bar(self, bar: VenueBar, corrected: bool) -> None:
        for queue in self._bars.get(bar.symbol, ()):
            queue.put(Arrived(bar, corrected))

    def on_order(self, state: OrderState) -> None:
        self.orders.put(state)

    def on_connection(self, stream: Stream, connected: bool) -> None:
        self._connected[stream] = connected
        if self._stopped:
            return
        if not connected:
            self._broken.add(stream)
            LOG.warning("the stream of %s broke; it is opened again", stream)
        elif stream in self._broken:
            self._broken.discard(stream)
            LOG.info("the stream of %s is back", stream)
            if stream == "updates":
                self.orders.put(None)
        else:
            return  # it opens for the first time
        for queue in chain.from_iterable(self._bars.values()):
            queue.put(Connection(back=connected))

    def stop(self) -> None:
        self._stopped = True
        self.venue.close()


def assets_of(venue: Venue, symbols: list[str], shorts: bool) -> dict[str, Asset]:
    """Return what the venue knows of each symbol.

    Raises VenueError that names each one that is unknown, not tradable, or not shortable where
    shorts are asked for.
    """
    assets: dict[str, Asset] = {}
    faults: list[str] = []
    for symbol in symbols:
        try:
            assets[symbol] = asset = venue.asset(symbol)
        except VenueUnreachable:
            raise
        except VenueError as error:
            faults.append(str(error))
            continue
        if not asset.tradable:
            faults.append(f"{symbol} is not tradable at {venue.name}.")
        elif shorts and not asset.shortable:
            faults.append(f"{symbol} cannot be sold short at {venue.name}; leave shorts out.")
    if faults:
        raise VenueError(" ".join(dict.fromkeys(faults)))
    kinds = {asset.around_the_clock for asset in assets.values()}
    if len(kinds) > 1:
        warnings.warn(
            "stocks and cryptocurrencies are traded together: bars of the night have crypto alone",
            TradingWarning,
            stacklevel=2,
        )
    return assets
