"""Feeds that Backtrader joins, chained or rolled over, are traded as the plain feed is."""

from typing import Any

import backtrader as bt
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.errors import CheckpointError
from tests.helpers.hosts import BARS, RULES, Watched, feed, host, traded
from tests.helpers.live import START, TICKS, live
from tests.helpers.makers import MERGED, random_bars, random_checkpoint

CUT = 200


def chained(bars: pd.DataFrame, **params: Any) -> Any:
    early, late = feed(bars.iloc[:CUT], "early", **params), feed(bars.iloc[CUT:], "late", **params)
    return bt.feeds.Chainer(early, late, dataname="data", name="data")


def chained_twice(bars: pd.DataFrame, **params: Any) -> Any:
    first = bt.feeds.Chainer(feed(bars.iloc[:100], "first", **params), dataname="first")
    late = feed(bars.iloc[100:], "late", **params)
    return bt.feeds.Chainer(first, late, dataname="data", name="data")


def rolled(bars: pd.DataFrame, **params: Any) -> Any:
    """The two contracts overlap; from CUT on the later one is traded."""
    parts = feed(bars.iloc[: CUT + 5], "early", **params), feed(bars.iloc[100:], "late", **params)
    when = bars.index[CUT]
    return bt.feeds.RollOver(
        *parts, dataname="data", name="data", checkdate=lambda at, _: pd.Timestamp(at) >= when
    )


@pytest.fixture(scope="module")
def plain(model_path: str) -> Watched:
    return traded(host(feed(BARS)), checkpoint=model_path, **RULES)


@pytest.mark.parametrize("join", [chained, chained_twice, rolled])
def test_a_joined_feed_is_traded_as_the_plain_one(
    plain: Watched, model_path: str, join: Any
) -> None:
    strategy = traded(host(join(BARS)), checkpoint=model_path, **RULES)
    assert strategy.fills == plain.fills and len(plain.fills["data"]) > 5
    assert strategy.refusals() == plain.refusals()


WEEKS = {"timeframe": bt.TimeFrame.Weeks}


@pytest.mark.parametrize("make", ["resampledata", "replaydata"])
@pytest.mark.parametrize("join", [chained, rolled])
def test_what_is_made_of_a_joined_feed_is_traded(tmp_path: Any, join: Any, make: str) -> None:
    days = random_bars(7 * 170)
    random_checkpoint(days.resample("W").agg(MERGED)).save(tmp_path / "weeks.ckpt")
    runs = []
    for made in (feed(days), join(days)):
        cerebro = host()
        getattr(cerebro, make)(made, name="data", **WEEKS)
        runs.append(traded(cerebro, checkpoint=str(tmp_path / "weeks.ckpt"), **RULES))
    assert runs[0].fills == runs[1].fills and runs[0].fills["data"]


def test_a_joined_feed_with_a_filter_is_traded(model_path: str) -> None:
    runs = []
    for made in (feed(BARS), chained(BARS)):
        made.addfilter(lambda data: False)
        runs.append(traded(host(made), checkpoint=model_path, **RULES))
    assert runs[0].fills == runs[1].fills and runs[0].fills["data"]


def test_history_chained_to_a_live_feed_waits_until_that_is_live(model_path: str) -> None:
    history = feed(BARS.iloc[:START], "history")
    now = live(["DELAYED", *TICKS[START : START + 10], "LIVE", *TICKS[START + 10 :]])
    chain = bt.feeds.Chainer(history, now, dataname="data", name="data")
    strategy = traded(host(chain), checkpoint=model_path, **RULES)
    assert strategy.refusals()["data"]["not live"] == START + 10
    assert min(fill.bar for fill in strategy.fills["data"]) > START + 10


def test_dates_that_would_fall_on_the_day_before_are_refused_in_parts_too(
    model: Checkpoint, model_path: str
) -> None:
    with pytest.raises(CheckpointError, match="has dates in Asia/Tokyo.*tz_localize"):
        traded(host(chained(BARS.tz_localize("Asia/Tokyo"))), checkpoint=model_path, **RULES)
