"""Several datas in one strategy: each has its own window, model and orders."""

from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from strategy_plugin import BiLSTMStrategy, EquityShare, TradingWarning
from tests.helpers.hosts import RULES, Fill, Watched, bars_at, feed, host, series, traded
from tests.helpers.live import live, ticks
from tests.helpers.makers import random_bars, random_checkpoint

LONG = random_bars(240, seed=1)
SHORT = random_bars(240, seed=2).iloc[30:215]  # begins later and ends sooner
MODES: list[dict[str, Any]] = [
    {},
    {"runonce": False},
    {"preload": False},
    {"live": True},
    {"exactbars": -1},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models")
    random_checkpoint(LONG, seed=1).save(folder / "long.ckpt")
    random_checkpoint(SHORT, seed=2).save(folder / "short.ckpt")
    return f"{folder}/{{name}}.ckpt"


def alone(bars: pd.DataFrame, name: str, models: str) -> Watched:
    """The data by itself, with half of the equity, as it has beside another."""
    cerebro = host(feed(bars, name))
    return traded(cerebro, checkpoint=models, **RULES)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_each_data_is_predicted_as_if_it_were_alone(models: str, mode: dict[str, Any]) -> None:
    both = traded(
        host(feed(LONG, "long"), feed(SHORT, "short"), **mode), checkpoint=models, **RULES
    )
    for bars, name in ((LONG, "long"), (SHORT, "short")):
        expected = alone(bars, name, models)
        found, wanted = (series(strategy.shown[name], len(bars)) for strategy in (both, expected))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
        assert [(fill.bar, np.sign(fill.size)) for fill in both.fills[name]] == [
            (fill.bar, np.sign(fill.size)) for fill in expected.fills[name]
        ]
        assert len(both.fills[name]) > 3


def test_live_feeds_are_each_on_their_own(models: str) -> None:
    both = traded(
        host(live(["LIVE", *ticks(LONG)], "long"), live(["LIVE", *ticks(SHORT)], "short")),
        checkpoint=models,
        **RULES,
    )
    backtest = traded(host(feed(LONG, "long"), feed(SHORT, "short")), checkpoint=models, **RULES)
    for name in ("long", "short"):
        assert [fill[:1] + fill[3:] for fill in both.fills[name]] == [
            fill[:1] + fill[3:] for fill in backtest.fills[name]
        ]


def test_while_one_feed_is_away_the_other_trades_on(models: str) -> None:
    events = ["LIVE", *ticks(LONG)[:200], "DISCONNECTED", *ticks(LONG)[200:]]
    both = traded(
        host(live(events, "long"), live(["LIVE", *ticks(SHORT)], "short")),
        checkpoint=models,
        **RULES,
    )
    assert both.refusals()["long"]["not live"] == 40 and both.refusals()["short"]["not live"] == 0
    assert both.fills["short"][-1].bar > 175


def test_a_feed_that_has_ended_is_not_traded(models: str) -> None:
    both = traded(
        host(feed(LONG, "long"), feed(SHORT, "short"), runonce=False), checkpoint=models, **RULES
    )
    assert both.fills["short"][-1].bar <= len(SHORT) and both.traded[1].n_decided == len(SHORT)
    assert len(both.shown["short"]) == len(SHORT) - 149


def test_one_file_may_serve_all_datas(models: str) -> None:
    both = traded(
        host(feed(LONG, "long"), feed(SHORT, "short")),
        checkpoint=models.replace("{name}", "long"),
        **RULES,
    )
    one, other = (instrument.signal.indicator.schedule.checkpoints[0] for instrument in both.traded)
    assert one is other


@pytest.mark.parametrize(
    "given, names",
    [(("", ""), ["data0", "data1"]), (("a", "a"), ["a0", "a1"]), (("a", ""), ["a", "data1"])],
)
def test_datas_without_a_name_of_their_own_get_a_number(
    models: str, given: tuple[str, str], names: list[str]
) -> None:
    cerebro = host(*(feed(LONG, name) for name in given))
    cerebro.addstrategy(BiLSTMStrategy, checkpoint=models.replace("{name}", "long"), **RULES)
    assert list(cerebro.run()[0].refusals()) == names


def test_feeds_of_another_timeframe_are_not_traded(models: str) -> None:
    cerebro = host(feed(LONG, "long"))
    cerebro.resampledata(cerebro.datas[0], timeframe=bt.TimeFrame.Weeks, name="weekly")
    strategy = traded(cerebro, checkpoint=models, **RULES)
    assert [instrument.name for instrument in strategy.traded] == ["long"]


def test_the_datas_to_trade_can_be_named(models: str) -> None:
    strategy = traded(
        host(feed(LONG, "long"), feed(SHORT, "short")), checkpoint=models, names="short", **RULES
    )
    assert strategy.fills["long"] == [] and len(strategy.fills["short"]) > 3


def trade(
    probabilities: dict[str, list[float]],
    *,
    volume: float = 1e6,
    filler: Any = None,
    sizer: Any = None,
    **params: Any,
) -> Watched:
    """Trade given probabilities at a price of 100 with a cash of 10,000."""
    cerebro = host(commission=0.0)
    for name, values in probabilities.items():
        bars = bars_at(100.0, values, volume=volume, end="2024-01-31")
        cerebro.adddata(feed(bars, name))
    if filler is not None:
        cerebro.broker.set_filler(filler)
    if sizer is not None:
        cerebro.addsizer(bt.sizers.FixedSize, stake=sizer)
    return traded(cerebro, enter=0.6, exit=0.5, **params)


def test_closes_go_before_openings_so_that_their_cash_can_be_used() -> None:
    strategy = trade({"new": [0.5, 0.5, 0.9, 0.9, 0.9], "old": [0.9, 0.9, 0.1, 0.1, 0.1]}, sizer=95)
    assert strategy.fills["old"] == [
        Fill(2, 95.0, 100.0, "Completed"),
        Fill(4, -95.0, 100.0, "Completed"),
    ]
    assert strategy.fills["new"] == [Fill(4, 95.0, 100.0, "Completed")]


def test_the_cap_on_exposure_counts_orders_that_are_under_way() -> None:
    with pytest.warns(TradingWarning, match=r"data 'c': the sizer gave no units for direction -1"):
        strategy = trade(
            {"a": [0.9] * 4, "b": [0.9] * 4, "c": [0.1] * 4}, sizer=60, allow_short=True
        )
    assert [fill.size for name in "abc" for fill in strategy.fills[name]] == [60.0, 40.0]
    assert strategy.refusals()["b"]["capped"] == 1 and strategy.refusals()["c"]["no order"] > 0


def test_a_feed_that_has_not_begun_counts_as_no_exposure() -> None:
    strategy = trade({"early": [0.9] * 8, "late": [0.9] * 3}, sizer=60)
    assert [fill.size for name in ("early", "late") for fill in strategy.fills[name]] == [
        60.0,
        40.0,
    ]


def test_a_partial_fill_is_waited_for_and_not_ordered_again() -> None:
    strategy = trade({"a": [0.9] * 8}, sizer=50, filler=bt.fillers.FixedSize(size=20))
    assert (
        strategy.fills["a"] == [Fill(4, 50.0, 100.0, "Completed")]
        and strategy.traded[0].orders.counts["sent"] == 1
    )


def test_an_order_that_no_volume_fills_is_cancelled_when_patience_ends() -> None:
    strategy = trade(
        {"a": [0.9] * 12}, volume=0.0, filler=bt.fillers.FixedBarPerc(perc=50), sizer=50, patience=3
    )
    assert strategy.refusals()["a"]["timed out"] == 2 and strategy.position.size == 0


def test_a_signal_that_changes_while_an_order_fills_closes_what_was_filled() -> None:
    strategy = trade(
        {"a": [0.9, 0.9, 0.1, 0.1, 0.1, 0.1]}, sizer=50, filler=bt.fillers.FixedSize(size=20)
    )
    assert strategy.fills["a"] == [
        Fill(4, 40.0, 100.0, "Canceled"),
        Fill(5, -40.0, 100.0, "Completed"),
    ]


@pytest.mark.parametrize("sizer", [{}, {"share": 1.0}], ids=str)
@pytest.mark.parametrize("commission", [0.0, 0.0002, 0.01])
def test_beside_one_that_has_grown_another_is_bought_with_what_is_left(
    commission: float, sizer: dict[str, float]
) -> None:
    grown = bars_at(np.linspace(100, 150, 12), [0.9] * 12)
    late = bars_at(50.0, [0.1] * 8 + [0.9] * 4)
    cerebro = host(feed(grown, "grown"), feed(late, "late"), commission=commission)
    cerebro.addsizer(EquityShare, **sizer)
    strategy = traded(cerebro, enter=0.6, exit=0.5)
    assert [fill.status for fill in strategy.fills["late"]] == ["Completed"]
    share = sizer.get("share", 0.95)
    held = sum(strategy.getposition(data).size * data.close[0] for data in strategy.datas)
    # With a price that rises 3 % until the next open the shares move a little.
    assert held / strategy.broker.getvalue() == pytest.approx(share, abs=0.02)


def test_a_fixed_commission_leaves_room_too() -> None:
    class PerOrder(bt.CommInfoBase):  # type: ignore[misc]
        params = (("stocklike", True), ("commtype", bt.CommInfoBase.COMM_FIXED))

        def _getcommission(self, size: float, price: float, pseudoexec: bool) -> float:
            return 25.0

    cerebro = host(feed(bars_at(100.0, [0.9] * 4), "given"))
    cerebro.broker.addcommissioninfo(PerOrder())
    cerebro.addsizer(EquityShare, share=1.0)
    strategy = traded(cerebro, enter=0.6, exit=0.5)
    assert strategy.fills["given"] == [Fill(2, 99.0, 100.0, "Completed")]


def test_refused_for_margin_again_and_again_the_remedy_is_named() -> None:
    cerebro = host(feed(bars_at(100 * 1.01 ** np.arange(12), [0.9] * 12), "given"))
    cerebro.addsizer(EquityShare, share=1.0)
    with pytest.warns(TradingWarning, match=r"\(margin\).*EquityShare, share=0.95"):
        traded(cerebro, enter=0.6, exit=0.5)
