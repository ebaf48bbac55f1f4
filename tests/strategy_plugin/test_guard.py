"""Bars at fault: which they are, one by one and all at once, and that a guarded feed is clean."""

import warnings
from datetime import time as time_of_day
from typing import Any

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategy_plugin.feeds import EARLIEST
from strategy_plugin.guard import (
    REVISED,
    Bar,
    BarGuard,
    Gate,
    TradingWarning,
    bar_fault,
    guard_for,
)
from tests.helpers.live import Event, Tick, live, ticks
from tests.helpers.makers import random_bars

GOOD = (10.0, 12.0, 9.0, 11.0, 100.0)
NAN, INF = float("nan"), float("inf")
PRICES = "a price that is not finite"
POSITIVE = "a price that is not above 0 (negative or zero)"
VOLUME = "a volume that is negative or not finite"


@pytest.mark.parametrize(
    "bar, fault",
    [
        (GOOD, ""),
        ((10.0, 12.0, 9.0, 12.000001, 1.0), ""),
        ((10.0, 10.0, 10.0, 10.0, 0.0), ""),
        ((NAN, 12.0, 9.0, 11.0, 1.0), PRICES),
        ((10.0, INF, 9.0, 11.0, 1.0), PRICES),
        ((10.0, 12.0, 0.0, 11.0, 1.0), POSITIVE),
        ((10.0, 12.0, 9.0, -11.0, 1.0), POSITIVE),
        ((10.0, 8.0, 9.0, 8.5, 1.0), "high below low"),
        ((10.0, 10.5, 9.0, 11.0, 1.0), "open or close above the high"),
        ((10.0, 12.0, 10.5, 11.0, 1.0), "open or close below the low"),
        ((10.0, 12.0, 9.0, 11.0, -1.0), VOLUME),
        ((10.0, 12.0, 9.0, 11.0, INF), VOLUME),
    ],
)
def test_a_bar_at_fault_is_named(bar: Bar, fault: str) -> None:
    assert bar_fault(bar) == fault


def admitted(gate: Gate, *shown: tuple[int, int, Bar]) -> list[bool]:
    with warnings.catch_warnings(action="ignore", category=TradingWarning):
        return [gate.admit(*bar) is not None for bar in shown]


OTHER = (10.0, 12.0, 9.0, 11.5, 100.0)


def test_a_gate_admits_only_later_bars_and_counts_the_others() -> None:
    gate = Gate("data")
    timestamps = [5, 7, 7, 7, 6, EARLIEST, 8]
    bars = [GOOD, GOOD, GOOD, OTHER, GOOD, GOOD, GOOD]
    assert admitted(gate, *zip(range(1, 8), timestamps, bars)) == [
        True,
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert gate.counts == {
        "a bar that came before": 1,
        "a bar that came before with other values": 1,
        "a bar older than the last one": 2,
    }


def test_a_gate_takes_a_growing_bar_again_and_counts_it_once() -> None:
    gate = Gate("data")
    spoilt = (NAN, *GOOD[1:])
    assert admitted(gate, (1, 5, spoilt), (1, 5, spoilt), (1, 5, GOOD), (1, 6, OTHER)) == [
        False,
        False,
        True,
        True,
    ]
    assert gate.counts == {PRICES: 1}


@pytest.mark.parametrize("first, later", [(NAN, 0.0), (1.0, None)])
def test_the_first_bar_tells_whether_a_missing_volume_is_a_fault(
    first: float, later: float | None
) -> None:
    gate = Gate("data")
    with warnings.catch_warnings(action="ignore", category=TradingWarning):
        gate.admit(1, 1, (*GOOD[:4], first))
        bar = gate.admit(2, 2, (*GOOD[:4], NAN))
    assert (bar[4] if bar else None) == later


def times(factor: float) -> Bar:
    return (*(price * factor for price in GOOD[:4]), 1.0)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "factors, expected",
    [
        ([1, 9, 1], [True, True, True]),
        ([1, 10, 1], [True, True, True]),
        ([1, 110, 1100], [True, False, True]),
        ([1, 100, 1, 1.1], [True, False, True, True]),
        ([1, 0.01, 0.01, 1, 0.01], [True, False, True, False, True]),
        ([1, 100, 0.01, 1], [True, False, False, True]),
        ([1, 100, 101, 99], [True, False, True, True]),
    ],
)
def test_a_jump_is_a_fault_unless_the_next_bar_confirms_it(
    factors: list[float], expected: list[bool]
) -> None:
    gate = Gate("data", highest_jump=10.0)
    assert (
        admitted(
            gate,
            *[(number, number, times(factor)) for number, factor in enumerate(factors, start=1)],
        )
        == expected
    )
    assert gate.counts["a close many times the last one, or a fraction of it"] == expected.count(
        False
    )


def test_a_jump_that_is_shown_twice_does_not_confirm_itself() -> None:
    gate = Gate("data", highest_jump=10.0)
    assert admitted(
        gate, (1, 1, times(1)), (2, 2, times(100)), (3, 2, times(100)), (4, 3, times(1))
    ) == [True, False, False, True]


def test_without_a_limit_every_jump_is_a_market() -> None:
    assert (
        admitted(Gate("data"), (1, 1, GOOD), (2, 2, times(1e6)), (3, 3, times(1e-6))) == [True] * 3
    )


def test_without_a_remedy_nothing_follows() -> None:
    with pytest.warns(TradingWarning, match=r"Further ones are counted\.$"):
        Gate("data").admit(1, 1, (NAN, *GOOD[1:]))


@pytest.mark.parametrize(
    "fault, bars", [(PRICES, [(NAN, *GOOD[1:])]), (REVISED, [GOOD, OTHER, OTHER])]
)
def test_a_fault_is_said_once_with_its_stamp_and_the_remedy(fault: str, bars: list[Bar]) -> None:
    gate = Gate("EURUSD", remedy=" Mend it.")
    with pytest.warns(
        TradingWarning,
        match=f"data 'EURUSD': {fault}, 1970-01-01, is kept.* counted. Mend it.$",
    ) as warned:
        for number, bar in enumerate(bars, start=1):
            gate.admit(number, 0, bar)
    assert len(warned) == 1


SPOILT = st.sampled_from(
    [
        GOOD,
        OTHER,
        GOOD,
        (NAN, *GOOD[1:]),
        (*GOOD[:4], NAN),
        (10.0, 9.0, 12.0, 11.0, 1.0),
        (10.0, INF, 9.0, 11.0, 1.0),
        (*GOOD[:4], INF),
    ]
)


def require_one_judgement(shown: list[tuple[Bar, int]]) -> list[bool]:
    """See that all bars at once are judged as one by one; return which are admitted."""
    one_by_one, at_once = Gate("data"), Gate("data")
    with warnings.catch_warnings(action="ignore", category=TradingWarning):
        expected = [
            one_by_one.admit(number, timestamp, bar)
            for number, (bar, timestamp) in enumerate(shown, start=1)
        ]
        values, sound = at_once.admit_all(
            np.array([bar for bar, _ in shown]), np.array([timestamp for _, timestamp in shown])
        )
    assert sound.tolist() == [bar is not None for bar in expected]
    assert values[sound].tolist() == [list(bar) for bar in expected if bar is not None]
    assert at_once.counts == one_by_one.counts
    return [bar is not None for bar in expected]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SPOILT, st.integers(0, 12) | st.just(EARLIEST)), min_size=1, max_size=30))
def test_all_bars_at_once_are_judged_as_one_by_one(shown: list[tuple[Bar, int]]) -> None:
    require_one_judgement(shown)


@pytest.mark.parametrize(
    "bar, timestamp",
    [
        ((10.0, 12.0, 0.0, 11.0, 1.0), 3),
        ((8.9, 12.0, 9.0, 11.0, 1.0), 3),
        ((12.1, 12.0, 9.0, 11.0, 1.0), 3),
        ((10.0, 12.0, 9.0, 8.9, 1.0), 3),
        ((10.0, 12.0, 9.0, 12.1, 1.0), 3),
        ((10.0, INF, 9.0, 11.0, 1.0), 3),
        ((-9.0, 12.0, -9.5, 11.0, 1.0), 3),
        ((*GOOD[:4], -1.0), 3),
        ((*GOOD[:4], INF), 3),
        ((*GOOD[:4], NAN), 3),
        (GOOD, 2),
        (GOOD, 1),
        (GOOD, EARLIEST),
    ],
)
def test_a_single_fault_among_sound_bars_is_seen_at_once(bar: Bar, timestamp: int) -> None:
    shown = [(GOOD, 1), (GOOD, 2), (bar, timestamp), (GOOD, 4), (GOOD, 5)]
    assert require_one_judgement(shown) == [True, True, False, True, True]


@pytest.mark.parametrize(
    "again, counts",
    [
        (True, {"a bar that is not finished": 1}),
        (
            False,
            {
                "a bar that is not finished": 1,
                "a bar that came only before its end by this machine's clock": 1,
            },
        ),
    ],
)
def test_a_bar_that_came_before_its_end_may_come_again(
    monkeypatch: pytest.MonkeyPatch, again: bool, counts: dict[str, int]
) -> None:
    now = [0.0]
    monkeypatch.setattr("strategy_plugin.guard.time.time", lambda: now[0])
    bars = random_bars(4, freq="h")

    def at(tick: Tick, seconds: int) -> list[Event]:
        return [lambda: now.__setitem__(0, tick.timestamp.timestamp() + seconds), tick]

    first, second, third, fourth = ticks(bars)
    later = [*at(third, 3_600), *at(fourth, 3_600)]
    shown = live(
        [*at(first, 3_600), *at(second, 3_599), *(at(second, 3_600) if again else ()), *later]
    )
    shown.addfilter(BarGuard, finished_after=3_600.0)
    expected = bars["close"] if again else bars["close"].iloc[[0, 2, 3]]
    with warnings.catch_warnings(action="ignore", category=TradingWarning):
        assert closes(shown) == expected.tolist()
    assert guard_for(shown, finished_after=None, daily=False).counts == counts


AFTERNOON = {"sessionend": time_of_day(16)}


@pytest.mark.parametrize(
    "daily, session, hours, shown",
    [
        (True, AFTERNOON, 16.0, 2),
        (True, AFTERNOON, 15.9999, 1),
        (True, {}, 0.0, 2),
        (False, AFTERNOON, 0.0, 2),
    ],
)
def test_a_day_is_finished_with_its_session_where_that_is_known(
    monkeypatch: pytest.MonkeyPatch, daily: bool, session: dict[str, Any], hours: float, shown: int
) -> None:
    bars = random_bars(2)
    monkeypatch.setattr(
        "strategy_plugin.guard.time.time", lambda: bars.index[1].timestamp() + 3_600 * hours
    )
    feed = live(ticks(bars), **session)
    feed.addfilter(BarGuard)
    if daily:
        guard_for(feed, finished_after=None, daily=True)
    assert closes(feed) == bars["close"].iloc[:shown].tolist()


@pytest.mark.parametrize("factor, shown", [(9.0, 3), (10.6, 2)])
def test_a_guard_keeps_out_a_close_ten_times_the_last(factor: float, shown: int) -> None:
    bars = random_bars(3)
    bars.iloc[1:2, :4] *= factor
    feed = live(ticks(bars))
    feed.addfilter(BarGuard)
    with warnings.catch_warnings(action="ignore", category=TradingWarning):
        assert len(closes(feed)) == shown


class Closes(bt.Strategy):  # type: ignore[misc]
    """Remembers the closes it was shown."""

    def __init__(self) -> None:
        self.closes: list[float] = []

    def next(self) -> None:
        self.closes.append(self.data.close[0])


def closes(feed: bt.feed.DataBase, **mode: int) -> list[float]:
    cerebro = bt.Cerebro(**mode)
    cerebro.adddata(feed)
    cerebro.addstrategy(Closes)
    seen: list[float] = cerebro.run()[0].closes
    return seen


@pytest.mark.parametrize("mode", [{}, {"preload": False}, {"runonce": False}, {"exactbars": 1}])
def test_a_guarded_feed_shows_the_clean_bars_only(mode: dict[str, int]) -> None:
    bars = random_bars(50)
    bars.iloc[[0, 7, 8, 49], 1] = NAN
    feed = bt.feeds.PandasData(dataname=bars)
    feed.addfilter(BarGuard)
    with pytest.warns(TradingWarning, match="a price that is not finite"):
        shown = closes(feed, **mode)
    assert shown == bars["close"].drop(bars.index[[0, 7, 8, 49]]).tolist()
