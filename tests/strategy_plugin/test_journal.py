"""The journal says what decisions were made from, and its replay makes them again bit for bit."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from model.errors import CheckpointError
from strategy_plugin import TradingWarning, VolatilityTarget
from strategy_plugin.replaying import replay
from tests.helpers.hosts import BARS, RULES, feed, host, traded
from tests.helpers.live import live, ticks
from tests.helpers.makers import MERGED, random_checkpoint, walking_opens

Entry = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> str:
    random_checkpoint(BARS, BARS.index[160], seed=3).save(tmp_path / "a.ckpt")
    return str(tmp_path / "a.ckpt")


def journal_of(clock: str, path: str, file: Path) -> list[Entry]:
    traded(CLOCKS[clock](), checkpoint=path, journal=str(file), **RULES)
    return [json.loads(line) for line in file.read_text().splitlines()]


CLOCKS: dict[str, Callable[[], Any]] = {
    "once": lambda: host(feed(BARS)),
    "next": lambda: host(feed(BARS), runonce=False),
    "live": lambda: host(live(["DELAYED", *ticks(BARS)[:180], "LIVE", *ticks(BARS)[180:]], "data")),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_every_bar_has_a_line_and_comes_out_again_to_the_last_bit(
    path: str, tmp_path: Path, clock: str
) -> None:
    header, *entries = journal_of(clock, path, tmp_path / "journal")
    assert header["params"]["checkpoint"] == path and [
        entry["number"] for entry in entries
    ] == list(range(1, 231))
    assert replay(str(tmp_path / "journal")) == (230, [])
    assert sum(entry["aim"] is not None for entry in entries) > 5


def test_a_line_holds_all_that_the_decision_was_made_from(path: str, tmp_path: Path) -> None:
    strategy = traded(host(feed(BARS)), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)
    entry = json.loads((tmp_path / "journal").read_text().splitlines()[-1])
    assert (
        entry["bar"] == "2020-08-17T00:00:00.000000000"
        and entry["values"] == BARS.iloc[-1].tolist()
    )
    assert entry["probability"] == strategy.shown["data"][230] and len(entry["input"]) == 64
    assert entry["model"] == strategy.traded[0].signal.indicator.schedule.checkpoints[0].digest
    assert (entry["enter"], entry["exit"], entry["reason"]) == (0.5, 0.5, "")
    assert entry["target"] == (1 if entry["probability"] >= 0.5 else -1)


def test_bars_on_which_nothing_is_decided_say_why(path: str, tmp_path: Path) -> None:
    _, *entries = journal_of("once", path, tmp_path / "journal")
    assert [entry["reason"] for entry in entries] == ["in sample"] * 160 + [""] * 70
    assert entries[100]["probability"] is None


def test_two_runs_write_the_same_journal(path: str, tmp_path: Path) -> None:
    one, other = (journal_of("live", path, tmp_path / name)[1:] for name in ("one", "other"))
    assert one == other


def test_the_clocks_agree_on_all_but_the_last_bits(path: str, tmp_path: Path) -> None:
    once, bar_by_bar = (journal_of(clock, path, tmp_path / clock)[1:] for clock in ("once", "next"))
    rounded = [
        [
            entry | {"probability": entry["probability"] and round(entry["probability"], 6)}
            for entry in entries
        ]
        for entries in (once, bar_by_bar)
    ]
    assert rounded[0] == rounded[1]


def test_a_restart_appends_its_own_run(path: str, tmp_path: Path) -> None:
    for _ in range(2):
        traded(CLOCKS["live"](), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)
    assert replay(str(tmp_path / "journal")) == (460, [])


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@pytest.mark.parametrize("runonce", [True, False])
def test_a_journal_with_bars_at_fault_gaps_and_several_models_comes_out_again(
    tmp_path: Path, runonce: bool
) -> None:
    for number in (155, 190):
        random_checkpoint(BARS, BARS.index[number], seed=number).save(tmp_path / f"{number}.ckpt")
    faulty = BARS.drop(BARS.index[20:26]).copy()
    faulty.iloc[[0, 50, 200], 1] = np.nan
    run = host(feed(faulty), feed(walking_opens(200, seed=8).iloc[20:], "other"), runonce=runonce)
    traded(run, checkpoint=str(tmp_path), journal=str(tmp_path / "journal"), max_gap=4, **RULES)
    assert replay(str(tmp_path / "journal")) == (404, [])


@pytest.mark.filterwarnings("ignore:this processor has no instructions")
@pytest.mark.parametrize("runonce", [True, False])
def test_a_journal_made_in_bf16_comes_out_again(path: str, tmp_path: Path, runonce: bool) -> None:
    traded(
        host(feed(BARS), runonce=runonce),
        checkpoint=path,
        journal=str(tmp_path / "journal"),
        precision="bf16",
        **RULES,
    )
    assert replay(str(tmp_path / "journal")) == (230, [])


def test_timestamps_that_the_host_made_of_dates_come_out_again(path: str, tmp_path: Path) -> None:
    late = BARS.set_axis(BARS.index + pd.Timedelta("23:59:59.999989"))
    traded(host(feed(late)), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)
    assert replay(str(tmp_path / "journal")) == (230, [])


SPOIL: dict[str, tuple[Callable[[Entry], Any], str]] = {
    "a price": (
        lambda entry: entry["values"].__setitem__(3, entry["values"][3] * 1.0001),
        "input was",
    ),
    "the probability": (
        lambda entry: entry.update(probability=entry["probability"] + 1e-12),
        "probability was",
    ),
    "the model": (lambda entry: entry.update(model="f" * 64), "model was ffff"),
    "the target": (lambda entry: entry.update(target=-entry["target"]), "target was"),
    "the order": (lambda entry: entry.update(order="+1"), "order was +1, is -173.1654"),
    "the aim": (lambda entry: entry.update(aim=7.0), "aim was 7.0, is -88.35"),
    "a threshold": (lambda entry: entry.update(enter=0.6), "enter was 0.6, is 0.5"),
    "the equity": (
        lambda entry: entry["facts"].update(equity=entry["facts"]["equity"] / 2),
        "aim was -88.35",
    ),
    "the position": (
        lambda entry: entry.update(position=entry["position"] / 2),
        "order was -173.1654, is -130.7",
    ),
    "the reason": (lambda entry: entry.update(reason="in sample"), "reason was in sample, is "),
}


@pytest.mark.parametrize("part", SPOIL)
@pytest.mark.parametrize("clock", ["once", "next"])
def test_what_was_changed_afterwards_is_named_with_its_bar(
    path: str, tmp_path: Path, clock: str, part: str
) -> None:
    header, *entries = journal_of(clock, path, tmp_path / "journal")
    change, words = SPOIL[part]
    change(entries[215])
    (tmp_path / "journal").write_text("\n".join(json.dumps(line) for line in (header, *entries)))
    differences = replay(str(tmp_path / "journal")).differences
    assert (
        differences
        and differences[0].startswith("data data, bar 2020-08-03: ")
        and words in differences[0]
    )


def test_given_probabilities_are_decided_on_again(tmp_path: Path) -> None:
    traded(host(given("given", 0)), journal=str(tmp_path / "journal"), **RULES)
    assert replay(str(tmp_path / "journal")) == (230, [])


def test_a_model_that_is_too_old_comes_out_again(path: str, tmp_path: Path) -> None:
    with pytest.warns(TradingWarning, match="bar intervals old"):
        traded(
            host(feed(BARS)),
            checkpoint=path,
            journal=str(tmp_path / "journal"),
            max_model_age=20,
            **RULES,
        )
    assert replay(str(tmp_path / "journal")) == (230, [])


def test_an_order_whose_end_was_taken_out_is_named(path: str, tmp_path: Path) -> None:
    header, *entries = journal_of("once", path, tmp_path / "journal")
    entries[214].update(ends=[])
    (tmp_path / "journal").write_text("\n".join(json.dumps(line) for line in (header, *entries)))
    assert "2020-08-02: order was , is waiting" in replay(str(tmp_path / "journal")).differences[0]


def given(name: str, seed: int) -> Any:
    """A feed of random bars with random probabilities."""
    probability = np.random.default_rng(seed).random(230).round(1)
    return feed(walking_opens(230, seed=seed).assign(probability=probability), name)


def storm(cerebro: Any) -> None:
    """Orders fill in parts and are refused for want of cash."""
    cerebro.broker.set_filler(bt.fillers.FixedBarPerc(perc=0.5))
    cerebro.broker.set_cash(4_000.0)


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@pytest.mark.parametrize(
    "params",
    [
        {"stop_loss": "1%", "take_profit": "1.5%"},
        {"trailing": "1atr", "take_profit": "2%"},
        {"stop_loss": "1%", "retries": 0},
        {"patience": 1, "max_exposure": 0.4},
        {"max_exposure": 3.0},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "sizer", [None, (bt.sizers.FixedSize, {"stake": 60}), (VolatilityTarget, {"volatility": 0.005})]
)
def test_whatever_the_broker_did_every_order_comes_out_again(
    tmp_path: Path, params: dict[str, Any], sizer: Any
) -> None:
    cerebro = host(given("a", 1), given("b", 2))
    storm(cerebro)
    if sizer is not None:
        cerebro.addsizer(sizer[0], **sizer[1])
    strategy = traded(
        cerebro, journal=str(tmp_path / "journal"), enter=0.6, exit=0.5, allow_short=True, **params
    )
    assert replay(str(tmp_path / "journal")) == (460, [])
    assert sum(instrument.orders.counts["sent"] for instrument in strategy.traded) > 5


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
def test_a_live_run_that_was_cut_off_comes_out_again(path: str, tmp_path: Path) -> None:
    events = [
        "LIVE",
        *ticks(BARS)[:190],
        "DISCONNECTED",
        *ticks(BARS)[190:200],
        "LIVE",
        *ticks(BARS)[200:],
    ]
    traded(
        host(live(events, "data")),
        checkpoint=path,
        journal=str(tmp_path / "journal"),
        stop_loss="0.5%",
        **RULES,
    )
    assert replay(str(tmp_path / "journal")) == (230, [])


@pytest.mark.filterwarnings("ignore::model.CheckpointWarning")
@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
def test_a_live_run_whose_folder_got_a_new_model_and_a_damaged_one_comes_out_again(
    path: str, tmp_path: Path
) -> None:
    young, folder = (
        random_checkpoint(BARS, BARS.index[198], seed=5, enter=0.55, exit=0.52),
        Path(path).parent,
    )
    events = [
        "LIVE",
        *ticks(BARS)[:200],
        lambda: young.save(folder / "b.ckpt"),
        *ticks(BARS)[200:210],
        lambda: (folder / "c.ckpt").write_bytes(b"x") and None,
        *ticks(BARS)[210:],
    ]
    traded(
        host(live(events, "data")),
        checkpoint=str(folder),
        journal=str(tmp_path / "journal"),
        max_model_age=20,
    )
    assert replay(str(tmp_path / "journal")) == (230, [])


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
def test_a_replayed_feed_comes_out_again(tmp_path: Path) -> None:
    days = walking_opens(7 * 156, seed=1, start="2018-01-01")
    weeks = days.resample("W-SUN").agg(MERGED)
    random_checkpoint(weeks, seed=3).save(tmp_path / "weeks.ckpt")
    cerebro = host()
    cerebro.replaydata(feed(days), timeframe=bt.TimeFrame.Weeks)
    traded(
        cerebro,
        checkpoint=str(tmp_path / "weeks.ckpt"),
        journal=str(tmp_path / "journal"),
        stop_loss="2%",
        **RULES,
    )
    assert replay(str(tmp_path / "journal")) == (155, [])


def test_models_that_are_gone_are_said(path: str, tmp_path: Path) -> None:
    journal_of("once", path, tmp_path / "journal")
    random_checkpoint(BARS, seed=9).save(path)
    with pytest.raises(
        CheckpointError,
        match="a.ckpt must hold a checkpoint with the digest [0-9a-f]{12}, got none",
    ):
        replay(str(tmp_path / "journal"))
    Path(path).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="got none. .*a.ckpt cannot be used"):
        replay(str(tmp_path / "journal"))


def test_a_line_that_a_dying_process_cut_off_is_named_and_the_next_run_begins_a_new_one(
    path: str, tmp_path: Path
) -> None:
    journal_of("once", path, tmp_path / "journal")
    text = (tmp_path / "journal").read_text()
    (tmp_path / "journal").write_text(text[:-60])
    traded(CLOCKS["once"](), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)
    bars, (difference,) = replay(str(tmp_path / "journal"))
    assert bars == 459 and difference.startswith('line 231 is not whole: {"data": "data"')


def test_two_runs_do_not_write_to_one_journal_at_once(path: str, tmp_path: Path) -> None:
    with open(tmp_path / "journal", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(
            ValueError,
            match="`journal` must be a file that no other run writes to, got .*journal. Give each",
        ):
            traded(CLOCKS["once"](), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)


@pytest.mark.parametrize("clock", ["once", "live"])
def test_where_the_journal_cannot_be_written_trading_goes_on(path: str, clock: str) -> None:
    with pytest.warns(
        TradingWarning, match="the journal /dev/full cannot be written any more .*trading goes on"
    ) as warned:
        strategy = traded(CLOCKS[clock](), checkpoint=path, journal="/dev/full", **RULES)
    assert sum("the journal" in str(one.message) for one in warned) == 1
    assert len(strategy.fills["data"]) > 2


@pytest.mark.parametrize("content", ["", "{}", '{"journal": 99}', "3", "\\0\\xff"])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "journal").write_text(content)
    with pytest.raises(
        ValueError, match="must (begin with a line|hold runs) of a journal of version 3"
    ):
        replay(str(tmp_path / "journal"))


@pytest.mark.parametrize("line", [{"data": "data"}, {"data": "data", "number": 1}])
def test_a_line_that_lacks_what_a_journal_has_is_refused(
    path: str, tmp_path: Path, line: Entry
) -> None:
    traded(host(feed(BARS)), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)
    with (tmp_path / "journal").open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match="must hold the lines of a journal, got one that is none"):
        replay(str(tmp_path / "journal"))


def test_lines_of_a_data_that_was_not_traded_are_named(path: str, tmp_path: Path) -> None:
    traded(host(feed(BARS)), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)
    journal = tmp_path / "journal"
    journal.write_text(
        journal.read_text().replace(
            '"data": "data", "number": 155', '"data": "other", "number": 155'
        )
    )
    assert (
        "a line is of data other, which its run did not trade" in replay(str(journal)).differences
    )


def test_a_run_is_not_appended_to_a_journal_of_another_version(path: str, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text('{"journal": 2}\n')
    with pytest.raises(
        ValueError, match="a journal of version 3, got version 2 in .*journal. Give another file"
    ):
        traded(host(feed(BARS)), checkpoint=path, journal=str(tmp_path / "journal"), **RULES)


def test_params_of_numpy_stand_in_the_journal_as_numbers(path: str, tmp_path: Path) -> None:
    given = {
        "max_gap": np.int64(4),
        "patience": np.int64(3),
        "enter": np.float32(0.5),
        "exit": np.float32(0.5),
    }
    traded(host(feed(BARS)), checkpoint=path, journal=str(tmp_path / "journal"), **given)
    assert replay(str(tmp_path / "journal")) == (230, [])
