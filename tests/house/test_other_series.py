"""Parity with other series: training, backtest, live and replay forecast and order the same."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tests.helpers.small_network  # noqa: F401
from backtests.audit import app as audit
from backtests.lookahead.checks import Cuts, PipelineChecks
from backtests.run import app as walk
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.cli import run
from model.features.joining import add_context
from model.predict import app as predict
from model.train import app as train
from model.training.config import TrainConfig
from model.training.data import prepare
from strategy_plugin.guard import TradingWarning
from strategy_plugin.replaying import replay
from tests.helpers.hosts import RULES, feed, host, series, traded
from tests.helpers.makers import random_bars, random_checkpoint

TOLERANCE = 1e-6
BARS = random_bars(300, seed=1)
# It begins before, and three of its bars are missing.
SPY = random_bars(420, seed=2, start="2019-10-01").drop(pd.date_range("2020-08-01", periods=3))
TEXTS = ("spy:ret_z_5,bar_close_z,ret_z_20", "self:3D:bar_close_z")
CLOCKS: list[dict[str, Any]] = [
    {},
    {"runonce": False},
    {"preload": False, "exactbars": -2},
    {"live": True},
]


def trained(folder: Path, bars: pd.DataFrame, spy: pd.DataFrame, **asked: Any) -> Checkpoint:
    """A network with random weights for bars that are joined with a series, and its file."""
    joined = add_context(bars, TEXTS, series={"spy": spy}, **asked)
    made = random_checkpoint(joined, seed=3, context=joined.attrs["context"], **clock_of(bars))
    made.save(folder / "joined.ckpt")
    return made


def clock_of(bars: pd.DataFrame) -> dict[str, Any]:
    return {"timezone": bars.attrs.get("timezone"), "stamp": bars.attrs.get("stamp", "open")}


@pytest.fixture
def expected(tmp_path: Path) -> np.ndarray:
    """What the checkpoint says at each of BARS."""
    served = add_context(BARS, trained(tmp_path, BARS, SPY).context, series={"spy": SPY})
    checkpoint = Checkpoint.load(tmp_path / "joined.ckpt")
    return checkpoint.probabilities(served).reindex(BARS.index).to_numpy()


@pytest.mark.parametrize("mode", CLOCKS, ids=str)
def test_every_clock_shows_the_same_and_sends_the_same_orders(
    expected: np.ndarray, tmp_path: Path, mode: dict[str, Any]
) -> None:
    given = {"checkpoint": str(tmp_path / "joined.ckpt"), "context": "spy", **RULES}
    journal = tmp_path / "decisions.jsonl"
    strategy = traded(host(feed(BARS), feed(SPY, "spy"), **mode), journal=str(journal), **given)
    found = series(strategy.shown["data"], len(BARS))
    assert (np.isnan(found) == np.isnan(expected)).all() and np.isfinite(found).sum() > 80
    assert np.nanmax(np.abs(found - expected)) < TOLERANCE
    # The series is looked at, not traded; three bars of it were due.
    assert not strategy.fills["spy"] and len(strategy.fills["data"]) >= 3
    assert strategy.refusals()["data"]["spy: a newer bar was due"] == 3
    assert replay(journal) == (len(BARS), [])
    # The bars that add_context has joined need no other data.
    joined = add_context(
        BARS, Checkpoint.load(tmp_path / "joined.ckpt").context, series={"spy": SPY}
    )
    alone = traded(host(feed(joined), **mode), **given | {"context": ""})
    assert alone.fills["data"] == strategy.fills["data"]
    assert np.nanmax(np.abs(series(alone.shown["data"], len(BARS)) - expected)) < TOLERANCE


# Hours beside dates of another zone.
HOURS = random_bars(420, seed=4, start="2024-02-01", freq="h")
HOURS.attrs = {"timezone": "UTC"}
DATES = random_bars(120, seed=5, start="2023-12-01")


@pytest.mark.parametrize("mode", CLOCKS[:2], ids=str)
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_dates_of_another_zone_are_held_back_until_they_are_over(
    tmp_path: Path, mode: dict[str, Any], zone: str
) -> None:
    texts = (f"spy@{zone}:ret_z_5", "self:4h:bar_close_z")
    joined = add_context(HOURS, texts, series={"spy": DATES})
    record = joined.attrs["context"]
    made = random_checkpoint(joined, seed=3, context=record, timezone="UTC")
    made.save(tmp_path / "zones.ckpt")
    served = add_context(HOURS, record, series={"spy": DATES})
    expected = made.probabilities(served).reindex(HOURS.index).to_numpy()
    cerebro = host(feed(HOURS), feed(DATES, "spy"), **mode)
    strategy = traded(cerebro, checkpoint=str(tmp_path / "zones.ckpt"), context="spy", **RULES)
    found = series(strategy.shown["data"], len(HOURS))
    assert (np.isnan(found) == np.isnan(expected)).all()
    assert np.nanmax(np.abs(found - expected)) < TOLERANCE


@pytest.mark.parametrize("mode", [{}, {"runonce": False}], ids=str)
def test_what_backtrader_delivers_after_the_decision_is_not_used_and_is_said(
    tmp_path: Path, mode: dict[str, Any]
) -> None:
    # Hours of four stamped by their begin, beside hours of one: those of 1 to 3 o'clock come later.
    fours = random_bars(190, seed=4, start="2024-02-01", freq="4h")
    fours.attrs = HOURS.attrs
    fast = random_bars(840, seed=5, start="2024-01-29", freq="h")
    fast.attrs = HOURS.attrs
    joined = add_context(fours, "spy:ret_z_5", series={"spy": fast})
    checkpoint = random_checkpoint(joined, seed=3, context=joined.attrs["context"], timezone="UTC")
    checkpoint.save(tmp_path / "late.ckpt")
    given = {"checkpoint": str(tmp_path / "late.ckpt"), "context": "spy", **RULES}
    cerebro = host(feed(fours), feed(fast, "spy"), **mode)
    with pytest.warns(TradingWarning, match="'spy': a bar that came after the decision it was co"):
        strategy = traded(cerebro, **given)
    told = strategy.refusals()["data"]
    assert told["spy: a bar that came after the decision it was complete for"] > 300
    found = series(strategy.shown["data"], len(fours))
    # The hour that begins with the four is the newest that was there, and it is a bar old.
    late = fast.copy()
    late.index = late.index + pd.Timedelta(hours=3)
    earlier = add_context(fours, checkpoint.context, series={"spy": late})
    expected = checkpoint.probabilities(earlier).reindex(fours.index).to_numpy()
    assert np.nanmax(np.abs(found - expected)) < TOLERANCE


def test_both_clocks_tell_the_same_of_a_series_that_ends(
    expected: np.ndarray, tmp_path: Path
) -> None:
    told = []
    for mode in ({}, {"runonce": False}):
        cerebro = host(feed(BARS), feed(SPY[:-60], "spy"), **mode)
        with pytest.warns(TradingWarning, match="'spy': too old for a forecast, 2020-10-03"):
            strategy = traded(
                cerebro, checkpoint=str(tmp_path / "joined.ckpt"), context="spy", **RULES
            )
        told.append((dict(strategy.refusals()["data"]), strategy.fills["data"]))
        assert np.isnan(series(strategy.shown["data"], len(BARS)))[-20:].all()
    assert told[0] == told[1] and told[0][0]["spy: too old for a forecast"] > 20
    longer = host(feed(BARS), feed(SPY[:-60], "spy"))
    strategy = traded(
        longer,
        checkpoint=str(tmp_path / "joined.ckpt"),
        context="spy",
        max_context_age=100,
        **RULES,
    )
    assert np.isfinite(series(strategy.shown["data"], len(BARS)))[-20:].all()


@pytest.mark.parametrize("mode", CLOCKS[:2], ids=str)
def test_a_series_that_has_no_bar_yet_is_said_once_and_counted_after_the_warm_up(
    expected: np.ndarray, tmp_path: Path, mode: dict[str, Any]
) -> None:
    given = {"checkpoint": str(tmp_path / "joined.ckpt"), "context": "spy", **RULES}
    begins = SPY[SPY.index >= BARS.index[200]]
    with pytest.warns(TradingWarning, match="'spy': no bar of it is known yet, 2020-05-29") as told:
        strategy = traded(host(feed(BARS), feed(begins, "spy"), **mode), **given)
    assert sum("no bar of it" in str(one.message) for one in told) == 1
    # The model has its first window at its 150th bar.
    assert strategy.refusals()["data"]["spy: no bar of it is known yet"] == 200 - 149
    # One that begins while the model warms up is no news.
    strategy = traded(
        host(feed(BARS), feed(SPY[SPY.index >= BARS.index[100]], "spy"), **mode), **given
    )
    assert not any("no bar of it" in reason for reason in strategy.refusals()["data"])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"context": "vix"}, "was trained with, spy, self:3D, got 'vix'. Give context='spy' and"),
        ({"context": "spy,vix"}, "must name the series that .* got 'spy,vix'"),
        ({}, "or a feed of bars that add_context has joined"),
    ],
)
def test_series_that_are_not_those_of_training_are_refused(
    expected: np.ndarray, tmp_path: Path, params: dict[str, str], words: str
) -> None:
    cerebro = host(feed(BARS), feed(SPY, "spy"))
    with pytest.raises(ValueError, match=words):
        traded(cerebro, checkpoint=str(tmp_path / "joined.ckpt"), **params)


def test_a_model_without_other_series_takes_none(model_path: str) -> None:
    with pytest.raises(ValueError, match="`context` must be left out, got 'spy': .* without other"):
        traded(host(feed(BARS), feed(SPY, "spy")), checkpoint=model_path, context="spy")


def test_a_replayed_feed_makes_no_slower_bars(expected: np.ndarray, tmp_path: Path) -> None:
    cerebro = host(feed(SPY, "spy"))
    cerebro.replaydata(feed(BARS), timeframe=5)
    with pytest.raises(ValueError, match="must have whole bars, of which .* makes slower ones"):
        traded(cerebro, checkpoint=str(tmp_path / "joined.ckpt"), context="spy", names="data")


def outcome(app: Any, *arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in arguments])
    return int(left.value.code or 0)


QUICK = ("--max-epochs", 1, "--architecture", "small", "--batch-size", 32)


def test_the_commands_join_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, bars in (("own", BARS), ("spy", SPY)):
        bars.to_csv(tmp_path / f"{name}.csv")
    own, spy, out = tmp_path / "own.csv", tmp_path / "spy.csv", tmp_path / "own.ckpt"
    asked = ("--context", f"{spy}:ret_z_5,ret_z_20", "self:3D:bar_close_z")
    assert outcome(train, "--data", own, *asked, "--out", out, *QUICK) == 0
    told = capsys.readouterr().out
    assert "spy: 2 columns, at most 3 days old at a decision; at 3 of" in told
    assert "self:3D: 1 column, at most 2 days old at a decision\n" in told
    served = ("--checkpoint", out, "--data", own)
    assert outcome(predict, *served, "--context", spy) == 0
    assert "spy: complete at the decision" in capsys.readouterr().out
    assert outcome(predict, *served, "--context", spy, "--json") == 0
    assert json.loads(capsys.readouterr().out)["series_age_seconds"]["spy"] == 0.0
    assert outcome(predict, *served) == 3
    assert "--context must give the bars of spy, got none" in capsys.readouterr().err
    SPY[:-60].to_csv(spy)
    assert outcome(predict, *served, "--context", spy) == 3
    told = capsys.readouterr().err
    assert "got none somewhere in those of spy. Give newer bars of it." in told
    assert outcome(train, "--data", own, *asked, "--out", out, *QUICK) == 3
    assert "more than --max-context-age=7 days beyond" in capsys.readouterr().err


def test_when_dates_end_says_nothing_without_other_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BARS.to_csv(tmp_path / "own.csv")
    assert outcome(train, "--data", tmp_path / "own.csv", "--closes", "UTC") == 2
    assert "--closes must be left out without --context, got 'UTC'" in capsys.readouterr().err


def test_the_audit_joins_again_with_other_bars_that_were_not_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, bars in (("own", BARS), ("spy", SPY)):
        bars.to_csv(tmp_path / f"{name}.csv")
    trained(tmp_path, BARS, SPY)
    told = ("--data", tmp_path / "own.csv", "--cuts", 2, "--context", tmp_path / "spy.csv")
    assert outcome(audit, *told, "--checkpoint", tmp_path / "joined.ckpt") == 0
    shown = capsys.readouterr().out
    for check in ("other series", "probabilities"):
        assert re.search(rf"{check} +│ +[\d,]+ │ +0 │", shown)


def test_the_audit_finds_a_series_that_is_joined_by_its_timestamp() -> None:
    bars = add_context(BARS, "spy:ret_z_5", series={"spy": SPY})
    checks = PipelineChecks(
        bars, prepare(bars, TrainConfig(batch_size=32)), Cuts(5), {"spy": SPY, "self": BARS}
    )
    assert checks.other_series(iter).differences == 0
    # As if what the morning's date says were known a day before it is over.
    bars["spy:ret_z_5"] = bars["spy:ret_z_5"].shift(-1).ffill()
    found = checks.other_series(iter)
    assert found.differences and "that were not complete at" in str(found.findings[0])


def test_a_walk_forward_trades_with_a_series(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = ("--market", "leader", "--market-bars", 900, "--context", "leader:bar_close_z")
    small = ("--folds", 1, "--train-blocks", 2, "--jobs", 1, "--max-epochs", 1)
    asked = (*small, "--architecture", "small", "--ledger", tmp_path / "l.jsonl")
    assert outcome(walk, *given, *asked, "--out", folder) == 0
    [checkpoint] = Schedule(folder / "checkpoints").checkpoints
    assert checkpoint.layout.names[86:] == ("leader:bar_close_z",)
    groups = pd.read_csv(folder / "importance.csv")
    assert "series leader" in groups.to_csv()
    said = pd.read_csv(folder / "predictions.csv")
    assert said["probability"].notna().all() and len(said) > 200


@pytest.mark.parametrize("mode", CLOCKS, ids=str)
def test_places_in_a_universe_are_traded_on_bars_that_were_joined(
    tmp_path: Path, mode: dict[str, Any]
) -> None:
    universe = {"data": BARS, "other": random_bars(300, seed=7)}
    joined = add_context(universe, "universe:rank(ret_z_5),mean(ret_z_20)")["data"]
    checkpoint = random_checkpoint(joined, seed=3, context=joined.attrs["context"])
    checkpoint.save(tmp_path / "places.ckpt")
    expected = checkpoint.probabilities(joined).reindex(joined.index).to_numpy()
    path = str(tmp_path / "places.ckpt")
    strategy = traded(host(feed(joined), **mode), checkpoint=path, **RULES)
    found = series(strategy.shown["data"], len(joined))
    assert np.nanmax(np.abs(found - expected)) < TOLERANCE and np.isfinite(found).sum() > 80
    # Beside the other, the strategy makes the same places itself.
    cerebro = host(feed(BARS), feed(universe["other"], "other"), **mode)
    both = traded(cerebro, checkpoint=path, **RULES)
    made = series(both.shown["data"], len(joined))
    assert np.nanmax(np.abs(made - expected)) < TOLERANCE and np.isfinite(made).sum() > 80
    with pytest.raises(ValueError, match="`peers` must be data 'data' and the others that it"):
        traded(host(feed(BARS), **mode), checkpoint=path, **RULES)
