"""What a strategy says and checks before and at its first bars, and what it logs."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model import Checkpoint
from strategy_plugin import BiLSTMStrategy, EquityShare, TradingWarning, replay, startup
from tests.helpers.hosts import BARS, MODES, RULES, bars_at, feed, host, traded
from tests.helpers.live import TICKS, live
from tests.helpers.makers import random_bars, random_checkpoint
from tests.helpers.processes import environment

FIRST = 200  # the first bar that may be traded where a test says so


def given(**params: Any) -> Any:
    return traded(
        host(feed(bars_at(100.0, [0.9] * 8), "given")), **({"enter": 0.6, "exit": 0.5} | params)
    )


@pytest.mark.parametrize("mode", [MODES[0], MODES[4], MODES[-1]], ids=str)
def test_before_trade_from_nothing_is_ordered_and_from_then_on_all_is_as_ever(
    model_path: str, tmp_path: Path, mode: dict[str, Any]
) -> None:
    journal = str(tmp_path / "journal")
    strategy = traded(
        host(feed(BARS), **mode),
        checkpoint=model_path,
        trade_from=str(BARS.index[FIRST]),
        journal=journal,
        **RULES,
    )
    random_checkpoint(BARS, BARS.index[FIRST], seed=3).save(tmp_path / "later.ckpt")
    later = traded(host(feed(BARS), **mode), checkpoint=str(tmp_path / "later.ckpt"), **RULES)
    assert strategy.fills["data"] == later.fills["data"] and len(later.fills["data"]) > 3
    assert strategy.refusals()["data"]["before trade_from"] == FIRST
    assert replay(journal) == (len(BARS), [])


def test_trade_from_now_trades_bars_of_today_alone() -> None:
    today = pd.Timestamp.now().normalize()
    bars = bars_at(100.0, [0.9] * 8, end=str(today))
    strategy = traded(host(feed(bars, "given")), enter=0.6, exit=0.5, trade_from="now")
    assert strategy.refusals()["given"]["before trade_from"] == 7
    assert strategy.traded[0].orders.counts["sent"] == 1


def test_where_all_bars_lie_before_trade_from_that_is_said() -> None:
    with pytest.warns(TradingWarning, match="all 8 bars lie before `trade_from`"):
        given(trade_from="2030-01-01")


@pytest.mark.parametrize(
    "trade_from, message",
    [
        ("soon", "`trade_from` must be '', 'now' or a time, year first, got 'soon'"),
        ("10.11.2024", "a time, year first, got '10.11.2024'. Write it like '2024-05-31'"),
        ("05/06/2024", "a time, year first, got '05/06/2024'"),
        (pd.NaT, "`trade_from` must be a time, got NaT"),
        (5, "`trade_from` must be '', 'now' or a time as text, like .*, got 5"),
        (
            "2024-01-03 10:00+09:00",
            "cannot be compared with the times of data 'given', which are d",
        ),
    ],
)
def test_a_trade_from_that_is_no_time_is_refused(trade_from: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given(trade_from=trade_from)


def test_of_bars_within_the_day_a_time_with_a_zone_is_converted(tmp_path: Path) -> None:
    bars = random_bars(230, freq="h")
    bars.attrs["timezone"] = "UTC"
    random_checkpoint(bars, timezone="UTC").save(tmp_path / "hourly.ckpt")
    first = bars.index[FIRST].tz_localize("UTC").tz_convert("Asia/Tokyo")
    strategy = traded(
        host(feed(bars)),
        checkpoint=str(tmp_path / "hourly.ckpt"),
        trade_from=str(first),
        timezone="UTC",
        **RULES,
    )
    assert strategy.refusals()["data"]["before trade_from"] == FIRST


@pytest.mark.parametrize(
    "name, said",
    [
        ("YHOO", True),
        ("eurusd", True),
        ("nvda", False),
        ("NVDA.US", False),
        ("data/NVDA.csv", False),
    ],
)
def test_a_model_of_another_instrument_is_named(tmp_path: Path, name: str, said: bool) -> None:
    random_checkpoint(BARS, instrument="NVDA").save(tmp_path / "nvda.ckpt")
    cerebro = host(feed(BARS, name))
    if said:
        with pytest.warns(TradingWarning, match=f"data '{name}': its model was trained on NVDA"):
            traded(cerebro, checkpoint=str(tmp_path / "nvda.ckpt"), **RULES)
    else:
        traded(cerebro, checkpoint=str(tmp_path / "nvda.ckpt"), **RULES)


def test_live_fractional_units_are_said_with_the_way_to_whole_ones(model_path: str) -> None:
    with pytest.warns(
        TradingWarning, match=r"cerebro.addsizer\(EquityShare, fractional=False\)"
    ) as warned:
        traded(host(live([*TICKS[:160], "LIVE", *TICKS[160:]])), checkpoint=model_path, **RULES)
    assert len(warned) == 1
    cerebro = host(live([*TICKS[:160], "LIVE", *TICKS[160:]]))
    cerebro.addsizer(EquityShare, fractional=False)
    traded(cerebro, checkpoint=model_path, **RULES)


def test_a_short_history_is_said_at_the_first_live_bar(model_path: str) -> None:
    said_at: list[int] = []

    class Noting(BiLSTMStrategy):
        def next(self) -> None:
            with pytest.warns(TradingWarning) if len(self.data) == 71 else _nothing() as warned:
                super().next()
            if warned:
                said_at.append(len(self.data))
                assert "71 of 150 bars are there at the first live one" in str(warned[0].message)
                assert "comes in 79 bars" in str(warned[0].message)

    cerebro = host(live([*TICKS[:70], "LIVE", *TICKS[70:]]))
    cerebro.addstrategy(Noting, checkpoint=model_path, **RULES)
    cerebro.run()
    assert said_at == [71]


class _nothing:
    def __enter__(self) -> list[Any]:
        return []

    def __exit__(self, *ended: object) -> None: ...


def test_decisions_orders_and_fills_are_logged_on_request(caplog: pytest.LogCaptureFixture) -> None:
    given()
    assert not caplog.records
    with caplog.at_level(logging.INFO, "strategy_plugin"):
        strategy = given()
    lines = [record.getMessage() for record in caplog.records]
    decisions = [line for line in lines if "probability of up" in line]
    assert len(decisions) == 8 and decisions[0].startswith(
        "data 'given': 2024-01-01: probability of up 0.9000, held +0, wanted +1: +95"
    )
    fill = strategy.fills["given"][0]
    [sent] = [line for line in lines if " sent: " in line]
    [ended] = [line for line in lines if "Completed" in line]
    assert sent.endswith(f"sent: {fill.size:+.8g}")
    assert ended.endswith(f"Completed, {fill.size:+.8g} at 100, commission 9.5")


def test_the_log_says_which_model_forecasts_first_and_how_old_it_is(
    model_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "strategy_plugin"):
        traded(host(feed(BARS)), checkpoint=model_path, in_sample="trade", **RULES)
    [line] = [one for one in caplog.messages if "first forecast" in one]
    model = Checkpoint.load(model_path)
    # The first bar with a whole window; the model was made before all bars, whose days it counts.
    first = BARS.index[model.bars_needed - 1]
    age = (first - model.trained_until).days
    assert line == (
        f"data 'data': first forecast at {first.date()}, of model {model.digest[:12]}, "
        f"{age} bar intervals old"
    )


def test_the_log_says_why_nothing_is_ordered(caplog: pytest.LogCaptureFixture) -> None:
    prices = [100.0, 100.0, 100.0, 90.0, 90.0, 90.0, 90.0, 90.0]
    probabilities = [float("nan"), *[0.9] * 5, 0.1, 0.1]
    with caplog.at_level(logging.INFO, "strategy_plugin"):
        traded(
            host(feed(bars_at(prices, probabilities), "given")),
            enter=0.6,
            exit=0.5,
            stop_loss="3%",
        )
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "data 'given': 2024-01-01: no forecast, held +0, wanted +0: nothing to do"
    barred = "held +0, wanted +1: not opened again until the signal leaves it"
    [stop] = [line for line in lines if " sent: -" in line]
    assert stop.endswith(", Stop, price 97")
    assert f"data 'given': 2024-01-05: probability of up 0.9000, {barred}" in lines
    assert lines[-1].endswith("0.1000, held +0, wanted +0: nothing to do")


def test_a_sweep_passes_over_pairs_of_thresholds_that_are_none() -> None:
    cerebro = host(feed(bars_at(100.0, [0.9] * 8), "given"))
    cerebro.optstrategy(BiLSTMStrategy, enter=(0.5, 0.6), exit=(0.5, 0.55))
    with pytest.warns(TradingWarning, match="passed over: .*enter=0.5 and exit=0.55") as warned:
        runs = cerebro.run(maxcpus=1)
    assert len(warned) == 1
    assert [(run.p.enter, run.p.exit) for [run] in filter(None, runs)] == [
        (0.5, 0.5),
        (0.6, 0.5),
        (0.6, 0.55),
    ]
    with pytest.raises(ValueError, match="enter=0.5 and exit=0.55"):
        given(exit=0.55, enter=0.5)


def test_a_file_that_hides_the_package_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("weights = 1\n")
    (tmp_path / "mine.py").write_text("from strategy_plugin import BiLSTMStrategy\n")
    done = subprocess.run(
        [sys.executable, "mine.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last == (
        f"ImportError: {tmp_path / 'model.py'} hides the package `model` of backtrader-bilstm, "
        "which has the same name. Rename that file."
    )


def test_only_the_probability_is_drawn(model_path: str) -> None:
    strategy = traded(host(feed(BARS)), checkpoint=model_path, **RULES)
    [indicator] = [instrument.signal.indicator for instrument in strategy.traded]
    drawn = [
        name
        for name in indicator.lines.getlinealiases()
        if not getattr(getattr(indicator.plotlines, name), "_plotskip", False)
    ]
    assert drawn == ["probability"]


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("F", "nvda_f", True),
        ("f", "F", True),
        ("F", "XOF", False),
        ("GE", "ge.us", True),
        ("ge", "orange", False),
        ("aapl", "AAPL.US", True),
    ],
)
def test_short_names_are_the_same_only_whole(one: str, other: str, same: bool) -> None:
    assert startup._same(one, other) is startup._same(other, one) is same


def test_a_model_that_ranks_is_refused_for_one_instrument(tmp_path: Path) -> None:
    random_checkpoint(BARS, outcome="relative").save(tmp_path / "ranks.ckpt")
    with pytest.raises(ValueError, match="ranks.ckpt forecasts which of several .*BookStrategy"):
        traded(host(feed(BARS)), checkpoint=str(tmp_path / "ranks.ckpt"), **RULES)
