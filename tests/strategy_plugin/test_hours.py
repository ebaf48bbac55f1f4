"""Feeds in another zone than training: converted where it is stated, doubted where hours tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.bars.intervals import hour_shares
from model.checkpoint.checkpoint import Checkpoint
from model.errors import CheckpointError
from strategy_plugin import TradingWarning, replay
from strategy_plugin.feeds import utc_of
from strategy_plugin.guard import UNFINISHED
from strategy_plugin.hours import HourWatch
from tests.helpers.hosts import RULES, Watched, feed, host, series, traded
from tests.helpers.live import live, ticks
from tests.helpers.makers import random_bars, random_checkpoint

MODES: list[dict[str, Any]] = [{}, {"preload": False, "runonce": False, "exactbars": 1}]
ZONES = {"America/New_York": "09:30", "Asia/Tokyo": "09:00"}
DAYS, PER_DAY = 22, 12
COUNT = DAYS * PER_DAY
SEEN = 200  # bars before `trained_until`


def local(zone: str) -> pd.DataFrame:
    """Half hours of a session in its own time, without a word of the zone."""
    days = pd.bdate_range("2024-01-02", periods=DAYS)
    times = [
        pd.date_range(f"{day.date()} {ZONES[zone]}", periods=PER_DAY, freq="30min") for day in days
    ]
    return random_bars(COUNT).set_axis(pd.DatetimeIndex(np.concatenate(times)).as_unit("ns"))


def in_utc(zone: str) -> pd.DataFrame:
    return local(zone).tz_localize(zone).tz_convert(None)


@pytest.fixture(scope="module", params=ZONES)
def zone(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def path(zone: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of the session in UTC that has seen SEEN bars."""
    path = tmp_path_factory.mktemp("hours") / "utc.ckpt"
    trained(zone).save(path)
    return str(path)


def trained(zone: str, seen: int = SEEN, **changes: Any) -> Checkpoint:
    bars = in_utc(zone)
    fields: dict[str, Any] = {
        "timezone": "UTC",
        "hours": hour_shares(pd.DatetimeIndex(bars.index[:seen])),
        "bar_interval": pd.Timedelta("30min"),
    }
    return random_checkpoint(bars, bars.index[seen], **fields | changes)


def run(
    bars: pd.DataFrame, path: str, mode: dict[str, Any] | None = None, **params: Any
) -> Watched:
    return traded(host(feed(bars), **mode or {}), checkpoint=path, **RULES | params)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_bar_of_training_is_traded_in_local_time_in_any_mode(
    zone: str, path: str, mode: dict[str, Any]
) -> None:
    with pytest.warns(TradingWarning, match="hardly ever had a bar in training") as told:
        strategy = run(local(zone), path, mode)
    assert len(told) == 1
    # The first bar that may be traded is later than training in both readings.
    refused = strategy.refusals()["data"]["in sample"]
    assert refused >= SEEN and in_utc(zone).index[refused - 1] < trained(
        zone
    ).trained_until + pd.Timedelta(days=1)
    assert strategy.fills["data"][0].bar > refused


def test_a_live_feed_is_doubted_as_a_backtest_is(zone: str, path: str) -> None:
    with pytest.warns(TradingWarning, match="hardly ever") as told:
        backtest = run(local(zone), path)
        alive = traded(host(live(["LIVE", *ticks(local(zone))])), checkpoint=path, **RULES)
    assert sum("hardly ever" in str(one.message) for one in told) == 2
    assert [fill[:1] for fill in alive.fills["live"]] == [
        fill[:1] for fill in backtest.fills["data"]
    ]
    assert alive.refusals()["live"] == backtest.refusals()["data"]


def test_the_warning_has_both_hours_and_the_way_out(path: str, zone: str) -> None:
    hours = {"Asia/Tokyo": ("9-14", "0-5"), "America/New_York": ("9-15", "14-20")}[zone]
    with pytest.warns(
        TradingWarning,
        match=f"of {hours[0]} o'clock, those of training of {hours[1]} .UTC.*State the zone of its "
        'times, as timezone="America/New_York"',
    ):
        run(local(zone), path)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_stated_zone_is_converted(zone: str, path: str, mode: dict[str, Any]) -> None:
    expected = run(in_utc(zone), path)
    found = run(local(zone), path, mode, timezone=zone)
    assert found.fills == expected.fills and expected.fills["data"]
    assert found.refusals() == expected.refusals()
    values, wanted = (series(one.shown["data"], COUNT) for one in (found, expected))
    np.testing.assert_allclose(values, wanted, rtol=0, atol=1e-6)


def test_hours_as_in_training_change_nothing(zone: str, path: str, tmp_path: Path) -> None:
    trained(zone, hours=None).save(tmp_path / "unknown.ckpt")
    unknown = str(tmp_path / "unknown.ckpt")
    assert run(in_utc(zone), path).fills == run(in_utc(zone), unknown).fills
    # Without hours nothing can be doubted.
    assert run(local(zone), unknown).refusals()["data"]["in sample"] < 210


def test_a_feed_whose_zone_is_stated_is_not_doubted(zone: str, path: str) -> None:
    aware = local(zone).tz_localize(zone)
    assert run(aware, path).fills == run(in_utc(zone), path).fills
    run(local(zone), path, timezone="UTC")


@pytest.mark.parametrize(
    "stated, error, message",
    [
        ("Asia/Tokio", ValueError, "got 'Asia/Tokio'. Did you mean 'Asia/Tokyo'"),
        (5, ValueError, "`timezone` must be a name such as"),
    ],
)
def test_what_is_no_zone_is_refused(
    path: str, stated: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(local("Asia/Tokyo"), path, timezone=stated)


def test_what_states_its_zone_is_not_converted_again(zone: str, path: str) -> None:
    with pytest.raises(CheckpointError, match=f"must be 'UTC' as in training, got '{zone}'"):
        run(local(zone).tz_localize(zone), path, timezone=zone)


@pytest.mark.filterwarnings("ignore:data 'data'.*hardly ever:strategy_plugin.TradingWarning")
@pytest.mark.parametrize(
    "mode, params", [({}, {}), ({"runonce": False}, {}), ({}, {"timezone": "Asia/Tokyo"})]
)
def test_the_journal_of_a_feed_in_local_time_is_replayed(
    tmp_path: Path, mode: dict[str, Any], params: dict[str, Any]
) -> None:
    trained("Asia/Tokyo").save(tmp_path / "a.ckpt")
    journal = tmp_path / "journal.jsonl"
    run(local("Asia/Tokyo"), str(tmp_path / "a.ckpt"), mode, journal=journal, **params)
    assert replay(journal) == (COUNT, [])


def test_of_a_folder_no_model_decides_on_what_it_may_have_seen(tmp_path: Path) -> None:
    for seen in (180, 240):
        trained("Asia/Tokyo", seen).save(tmp_path / f"{seen}.ckpt")
    with pytest.warns(TradingWarning, match="hardly ever"):
        counts = run(local("Asia/Tokyo"), str(tmp_path)).refusals()["data"]
    # Both came into force at a midnight of UTC: of the day after, the bars from 9:00 to 13:30.
    assert counts["in sample"] == 2 * 10


@pytest.mark.filterwarnings("ignore:data 'live'.*had a forecast:strategy_plugin.TradingWarning")
def test_the_clock_of_a_live_feed_is_that_of_its_zone(
    path: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = local(zone).iloc[:1]
    opened = in_utc(zone).index[0]
    for minutes, unfinished in ((29, 1), (30, 0)):
        now = (opened + pd.Timedelta(minutes=minutes)).timestamp()
        monkeypatch.setattr("strategy_plugin.guard.time.time", lambda now=now: now)
        cerebro = host(live(["LIVE", *ticks(bars)]))
        strategy = traded(cerebro, checkpoint=path, timezone=zone, in_sample="trade", **RULES)
        assert strategy.refusals()["live"][UNFINISHED] == unfinished


def test_hours_that_come_twice_or_never_are_the_first_or_refused() -> None:
    twice = pd.DatetimeIndex(["2024-11-03 01:30"]).as_unit("ns").asi8
    assert utc_of(twice, "America/New_York")[0] == pd.Timestamp("2024-11-03 05:30").value
    never = pd.DatetimeIndex(["2024-03-10 02:30"]).as_unit("ns").asi8
    with pytest.raises(ValueError, match="2024-03-10 02:30:00 does not exist: clocks went forw"):
        utc_of(never, "America/New_York")


@pytest.mark.parametrize("step", [1, 7, COUNT])
def test_bars_are_judged_the_same_one_by_one_and_all_at_once(step: int) -> None:
    watch = HourWatch([trained("Asia/Tokyo")])
    shown = np.r_[in_utc("Asia/Tokyo").index[:100].asi8, local("Asia/Tokyo").index[100:].asi8]
    numbers = np.arange(1, COUNT + 1)
    for start in range(0, COUNT, step):
        part = slice(start, start + step)
        watch.see(numbers[part], shown[part])
    # From bar 200 on half of all bars lie in other hours.
    assert (watch.behind(199), watch.behind(200)) == (0, 14 * 3_600_000_000_000)


def test_where_a_zone_is_nowhere_known_the_doubt_is_larger() -> None:
    watch = HourWatch([trained("Asia/Tokyo", timezone=None)])
    assert watch.see(np.arange(1, COUNT + 1), local("Asia/Tokyo").index.asi8)
    assert watch.behind(COUNT) == 26 * 3_600_000_000_000
    assert watch.describe().endswith("train on bars whose zone is stated.")
