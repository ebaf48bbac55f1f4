"""The strategy in Backtrader: when it trades, what it refuses, and that no signal is lost."""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from strategy_plugin import TradingWarning, replay
from tests.helpers.hosts import Watched, bars_at, feed, host, shown, traded
from tests.helpers.makers import random_bars, random_checkpoint

ALWAYS = {"enter": 0.5, "exit": 0.5, "allow_short": True}


def trade(probabilities: list[float], opens: list[float] | None = None, **params: Any) -> Watched:
    """Trade given probabilities on flat prices of 100, or on opens that are a bar's only price."""
    bars = bars_at(opens or 100.0, probabilities)
    cerebro = host(feed(bars, "given"), commission=0.0)
    return traded(cerebro, **({"enter": 0.6, "exit": 0.5} | params))


def directions(strategy: Watched, name: str = "given") -> list[tuple[int, int]]:
    return [(fill.bar, int(np.sign(fill.size))) for fill in strategy.fills[name]]


def test_a_feed_of_probabilities_is_traded_at_the_next_open() -> None:
    assert directions(trade([0.5, 0.6, 0.55, 0.5, 0.49, 0.3, 0.9])) == [(3, 1), (6, -1)]


def test_shorts_are_the_mirror_image_where_they_are_allowed() -> None:
    assert directions(trade([0.5, 0.39, 0.45, 0.51, 0.3, 0.7], allow_short=True)) == [
        (3, -1),
        (5, 1),
        (6, -1),
    ]


def test_a_missing_probability_keeps_what_is_held() -> None:
    nan = float("nan")
    assert directions(trade([nan, 0.9, nan, nan, 0.1, nan, 0.1])) == [(3, 1), (6, -1)]


def test_a_price_above_the_cash_loses_no_order() -> None:
    strategy = trade([0.9] * 3, opens=[60_000.0] * 3)
    assert strategy.position.size == pytest.approx(9_500 / 60_000)


def test_an_opening_gap_beyond_the_cash_is_ordered_again() -> None:
    strategy = trade([0.9] * 5, opens=[100.0, 150.0, 150.0, 150.0, 150.0])
    assert [(fill.bar, fill.status) for fill in strategy.fills["given"]] == [
        (2, "Margin"),
        (3, "Completed"),
    ]
    assert strategy.refusals()["given"]["margin"] == 1


def test_an_order_on_the_last_bar_is_reported_as_unfilled() -> None:
    strategy = trade([0.5, 0.5, 0.9])
    assert strategy.fills["given"] == [] and strategy.refusals()["given"]["unfilled at end"] == 1


def test_a_fill_on_a_bar_that_repeats_the_one_before_is_warned_of_and_counted() -> None:
    bars = random_bars(12).assign(probability=[0.5] * 3 + [0.9] * 4 + [0.1] * 5)
    prices = list(bars)[:5]
    bars.iloc[4, :5] = bars.iloc[3][prices]
    with pytest.warns(
        TradingWarning, match=r"filled on the bar of 2020-01-05.*repeats='drop'|drop"
    ):
        strategy = traded(host(feed(bars, "given")), enter=0.6, exit=0.5)
    assert strategy.refusals()["given"]["filled on a bar that repeats another"] == 1
    assert [fill.bar for fill in strategy.fills["given"]] == [5, 9]


def test_the_users_sizer_replaces_the_default() -> None:
    bars = random_bars(20).assign(probability=0.9)
    cerebro = host(feed(bars, "given"))
    cerebro.addsizer(bt.sizers.FixedSize, stake=7)
    assert traded(cerebro, enter=0.6, exit=0.5).position.size == 7


@pytest.mark.parametrize(
    "max_exposure, stake, size",
    [(1.0, 1_000, 100), (2.0, 1_000, 100), (0.5, 1_000, 50), (1.0, 40, 40)],
)
def test_exposure_is_capped_before_the_order_is_sent_shorts_included(
    max_exposure: float, stake: int, size: int
) -> None:
    cerebro = host(feed(bars_at(100.0, [0.1] * 5), "given"), commission=0.0)
    cerebro.addsizer(bt.sizers.FixedSize, stake=stake)
    strategy = traded(cerebro, max_exposure=max_exposure, enter=0.6, exit=0.5, allow_short=True)
    assert strategy.position.size == -(size if max_exposure <= 1 else 200)


@pytest.mark.parametrize(
    "params, words",
    [
        ({"in_sample": "maybe"}, "`in_sample` must be 'refuse' or 'trade', got 'maybe'"),
        (
            {"max_model_age": -1, "retries": -1},
            "`max_model_age` must be a whole number from 0 or None, got -1; "
            "`retries` must be a whole number from 0",
        ),
        ({"max_exposure": 0.0}, "`max_exposure` must be a finite number above 0, got 0.0"),
        ({"patience": 0}, "`patience` must be a whole number from 1, got 0"),
        (
            {"enter": None},
            "`enter` and `exit` must be given where `checkpoint` is empty, got enter=None and "
            "exit=0.5",
        ),
        ({"enter": 0.4}, "must satisfy 0.5 <= exit <= enter < 1, got enter=0.4"),
        ({"names": "given, other"}, "`names` must be among the datas given, got other"),
        ({"stop_loss": "3"}, "`stop_loss` must be a number above 0 with its unit"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trade([0.5, 0.5], **params)


def test_without_a_checkpoint_the_feed_needs_a_line_of_probabilities(bars: pd.DataFrame) -> None:
    with pytest.raises(
        ValueError,
        match="`checkpoint` is empty, so data 'data' must have a line named probability, got close",
    ):
        traded(host(feed(bars)), **ALWAYS)


def test_cheat_on_close_is_refused(bars: pd.DataFrame, checkpoint_path: str) -> None:
    cerebro = host(feed(bars))
    cerebro.broker.set_coc(True)
    with pytest.raises(
        ValueError,
        match="cheat_on_close must be off: it fills at the close that the decision was made from",
    ):
        traded(cerebro, checkpoint=checkpoint_path)


@pytest.mark.parametrize("runonce", [True, False])
def test_cheat_on_open_changes_no_order(
    bars: pd.DataFrame, checkpoint_path: str, runonce: bool
) -> None:
    usual = traded(host(feed(bars), runonce=runonce), checkpoint=checkpoint_path, **ALWAYS)
    cheating = traded(
        host(feed(bars), runonce=runonce, cheat_on_open=True), checkpoint=checkpoint_path, **ALWAYS
    )
    assert cheating.fills == usual.fills and len(usual.fills["data"]) > 10


def test_bars_the_model_has_seen_are_not_traded(bars: pd.DataFrame, tmp_path: Path) -> None:
    random_checkpoint(bars, bars.index[300]).save(tmp_path / "a.ckpt")
    strategy = traded(host(feed(bars)), checkpoint=str(tmp_path / "a.ckpt"), **ALWAYS)
    # Decided at bar 301, which is bars.index[300] = trained_until.
    assert strategy.fills["data"][0].bar == 302
    assert strategy.refusals()["data"]["in sample"] == 300 and not strategy.traded_in_sample


def test_a_run_within_the_models_own_past_is_refused(bars: pd.DataFrame, tmp_path: Path) -> None:
    random_checkpoint(bars, "2030-01-01").save(tmp_path / "a.ckpt")
    with pytest.raises(
        ValueError,
        match="data 'data': all 400 bars lie before the checkpoint's `trained_until`.*in_sample=",
    ):
        traded(host(feed(bars)), checkpoint=str(tmp_path / "a.ckpt"))


def test_a_folder_whose_models_are_too_young_for_every_bar_is_said(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    random_checkpoint(bars, bars.index[-1]).save(tmp_path / "a.ckpt")
    with pytest.warns(
        TradingWarning,
        match="no model of .* was in force before the last bar, so none of its 399 bars was traded",
    ):
        strategy = traded(host(feed(bars)), checkpoint=str(tmp_path), **ALWAYS)
    assert not strategy.fills["data"]


def test_in_sample_trade_permits_it_and_marks_the_result(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    random_checkpoint(bars, "2030-01-01").save(tmp_path / "a.ckpt")
    strategy = traded(
        host(feed(bars)), checkpoint=str(tmp_path / "a.ckpt"), in_sample="trade", **ALWAYS
    )
    assert strategy.fills["data"] and strategy.traded_in_sample


def test_in_sample_trade_is_refused_where_it_can_do_nothing(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    random_checkpoint(bars).save(tmp_path / "a.ckpt")
    with pytest.raises(
        ValueError,
        match='`in_sample`="trade" does nothing under .*: none of a folder.* Leave it out, or name',
    ):
        traded(host(feed(bars)), checkpoint=str(tmp_path), in_sample="trade", **ALWAYS)


def test_in_sample_trade_is_warned_of_where_it_does_nothing_for_some_datas(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for path in ("file", "folder/a.ckpt"):
        random_checkpoint(bars, bars.index[200]).save(tmp_path / path)
    cerebro = host(feed(bars, "file"), feed(bars, "folder"))
    with pytest.warns(TradingWarning, match='`in_sample`="trade" does nothing under .*/folder: '):
        strategy = traded(cerebro, checkpoint=f"{tmp_path}/{{name}}", in_sample="trade", **ALWAYS)
    first = {name: fills[0].bar for name, fills in strategy.fills.items()}
    assert first["file"] <= 200 < first["folder"] and strategy.traded_in_sample


def test_the_thresholds_of_the_checkpoint_in_force_decide(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    for number, enter in ((200, 0.999), (300, 0.5)):
        random_checkpoint(bars, bars.index[number], enter=enter, exit=0.5).save(
            tmp_path / f"{number}.ckpt"
        )
    strategy = traded(host(feed(bars)), checkpoint=str(tmp_path))
    assert strategy.fills["data"][0].bar > 301


def test_thresholds_that_do_not_fit_a_checkpoint_are_refused_at_the_start(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    random_checkpoint(bars, exit=0.55, enter=0.6).save(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"got enter=0.52 and exit=0.55 \(with those of a.ckpt\)"):
        traded(host(feed(bars)), checkpoint=str(tmp_path / "a.ckpt"), enter=0.52)


def test_a_model_that_is_too_old_opens_no_position_and_says_so_once(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    random_checkpoint(bars, bars.index[200]).save(tmp_path / "a.ckpt")
    with pytest.warns(
        TradingWarning,
        match="data 'data': the model is [5-9]. bar intervals old, `max_model_age` is 50",
    ) as warned:
        strategy = traded(
            host(feed(bars)), checkpoint=str(tmp_path / "a.ckpt"), max_model_age=50, **ALWAYS
        )
    assert strategy.fills["data"][-1].bar <= 202 + 50 + 100 and strategy.position.size == 0
    assert len(warned) == 1 and strategy.refusals()["data"]["model too old"] > 10


def test_the_age_of_a_model_from_before_the_feed_follows_from_the_time_that_passed(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    random_checkpoint(bars, "2019-01-01").save(tmp_path / "a.ckpt")
    with pytest.warns(TradingWarning, match="the model is 514 bar intervals old"):
        strategy = traded(
            host(feed(bars)), checkpoint=str(tmp_path / "a.ckpt"), max_model_age=500, **ALWAYS
        )
    assert not strategy.fills["data"]


@pytest.mark.parametrize(
    "params, exits",
    [
        ({"stop_loss": "3%"}, [(4, 96.0)]),
        ({"take_profit": "2%"}, [(3, 103.0)]),
        ({"trailing": "3%"}, [(4, 96.0)]),
    ],
)
def test_stops_end_a_position_and_the_direction_waits(
    params: dict[str, Any], exits: list[tuple[int, float]]
) -> None:
    strategy = trade([0.9] * 8, opens=[100.0, 100.0, 103.0, 96.0, 97.0, 97.0, 97.0, 97.0], **params)
    assert [(fill.bar, fill.price) for fill in strategy.fills["given"] if fill.size < 0] == exits
    assert strategy.position.size == 0 and strategy.refusals()["given"]["stopped out"] == 1


def test_a_missing_probability_after_a_stop_is_no_new_signal() -> None:
    probabilities = [0.9] * 4 + [float("nan")] + [0.9] * 3
    strategy = trade(
        probabilities, opens=[100.0, 100.0, 100.0, 96.0, 97.0, 97.0, 97.0, 97.0], stop_loss="3%"
    )
    assert strategy.position.size == 0 and strategy.refusals()["given"]["stopped out"] == 1


def test_of_a_pair_the_one_filled_cancels_the_other() -> None:
    strategy = trade(
        [0.9] * 6, opens=[100.0, 100.0, 103.0, 90.0, 90.0, 90.0], stop_loss="3%", take_profit="2%"
    )
    assert [(fill.bar, fill.price, fill.status) for fill in strategy.fills["given"]][1:] == [
        (3, 103.0, "Completed"),
        (3, 0.0, "Canceled"),
    ]
    assert strategy.position.size == 0


def test_a_stop_in_true_ranges_uses_the_mean_of_fourteen_bars() -> None:
    opens = [100.0, 102.0] * 10 + [100.0, 95.0, 95.0]
    # True range 2, entry at 100: stop at 96.
    strategy = trade([0.5] * 15 + [0.9] * 8, opens=opens, stop_loss="2atr")
    assert [(fill.bar, fill.price) for fill in strategy.fills["given"]] == [(17, 100.0), (22, 95.0)]


def test_a_stop_in_true_ranges_waits_for_fourteen_of_them_and_that_is_said() -> None:
    with pytest.warns(
        TradingWarning, match="there is no price for one; the position is without its stops"
    ):
        strategy = trade([0.9] * 20, opens=[100.0, 102.0] * 8 + [95.0] * 4, stop_loss="2atr")
    assert [fill.bar for fill in strategy.fills["given"]] == [2, 17] and strategy.refusals()[
        "given"
    ]["unprotected"] == 13


def test_a_bar_at_fault_leaves_no_position_without_its_stop() -> None:
    opens = [100.0, 102.0] * 8 + [float("nan"), 100.0, 102.0, 95.0, 95.0]
    strategy = trade([0.5] * 17 + [0.9] * 4, opens=opens, stop_loss="2atr")
    assert [(fill.bar, fill.price) for fill in strategy.fills["given"]] == [(19, 102.0), (20, 95.0)]


def test_of_a_pair_that_fills_in_parts_nothing_stays_unprotected() -> None:
    prices = [100.0] * 4 + [104.0] * 2 + [90.0] * 6
    cerebro = host(feed(bars_at(prices, [0.9] * 12, volume=1e6), "given"), commission=0.0)
    cerebro.broker.set_filler(bt.fillers.FixedSize(size=30))
    strategy = traded(cerebro, enter=0.6, exit=0.5, stop_loss="3%", take_profit="3%")
    assert strategy.position.size == 0 and strategy.fills["given"][-1].bar == 9
    assert strategy.refusals()["given"]["stopped out"] == 1


@pytest.mark.parametrize("probability", [55.0, -0.1, float("inf")])
def test_a_probability_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(
        ValueError,
        match=f"between 0 and 1 or be nan, got {probability} at 2024-01-02. Give shares",
    ):
        trade([0.5, probability, 0.5])


@pytest.mark.parametrize("price", [0.0, -20.0, float("nan")])
def test_a_bar_whose_close_is_no_price_orders_nothing(price: float) -> None:
    with pytest.warns(TradingWarning, match=r"the sizer gave no units for direction \+1"):
        strategy = trade([0.5, 0.9, 0.9, 0.9], opens=[100.0, price, 100.0, 100.0])
    assert [(fill.bar, fill.size) for fill in strategy.fills["given"]] == [(4, 95.0)]


def test_params_are_scalars_and_strings() -> None:
    params = trade([0.5]).p._getkwargs()
    assert len(params) > 10 and all(
        isinstance(value, (str, int, float, type(None))) for value in params.values()
    )


def test_a_data_named_twice_is_refused(bars: pd.DataFrame, checkpoint_path: str) -> None:
    with pytest.raises(ValueError, match="`names` must name each data once, got 'data, data'"):
        traded(host(feed(bars)), checkpoint=checkpoint_path, names="data, data")


@pytest.mark.parametrize(
    "params",
    [
        {"allow_short": "False"},
        {"max_gap": "3"},
        {"max_model_age": float("inf")},
        {"max_exposure": float("inf")},
        {"max_exposure": "1"},
        {"retries": None},
        {"patience": 2.5},
        {"enter": "0.6"},
        {"names": ["data"]},
        {"stop_loss": 0.03},
        {"journal": 5},
        {"max_disagreement": float("nan")},
        {"max_gap": True},
        {"stop_loss": "100%"},
        {"trailing": "150%"},
    ],
)
def test_a_param_of_a_wrong_kind_is_refused_by_its_name(
    bars: pd.DataFrame, checkpoint_path: str, params: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(params))}` must be"):
        traded(host(feed(bars)), checkpoint=checkpoint_path, **params)


def test_a_model_is_as_old_in_a_run_that_starts_later(bars: pd.DataFrame, tmp_path: Path) -> None:
    random_checkpoint(bars, bars.index[180]).save(tmp_path / "a.ckpt")
    runs = [
        traded(host(feed(part)), checkpoint=str(tmp_path / "a.ckpt"), **ALWAYS)
        for part in (bars, bars[240:])
    ]
    ages = [run.traded[0].decision.reading.age for run in runs]
    assert ages[0] == ages[1] == (bars.index[-1] - bars.index[180]).days


def test_a_gap_in_every_window_is_said(bars: pd.DataFrame, checkpoint_path: str) -> None:
    weekdays = bars.set_axis(pd.bdate_range("2020-01-01", periods=len(bars)))
    with pytest.warns(
        TradingWarning,
        match="none of its 400 bars had a forecast, .* `max_gap`=1 finds a gap in every window",
    ):
        traded(host(feed(weekdays)), checkpoint=checkpoint_path, max_gap=1, **ALWAYS)


@pytest.mark.parametrize(
    "param",
    [
        {"in_sample": "trade"},
        {"max_model_age": 5},
        {"max_disagreement": 0.1},
        {"max_gap": 0},
        {"timezone": "UTC"},
        {"stamp": "close"},
        {"precision": "bf16"},
    ],
)
def test_what_concerns_a_model_is_refused_where_there_is_none(param: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError,
        match=f"`{next(iter(param))}` must be .* where `checkpoint` is empty, got .*Leave",
    ):
        trade([0.5, 0.9], **param)


@pytest.mark.parametrize("name", ["a.ckpt", "{name}.ckpt"])
def test_paths_are_taken_as_their_text_is(
    bars: pd.DataFrame, checkpoint: Checkpoint, tmp_path: Path, name: str
) -> None:
    checkpoint.save(tmp_path / name.format(name="data"))
    runs = []
    for kind in (str, Path):
        journal = kind(tmp_path / f"{kind.__name__}.jsonl")
        given = {"checkpoint": kind(tmp_path / name), "journal": journal}
        runs.append(traded(host(feed(bars)), **given, **ALWAYS))
        assert replay(journal) == (400, [])
    assert runs[0].fills == runs[1].fills and runs[0].fills["data"]
    assert shown(host(feed(bars)), tmp_path / name.format(name="data")).values[400] > 0
