"""StrategyEvidence: the verdict on strategies that know nothing of ours."""

import io
import json
import subprocess
import sys

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from backtests.analyzers import StrategyEvidence
from backtests.reports.judgement import EVIDENCE
from backtests.reports.page import REPORT
from model.bars.artefacts import FlagRecord
from model.errors import BarsError
from strategy_plugin.indicator import DirectionProbability
from strategy_plugin.sizers import FractionalCommission
from tests.helpers.hosts import MODES, feed, host
from tests.helpers.makers import random_bars, random_checkpoint

BARS = random_bars(260, seed=3)
ALL_BUT_ROUNDING = 1 - 1e-12  # an order for all the money may be refused for its last bit


class Averages(bt.Strategy):
    """Long while a fast average lies above a slow one."""

    def __init__(self):
        self.above = bt.ind.SMA(period=3) > bt.ind.SMA(period=12)

    def next(self):
        if self.above[0] and not self.position:
            self.buy(size=40)
        elif not self.above[0] and self.position:
            self.close()


class ConstantShare(bt.Strategy):
    """So large a share of the account at every bar; pays in or out at some."""

    params = (("share", 0.5), ("paid", {}))

    def next(self):
        self.broker.add_cash(self.p.paid.get(len(self), 0.0))
        wanted = self.p.share * self.broker.getvalue() / self.data.close[0]
        change = wanted - self.position.size
        self.buy(size=change) if change > 0 else self.sell(size=-change)


class SavingsPlan(bt.Strategy):
    """All in one instrument, and every month's payment in it from the next open on."""

    def next(self):
        if len(self) == 1:
            self.order_target_value(target=ALL_BUT_ROUNDING * self.broker.getvalue())
        elif len(self) % 20 == 0:
            self.broker.add_cash(1_000.0)
            # As Backtrader's own article on buying and holding does it.
            self.order_target_value(target=ALL_BUT_ROUNDING * (self.broker.getvalue() + 1_000.0))


class Idle(bt.Strategy):
    """Never trades."""


class Once(bt.Strategy):
    """One order at the first bar."""

    params = (("size", 40.0), ("exectype", bt.Order.Market))

    def next(self):
        if len(self) == 1:
            order = dict(exectype=self.p.exectype, price=self.data.close[0])
            self.buy(size=self.p.size, **order) if self.p.size > 0 else self.sell(
                size=-self.p.size, **order
            )


class Follower(bt.Strategy):
    """Long at the next open where the bar's volume is large."""

    def next(self):
        wanted = self.data.volume[0] > 1_000
        if wanted != bool(self.position):
            self.buy(size=50) if wanted else self.close()


class Alternating(bt.Strategy):
    """Each of the first two instruments in turn."""

    def next(self):
        for number, data in enumerate(self.datas[:2]):
            if len(data):
                held = (len(self) // 9 + number) % 2
                self.order_target_percent(data, target=0.4 * held)


def gapless(bars):
    """The bars with each open at the close before: an order fills at the price it was sized by."""
    opens = bars["close"].shift().fillna(bars["open"])
    prices = bars.assign(open=opens)[["open", "high", "low", "close"]]
    return prices.assign(high=prices.max(axis=1), low=prices.min(axis=1), volume=bars["volume"])


def cerebro_of(strategy, *bars, commission=0.0, mode=None, analyzer=None, **params):
    feeds = [feed(one, f"data {number}") for number, one in enumerate(bars)]
    cerebro = host(*feeds, **(mode or {}))
    cerebro.broker.addcommissioninfo(FractionalCommission(commission=commission))
    cerebro.addstrategy(strategy, **params)
    cerebro.addanalyzer(StrategyEvidence, _name="evidence", **(analyzer or {}))
    return cerebro


def evidence(*args, **params):
    return cerebro_of(*args, **params).run()[0].analyzers.evidence


def test_every_engine_mode_gives_the_same_evidence():
    found = {
        json.dumps(evidence(Averages, BARS, mode=mode, commission=1e-3).get_analysis())
        for mode in MODES
    }
    assert len(found) == 1
    [content] = map(json.loads, found)
    assert content["record"]["returns"] == 260 - 12 and content["strategy"]["exposure"] > 0.3


def test_a_strategy_without_indicators_is_judged_in_every_engine_mode():
    # With exactbars=1 its feed has forgotten the last bar when the run ends.
    found = {json.dumps(evidence(Once, BARS, mode=mode).get_analysis()) for mode in MODES}
    assert len(found) == 1


def test_returns_are_those_of_the_account_after_costs_dated_by_the_bar():
    cerebro = cerebro_of(Averages, BARS, commission=1e-3)
    cerebro.addanalyzer(bt.analyzers.TimeReturn, _name="each", timeframe=bt.TimeFrame.Days)
    run = cerebro.run()[0].analyzers
    found, theirs = run.evidence.judgement.record, run.each.get_analysis()
    expected = pd.Series(theirs).loc[found.dates]
    assert found.returns == pytest.approx(expected.to_numpy(), abs=1e-12)
    closes = BARS["close"]
    assert found.benchmark == pytest.approx(closes.pct_change().loc[found.dates].to_numpy())
    assert found.start == BARS.index[11] and found.dates.equals(BARS.index[12:])


def test_what_is_paid_in_or_out_is_no_return():
    bars = gapless(BARS)
    plain, paid = (
        evidence(ConstantShare, bars, paid=paid).judgement.record
        for paid in ({}, {60: 25_000.0, 61: -3_000.0, 200: 8_000.0})
    )
    assert paid.returns == pytest.approx(plain.returns, abs=1e-12)


def test_what_is_spent_at_the_next_open_counts_from_there():
    """A savings plan of all the money earns what holding does, however much is paid in."""
    found = evidence(SavingsPlan, gapless(BARS)).judgement.record
    assert found.returns[1:] == pytest.approx(found.benchmark[1:], abs=1e-9)


def test_a_strategy_that_never_traded_has_no_edge():
    content = evidence(Idle, BARS).get_analysis()
    assert content["verdict"]["word"] == "no edge"
    alpha = content["evidence"]["intervals"]["alpha"]
    assert set(alpha.values()) == {0.0} and content["strategy"]["return"] == 0
    assert "none of which took a position" in content["verdict"]["sentence"]
    assert content["benchmark"]["name"] == "buy-and-hold" and content["record"]["instruments"] == []


def test_a_strategy_that_holds_its_benchmark_has_no_alpha_and_is_told_so():
    cerebro = cerebro_of(ConstantShare, gapless(BARS), share=1.0)
    cerebro.broker.set_coc(True)
    found = cerebro.run()[0].analyzers.evidence.get_analysis()
    assert found["verdict"]["word"] == "no edge"
    assert "each of which holds its benchmark" in found["verdict"]["sentence"]


def test_a_short_earns_what_the_market_loses():
    found = evidence(Once, BARS, size=-20.0).judgement.record
    assert np.corrcoef(found.returns[1:], found.benchmark[1:])[0, 1] < -0.98


def test_the_benchmark_is_what_was_traded_in_equal_parts():
    later = random_bars(200, seed=5, start="2020-02-01")
    never = random_bars(260, seed=6)
    found = evidence(Alternating, BARS, later, never).judgement.record
    assert found.instruments == ["data 0", "data 1"]
    assert found.benchmark_name == "holding all in equal parts"
    # The second begins late and ends early: it counts from its second bar to its last.
    moves = pd.DataFrame(
        {number: one["close"].pct_change() for number, one in enumerate((BARS, later))}
    ).reindex(found.dates)
    assert found.benchmark == pytest.approx(moves.mean(axis=1).to_numpy())
    assert len(moves) == 260 - 32 and moves[1].isna().sum() == 29


def test_a_data_of_another_calendar_moves_nowhere_where_it_has_no_bar():
    weekly = random_bars(260, seed=5)[::7]
    found = evidence(Alternating, BARS, weekly).judgement.record
    closes = pd.DataFrame({0: BARS["close"], 1: weekly["close"].reindex(BARS.index).ffill()})
    moves = closes.pct_change().loc[: weekly.index[-1], :].loc[found.dates[0] :]
    assert found.benchmark[: len(moves)] == pytest.approx(moves.mean(axis=1).to_numpy())


def test_a_neutral_book_is_held_against_cash():
    found = evidence(Averages, BARS, analyzer={"neutral": True}).get_analysis()
    cash = found["benchmark"]
    assert (cash["name"], cash["return"], cash["sharpe"]) == ("cash", 0, None)
    assert found["evidence"]["intervals"]["beta"]["value"] == 0


def test_fills_at_the_close_count_where_all_orders_were_at_the_market():
    market, limit = (
        evidence(Once, BARS, exectype=exectype).get_analysis()
        for exectype in (bt.Order.Market, bt.Order.Limit)
    )
    assert "timing at close" in market["evidence"]["intervals"]
    assert "timing at close" not in limit["evidence"]["intervals"]
    assert any(words.startswith("fills at the close") for words in limit["not_looked_at"])
    assert not any(words.startswith("fills at the close") for words in market["not_looked_at"])


def test_orders_at_the_open_decided_at_are_not_judged_at_the_close():
    cheating = evidence(Once, BARS, mode={"cheat_on_open": True}).get_analysis()
    assert "timing at close" not in cheating["evidence"]["intervals"]


def telling(bars, known):
    """The bars with a volume that is large where something is known."""
    return bars.assign(volume=np.where(known, 2_000.0, 500.0))


def test_one_who_knows_two_of_three_moves_to_come_has_an_edge():
    bars = gapless(random_bars(700, seed=9))
    right = np.random.default_rng(3).random(700) < 2 / 3
    rises = (bars["close"].shift(-1) > bars["close"]).to_numpy()
    found = evidence(Follower, telling(bars, rises == right), commission=1e-4).get_analysis()
    assert found["verdict"]["word"] == "edge"
    assert found["evidence"]["intervals"]["timing at close"]["lowest"] > 0


def test_fills_at_opens_older_than_the_decision_are_no_edge():
    """Who follows the last move buys at a price of before it: alpha that nobody can have."""
    bars = gapless(random_bars(700, seed=9))
    stale = bars.assign(open=bars["close"].shift(2).fillna(bars["open"]))
    prices = stale[["open", "high", "low", "close"]]
    stale = stale.assign(high=prices.max(axis=1), low=prices.min(axis=1))
    found = evidence(Follower, telling(stale, bars["close"].diff() > 0)).get_analysis()
    assert found["evidence"]["intervals"]["alpha"]["lowest"] > 0.001
    assert found["verdict"]["word"] != "edge"
    assert "a gain of the timing with fills at the close" in found["verdict"]["sentence"]


@pytest.mark.parametrize(("commission", "said"), [(0.0, True), (1e-4, False)])
def test_a_broker_that_takes_no_costs_is_told(commission, said):
    found = evidence(Once, BARS, commission=commission).get_analysis()
    assert ("costs, of which the broker took none" in found["not_looked_at"]) == said


def test_what_the_bars_say_against_themselves_forbids_an_edge():
    flag = FlagRecord(name="gaps", sentence="They gap.", identity=False, accepted=False)
    flagged, read = BARS.copy(), BARS.copy()
    flagged.attrs, read.attrs = {"flags": [flag]}, {"flags": []}
    found = evidence(Averages, flagged).get_analysis()
    assert found["verdict"]["word"] == "cannot tell"
    assert "data 0: They gap." in found["verdict"]["sentence"]
    unread, judged = evidence(Averages, BARS), evidence(Averages, read)
    assert "whether the bars were traded so" in unread.get_analysis()["not_looked_at"]
    assert "whether the bars were traded so" not in judged.get_analysis()["not_looked_at"]


def test_settings_reach_the_figures():
    found = evidence(Averages, BARS, analyzer={"worth": 0.05, "bars_per_year": 100})
    content = found.get_analysis()
    assert content["record"]["bars_per_year"] == 100
    assert content["evidence"]["worth"] == pytest.approx(0.05 / 100)
    with pytest.raises(ValueError, match="`worth` must be a finite number above 0, got 0"):
        evidence(Averages, BARS, analyzer={"worth": 0})


@pytest.mark.parametrize(
    ("bars", "params", "message"),
    [
        (BARS[:30], {}, "Once: a verdict needs at least 50 returns, got 29. Give a longer record."),
        (
            BARS.assign(**{name: np.linspace(100, 900, 260) for name in ("open", "close", "high")}),
            {"size": -60.0},
            "the account must be worth more than 0, got -",
        ),
        (
            BARS.assign(close=BARS["close"].where(BARS.index != BARS.index[70], -5.0)),
            {},
            "data 0 must have closes above 0 to be held against, got -5 on 2020-03-11",
        ),
    ],
)
def test_what_cannot_be_judged_is_said_when_it_is_asked_for(bars, params, message):
    found = evidence(Once, bars, **params)
    with pytest.raises(BarsError) as error:
        found.get_analysis()
    assert message in str(error.value)


def test_an_account_that_another_strategy_trades_is_refused():
    cerebro = cerebro_of(Averages, BARS)
    cerebro.addstrategy(Once)
    cerebro.addstrategy(Idle)
    averages, once, idle = (strategy.analyzers.evidence for strategy in cerebro.run())
    for found, others in ((averages, "Once"), (once, "Averages"), (idle, "Averages, Once")):
        with pytest.raises(BarsError, match=f"got one that {others} traded too: the returns are"):
            found.get_analysis()
    # One that only looks on takes nothing from the account.
    cerebro = cerebro_of(Averages, BARS)
    cerebro.addstrategy(Idle)
    found = cerebro.run()[0].analyzers.evidence
    assert found.get_analysis() == evidence(Averages, BARS).get_analysis()


def test_a_report_is_written_beside_the_evidence(tmp_path):
    found = evidence(Averages, BARS)
    found.write_report(tmp_path / "new" / "mine")
    written = json.loads((tmp_path / "new" / "mine" / EVIDENCE).read_text())
    assert written == found.get_analysis()
    page = (tmp_path / "new" / "mine" / REPORT).read_text()
    assert "Averages on data 0" in page and written["verdict"]["word"] in page


def test_a_bar_costs_less_than_a_hundred_bytes():
    recording = evidence(Averages, BARS)._recording
    arrays = [recording.times, recording.values, recording.fills, recording.datas[0].closes]
    assert sum(map(sys.getsizeof, arrays)) < 100 * len(BARS)


def test_evidence_travels_between_the_processes_of_an_optimisation():
    cerebro = host(feed(BARS), maxcpus=2)
    cerebro.optstrategy(ConstantShare, share=[0.2, 0.8])
    cerebro.addanalyzer(StrategyEvidence, _name="evidence")
    betas = [
        run[0].analyzers.evidence.judgement.figures.intervals["beta"].value for run in cerebro.run()
    ]
    assert betas == pytest.approx([0.2, 0.8], abs=0.02)


def test_bars_that_are_resampled_or_replayed_count_once():
    hours = random_bars(4 * 80, seed=4, freq="6h")
    for change in ("resampledata", "replaydata"):
        cerebro = host()
        minutes = bt.TimeFrame.Minutes
        data = bt.feeds.PandasData(dataname=hours, timeframe=minutes, compression=360, name="hours")
        getattr(cerebro, change)(data, timeframe=bt.TimeFrame.Days)
        cerebro.addstrategy(ConstantShare)
        cerebro.addanalyzer(StrategyEvidence, _name="evidence")
        found = cerebro.run()[0].analyzers.evidence.judgement.record
        assert 78 <= len(found.returns) <= 79 and found.periods_per_year == 365


def test_importing_it_loads_no_model():
    code = "import sys, backtests.analyzers; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "backtests.evidence.alpha" in loaded
    heavy = ("torch", "sklearn", "cyclopts", "model.training", "model.checkpoint")
    assert not [name for name in loaded if name.startswith(heavy)]


def test_a_run_waits_for_no_evidence_unless_a_writer_wants_it():
    """Backtrader asks every analyzer at the end of every run."""
    assert evidence(Averages, BARS)._judgement is None
    printed, refused = io.StringIO(), io.StringIO()
    for bars, out in ((BARS, printed), (BARS[:30], refused)):
        cerebro = cerebro_of(Averages, bars)
        cerebro.addwriter(bt.WriterFile, out=out)
        cerebro.run()
    assert "sentence" in printed.getvalue()
    assert "refused: Averages: a verdict needs at least 50 returns" in refused.getvalue()


class AsksAModel(bt.Strategy):
    """Long while the model says up, also on bars that it has seen."""

    params = (("checkpoint", ""),)

    def __init__(self):
        self.probability = DirectionProbability(self.data, checkpoint=self.p.checkpoint)

    def next(self):
        if self.probability[0] >= 0.5 and not self.position:
            self.buy(size=40)
        elif self.probability[0] < 0.5 and self.position:
            self.close()


@pytest.mark.parametrize("folder", [False, True])
def test_bars_that_a_model_of_the_strategy_has_seen_do_not_count(tmp_path, folder):
    for seen in (190, 220):
        random_checkpoint(BARS, BARS.index[seen]).save(tmp_path / f"{seen}.ckpt")
    cerebro = host(feed(BARS, "a"))
    cerebro.addstrategy(AsksAModel, checkpoint=str(tmp_path if folder else tmp_path / "190.ckpt"))
    cerebro.addanalyzer(StrategyEvidence, _name="evidence")
    [strategy] = cerebro.run()
    found = strategy.analyzers.evidence.get_analysis()
    # Decided at the bar until which it was trained; the first return is that of the next one.
    assert found["record"]["start"] == str(BARS.index[190])
    assert found["record"]["returns"] == len(BARS) - 191
    assert "the first 190 bars, which the model has learnt from" in found["verdict"]["sentence"]
