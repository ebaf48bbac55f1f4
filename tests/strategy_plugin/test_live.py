"""Live: whatever the feed does, decisions on clean bars are those of the backtest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import CheckpointWarning
from model.checkpoint.checkpoint import Checkpoint
from strategy_plugin import TradingWarning
from strategy_plugin.guard import JUMP, LATE, REPEATED, REVISED, UNFINISHED
from tests.helpers.hosts import BARS, RULES, Watched, feed, host, series, traded
from tests.helpers.live import START, TICKS, Event, Tick, live, ticks
from tests.helpers.makers import random_bars, random_checkpoint

COUNT = len(BARS)
NAN = float("nan")


@pytest.fixture(scope="module")
def clean(model_path: str) -> Watched:
    """The run over the clean bars in which every bar after the backfill is live."""
    return run(model_path, ["DELAYED", *TICKS[:START], "LIVE", *TICKS[START:]])


def run(path: str, events: list[Event], **params: Any) -> Watched:
    return traded(host(live(events)), checkpoint=path, **(RULES | params))


def test_no_order_is_sent_before_the_feed_is_live(clean: Watched, model_path: str) -> None:
    always = traded(host(feed(BARS)), checkpoint=model_path, **RULES)
    assert always.fills["data"][0].bar < START < clean.fills["live"][0].bar
    assert clean.refusals()["live"]["not live"] == START


def test_backfilled_bars_warm_the_window_up(clean: Watched, model: Checkpoint) -> None:
    found = series(clean.shown["live"], COUNT)
    assert np.abs(found[149:] - model.probabilities(BARS).to_numpy()).max() < 1e-6


def test_once_live_the_orders_are_those_of_a_backtest_that_starts_there(
    clean: Watched, tmp_path: Path
) -> None:
    # The same weights, not to be used before.
    random_checkpoint(BARS, BARS.index[START], seed=3).save(tmp_path / "a.ckpt")
    backtest = traded(host(feed(BARS)), checkpoint=str(tmp_path / "a.ckpt"), **RULES)
    assert backtest.fills["data"] == clean.fills["live"] and len(clean.fills["live"]) > 3


def changed(tick: Tick, **values: Any) -> Tick:
    return tick._replace(**values)


NOISE: dict[str, tuple[str, Callable[[int], list[Event]]]] = {
    "no bar yet": ("", lambda at: [None, None]),
    "a repeat": (REPEATED, lambda at: [TICKS[at]]),
    "a backfill that repeats": (LATE, lambda at: TICKS[at - 3 : at]),
    "a late bar from long ago": (LATE, lambda at: [TICKS[5]]),
    "a revision": (REVISED, lambda at: [changed(TICKS[at], close=TICKS[at].open)]),
    "no price": ("a price that is not finite", lambda at: [changed(TICKS[at + 1], close=NAN)]),
    "no timestamp": (LATE, lambda at: [changed(TICKS[at + 1], timestamp=pd.NaT)]),
    "an infinite price": (
        "a price that is not finite",
        lambda at: [changed(TICKS[at + 1], high=float("inf"))],
    ),
    "a price of zero": (
        "a price that is not above 0 (negative or zero)",
        lambda at: [changed(TICKS[at + 1], low=0.0)],
    ),
    "high below low": (
        "high below low",
        lambda at: [changed(TICKS[at + 1], high=TICKS[at + 1].low, low=TICKS[at + 1].high)],
    ),
    "a hundredfold price": (
        JUMP,
        lambda at: [Tick(TICKS[at + 1].timestamp, *(100 * price for price in TICKS[at + 1][1:]))],
    ),
    "no volume": (
        "a volume that is negative or not finite",
        lambda at: [changed(TICKS[at + 1], volume=NAN)],
    ),
    "a reconnection": (
        LATE,
        lambda at: [
            "DISCONNECTED",
            None,
            "CONNECTED",
            "DELAYED",
            *TICKS[at - 5 : at + 1],
            "LIVE" if at >= START else "DELAYED",
        ],
    ),
}


def noisy(places: list[tuple[int, str]]) -> list[Event]:
    """The clean bars with noise after some of them."""
    events: list[Event] = ["DELAYED"]
    for at, tick in enumerate(TICKS):
        events += ["LIVE", tick] if at == START else [tick]
        for _, kind in (place for place in places if place[0] == at):
            events += NOISE[kind][1](at)
    return events


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("exactbars", [False, 1])
def test_noise_changes_no_decision_and_is_counted(
    clean: Watched, model_path: str, kind: str, exactbars: int
) -> None:
    cerebro = host(
        live(noisy([(at, kind) for at in (10, 170, START + 5, START + 6, COUNT - 2)])),
        exactbars=exactbars,
    )
    strategy = traded(cerebro, checkpoint=model_path, **RULES)
    assert_same(strategy, clean)
    fault = NOISE[kind][0]
    assert not fault or strategy.refusals()["live"][fault] >= 5


PLACES = st.lists(
    st.tuples(st.integers(6, COUNT - 2), st.sampled_from(sorted(NOISE))), min_size=1, max_size=40
)


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@settings(max_examples=30, deadline=None)
@given(places=PLACES)
def test_any_mixture_of_noise_changes_no_decision(
    clean: Watched, model_path: str, places: list[tuple[int, str]]
) -> None:
    assert_same(run(model_path, noisy(sorted(places))), clean)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@settings(max_examples=300, deadline=None)
@given(places=PLACES)
def test_no_mixture_of_three_hundred_changes_a_decision(
    clean: Watched, model_path: str, places: list[tuple[int, str]]
) -> None:
    assert_same(run(model_path, noisy(sorted(places))), clean)


def assert_same(strategy: Watched, clean: Watched) -> None:
    """The same probabilities bit for bit, and the same orders, by the numbers of the clean bars."""
    assert strategy.shown["live"] == clean.shown["live"]
    assert strategy.fills["live"] == clean.fills["live"]
    assert np.isfinite(strategy.broker.getvalue()) and np.isfinite(strategy.broker.getcash())


def test_bars_that_arrive_while_the_feed_is_away_are_seen_but_not_traded(
    model_path: str, clean: Watched
) -> None:
    away = ["DISCONNECTED", None, "DELAYED", *TICKS[200:220]]
    strategy = run(
        model_path,
        ["DELAYED", *TICKS[:START], "LIVE", *TICKS[START:200], *away, "LIVE", *TICKS[220:]],
    )
    assert strategy.shown["live"] == clean.shown["live"]
    assert strategy.refusals()["live"]["not live"] == START + 20
    assert not [fill for fill in strategy.fills["live"] if 202 <= fill.bar <= 220]


def test_a_restart_continues_with_the_same_probabilities(model_path: str, clean: Watched) -> None:
    for cut in (START, 200):
        strategy = run(model_path, ["DELAYED", *TICKS[cut - 160 : cut], "LIVE", *TICKS[cut:]])
        after = {
            number + cut - 160: value
            for number, value in strategy.shown["live"].items()
            if number > 160
        }
        assert (
            after == {number: clean.shown["live"][number] for number in after}
            and len(after) == COUNT - cut
        )


def test_a_bar_that_is_still_growing_is_not_predicted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = random_bars(COUNT, freq="h")
    random_checkpoint(hours, seed=3, timezone="UTC").save(tmp_path / "a.ckpt")
    now = [0.0]
    monkeypatch.setattr("strategy_plugin.guard.time.time", lambda: now[0])

    def clock(timestamp: pd.Timestamp, minutes: int) -> Callable[[], None]:
        return lambda: now.__setitem__(0, timestamp.timestamp() + 60 * minutes)

    events: list[Event] = []
    for tick in ticks(hours):  # every bar comes once half way, and again when it is whole
        half = changed(tick, close=tick.open, high=max(tick.open, tick.low), volume=tick.volume / 2)
        events += [clock(tick.timestamp, 30), half, clock(tick.timestamp, 60), tick]
    strategy = run(str(tmp_path / "a.ckpt"), ["LIVE", *events])
    backtest = traded(host(feed(hours)), checkpoint=str(tmp_path / "a.ckpt"), **RULES)
    assert strategy.refusals()["live"][UNFINISHED] == COUNT
    assert strategy.fills["live"] == backtest.fills["data"]


def test_a_new_checkpoint_serves_from_the_next_bar_on(tmp_path: Path) -> None:
    random_checkpoint(BARS, BARS.index[100], seed=3).save(tmp_path / "a.ckpt")
    young = random_checkpoint(BARS, BARS.index[190], seed=4)
    strategy = run(
        str(tmp_path), ["LIVE", *TICKS[:200], lambda: young.save(tmp_path / "b.ckpt"), *TICKS[200:]]
    )
    expected = np.r_[
        random_checkpoint(BARS, seed=3).probabilities(BARS)[:51], young.probabilities(BARS)[51:]
    ]
    assert np.abs(series(strategy.shown["live"], COUNT)[149:] - expected).max() < 1e-6


def test_a_damaged_checkpoint_is_refused_with_a_warning_and_the_old_one_stays(
    tmp_path: Path, clean: Watched
) -> None:
    random_checkpoint(BARS, BARS.index[0], seed=3).save(tmp_path / "a.ckpt")
    with pytest.warns(
        CheckpointWarning, match="a new checkpoint is refused, the old ones stay in force: .*b.ckpt"
    ):
        strategy = run(
            str(tmp_path),
            [
                "DELAYED",
                *TICKS[:START],
                lambda: (tmp_path / "b.ckpt").write_bytes(b"x") and None,
                "LIVE",
                *TICKS[START:],
            ],
        )
    assert (
        strategy.shown["live"] == clean.shown["live"]
        and strategy.fills["live"] == clean.fills["live"]
    )


def test_a_new_checkpoint_whose_thresholds_do_not_fit_is_refused_like_a_damaged_one(
    tmp_path: Path,
) -> None:
    random_checkpoint(BARS, BARS.index[0], seed=3).save(tmp_path / "a.ckpt")
    young = random_checkpoint(BARS, BARS.index[150], enter=0.7, exit=0.65)
    with pytest.warns(
        CheckpointWarning,
        match=r"a new checkpoint is refused.*enter=0.6 and exit=0.65 \(with those of b.ckpt\)",
    ):
        strategy = run(
            str(tmp_path),
            ["LIVE", *TICKS[:START], lambda: young.save(tmp_path / "b.ckpt"), *TICKS[START:]],
            enter=0.6,
            exit=None,
        )
    assert len(strategy.traded[0].signal.indicator.schedule.checkpoints) == 1


def test_a_feed_that_never_reports_live_is_said_at_the_end(model_path: str) -> None:
    with pytest.warns(
        TradingWarning,
        match="data 'live': the feed never reported LIVE, so none of its 230 bars was traded",
    ):
        run(model_path, ["DELAYED", *TICKS])


def test_a_backtest_does_not_look_at_the_folder_again(tmp_path: Path) -> None:
    random_checkpoint(BARS, BARS.index[0], seed=3).save(tmp_path / "a.ckpt")
    strategy = traded(host(feed(BARS), live=True), checkpoint=str(tmp_path), **RULES)
    (tmp_path / "b.ckpt").write_bytes(b"x")
    assert len(strategy.traded[0].signal.indicator.schedule.checkpoints) == 1
