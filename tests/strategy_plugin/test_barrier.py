"""The trades of a barrier: each label is the sign of what Backtrader itself makes of the trade."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from backtests.simulation.broker import ProbabilityFeed
from model.labels.barrier import Barrier, Trades, barrier_trades
from model.labels.labelling import Labelling
from strategy_plugin.analyzers import SignalQuality
from strategy_plugin.decision import DecisionRules, Reading, Thresholds, barrier_target, decide
from strategy_plugin.guard import TradingWarning
from strategy_plugin.replaying import replay
from strategy_plugin.sizers import FractionalCommission
from strategy_plugin.strategy import BiLSTMStrategy
from tests.helpers.makers import random_bars, random_checkpoint

PERCENT = Barrier(stop_loss="1%", take_profit="1.2%", commission=3.0)
RANGES = Barrier(stop_loss="0.5atr", take_profit="0.4atr", commission=3.0)
HORIZON = 3


class Outcomes(bt.Analyzer):  # type: ignore[misc]
    """The profit and loss of each trade, costs in, by the bar of its decision."""

    def start(self) -> None:
        self.rets: dict[int, float] = {}

    def notify_trade(self, trade: bt.Trade) -> None:
        if trade.isclosed:
            # Bars count from 1, and the fill is one bar after the decision.
            self.rets[trade.baropen - 2] = trade.pnlcomm


def run(
    bars: pd.DataFrame, decisions: Iterable[int], barrier: Barrier, **params: Any
) -> Mapping[int, float]:
    """Open a position after each of these decisions, and return what came of it."""
    probability = pd.Series(0.0, bars.index)
    probability.iloc[list(decisions)] = 0.9
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(ProbabilityFeed(dataname=bars.assign(probability=probability)))
    cerebro.broker.set_cash(100_000)
    cerebro.broker.addcommissioninfo(FractionalCommission(commission=barrier.commission * 1e-4))
    levels = {"stop_loss": barrier.stop_loss, "take_profit": barrier.take_profit}
    asked = {"enter": 0.6, "exit_by": "barrier", "horizon": HORIZON, **levels, **params}
    cerebro.addstrategy(BiLSTMStrategy, **asked)
    cerebro.addanalyzer(Outcomes, _name="outcomes")
    [strategy] = cerebro.run()
    return dict(strategy.analyzers.outcomes.get_analysis())


def apart(trades: Trades) -> list[list[int]]:
    """Return all decisions whose trade ends, in runs in which none begins before another ends."""
    runs: list[list[int]] = []
    free: list[int] = []
    for place in np.flatnonzero(trades.end < len(trades.end)).tolist():
        number = next((one for one, at in enumerate(free) if at <= place), len(runs))
        if number == len(runs):
            runs.append([])
            free.append(0)
        runs[number].append(place)
        free[number] = int(trades.end[place])
    return runs


@pytest.mark.parametrize("barrier", [PERCENT, RANGES], ids=["percent", "true ranges"])
def test_every_label_of_10_000_bars_is_the_sign_of_backtraders_own_profit(barrier: Barrier) -> None:
    bars = random_bars(5_000, seed=11)  # 10,000 in both
    trades = barrier_trades(bars, barrier, HORIZON)
    earned: dict[int, float] = {}
    for decisions in apart(trades):
        earned |= run(bars, decisions, barrier)
    over = np.flatnonzero(trades.end < len(bars))
    assert set(earned) == set(over.tolist()) and len(over) > 4_950
    gains, ours = np.array([earned[place] for place in over.tolist()]), trades.gain[over]
    clear = ~trades.ambiguous[over]
    assert (~clear).sum() > 50 and 0.2 < (gains > 0).mean() < 0.8
    np.testing.assert_array_equal(gains[clear] > 0, ours[clear] > 0)
    # The stop was sent first: that is what Backtrader, and the account in arrays, take.
    np.testing.assert_array_equal(gains > 0, ours > 0)


@pytest.mark.parametrize(
    ("probability", "held", "bars_held", "wanted"),
    [
        (0.6, 0, 0, 1),
        (0.59, 0, 0, 0),
        (np.nan, 0, 0, 0),
        (0.1, 1, 0, 1),  # its order is on its way
        (0.1, 1, 4, 1),
        (np.nan, 1, 4, 1),
        (0.9, 1, 5, 0),
        (np.nan, 1, 5, 0),
        (0.9, 0, 6, 0),  # the order that closes it is on its way
    ],
)
def test_a_position_is_kept_for_its_bars_whatever_is_forecast(
    probability: float, held: int, bars_held: int, wanted: int
) -> None:
    assert barrier_target(probability, held, bars_held, enter=0.6, horizon=5) == wanted
    reading = Reading(probability, Thresholds(0.6, 0.6))
    rules = DecisionRules(exit_by="barrier", horizon=5)
    assert decide(reading, held, rules, bars_held=bars_held) == (wanted, "")
    assert decide(reading, held, rules, "not live", bars_held) == (held, "not live")


def test_a_direction_that_was_stopped_out_is_opened_again_at_once(tmp_path: Path) -> None:
    bars = random_bars(300, seed=4)
    trades, places = barrier_trades(bars, PERCENT, HORIZON), [20]
    while trades.end[places[-1]] < 300:
        # Always for the long side: each trade is decided when the one before is over.
        places.append(int(trades.end[places[-1]]))
    always = range(20, 300)
    journal = tmp_path / "decisions.jsonl"
    assert list(run(bars, always, PERCENT, journal=str(journal))) == places[:-1]
    # Decided and ordered again from the journal, bars held among it.
    assert replay(journal).differences == []


@pytest.fixture
def of_trades(tmp_path: Path) -> Path:
    """A checkpoint whose forecasts are about trades."""
    bars = random_bars(300, seed=4)
    checkpoint = random_checkpoint(bars, label="barrier", horizon=HORIZON, barrier=PERCENT)
    checkpoint.save(tmp_path / "trades.ckpt")
    return tmp_path / "trades.ckpt"


def with_model(checkpoint: Path, **params: Any) -> BiLSTMStrategy:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=random_bars(300, seed=4)))
    cerebro.addstrategy(
        BiLSTMStrategy, checkpoint=str(checkpoint), in_sample="trade", exit_by="barrier", **params
    )
    [strategy] = cerebro.run()
    return strategy


def test_the_levels_are_those_that_the_model_was_trained_on(
    of_trades: Path, tmp_path: Path
) -> None:
    journal = str(tmp_path / "decisions.jsonl")
    strategy = with_model(of_trades, journal=journal)
    given = strategy.p.take_profit, strategy.p.stop_loss, strategy.p.horizon
    assert given == ("1.2%", "1%", HORIZON)
    [instrument] = strategy.traded
    assert instrument.orders.counts["completed"] > 20
    assert replay(journal).differences == []


def test_other_levels_than_those_of_training_are_traded_and_said(of_trades: Path) -> None:
    with pytest.warns(TradingWarning, match="forecasts a long trade .* is traded as a long trade"):
        strategy = with_model(of_trades, take_profit="3%", horizon=9)
    assert strategy.p.horizon == 9 and strategy.p.stop_loss == ""


def test_a_model_of_moves_has_no_levels_and_is_said_to_forecast_others(tmp_path: Path) -> None:
    random_checkpoint(random_bars(300, seed=4)).save(tmp_path / "moves.ckpt")
    with pytest.raises(
        ValueError,
        match=r"must be given with exit_by=.barrier., got none, and the models have",
    ):
        with_model(tmp_path / "moves.ckpt")
    with pytest.warns(TradingWarning, match="forecasts the move from the next bar's open"):
        with_model(tmp_path / "moves.ckpt", stop_loss="2%", horizon=4)


def test_forecasts_are_held_against_the_trades_that_they_are_about(of_trades: Path) -> None:
    bars = random_bars(300, seed=4)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars), name="bars")
    cerebro.addstrategy(
        BiLSTMStrategy, checkpoint=str(of_trades), in_sample="trade", exit_by="barrier"
    )
    cerebro.addanalyzer(SignalQuality, _name="quality")
    figures = cerebro.run()[0].analyzers.quality.get_analysis()["bars"]
    labels = Labelling("barrier", HORIZON, PERCENT).labels(bars).values[149:]
    assert figures["decisions"] == np.isfinite(labels).sum()
    assert figures["up_share"] == pytest.approx(np.nanmean(labels))


def test_trades_that_the_forecast_closes_are_said(of_trades: Path) -> None:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=random_bars(300, seed=4)))
    cerebro.addstrategy(BiLSTMStrategy, checkpoint=str(of_trades), in_sample="trade")
    with pytest.warns(TradingWarning, match="the model forecasts a long trade .* trades just that"):
        cerebro.run()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"exit": 0.55, "allow_short": True, "trailing": "2%", "stop_loss": ""},
            "`exit`, `allow_short`, `trailing` must be left out with exit_by='barrier'",
        ),
        ({"exit_by": "probability", "exit": 0.5}, "`horizon` must be left out with exit_by='prob"),
        ({"horizon": 1}, "`horizon` must be a whole number from 2 with label='barrier'"),
        (
            {"stop_loss": "", "take_profit": ""},
            "a level, `take_profit` or `stop_loss`, must be",
        ),
        ({"exit_by": "time"}, "`exit_by` must be one of probability, barrier, got 'time'"),
    ],
)
def test_params_that_cannot_be_meant_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        run(random_bars(30), [20], PERCENT, **params)
    assert message in str(refusal.value)
