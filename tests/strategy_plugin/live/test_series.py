"""Models that read other series are traded live as in the backtest with those series as datas."""

import datetime as dt
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Timer
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtests.exchange_box.faults import FaultPlan, random_faults
from backtests.exchange_box.market import Market
from backtests.exchange_box.matching import Listing, TradingAccount
from backtests.exchange_box.server import Exchange
from model import read_bars
from model.checkpoint.schedule import Schedule
from model.errors import CheckpointError
from model.features.joining import add_context
from strategy_plugin import replay
from strategy_plugin.live import session
from strategy_plugin.live.feed import LiveFeed, Waiting
from strategy_plugin.live.reconciling import reconcile
from strategy_plugin.live.retraining import Retraining
from strategy_plugin.live.series import assets_of_series
from strategy_plugin.live.store import LiveStore
from strategy_plugin.live.venue import DAY, MINUTE, Asset, Clock, Session, VenueBar
from strategy_plugin.reconcile import app as reconciliation
from strategy_plugin.trade import app
from tests.helpers import commands
from tests.helpers.commands import KEYS
from tests.helpers.exchanges import COSTS, QUICK, minute_bars, served
from tests.helpers.makers import random_bars, random_checkpoint

MINUTES = minute_bars(3, 390, seed=1).iloc[:1_100]
FIRST = MINUTES.index[700]  # within a session
# Two of its minutes in a hundred have no trade.
DRAW = np.random.default_rng(0)
SPY = minute_bars(3, 390, seed=2).iloc[:1_100][lambda bars: DRAW.random(len(bars)) > 0.02]
DAYS = random_bars(330, start="2022-01-03", freq="B")
DAILY_SPY = random_bars(330, seed=2, start="2022-01-03", freq="B")
COSTLY = ("--slippage", COSTS.in_price * 1e4, "--commission", COSTS.commission)
PLACE = "universe:rank(ret_z_5)"
RULES = ("--enter", 0.5, "--exit", 0.5, "--allow-short", *COSTLY)
pytestmark = pytest.mark.usefixtures("exchange_keys")


@pytest.fixture(autouse=True)
def _(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "NEARBY", QUICK._replace(wait=0.6))


def saved(
    bars: pd.DataFrame,
    context: Any,
    series: Mapping[str, pd.DataFrame],
    config: Any = MappingProxyType({}),
    **asked: Any,
) -> Path:
    """A network with random weights that reads other series, in joined.ckpt."""
    zone = "UTC" if bars.index.tz else None
    given = {name: utc(one).copy() for name, one in {"own": bars, **series}.items()}
    for one in given.values():
        one.attrs = {"timezone": zone}
    # Of a universe of one there are no places.
    universe = {"own": given.pop("own"), **({"other": DAILY_SPY} if PLACE in context else {})}
    joined = add_context(universe, context, series=given, **asked)["own"]
    about = {"context": joined.attrs["context"], "timezone": zone, "config": dict(config)}
    about["bar_interval"] = bars.index[1] - bars.index[0]  # the first two of those left may not say
    random_checkpoint(joined, seed=3, **about).save("joined.ckpt")
    return Path("joined.ckpt")


def exchange(bars: Mapping[str, pd.DataFrame], first: Any, **how: Any) -> Exchange:
    account = TradingAccount(100_000.0, COSTS, {name: Listing(name) for name in bars})
    return Exchange(Market(bars, pd.Timestamp(first)), account, number="PA1", keys=KEYS, **how)


def ended(
    capsys: Any, url: str, *words: object, checkpoint: str = "joined.ckpt"
) -> tuple[int, list[dict[str, Any]], str, str]:
    given = ("--symbols", "AAPL", "--checkpoint", checkpoint, "--url", url, *words)
    code, out, err = commands.ended(app, capsys, *given, *RULES)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return code, lines, out, err


def require_backtest(bars: Mapping[str, pd.DataFrame], spy: pd.DataFrame, n_bars: int) -> None:
    """Hold each decision of the run against the backtest with the series as a data."""
    found = reconcile("runs/live/decisions.jsonl", bars, series={"spy": utc(spy)})
    assert not found.differences and len(found.steps) == n_bars
    for step in found.steps:
        assert step.position == step.backtest_position
        assert step.equity == pytest.approx(step.backtest_equity, rel=1e-9)
    assert len({step.position for step in found.steps}) > 3
    assert not replay("runs/live/decisions.jsonl").differences


def utc(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.tz_localize(None) if bars.index.tz else bars


def as_they_come(take: Any) -> Callable[..., None]:
    return take


def after_ours(take: Any) -> Callable[..., None]:
    """The series' bars are later on their way than ours are."""

    # Longer than Backtrader itself waits for a feed.
    def late(store: Any, bar: Any, corrected: bool) -> None:
        Timer(0.3 if bar.symbol == "SPY" else 0.0, take, (store, bar, corrected)).start()

    return late


@pytest.mark.parametrize("order", [as_they_come, after_ours])
def test_minutes_are_decided_live_as_in_the_backtest(
    order: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveStore, "on_bar", order(LiveStore.on_bar))
    n_bars = 200 if order is as_they_come else 30
    texts = ("spy:ret_z_5,bar_close_z,ret_z_20", "self:30min:bar_close_z")
    saved(MINUTES, texts, {"spy": SPY})
    with served(exchange({"AAPL": MINUTES, "SPY": SPY}, FIRST)) as url:
        code, lines, out, err = ended(capsys, url, "--context", "SPY", "--bars", n_bars)
    assert code == 0, err
    assert "series        spy is SPY, alpaca iex raw\n" in out
    assert "; spy: complete at the decision; self:30min: complete " in out
    ages = [line["series"]["spy"] for line in lines]
    assert {*ages} <= {0.0, 60.0, 120.0} and 0 < sum(map(bool, ages)) < n_bars / 10
    require_backtest({"AAPL": utc(MINUTES)}, SPY, n_bars)


@pytest.mark.parametrize("seed", [0, 1])
def test_after_faults_at_random_too(seed: int, capsys: Any) -> None:
    saved(MINUTES, "spy:ret_z_5,bar_close_z", {"spy": SPY})
    faults = random_faults(seed, 60, 0.25)
    with served(exchange({"AAPL": MINUTES, "SPY": SPY}, FIRST, faults=FaultPlan(faults))) as url:
        code, _, _, err = ended(capsys, url, "--context", "SPY", "--bars", 60)
    assert code == 0, err
    require_backtest({"AAPL": utc(MINUTES)}, SPY, 60)


def test_a_series_that_breaks_off_is_said_and_nothing_is_opened(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "NEARBY", QUICK._replace(wait=0.05))
    saved(MINUTES, "spy:ret_z_5,bar_close_z", {"spy": SPY})
    until = SPY.loc[: FIRST + pd.Timedelta(minutes=10)]
    words = ("--context", "SPY", "--bars", 35, "--max-context-age", 10 / 24 / 60)
    with served(exchange({"AAPL": MINUTES, "SPY": until}, FIRST)) as url:
        code, lines, _, err = ended(capsys, url, *words)
    assert code == 0, err
    ages = [line["series"]["spy"] for line in lines]
    assert ages[-24:] == [60.0 * number for number in range(24)]
    known = [line["probability"] is not None for line in lines]
    assert known == [age <= 660 for age in ages] and not known[-1]
    broken = known.index(False)
    assert not [line for line in lines[broken:] if line["order"]]
    held = {line["position"] for line in lines[broken + 1 :]}
    assert held == {lines[broken]["position"]} != {0.0}
    [[alarm]] = [line["alarms"] for line in lines if "alarms" in line]
    assert (
        lines[broken]["alarms"] == [alarm]
        and "AAPL: the series spy is too old: nothing is forecast" in alarm
    )
    assert alarm in err and alarm in Path("runs/live/status.html").read_text()
    # Against the backtest that has the bars, it is what all else began with.
    utc(MINUTES).to_csv("AAPL.csv")
    utc(SPY).to_csv("spy.csv")
    asked = ("runs/live/decisions.jsonl", "--data", "AAPL.csv")
    code, out, _ = commands.ended(reconciliation, capsys, *asked, "--context", "spy.csv")
    assert code == 1 and "  AAPL  other series: 2 of 2 columns were others: a bar of a s" in out
    assert "other series 1" in out and out.index("other series") < 50
    code, _, err = commands.ended(reconciliation, capsys, *asked)
    assert code == 3 and "--context must give the bars of spy, which the models read beside" in err


@pytest.mark.parametrize("text", ["self:1W:bar_close_z,rsi_7", "self:2D:ret_z_5"])
def test_slower_bars_of_the_symbol_itself_need_no_series(text: str, capsys: Any) -> None:
    saved(DAYS, text, {})
    with served(exchange({"AAPL": DAYS}, DAYS.index[280])) as url:
        code, lines, out, err = ended(capsys, url, "--bars", 30)
    assert code == 0, err
    assert "series        none\n" in out and len({line["position"] for line in lines}) > 3
    # The history was long enough, and what the report said is what was decided.
    assert f"probability of up {lines[0]['probability']:.4f}; self:" in out
    require_backtest({"AAPL": DAYS}, SPY, 30)


def test_days_of_a_traded_symbol_may_be_the_series_of_another(capsys: Any) -> None:
    """Each symbol by the same model, SPY being looked at and traded."""
    saved(DAYS, "market:ret_z_5,bar_close_z", {"market": DAILY_SPY})
    bars = {"AAPL": DAYS, "SPY": DAILY_SPY}
    with served(exchange(bars, DAYS.index[230])) as url:
        words = ("--context", "market=SPY", "--bars", 40)
        code, lines, out, err = ended(capsys, url, "--symbols", "SPY", *words)
    assert code == 0, err
    assert "series        market is SPY, alpaca iex raw\n" in out
    assert {line["series"]["market"] for line in lines} == {0.0} and len(lines) == 80
    found = reconcile("runs/live/decisions.jsonl", bars, series={"market": DAILY_SPY})
    assert not found.differences and len(found.steps) == 80
    assert len({(step.data, step.position) for step in found.steps}) > 6


@pytest.mark.parametrize("context", ["spy:ret_z_5", ("spy:ret_z_5", PLACE), PLACE], ids=str)
def test_a_book_ranks_by_models_that_read_a_series(context: Any, capsys: Any) -> None:
    saved(DAYS, context, {"spy": DAILY_SPY})
    universe = {name: random_bars(330, 5 + n, "2022-01-03", "B") for n, name in enumerate("BC")}
    named = ("--context", "SPY") if context != PLACE else ()
    book = ("--book", "--long", 1, "--short", 1, "--fewest", 3, *named, "--bars", 20)
    words = ("--symbols", "AAPL", *universe, "--checkpoint", "joined.ckpt", *book, *COSTLY)
    with served(exchange({"AAPL": DAYS, **universe, "SPY": DAILY_SPY}, DAYS.index[230])) as url:
        code, out, err = commands.ended(app, capsys, *words, "--url", url)
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert (len(lines) == 60 and not named) or {line["series"]["spy"] for line in lines} == {0.0}
    first = {line["symbol"]: line["probability"] for line in lines[:3]}
    for symbol, probability in first.items():
        assert f"{symbol}: ranked at the close of 2022-11-18, now flat, probability of up " in out
        assert f"{probability:.4f}" in out.partition("{")[0]
    bars = {"AAPL": DAYS, **universe}
    found = reconcile("runs/live/decisions.jsonl", bars, series={"spy": DAILY_SPY})
    assert not found.differences and len({step.position for step in found.steps}) > 5


TWOS = random_bars(260, 4, "2022-01-03", "2D")
PLACES = "joined.ckpt must be traded with --book, got it without: it reads the place of each sym"
REFUSED: dict[str, tuple[Any, tuple[str, ...], int, str]] = {
    "none": (
        ("spy",),
        (),
        2,
        "--context must name the venue's symbol of each other series, got no",
    ),
    "another": (("spy",), ("QQQ",), 2, "got QQQ: joined.ckpt was trained with spy. Give it as spy"),
    "two": (("spy",), ("SPY", "QQQ"), 2, "was trained with spy. Give it as spy=SYMBOL, or SYMBOL"),
    "twice": (("spy",), ("SPY", "spy=QQQ"), 2, "got SPY spy=QQQ: joined.ckpt was trained with spy"),
    "for self": (("self:1W:rsi_7",), ("SPY",), 2, "was trained without such series. Leave it out"),
    "unknown": (("spy",), ("spy=QQQ",), 10, "asset not found for QQQ (404)"),
    "interval": (
        ("twos:rsi_7",),
        ("twos=SPY",),
        4,
        "1 day stamped by their open, got those of twos, 2 days",
    ),
    "its name": (("AAPL",), ("AAPL",), 4, "must call its other series otherwise than what is trad"),
    "places": (PLACE, (), 4, PLACES),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_series_that_cannot_be_had_are_refused(
    case: tuple[Any, tuple[str, ...], int, str], capsys: Any
) -> None:
    context, given, code, message = case
    saved(DAYS, context, {"spy": DAILY_SPY, "AAPL": DAILY_SPY, "twos": TWOS})
    with served(exchange({"AAPL": DAYS, "SPY": DAILY_SPY}, DAYS.index[230])) as url:
        words = ("--context", *given) if given else ()
        found, _, out, err = ended(capsys, url, *words)
    assert found == code and message in err.replace("\n", " ") and "{" not in out
    assert err.count("error:") == 1 and "Traceback" not in err


def test_models_of_one_run_read_the_same_series(capsys: Any) -> None:
    saved(DAYS, "spy:ret_z_5", {"spy": DAILY_SPY}).rename("AAPL.ckpt")
    random_checkpoint(DAYS).save("MSFT.ckpt")
    with served(exchange({"AAPL": DAYS, "SPY": DAILY_SPY}, DAYS.index[230])) as url:
        words = ("--symbols", "MSFT", "--context", "SPY")
        code, _, _, err = ended(capsys, url, *words, checkpoint="{name}.ckpt")
    assert code == 4 and "must read the same other series, got spy of AAPL.ckpt and others" in err


def test_dates_of_a_pair_beside_a_stock_need_their_zone() -> None:
    class Here:
        @staticmethod
        def asset(symbol: str) -> Asset:
            return Asset(symbol, True, True, 1.0, around_the_clock="/" in symbol)

    def found(context: str, **asked: Any) -> Mapping[str, Asset]:
        schedules = {"AAPL": Schedule(saved(DAYS, context, {"btc": DAILY_SPY}, **asked))}
        symbols, traded = {"btc": "BTC/USD"}, {"AAPL": Here.asset("AAPL")}
        return assets_of_series(Here(), symbols, schedules, traded)

    with pytest.raises(CheckpointError, match=r"do hours after the close of AAPL.* and btc@UTC"):
        found("btc:ret_z_5")
    assert [*found("btc@UTC:ret_z_5", closes="16:00 America/New_York")] == ["BTC/USD"]


@pytest.mark.parametrize("zone", ["", "@America/New_York"])
def test_a_model_is_trained_anew_with_the_bars_of_its_series(
    zone: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Retraining.look

    def look_and_wait(self: Retraining, now: Any) -> None:
        look(self, now)
        self.wait()

    monkeypatch.setattr(Retraining, "look", look_and_wait)
    texts = (f"spy{zone}:ret_z_5,bar_close_z", "self:3D:rsi_7")
    asked = {"closes": f"16:00 {zone[1:]}", "max_context_age": 9} if zone else {}
    config = {"max_epochs": 1, "train": 0.6, "batch_size": 32}
    saved(DAYS, texts, {"spy": DAILY_SPY}, config=config, **asked)
    Path("models").mkdir()
    Path("joined.ckpt").rename("models/first.ckpt")
    words = ("--context", "SPY", "--retrain", "weekly", "--history", 290, "--bars", 4)
    with served(exchange({"AAPL": DAYS, "SPY": DAILY_SPY}, DAYS.index[301])) as url:
        code, lines, _, err = ended(capsys, url, *words, checkpoint="models")
    assert code == 0, err
    first, *others = [line["model"] for line in lines]
    assert {*others} == {others[0]} and others[0] != first, Path(
        "runs/live/trainings.log"
    ).read_text()
    old, new = Schedule("models").checkpoints
    assert old.context == new.context and new.context.max_age == (9 if zone else 7)
    kept = read_bars("runs/live/series/spy.parquet")
    assert kept.attrs["prices"] == "alpaca iex raw" and kept.index[-1] >= DAYS.index[303]


class Closed:
    """A venue after the close, with minutes until then and none in the last of them."""

    name, waited = "alpaca", 0.0

    def __init__(self, *minutes: VenueBar) -> None:
        self.minutes, self.asked = minutes, 0
        self.opens = dt.datetime(2024, 1, 3, 14, 30, tzinfo=dt.UTC)
        self.closes = self.opens + 390 * MINUTE

    def clock(self) -> Clock:
        return Clock(self.closes, False, self.opens + DAY, self.closes + DAY)

    def sessions(self, first: Any, last: Any) -> list[Session]:
        return [Session(self.opens.date(), self.opens, self.closes)]

    def bars(self, symbol: str, interval: Any, start: Any, end: Any) -> list[VenueBar]:
        self.asked += 1
        return [one for one in self.minutes if start <= one.start <= end]

    def open_streams(self, symbols: Any, listener: Any) -> None:
        listener.on_connection("updates", True)
        listener.on_connection("bars", True)


def test_a_close_without_a_trade_is_waited_for_once_and_not_all_night() -> None:
    start = Closed().closes - 2 * MINUTE
    venue = Closed(VenueBar("SPY", start, 1.0, 1.0, 1.0, 1.0, 1.0))
    pace, spy = QUICK._replace(wait=0.02), Asset("SPY", True, True, 1.0, around_the_clock=False)
    store = LiveStore(venue, {}, MINUTE, pace, {"SPY": spy})
    feed: Any = LiveFeed(dataname="SPY", store=store, since=start)
    feed.start()
    [shown] = feed._waiting
    feed.forward()
    assert feed._load() and shown.end == start + MINUTE and venue.asked == 1

    def waits(minutes: int) -> list[bool]:
        """Whether a bar of another market waits at first, and once the patience is over."""
        bar = Waiting(shown.bar, venue.closes + minutes * MINUTE, time.monotonic())
        first = feed.is_behind(bar)
        time.sleep(0.03)
        return [first, feed.is_behind(bar)]

    assert waits(-1) == [False, False]  # that one has been shown
    assert waits(0) == [True, False] and venue.asked == 2
    assert waits(1) == waits(600) == [False, False] and venue.asked == 2
