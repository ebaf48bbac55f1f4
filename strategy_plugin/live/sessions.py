"""Trading days by the venue's calendar, and longer bars made of finished minutes within them."""

import datetime as dt
import math
from bisect import bisect_right
from collections.abc import Iterable

from strategy_plugin.live.venue import DAY, MINUTE, Session, Venue, VenueBar

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
BEHIND, AHEAD = 10 * DAY, 40 * DAY  # of the calendar that is asked for beside a day
SESSION = dt.timedelta(hours=6.5)  # of stocks, as a rule
Span = tuple[dt.datetime, dt.datetime]


class Calendar:
    """The trading days of a venue, asked for when they are needed; crypto has none.

    around_the_clock: whether the market never closes; its days are those of UTC.
    """

    def __init__(self, venue: Venue, around_the_clock: bool) -> None:
        self.around_the_clock = around_the_clock
        self._venue = venue
        self._sessions: list[Session] = []
        self._known: tuple[dt.date, dt.date] | None = None

    def session_of(self, when: dt.datetime) -> Session | None:
        """Return the session that a moment lies in, its open included and its close not."""
        last = self._begun(when)
        return last if last is not None and when < last.closes else None

    def session_on(self, label: dt.datetime) -> Session | None:
        """Return the session of a daily bar, whose label is its day's midnight at the venue."""
        if self.around_the_clock:
            return Session(label.date(), label, label + DAY)
        following = self._begun(label + DAY)
        return following if following is not None and following.opens >= label else None

    def closed_days(
        self, days: Iterable[VenueBar], now: dt.datetime
    ) -> list[tuple[VenueBar, dt.datetime]]:
        """Return the daily bars whose session is over, each with its close; no other is final."""
        sessions = [(one, self.session_on(one.start)) for one in days]
        return [
            (one, session.closes)
            for one, session in sessions
            if session is not None and session.closes <= now
        ]

    def timestamp(
        self, bar: VenueBar, end: dt.datetime, interval: dt.timedelta, stamp: str
    ) -> dt.datetime:
        """Return the time that a bar bears: its date where it is one of a day, else its stamp."""
        if interval < DAY:
            return end if stamp == "close" else bar.start
        session = self.session_on(bar.start)
        date = bar.start.date() if session is None else session.date
        return dt.datetime.combine(date, dt.time(), dt.UTC)

    def next_close(self, after: dt.datetime) -> dt.datetime:
        """Return the end of the first session that closes after a moment."""
        if self.around_the_clock:
            return EPOCH + ((after - EPOCH) // DAY + 1) * DAY
        self._learn(after)
        closes = [one.closes for one in self._sessions if one.closes > after]
        # A calendar that ends here leaves the day after.
        return closes[0] if closes else after + DAY

    def newest_end(self, when: dt.datetime, interval: dt.timedelta) -> dt.datetime:
        """Return the end of the newest bar that is complete at a moment, if none is missing."""
        if self.around_the_clock:
            return EPOCH + (when - EPOCH) // interval * interval
        session = self._begun(when)
        if session is not None and when < session.closes:
            if interval < DAY and (passed := (when - session.opens) // interval * interval):
                return session.opens + passed
            session = self._begun(session.opens - MINUTE)
        return EPOCH if session is None else session.closes

    def most_bars(self, span: dt.timedelta, interval: dt.timedelta) -> int:
        """Return how many bars a span of time has at most, one below a day as if all were open."""
        if self.around_the_clock or span < DAY or interval >= DAY:
            return math.ceil(span / interval)
        return math.ceil(span / DAY * (SESSION / interval))

    def start_of_history(self, now: dt.datetime, bars: int, interval: dt.timedelta) -> dt.datetime:
        """Return from when on history reaches for so many bars, weekends and holidays counted."""
        if self.around_the_clock:
            return now - interval * (bars + 2)
        days = bars if interval >= DAY else math.ceil(bars * interval / SESSION)
        return now - DAY * math.ceil(days * 1.6 + 8)

    def span_of(self, minute: dt.datetime, interval: dt.timedelta) -> Span | None:
        """Return the interval that a minute belongs to, None outside of sessions.

        Intervals are counted from the session's open, and its last one ends with it.
        """
        if self.around_the_clock:
            start = EPOCH + (minute - EPOCH) // interval * interval
            return start, start + interval
        session = self.session_of(minute)
        if session is None:
            return None
        start = session.opens + (minute - session.opens) // interval * interval
        return start, min(start + interval, session.closes)

    def _begun(self, when: dt.datetime) -> Session | None:
        self._learn(when)
        place = bisect_right(self._sessions, when, key=lambda one: one.opens)
        return self._sessions[place - 1] if place else None

    def _learn(self, when: dt.datetime) -> None:
        """Ask for the days around a moment, as far as they are not known."""
        first, last = (when - BEHIND).date(), (when + BEHIND).date()
        if self._known is None:
            self._known = first, (when + AHEAD).date()
            self._sessions = list(self._venue.sessions(*self._known))
            return
        known_first, known_last = self._known
        if first < known_first:
            earlier = self._venue.sessions(first, known_first - DAY)
            self._sessions = [*earlier, *self._sessions]
            self._known = first, known_last
        if last > known_last:
            until = (when + AHEAD).date()
            self._sessions += self._venue.sessions(known_last + DAY, until)
            self._known = self._known[0], until


class Minutes:
    """Makes bars of an interval from minutes, each once and only when it is finished."""

    def __init__(self, calendar: Calendar, interval: dt.timedelta) -> None:
        self._calendar, self._interval = calendar, interval
        self._span: Span | None = None
        self._minutes: list[VenueBar] = []
        self.newest: dt.datetime | None = None  # start of the newest minute taken

    def take(self, minutes: Iterable[VenueBar]) -> list[tuple[VenueBar, dt.datetime]]:
        """Take minutes in their order; return the bars that they finish, each with its end.

        A minute that came before, and one outside of the sessions, is passed over.
        """
        finished: list[tuple[VenueBar, dt.datetime]] = []
        for minute in minutes:
            if self.newest is not None and minute.start <= self.newest:
                continue
            self.newest = minute.start
            span = self._calendar.span_of(minute.start, self._interval)
            if span != self._span:
                finished += self._finish()
                self._span = span
            if span is not None:
                self._minutes.append(minute)
                if minute.start + MINUTE >= span[1]:
                    finished += self._finish()
        return finished

    def over(self, now: dt.datetime) -> list[tuple[VenueBar, dt.datetime]]:
        """Return the bar whose end has passed though its last minutes had no trade."""
        return self._finish() if self._span is not None and self._span[1] <= now else []

    def _finish(self) -> list[tuple[VenueBar, dt.datetime]]:
        minutes, span, self._minutes, self._span = self._minutes, self._span, [], None
        if not minutes or span is None:
            return []
        whole = VenueBar(
            minutes[0].symbol,
            span[0],
            minutes[0].open,
            max(minute.high for minute in minutes),
            min(minute.low for minute in minutes),
            minutes[-1].close,
            math.fsum(minute.volume for minute in minutes),
        )
        return [(whole, span[1])]


def finished_bars(
    venue: Venue,
    calendar: Calendar,
    symbol: str,
    interval: dt.timedelta,
    start: dt.datetime,
    now: dt.datetime,
) -> list[tuple[VenueBar, dt.datetime]]:
    """Return the bars since a time that are finished by the venue's history, each with its end."""
    if interval < DAY:
        minutes = venue.bars(symbol, MINUTE, start, now)
        made = Minutes(calendar, interval)
        finished = made.take(one for one in minutes if one.start + MINUTE <= now)
        return finished + made.over(now)
    return calendar.closed_days(venue.bars(symbol, DAY, start, now), now)
