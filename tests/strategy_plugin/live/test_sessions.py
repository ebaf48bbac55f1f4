"""Trading days by the venue's calendar, and bars made of finished minutes."""

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from strategy_plugin.live.sessions import Calendar, Minutes, finished_bars
from strategy_plugin.live.venue import DAY, MINUTE, Session, VenueBar

HALF = dt.date(2024, 1, 4)  # a half day; the fifth is a holiday


class Days:
    """A venue that knows its calendar and nothing else, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dt.date, dt.date]] = []

    def sessions(self, first: dt.date, last: dt.date) -> Sequence[Session]:
        self.asked.append((first, last))
        days = [first + number * DAY for number in range((last - first).days + 1)]
        return [
            Session(day, at(day, 14, 30), at(day, 18 if day == HALF else 21))
            for day in days
            if day.weekday() < 5 and day != HALF + DAY
        ]


def at(day: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, hour, minute, tzinfo=dt.UTC)


@pytest.fixture
def calendar() -> Any:
    venue: Any = Days()
    return Calendar(venue, around_the_clock=False)


def bars(start: dt.datetime, *closes: float) -> list[VenueBar]:
    return [
        VenueBar("SPY", start + number * MINUTE, close, close + 1, close - 1, close, 10.0)
        for number, close in enumerate(closes)
    ]


@pytest.mark.parametrize(
    ("after", "closes"),
    [
        (at(dt.date(2024, 1, 3), 12), at(dt.date(2024, 1, 3), 21)),
        (at(dt.date(2024, 1, 3), 21), at(HALF, 18)),
        (at(HALF, 18), at(dt.date(2024, 1, 8), 21)),  # a holiday and a weekend between
    ],
)
def test_the_next_close_is_the_calendars(
    calendar: Calendar, after: dt.datetime, closes: dt.datetime
) -> None:
    assert calendar.next_close(after) == closes


WEDNESDAY, MONDAY = dt.date(2024, 1, 3), dt.date(2024, 1, 8)


@pytest.mark.parametrize(
    ("when", "interval", "ends"),
    [
        (at(WEDNESDAY, 14, 31), MINUTE, at(WEDNESDAY, 14, 31)),
        (at(WEDNESDAY, 15, 29), 30 * MINUTE, at(WEDNESDAY, 15)),
        (at(WEDNESDAY, 14, 30), MINUTE, at(dt.date(2024, 1, 2), 21)),  # none of its own yet
        (at(WEDNESDAY, 21), MINUTE, at(WEDNESDAY, 21)),
        (at(WEDNESDAY, 20, 59), DAY, at(dt.date(2024, 1, 2), 21)),
        (at(WEDNESDAY, 21), DAY, at(WEDNESDAY, 21)),
        (at(MONDAY, 14), 60 * MINUTE, at(HALF, 18)),  # over a holiday and a weekend
    ],
)
def test_the_newest_bar_that_there_may_be_ends_by_the_calendar(
    calendar: Calendar, when: dt.datetime, interval: dt.timedelta, ends: dt.datetime
) -> None:
    assert calendar.newest_end(when, interval) == ends
    venue: Any = Days()
    always = Calendar(venue, around_the_clock=True)
    assert always.newest_end(at(MONDAY, 14, 59), 60 * MINUTE) == at(MONDAY, 14)
    assert always.newest_end(at(MONDAY, 0), DAY) == at(MONDAY, 0)


def test_a_span_has_at_most_the_bars_of_its_sessions(calendar: Calendar) -> None:
    assert [calendar.most_bars(7 * DAY, one) for one in (DAY, MINUTE)] == [7, 7 * 390]
    assert calendar.most_bars(240 * MINUTE, 15 * MINUTE) == 16
    venue: Any = Days()
    assert Calendar(venue, around_the_clock=True).most_bars(7 * DAY, MINUTE) == 10_080


def test_the_calendar_is_asked_for_what_is_not_known_alone(calendar: Calendar) -> None:
    start = at(dt.date(2024, 1, 2), 12)
    for number in range(300):
        calendar.next_close(start + number * DAY)
    calendar.next_close(start - 100 * DAY)
    asked = sorted(calendar._venue.asked)  # type: ignore[attr-defined]
    assert len(asked) < 12
    assert all(last < first for (_, last), (first, _) in pairwise(asked))


def test_intervals_count_from_the_open_and_end_with_the_session(calendar: Calendar) -> None:
    hour = dt.timedelta(hours=1)
    day = dt.date(2024, 1, 3)
    assert calendar.span_of(at(day, 14, 30), hour) == (at(day, 14, 30), at(day, 15, 30))
    assert calendar.span_of(at(day, 20, 59), hour) == (at(day, 20, 30), at(day, 21))
    assert calendar.span_of(at(HALF, 17, 45), hour) == (at(HALF, 17, 30), at(HALF, 18))
    for outside in (at(day, 14, 29), at(day, 21), at(HALF, 19), at(HALF + DAY, 16)):
        assert calendar.span_of(outside, hour) is None


def test_a_bar_is_finished_by_its_last_minute_and_made_once(calendar: Calendar) -> None:
    minutes, start = Minutes(calendar, 3 * MINUTE), at(HALF, 15, 0)
    assert minutes.take(bars(start, 5.0, 7.0)) == []
    [(bar, end)] = minutes.take(bars(start + 2 * MINUTE, 6.0))
    assert bar == VenueBar("SPY", start, 5.0, 8.0, 4.0, 6.0, 30.0) and end == start + 3 * MINUTE
    assert minutes.take(bars(start, 5.0, 7.0, 6.0)) == []  # they came before


def test_a_bar_whose_last_minutes_had_no_trade_is_finished_by_the_next_or_the_clock(
    calendar: Calendar,
) -> None:
    minutes, start = Minutes(calendar, 3 * MINUTE), at(HALF, 15, 0)
    [(first, _)] = minutes.take(bars(start, 5.0) + bars(start + 4 * MINUTE, 6.0))
    assert (first.start, first.close) == (start, 5.0)
    assert minutes.over(start + 5 * MINUTE) == []
    [(second, end)] = minutes.over(start + 6 * MINUTE)
    assert (second.start, second.close) == (start + 3 * MINUTE, 6.0) and end == start + 6 * MINUTE


def test_the_newest_finished_bar_is_that_of_the_feed_though_its_last_minutes_had_no_trade(
    calendar: Calendar,
) -> None:
    start = at(HALF, 15, 0)
    venue: Any = Days()
    venue.bars = lambda *_: bars(start, 5.0, 7.0, 6.0, 8.0)
    found = finished_bars(venue, calendar, "SPY", 3 * MINUTE, start, start + 6 * MINUTE)
    assert [(bar.close, end) for bar, end in found] == [
        (6.0, start + 3 * MINUTE),
        (8.0, start + 6 * MINUTE),
    ]


def test_minutes_outside_of_sessions_make_no_bar(calendar: Calendar) -> None:
    minutes = Minutes(calendar, MINUTE)
    found = minutes.take(bars(at(HALF, 17, 58), 1.5, 2.5, 3.5, 4.5))
    assert [bar.close for bar, _ in found] == [1.5, 2.5]


def test_crypto_counts_from_midnight_and_never_closes() -> None:
    venue: Any = Days()
    calendar, saturday = Calendar(venue, around_the_clock=True), dt.date(2024, 1, 6)
    four = dt.timedelta(hours=4)
    assert calendar.span_of(at(saturday, 3, 59), four) == (at(saturday, 0), at(saturday, 4))
    assert calendar.next_close(at(saturday, 3)) == at(saturday + DAY, 0)
    assert calendar.session_on(at(saturday, 0)) == Session(
        saturday, at(saturday, 0), at(saturday + DAY, 0)
    )
    assert not venue.asked
