"""What was traded live beside the backtest: each planted cause of a difference is named."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backtests.exchange_box.faults import Fault
from strategy_plugin.live.feed import LiveFeed
from strategy_plugin.live.reconciling import (
    CORRECTED,
    HALT,
    LATE,
    MISSED,
    MODEL,
    OTHER_HAND,
    OTHER_SIZE,
    PARTIAL,
    REJECT,
    RESTART,
    SLIPPAGE,
    UNEXPLAINED,
    reconcile,
)
from strategy_plugin.reconcile import app
from tests.helpers import commands
from tests.helpers.exchanges import exchange_of, minute_bars, placed, traded_live
from tests.helpers.makers import random_checkpoint

BARS = minute_bars(3, 390).iloc[:860]
FIRST = BARS.index[740]
N_BARS = 40


@pytest.fixture(autouse=True)
def _() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


def causes(journal: Path, bars: pd.DataFrame = BARS) -> Counter[str]:
    return reconcile(journal, {"SPY": bars}).counts


def test_of_an_undisturbed_run_nothing_is_named_and_all_is_equal(journal: Path) -> None:
    with exchange_of(BARS, FIRST) as (_, url):
        traded_live(url, bars=N_BARS, journal=str(journal))
    found = reconcile(journal, {"whatever": BARS})
    assert not found.differences and len(found.steps) == N_BARS
    assert {step.position for step in found.steps} > {0.0}
    for step in found.steps:
        assert step.position == step.backtest_position
        assert step.equity == pytest.approx(step.backtest_equity, rel=1e-9, abs=0)


PLANTED: dict[str, tuple[list[Fault], dict[str, int]]] = {
    "partial fill": ([Fault("part fill", 5, share=0.3)], {PARTIAL: 1}),
    "reject of an order": ([Fault("reject order", 5)], {REJECT: 1}),
    "reject of a fill": ([Fault("reject fill", 5)], {REJECT: 1}),
    "halt": ([Fault("halt", 5)], {HALT: 1}),
}


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED)
def test_what_became_of_an_order_is_named(case: Any, journal: Path) -> None:
    faults, expected = case
    with exchange_of(BARS, FIRST, faults=faults) as (_, url):
        traded_live(url, bars=N_BARS, journal=str(journal))
    assert causes(journal) == expected


def test_a_bar_that_never_came_is_named(journal: Path) -> None:
    gap = [Fault("miss bar", 5), Fault("cut request", 5, times=40, path="stocks/bars")]
    with exchange_of(BARS, FIRST, faults=gap) as (_, url):
        traded_live(url, bars=12, journal=str(journal))
    assert causes(journal) == {MISSED: 1}


def test_a_bar_that_came_late_is_named(journal: Path) -> None:
    with exchange_of(BARS, FIRST, faults=[Fault("miss bar", 10, times=2)]) as (box, url):
        meanwhile = {10: lambda: box.pass_over(2)}
        traded_live(url, bars=N_BARS, journal=str(journal), meanwhile=meanwhile)
    assert causes(journal) == {LATE: 2}


def test_a_bar_that_was_corrected_afterwards_is_named(journal: Path) -> None:
    with exchange_of(BARS, FIRST) as (_, url):
        traded_live(url, bars=N_BARS, journal=str(journal))
    corrected = BARS.copy()
    corrected.loc[BARS.index[750], "volume"] *= 2
    [found] = reconcile(journal, {"SPY": corrected}).differences
    assert found.cause == CORRECTED and found.bar.startswith(f"{BARS.index[750]:%Y-%m-%dT%H:%M}")
    assert f"volume {BARS['volume'].iloc[750]} instead of" in found.what


def test_slippage_is_named_with_what_it_cost(journal: Path) -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        dear = replace(box.account.costs, slippage=4.5)
        meanwhile = {20: lambda: setattr(box.account, "costs", dear)}
        traded_live(url, bars=N_BARS, journal=str(journal), meanwhile=meanwhile)
    found = reconcile(journal, {"SPY": BARS})
    assert {*found.counts} == {SLIPPAGE} and found.counts[SLIPPAGE] > 3
    assert all("+4.00 bp" in one.what and one.money > 0 for one in found.differences)
    last = found.steps[-1]
    paid = sum(one.money for one in found.differences)
    assert last.backtest_equity - last.equity == pytest.approx(paid, rel=0.05)


def test_a_model_that_was_exchanged_is_named(journal: Path, tmp_path: Path) -> None:
    naive = BARS.set_axis(BARS.index.tz_localize(None)).iloc[:400]
    one, other = (random_checkpoint(naive, timezone="UTC", seed=seed) for seed in range(2))
    file = tmp_path / "minute.ckpt"
    one.save(file)
    how: dict[str, Any] = {"checkpoint": str(file), "history": 200, "feed_class": LiveFeed}
    with exchange_of(BARS, FIRST) as (_, url):
        meanwhile = {15: lambda: other.save(file)}
        traded_live(url, bars=30, journal=str(journal), meanwhile=meanwhile, **how)
    found = reconcile(journal, {"SPY": BARS})
    assert found.counts == {MODEL: 1}
    # The first bars were decided by what is no longer there.
    assert found.differences[0].bar == found.steps[0].bar
    one.save(tmp_path / "kept.ckpt")
    [again] = reconcile(journal, {"SPY": BARS}, tmp_path / "kept.ckpt").differences
    assert again.bar == found.steps[15].bar
    assert again.what == f"{other.digest[:12]} decided, in the backtest {one.digest[:12]}"


def test_a_restart_is_named_and_what_passed_meanwhile(journal: Path) -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        traded_live(url, bars=15, journal=str(journal))
        box.pass_over(3)
        traded_live(url, bars=15, journal=str(journal))
    [found] = reconcile(journal, {"SPY": BARS}).differences
    assert found.cause == RESTART and "began anew, 2 bars passed" in found.what


def test_another_size_is_named(journal: Path) -> None:
    with exchange_of(BARS, FIRST) as (_, url):
        traded_live(url, bars=15, journal=str(journal))
        traded_live(url, bars=15, journal=str(journal), share=0.5)
    found = causes(journal)
    assert found.pop(RESTART) == 1 and {*found} == {OTHER_SIZE}


def test_what_another_hand_did_to_the_position_is_named(journal: Path) -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        meanwhile = {10: lambda: placed(box, "by-hand", 3)}
        traded_live(url, bars=N_BARS, journal=str(journal), meanwhile=meanwhile)
    assert OTHER_HAND in causes(journal)


def test_what_nothing_explains_is_named_too(journal: Path) -> None:
    with exchange_of(BARS, FIRST) as (_, url):
        traded_live(url, bars=15, journal=str(journal))
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    lines[-3]["target"] = 1 - lines[-3]["target"]
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert causes(journal) == {UNEXPLAINED: 1}


def test_the_command_says_it_all_and_writes_bar_by_bar(
    journal: Path, tmp_path: Path, capsys: Any
) -> None:
    with exchange_of(BARS, FIRST, faults=[Fault("halt", 5)]) as (_, url):
        traded_live(url, bars=N_BARS, journal=str(journal))
    BARS.to_csv(tmp_path / "minutes.csv")
    words = (journal, "--data", tmp_path / "minutes.csv")
    code, out, err = commands.ended(app, capsys, *words, "--out", tmp_path / "beside.csv")
    assert code == 1 and f"{N_BARS} bars; halt 1; equity" in out, err
    table = pd.read_csv(tmp_path / "beside.csv")
    assert len(table) == N_BARS and table["causes"].dropna().tolist() == [HALT]
    journal.write_text("{}")
    code, _, err = commands.ended(app, capsys, *words)
    assert code == 2 and "must begin with a line of a journal" in err
    code, _, err = commands.ended(app, capsys, tmp_path / "none.jsonl", *words[1:])
    assert code == 3 and "none.jsonl must be a journal" in err
