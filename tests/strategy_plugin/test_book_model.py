"""A book by a checkpoint: its forecasts are those of the model, under the same guards."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import backtrader as bt
import pandas as pd
import pytest

from model import Checkpoint
from model.checkpoint.schedule import Schedule
from strategy_plugin import BookStrategy, cache
from strategy_plugin.guard import TradingWarning
from tests.helpers.book_account import WatchedBook, book_run
from tests.helpers.hosts import feed, host
from tests.helpers.makers import random_bars, random_checkpoint

UNIVERSE = {name: random_bars(190, seed=seed) for seed, name in enumerate("abcdef")}
UNIVERSE["f"] = UNIVERSE["f"][20:]  # begins later
BARS = UNIVERSE["a"]
RULES: dict[str, Any] = {"long": 2, "short": 2, "keep": 1.0}
FORECASTS = 41  # dates from the first whole window on


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "pooled.ckpt"
    known = {name: "0" * 64 for name in UNIVERSE}
    random_checkpoint(BARS, instruments=known, outcome="relative").save(path)
    return str(path)


def best_and_worst(row: "pd.Series[float]") -> dict[str, int]:
    ranks = row.dropna().sort_values()
    return dict.fromkeys(ranks.index[-2:], 1) | dict.fromkeys(ranks.index[:2], -1)


def sides(ranking: dict[str, float]) -> dict[str, int]:
    return {name: 1 if weight > 0 else -1 for name, weight in ranking.items()}


@pytest.mark.parametrize("mode", [{}, {"runonce": False}, {"live": True}], ids=str)
def test_one_checkpoint_ranks_all_names_as_its_scores_do(pooled: str, mode: dict[str, Any]) -> None:
    strategy = book_run(UNIVERSE, mode=mode, checkpoint=pooled, **RULES)
    scores = Checkpoint.load(pooled).scores(UNIVERSE)
    assert len(strategy.rankings) == len(scores) == FORECASTS
    wanted = [best_and_worst(row) for _, row in scores.iterrows()]
    assert [sides(ranking) for ranking in strategy.rankings] == wanted


def test_ten_books_of_a_sweep_share_one_computation_of_forecasts(
    pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, asked = Schedule.forecasts, []

    def forecasts(self: Schedule, values: Any, timestamps: Any) -> Any:
        asked.append(len(values))
        return honest(self, values, timestamps)

    monkeypatch.setattr(Schedule, "forecasts", forecasts)
    monkeypatch.setattr(cache, "_memory", OrderedDict())
    cerebro = bt.Cerebro(stdstats=False, maxcpus=1)
    for name, bars in UNIVERSE.items():
        cerebro.adddata(feed(bars, name), name=name)
    keeps = [1 + number / 4 for number in range(10)]
    cerebro.optstrategy(BookStrategy, checkpoint=pooled, long=2, short=2, keep=keeps)
    assert len(cerebro.run()) == 10
    assert sorted(asked) == sorted(map(len, UNIVERSE.values()))


def test_each_name_may_have_a_model_of_its_own(tmp_path: Path) -> None:
    for seed, name in enumerate(UNIVERSE):
        random_checkpoint(UNIVERSE[name], trained_until=BARS.index[0], seed=seed).save(
            tmp_path / f"{name}.ckpt"
        )
    strategy = book_run(UNIVERSE, checkpoint=f"{tmp_path}/{{name}}.ckpt", **RULES)
    files = [instrument.signal.indicator.schedule.path.stem for instrument in strategy.traded]
    assert files == list(UNIVERSE) and strategy.n_ranked == FORECASTS


def test_bars_that_the_model_has_seen_are_not_ranked(tmp_path: Path) -> None:
    path = tmp_path / "late.ckpt"
    random_checkpoint(BARS, trained_until=BARS.index[170]).save(path)
    strategy = book_run(UNIVERSE, checkpoint=str(path), **RULES)
    assert strategy.n_ranked == 20 and strategy.refusals()["a"]["in sample"] == 170
    assert min(day for day, *_ in strategy.fills) == str(BARS.index[171].date())
    every = book_run(UNIVERSE, checkpoint=str(path), in_sample="trade", **RULES)
    assert every.n_ranked == FORECASTS and every.traded_in_sample


def test_a_run_of_nothing_but_bars_that_were_seen_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    random_checkpoint(BARS, trained_until=BARS.index[-1] + pd.Timedelta(days=1)).save(path)
    with pytest.raises(
        ValueError, match="all 190 bars lie before the checkpoint's `trained_until`"
    ):
        book_run(UNIVERSE, checkpoint=str(path), **RULES)


def test_a_name_that_ended_before_the_first_decision_spoils_no_run(tmp_path: Path) -> None:
    path = tmp_path / "late.ckpt"
    random_checkpoint(BARS, trained_until=BARS.index[170]).save(path)
    universe = UNIVERSE | {"gone": random_bars(160, seed=9)}
    assert book_run(universe, checkpoint=str(path), **RULES).n_ranked == 20


def test_a_folder_is_a_schedule_for_all(tmp_path: Path) -> None:
    for seed, number in enumerate((160, 175)):
        random_checkpoint(BARS, trained_until=BARS.index[number], seed=seed).save(
            tmp_path / f"{number}.ckpt"
        )
    strategy = book_run(UNIVERSE, checkpoint=str(tmp_path), **RULES)
    models = {instrument.decision.reading.model for instrument in strategy.traded}
    assert strategy.n_ranked == 30 and len(models) == 1
    assert strategy.refusals()["a"]["no model in force"] == 160


def test_a_model_that_is_too_old_opens_and_enlarges_nothing(pooled: str) -> None:
    young = book_run(UNIVERSE, checkpoint=pooled, **RULES, max_model_age=189)
    with pytest.warns(TradingWarning, match="the model is 170 bar intervals old"):
        aged = book_run(UNIVERSE, checkpoint=pooled, **RULES, max_model_age=169)
    day = str(BARS.index[171].date())
    later = [fill for fill in young.fills if fill[0] > day]
    held = {data._name: aged.getposition(data).size for data in aged.datas}
    assert later and not any(held.values())
    assert [fill for fill in aged.fills if fill[0] < day] == [f for f in young.fills if f[0] < day]


def test_before_trade_from_nothing_is_ordered(pooled: str) -> None:
    date = BARS.index[180]
    strategy = book_run(UNIVERSE, checkpoint=pooled, trade_from=str(date.date()), **RULES)
    assert strategy.n_ranked == 10 and strategy.refusals()["a"]["before trade_from"] == 180
    assert min(day for day, *_ in strategy.fills) == str(BARS.index[181].date())


def test_models_that_forecast_unlike_things_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        horizon = 1 if name == "a" else 5
        random_checkpoint(BARS, golden=False, horizon=horizon).save(tmp_path / f"{name}.ckpt")
    cerebro = host(*(feed(UNIVERSE[name], name) for name in "ab"))
    cerebro.addstrategy(BookStrategy, checkpoint=f"{tmp_path}/{{name}}.ckpt", long=1, short=1)
    with pytest.raises(ValueError, match=r"must forecast the same, got horizon 1: a; 5: b\. Give"):
        cerebro.run()


def test_books_of_a_sweep_share_one_computation(
    pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = Checkpoint.forecast
    monkeypatch.setattr(
        Checkpoint, "forecast", lambda self, *args: calls.append(1) or original(self, *args)
    )
    many = {f"n{seed:02d}": random_bars(155, seed=40 + seed) for seed in range(20)}
    cerebro = host(*(feed(bars, name) for name, bars in many.items()))
    cerebro.optstrategy(WatchedBook, checkpoint=pooled, long=(2, 3, 4), short=2)
    runs = cerebro.run(maxcpus=1, optreturn=False)
    assert [run.n_ranked for [run] in runs] == [6, 6, 6] and len(calls) == len(many)


def test_a_name_that_is_never_ranked_is_told(pooled: str) -> None:
    universe = UNIVERSE | {"young": UNIVERSE["a"][90:], "new": UNIVERSE["b"][-9:]}
    with pytest.warns(TradingWarning, match="2 names of 8 never had a forecast, .* book: new, you"):
        strategy = book_run(universe, checkpoint=pooled, **RULES)
    assert strategy.n_ranked == FORECASTS and not strategy.traded[-2].n_forecasts
