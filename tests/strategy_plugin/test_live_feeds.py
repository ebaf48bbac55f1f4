"""Live feeds as they are: made of others, in their own session, by a slow clock, restarted."""

from datetime import time, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import backtrader as bt
import pandas as pd
import pytest

from strategy_plugin import BarGuard, TradingWarning
from strategy_plugin.guard import NEVER_FINISHED, REPEATED, UNFINISHED
from tests.helpers.hosts import RULES, Watched, host, traded
from tests.helpers.live import START, TICKS, Event, live, ticks
from tests.helpers.makers import MERGED, random_bars, random_checkpoint

COUNT = len(TICKS)


def test_bars_that_always_come_before_their_end_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = random_bars(10, freq="h")
    random_checkpoint(random_bars(COUNT, freq="h"), timezone="UTC").save(tmp_path / "a.ckpt")
    now = [0.0]
    monkeypatch.setattr("strategy_plugin.guard.time.time", lambda: now[0])
    events: list[Event] = ["LIVE"]
    for tick in ticks(hours):  # this machine's clock is two seconds slow
        nearly = tick.timestamp.timestamp() + 3_598
        events += [partial(now.__setitem__, 0, nearly), tick]
    with pytest.warns(
        TradingWarning,
        match="a bar that came only before its end by this machine's clock, 2020-01-01, is kept",
    ):
        counts = traded(
            host(live(events)), checkpoint=str(tmp_path / "a.ckpt"), **RULES
        ).refusals()["live"]
    assert (counts[UNFINISHED], counts[NEVER_FINISHED]) == (10, 9)


class Eastern(tzinfo):
    """New York in winter, in a form that the host takes."""

    def utcoffset(self, when: Any) -> timedelta:
        return timedelta(hours=-5)

    def dst(self, when: Any) -> timedelta:
        return timedelta(0)


@pytest.mark.parametrize("hour, finished", [(20, False), (22, True)])
def test_a_daily_bar_is_finished_when_its_session_is(
    model_path: str,
    monkeypatch: pytest.MonkeyPatch,
    hour: int,
    finished: bool,
) -> None:
    monkeypatch.setattr(
        "strategy_plugin.guard.time.time",
        lambda: (TICKS[9].timestamp + pd.Timedelta(hours=hour)).timestamp(),
    )
    session = {"sessionend": time(16), "tz": Eastern()}  # 21:00 UTC
    with pytest.warns(TradingWarning, match="never reported LIVE"):
        strategy = traded(host(live(TICKS[:10], **session)), checkpoint=model_path, **RULES)
    assert len(strategy) == 9 + finished and strategy.refusals()["live"][UNFINISHED] == 1 - finished


@pytest.fixture
def daily_path(tmp_path: Path) -> str:
    """A checkpoint for the days of HOURS."""
    days = HOURS.resample("D").agg(MERGED)
    random_checkpoint(days, seed=3).save(tmp_path / "days.ckpt")
    return str(tmp_path / "days.ckpt")


HOURS = random_bars(4 * 170, freq="6h")
HOURLY = {"timeframe": bt.TimeFrame.Minutes, "compression": 360}


def days_made_of(hours: Any, daily_path: str, guarded: bool = True, beside: bool = True) -> Watched:
    """Trade days made of a live feed, which is cloned where it is there by itself, too."""
    cerebro = host(*([hours] if beside else []))
    if guarded and not beside:
        hours.addfilter(BarGuard)
    cerebro.resampledata(hours, timeframe=bt.TimeFrame.Days, name="days")
    return traded(cerebro, checkpoint=daily_path, names="days", **RULES)


@pytest.mark.parametrize("beside", [True, False])
def test_a_feed_made_of_a_live_one_is_not_traded_before_that_is_live(
    daily_path: str, beside: bool
) -> None:
    hours = ticks(HOURS)
    strategy = days_made_of(
        live(["DELAYED", *hours[:640], "LIVE", *hours[640:]], **HOURLY), daily_path, beside=beside
    )
    assert (
        strategy.refusals()["days"]["not live"] == 159
        and min(fill.bar for fill in strategy.fills["days"]) > 159
    )


def test_what_a_live_feed_is_made_of_is_guarded_or_that_is_said(daily_path: str) -> None:
    hours = ticks(HOURS)
    spoilt: list[Event] = ["LIVE", *hours[:101], hours[100], hours[99], *hours[101:]]
    clean = days_made_of(live(["LIVE", *hours], **HOURLY), daily_path)
    for beside in (True, False):
        strategy = days_made_of(live(spoilt, **HOURLY), daily_path, beside=beside)
        assert (
            strategy.shown["days"] == clean.shown["days"]
            and strategy.refusals()["days"][REPEATED] == 1
        )
    with pytest.warns(
        TradingWarning,
        match="data 'days': nothing guards the bars that it is made of.*feed.addfilter",
    ):
        days_made_of(live(spoilt, **HOURLY), daily_path, guarded=False, beside=False)


class AtABroker(Watched):
    """Finds a position at the start, as a process does that was restarted."""

    def start(self) -> None:
        super().start()
        self.broker.positions[self.data].update(90.0, 100.0)


def restarted(path: str, **params: Any) -> AtABroker:
    cerebro = host(live(["DELAYED", *TICKS[:START], "LIVE", *TICKS[START:]]))
    cerebro.addstrategy(AtABroker, checkpoint=path, **(RULES | params))
    strategy: AtABroker = cerebro.run()[0]
    return strategy


def test_a_restart_takes_a_position_over_and_says_so(model_path: str) -> None:
    with pytest.warns(
        TradingWarning, match=r"a position of \+90 was there at the start and is taken over"
    ):
        strategy = restarted(model_path)
    assert strategy.fills["live"][0].bar > START and len(strategy.fills["live"]) > 2


@pytest.mark.parametrize("adopt, orders", [(False, False), (True, True)])
def test_a_restart_orders_nothing_beside_the_stops_of_the_run_before_unless_told_to(
    model_path: str,
    adopt: bool,
    orders: bool,
) -> None:
    with pytest.warns(TradingWarning, match="was there at the start"):
        strategy = restarted(model_path, stop_loss="3%", adopt=adopt)
    assert bool(strategy.fills["live"]) is orders
    assert strategy.refusals()["live"]["not ours"] == (0 if adopt else COUNT - START)


def test_while_a_feed_is_away_no_stop_is_placed_and_no_order_sent_again(model_path: str) -> None:
    events = ["LIVE", *TICKS[:START], "DISCONNECTED", *TICKS[START:]]
    strategy = traded(host(live(events)), checkpoint=model_path, stop_loss="0.01%", **RULES)
    assert max(fill.bar for fill in strategy.fills["live"]) <= START + 2
    assert strategy.traded[0].decision.action == ""
