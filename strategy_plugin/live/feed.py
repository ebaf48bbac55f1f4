"""The feed: history, then bars as they are finished, in Backtrader's own terms.

A bar that was missed in the stream is taken from the history. Of several at once only the newest
is live: the older ones show as DELAYED, so that nothing is decided on them. Where a stream breaks
the status is CONNBROKEN until the next bar. A bar that is decided on with other series waits, for
some seconds, until those have shown theirs.
"""

import datetime as dt
import math
from collections import Counter, deque
from collections.abc import Iterable
from queue import Empty
from time import monotonic
from typing import NamedTuple

import backtrader as bt

from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.kept_bars import KeptBars
from strategy_plugin.live.sessions import EPOCH, Minutes
from strategy_plugin.live.store import LOG, Connection, LiveStore
from strategy_plugin.live.venue import DAY, MINUTE, VenueBar, VenueError

CORRECTED = "a minute that was corrected after it was used"
MISSED = "a bar that the stream missed"


class Waiting(NamedTuple):
    """A finished bar that is to be shown, its end, and when it came, as `monotonic` counts."""

    bar: VenueBar
    end: dt.datetime
    since: float


class LiveFeed(bt.feed.DataBase):  # type: ignore[misc]
    """Finished bars of one symbol from a store.

    Params:
      - store: the LiveStore
      - broker: the LiveBroker, which settles what an earlier run left before the first live bar;
        None of a series that is looked at and not traded
      - history: how many bars are filled in before the first live one
      - since: instead, the time from when on they are; None for as many as `history`
      - stamp: "open" or "close", the end of a bar that its timestamp marks
      - keep: KeptBars that get every finished bar, or None
      - after: the LiveFeeds of other series, whose bars are shown before one that ends with them
    """

    params = (
        ("store", None),
        ("broker", None),
        ("history", 300),
        ("since", None),
        ("stamp", "open"),
        ("keep", None),
        ("after", ()),
        ("qcheck", 0.2),
    )

    # By the venue's clock, so that this machine's need not tell which bars are finished.
    shows_finished_bars = True

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._waiting: deque[Waiting] = deque()
        self._newest: dt.datetime | None = None  # start of the newest bar that was taken up
        self._shown_until = EPOCH  # the end of the newest bar that was shown
        self._none_until = EPOCH  # until when others have waited in vain
        self._asked = -math.inf  # when the history was asked, as `monotonic` counts
        self._past_history = self._was_live = self._held = False
        # Before any stream is opened.
        self._arrived = self.p.store.bars_of(str(self.p.dataname))

    def islive(self) -> bool:
        return True

    def haslivedata(self) -> bool:
        # Else the series that it waits for would be asked all the time.
        return bool(self._waiting) and not self._held

    def start(self) -> None:
        super().start()
        store: LiveStore = self.p.store
        store.start()
        self._symbol = str(self.p.dataname)
        self._trading_days = store.calendars[self._symbol]
        self._timestamp = self._trading_days.timestamp
        self._minutes = Minutes(self._trading_days, store.interval)
        self._daily = store.interval >= DAY
        self._looked = monotonic()
        self.put_notification(self.DELAYED)
        start = self.p.since or self._trading_days.start_of_history(
            store.now(), self.p.history, store.interval
        )
        kept: KeptBars | None = self.p.keep
        # What came since the last run is kept, too, though it need not be shown.
        self._take_history(min(start, (kept and kept.newest) or start))
        early = (
            len(self._waiting) - int(self.p.history)
            if self.p.since is None
            else sum(one.bar.start < start for one in self._waiting)
        )
        for _ in range(early):
            bar, end, _ = self._waiting.popleft()
            if kept is not None:
                kept.add(self._timestamp(bar, end, store.interval, self.p.stamp), bar)

    def _load(self) -> bool | None:
        if not self._waiting:
            if self._past_history:
                self._end_turn()
            self._wait()
        if not self._waiting:
            return None
        self._held = any(one.is_behind(self._waiting[0]) for one in self.p.after)
        return None if self._held else self._show(self._waiting.popleft())

    def _end_turn(self) -> None:
        if self.p.broker is not None:
            self.p.broker.end_of_turn(self._symbol)
        if self.p.keep is not None:
            self.p.keep.save_if_due()
        if self.p.broker is not None:
            self.p.store.turn(self._symbol)

    def is_behind(self, bar: Waiting) -> bool:
        """Whether a bar of another feed is to wait for one of this, which was complete by its end.

        It waits no longer than the store's patience; then the history is asked, and if that has
        none either there was no trade.
        """
        if not self._waiting:
            store: LiveStore = self.p.store
            due = self._trading_days.newest_end(bar.end, store.interval)
            if max(self._shown_until, self._none_until) >= due:
                return False
            if monotonic() < bar.since + store.patience:
                return True
            if self._asked < bar.since:
                self._ask_history()
            # Bars of a market that goes on through the night need not wait for it once more.
            self._none_until = due
        return bool(self._waiting and self._waiting[0].end <= bar.end)

    def _wait(self) -> None:
        """Take what the stream brings, or look for what it did not bring."""
        if self._daily and self.p.store.now() >= self._due:
            self._ask_history()
            return
        try:
            arrived = self._arrived.get(timeout=self._qcheck or 0.001)
        except Empty:
            self._past_history = True  # of a history without any bar, too
            if not self._daily and monotonic() - self._looked > self.p.store.pace.idle:
                self._ask_history()
            return
        self._looked = monotonic()
        if isinstance(arrived, Connection):
            self._note_connection(arrived)
        elif arrived.corrected:
            self._note_correction(arrived.bar)
        elif self._minutes.newest is None or arrived.bar.start > self._minutes.newest:
            self._take_minute(arrived.bar)

    def _note_connection(self, connection: Connection) -> None:
        """Say that a stream broke; once it is back, take from the history what it missed."""
        if connection.back:
            self._ask_history()
        else:
            self.put_notification(self.CONNBROKEN)

    def _take_minute(self, minute: VenueBar) -> None:
        newest = self._minutes.newest
        days, interval = self._trading_days, self.p.store.interval
        if (
            newest is not None
            and minute.start > newest + MINUTE
            and (days.span_of(newest + MINUTE, interval) or days.span_of(minute.start, interval))
        ):
            # Minutes without a trade have no bar; only the history tells which were missed.
            try:
                self._take_history(newest + MINUTE, minute.start - MINUTE)
            except VenueError as error:
                LOG.warning("%s What was missed before %s stays out.", error, minute.start)
        self._enqueue(self._minutes.take([minute]))
        self._note_seen()

    def _note_correction(self, minute: VenueBar) -> None:
        self.counts[CORRECTED] += 1
        if self.counts[CORRECTED] == 1:
            LOG.warning(
                "%s: %s, %s: what was decided stays decided. Further ones are counted",
                self._symbol,
                CORRECTED,
                f"{minute.start:%Y-%m-%d %H:%M}",
            )

    def _note_seen(self) -> None:
        # What is only looked at must not let time pass before what is traded has come.
        if self.p.broker is not None:
            self.p.store.seen()

    def _ask_history(self) -> None:
        self._looked = self._asked = monotonic()
        store: LiveStore = self.p.store
        newest = self._newest if self._daily else self._minutes.newest
        if newest is None:
            newest = self._trading_days.start_of_history(store.now(), 1, store.interval)
        try:
            self._take_history(newest + (dt.timedelta(hours=1) if self._daily else MINUTE))
        except VenueError as error:
            LOG.warning("%s It is asked for again.", error)
            if self._daily:
                self._due = store.now() + dt.timedelta(seconds=store.pace.poll)

    def _take_history(self, start: dt.datetime, end: dt.datetime | None = None) -> None:
        """Take up the finished bars of a span that the history has, up to now by default."""
        store: LiveStore = self.p.store
        now = store.now()
        last = now if end is None else end
        if self._daily:
            self._take_days(store.venue.bars(self._symbol, DAY, start, last), now)
            return
        minutes = store.venue.bars(self._symbol, MINUTE, start, last)
        finished = self._minutes.take(one for one in minutes if one.start + MINUTE <= now)
        self.counts[MISSED] += len(finished) if self._past_history else 0
        self._enqueue(finished)
        if end is None:
            self._enqueue(self._minutes.over(now))

    def _take_days(self, days: Iterable[VenueBar], now: dt.datetime) -> None:
        """Take up the days that are over by the calendar; the one that grows stays out."""
        settle = dt.timedelta(seconds=self.p.store.pace.settle)
        self._enqueue(self._trading_days.closed_days(days, now - settle))
        known = self._waiting[-1].end if self._waiting else None
        self._due = self._trading_days.next_close(known or now) + settle
        if known is None and self._newest is not None:
            # The close is past and its bar not there yet: the venue takes a while.
            self._due = now + dt.timedelta(seconds=self.p.store.pace.poll)

    def _enqueue(self, finished: list[tuple[VenueBar, dt.datetime]]) -> None:
        for bar, end in finished:
            if self._newest is None or bar.start > self._newest:
                self._newest = bar.start
                self._waiting.append(Waiting(bar, end, monotonic()))

    def _show(self, waiting: Waiting) -> bool:
        store: LiveStore = self.p.store
        bar, end, _ = waiting
        shown = self._timestamp(bar, end, store.interval, self.p.stamp)
        live = not self._waiting and self._is_fresh(end)
        broker: LiveBroker | None = self.p.broker
        if live and not self._was_live and broker is not None:
            broker.settle(self._symbol, shown)
        self._was_live |= live
        self._past_history |= not self._waiting
        self._shown_until = end
        self.put_notification(self.LIVE if live else self.DELAYED)
        self.lines.datetime[0] = bt.date2num(shown.replace(tzinfo=None))
        for name in ("open", "high", "low", "close", "volume"):
            getattr(self.lines, name)[0] = getattr(bar, name)
        self.lines.openinterest[0] = 0.0
        if self.p.keep is not None:
            self.p.keep.add(shown, bar)
        self._note_seen()
        return True

    def _is_fresh(self, end: dt.datetime) -> bool:
        """Whether the next open is still to come, so that a decision is in time for it."""
        store: LiveStore = self.p.store
        assert store.clock is not None
        if store.clock.is_open or self._trading_days.around_the_clock:
            return not self._daily and store.now() < end + store.interval
        return True

    def stop(self) -> None:
        super().stop()
        if self.p.keep is not None:
            self.p.keep.save()
        self.p.store.stop()
