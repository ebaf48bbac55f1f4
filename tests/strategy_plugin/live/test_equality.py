"""Live is the backtest: the same decisions, orders and equity, through the client and a server."""

import datetime as dt
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Timer
from typing import Any

import pandas as pd
import pytest

from backtests.exchange_box.faults import Fault, random_faults
from backtests.exchange_box.matching import Refusal
from strategy_plugin.live.feed import LiveFeed
from strategy_plugin.live.store import LiveStore, Pace
from strategy_plugin.live.venue import Asset, VenueUnreachable
from tests.helpers.exchanges import (
    MINUTE,
    QUICK,
    Rising,
    Run,
    backtested,
    exchange_of,
    minute_bars,
    traded_live,
)
from tests.helpers.makers import random_checkpoint

BARS = minute_bars(3, 390).iloc[:860]
FIRST = BARS.index[740]  # forty bars before a session's end
N_BARS = 60


@pytest.fixture(autouse=True)
def _() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.fixture(scope="module")
def reference() -> Run:
    return backtested(BARS, FIRST)


def require_equal(live: Run, backtest: Run, bars: int) -> None:
    """Hold what was decided, ordered, filled and worth live against the backtest."""
    ours, theirs = live.strategy, backtest.strategy
    assert len(ours.decided) == bars
    assert ours.decided == {when: theirs.decided[when] for when in ours.decided}
    assert ours.fills == theirs.fills[: len(ours.fills)] and ours.fills
    for when, equity in ours.equity.items():
        assert equity == pytest.approx(theirs.equity[when], rel=1e-9, abs=0)


@pytest.mark.parametrize("n_bars", [1_000, pytest.param(10_000, marks=pytest.mark.slow)], ids=str)
def test_decisions_orders_and_equity_are_those_of_the_backtest(n_bars: int) -> None:
    bars = minute_bars(2 + n_bars // 390 + 1, 390, seed=1)
    with exchange_of(bars, bars.index[390]) as (box, url):
        live = traded_live(url, bars=n_bars)
    require_equal(live, backtested(bars, bars.index[390]), n_bars)
    assert box.account.value() == pytest.approx(live.broker.getvalue(), rel=1e-12)


# Twenty years on the bars lie in this machine's future: the venue's clock tells what is finished.
@pytest.mark.parametrize("ahead", [pd.Timedelta(0), pd.Timedelta(weeks=52 * 20)], ids=["", "skew"])
def test_a_checkpoint_is_traded_unchanged_and_as_in_the_backtest(
    ahead: pd.Timedelta, tmp_path: Path
) -> None:
    bars, first = BARS.set_axis(BARS.index + ahead), FIRST + ahead
    checkpoint = random_checkpoint(bars.tz_localize(None).iloc[:400], timezone="UTC")
    checkpoint.save(tmp_path / "minute.ckpt")
    how: dict[str, Any] = {"checkpoint": str(tmp_path / "minute.ckpt"), "history": 200}
    with exchange_of(bars, first) as (_, url):
        live = traded_live(url, bars=N_BARS, feed_class=LiveFeed, **how)
    require_equal(live, backtested(bars, first, with_line=False, **how), N_BARS)


def test_shorts_and_parts_of_units_are_those_of_the_backtest(reference: Run) -> None:
    with exchange_of(BARS, FIRST) as (_, url):
        live = traded_live(url, bars=N_BARS, shorts=True)
    require_equal(live, backtested(BARS, FIRST, shorts=True), N_BARS)
    assert min(size for _, size, _ in live.strategy.fills) < 0
    with exchange_of(BARS, FIRST, lot=1e-4, symbol="BTC/USD", shortable=False) as (_, url):
        live = traded_live(url, bars=N_BARS, symbol="BTC/USD")
    require_equal(live, backtested(BARS, FIRST, lot=1e-4), N_BARS)
    assert any(size % 1 for _, size, _ in live.strategy.fills)


HARMLESS = {
    "the stream is cut": Fault("cut stream", 5, times=3),
    "trade updates are cut": Fault("cut updates", 3, times=3),
    "a bar is missed": Fault("miss bar", 5, times=2),
    "a bar comes twice": Fault("repeat bar", 5, times=3),
    "a bar comes late": Fault("late bar", 5, times=3),
    "a bar is corrected": Fault("correct bar", 5, times=3),
    "a server error": Fault("status", 5, times=3, status=500, path="GET /v2"),
    "a server error on an order": Fault("status", 5, times=2, status=500, path="POST /v2"),
    "a timeout at the gateway": Fault("status", 5, times=2, status=504, path="POST /v2"),
    "too many requests": Fault("status", 5, status=429, path="POST /v2", retry_after=1),
    "a request is cut": Fault("cut request", 5, times=3),
    "an order is cut": Fault("cut request", 5, times=3, path="POST"),
    "answers on orders are lost": Fault("lose answer", times=5),
}


@pytest.mark.parametrize("fault", HARMLESS.values(), ids=HARMLESS)
def test_after_a_fault_all_is_as_if_it_had_not_happened(fault: Fault, reference: Run) -> None:
    with exchange_of(BARS, FIRST, faults=[fault]) as (box, url):
        live = traded_live(url, bars=N_BARS)
    assert len(box.faults.done) == fault.times
    require_equal(live, reference, N_BARS)
    assert not box.account.open_orders() or live.strategy.traded[0].orders.working


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 100))]
)
def test_after_faults_at_random_too(seed: int, reference: Run) -> None:
    faults = random_faults(seed, N_BARS, 0.25)
    with exchange_of(BARS, FIRST, faults=faults) as (box, url):
        live = traded_live(url, bars=N_BARS)
    assert len(box.faults.done) > 5
    require_equal(live, reference, N_BARS)


def ends(box: Any) -> list[str]:
    return [order.status for order in box.account.orders.values()]


CHANGING = {
    "an order is refused": (Fault("reject order", 5), "rejected", 0),
    "a fill is rejected": (Fault("reject fill", 5), "rejected", 1),
    "a part is filled": (Fault("part fill", 5, share=0.3), "completed", 0),
    "nothing fills for a while": (Fault("halt", 5, times=2), "completed", 0),
}


@pytest.mark.parametrize("case", CHANGING.values(), ids=CHANGING)
def test_what_a_fault_changes_is_seen_and_traded_on(case: tuple[Fault, str, int]) -> None:
    fault, reason, at_the_venue = case
    with exchange_of(BARS, FIRST, faults=[fault]) as (box, url):
        live = traded_live(url, bars=N_BARS)
    assert len(box.faults.done) == fault.times
    counts = live.strategy.traded[0].orders.counts
    assert counts[reason] and ends(box).count("rejected") == at_the_venue
    # Account and positions are those of the venue, and trading went on.
    assert live.broker.getvalue() == pytest.approx(box.account.value(), rel=1e-12)
    held = box.account.holdings
    assert live.broker.getposition(live.feed).size == (held["SPY"].size if held else 0)
    assert len(live.strategy.fills) > 10


def test_a_bar_missed_for_good_is_shown_and_not_decided_on() -> None:
    gap = [Fault("miss bar", 5), Fault("cut request", 5, times=40, path="stocks/bars")]
    with exchange_of(BARS, FIRST, faults=gap) as (_, url):
        live = traded_live(url, bars=20)
    start = FIRST.tz_localize(None).to_pydatetime()
    times = [start + dt.timedelta(minutes=number) for number in range(-1, 21)]
    missed = [when for when in times if when not in live.strategy.decided]
    assert times[0] in live.strategy.decided and 1 <= len(missed) <= 3


def test_an_hour_without_a_connection_over_the_end_of_a_session_is_made_up_for() -> None:
    with exchange_of(BARS, FIRST, faults=[Fault("miss bar", 10, times=60)]) as (box, url):
        live = traded_live(url, bars=40, meanwhile={10: lambda: box.pass_over(60)})
    times = [when.tz_localize(None).to_pydatetime() for when in BARS.index[739:]]
    # What came and went meanwhile is shown, and only its newest bar is decided on.
    assert [*live.strategy.decided] == [*times[:10], *times[70:100]]
    assert len(live.feed) == 20 + 99
    held = box.account.holdings
    assert live.broker.getposition(live.feed).size == (held["SPY"].size if held else 0)
    assert live.broker.getvalue() == pytest.approx(box.account.value(), rel=1e-12)


def test_a_bar_that_is_long_on_its_way_is_not_passed_over(
    reference: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine: time is asked on only after the history was asked for the bar."""
    numbers, take = count(), LiveStore.on_bar

    def late(*arguments: Any) -> None:
        wait = 0.45 if 5 <= next(numbers) < 8 else 0.0
        Timer(wait, take, arguments).start()

    monkeypatch.setattr(LiveStore, "on_bar", late)
    with exchange_of(BARS, FIRST) as (_, url):
        require_equal(traded_live(url, bars=12), reference, 12)


def test_a_clock_that_gives_no_answer_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class Silent:
        name, waited, asked = "alpaca", 0.0, 0

        def clock(self) -> None:
            self.asked += 1
            raise VenueUnreachable("alpaca gave no answer on the clock.")

    venue = Silent()
    asset = Asset("SPY", True, True, 1.0, False)
    store = LiveStore(venue, {"SPY": asset}, MINUTE, Pace(poll=0.02))
    store.seen()  # a bar came, so that the clock is due
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        store.turn("SPY")
    assert 2 <= venue.asked <= 11  # at its pace, and not all the time
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_fill_that_a_cancel_comes_too_late_for_is_booked() -> None:
    brokers: list[Any] = []

    class Caught(Rising):
        def start(self) -> None:
            super().start()
            brokers.append(self.p.broker)

    def cancel() -> None:
        [order] = box.account.open_orders()

        def too_late(order: Any, now: Any) -> None:
            del box.account.cancel  # once
            assert list(box.account.fill_at_open("SPY", 100.0, now))
            raise Refusal(422, 42210000, "order is already in filled state")

        box.account.cancel = too_late  # type: ignore[method-assign]
        brokers[0].cancel(brokers[0]._orders[order.client_order_id])

    with exchange_of(BARS, FIRST) as (box, url):
        live = traded_live(url, bars=5, feed_class=Caught, meanwhile={1: cancel})
    assert [order.status for order in box.account.orders.values()] == ["filled"]
    assert live.strategy.fills and live.broker.getvalue() == pytest.approx(
        box.account.value(), rel=1e-12
    )


def test_a_symbol_that_is_delisted_is_held_and_its_orders_are_refused() -> None:
    def delist() -> None:
        box.account.listings = {"SPY": replace(box.account.listings["SPY"], tradable=False)}

    with exchange_of(BARS, FIRST) as (box, url):
        live = traded_live(url, bars=N_BARS, meanwhile={20: delist})
    assert live.strategy.traded[0].orders.counts["rejected"]
    held = box.account.holdings
    assert live.broker.getposition(live.feed).size == (held["SPY"].size if held else 0)
    assert len(live.strategy.decided) == N_BARS


def test_longer_bars_are_made_of_finished_minutes_live_as_in_the_history() -> None:
    five = BARS.groupby([BARS.index.date, (BARS.index.hour * 60 + BARS.index.minute) // 5]).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    starts = BARS.index[::5].tz_localize(None)
    with exchange_of(BARS, FIRST, faults=[Fault("cut stream", 33)]) as (_, url):
        live = traded_live(url, bars=12, interval=5 * MINUTE, pace=QUICK)
    shown = [live.feed.close.array[number] for number in range(len(live.feed))]
    first = len(starts) - len(five) + 148 - 20
    assert shown == five["close"].iloc[first : first + len(shown)].tolist()
    assert [*live.strategy.decided] == [
        when.to_pydatetime() for when in starts[first + 19 : first + 31]
    ]
    assert live.strategy.fills


def test_the_history_is_filled_in_and_nothing_is_ordered_on_it() -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        live = traded_live(url, bars=1, history=50)
    assert len(live.feed) == 50 and live.strategy.refusals()["SPY"]["not live"] == 49
    assert list(live.strategy.decided) == [
        (FIRST - pd.Timedelta(minutes=1)).tz_localize(None).to_pydatetime()
    ]
    assert len(box.account.orders) <= 1
