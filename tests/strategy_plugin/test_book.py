"""A book: who is ranked and when, what it orders, and what it makes of a market's manners."""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from strategy_plugin import replay
from strategy_plugin.analyzers import SignalQuality
from strategy_plugin.book import BookStrategy
from strategy_plugin.guard import TradingWarning
from strategy_plugin.sizers import EquityShare
from tests.helpers.book_account import WatchedBook, book_run, ragged_universe
from tests.helpers.hosts import MODES, bars_at, feed, host

WHOLE = ragged_universe(8, 60, holes=0.0)
WHOLE = {name: bars for name, bars in WHOLE.items() if len(bars) == 60}
RAGGED = ragged_universe(8, 120)
RULES: dict[str, Any] = {"long": 2, "short": 2, "keep": 2.0, "gross": 0.9}


def of(prices: float = 100.0, **names: list[float]) -> dict[str, pd.DataFrame]:
    """Daily bars at one price for each name with its probabilities; NaN leaves a bar out."""
    universe = {name: bars_at(prices, values) for name, values in names.items()}
    return {name: bars[bars["probability"] >= 0] for name, bars in universe.items()}


def outcome(strategy: Any) -> tuple[Any, ...]:
    rows = strategy.analyzers.watcher.rows
    return strategy.rankings, strategy.fills, [equity for equity, _ in rows.values()]


@pytest.mark.parametrize("universe", [WHOLE, RAGGED], ids=["whole", "ragged"])
def test_decisions_and_fills_are_the_same_in_every_clock(
    universe: dict[str, pd.DataFrame],
) -> None:
    expected = outcome(book_run(universe, **RULES))
    assert len(expected[0]) == len(expected[2]) and len(expected[1]) > 100
    # With exactbars=1 Backtrader itself fails where a feed lacks a bar.
    some = [mode for mode in MODES[::2] if mode.get("exactbars") != 1]
    for mode in MODES if universe is WHOLE else some:
        assert outcome(book_run(universe, mode=mode, **RULES)) == expected, mode


def test_the_best_are_long_and_the_worst_short_from_the_next_open_on() -> None:
    names = {"a": [0.6] * 4, "b": [0.5] * 4, "c": [0.4] * 4}
    strategy = book_run(of(**names), long=1, short=1, gross=0.8)
    assert strategy.fills == [
        ("2024-01-02", "c", -400.0, 100.0, "Completed"),
        ("2024-01-02", "a", 400.0, 100.0, "Completed"),
    ]
    assert strategy.n_ranked == 4


def test_closes_go_out_before_openings_and_shorts_before_longs() -> None:
    names = {"a": [0.9, 0.5], "b": [0.1, 0.6], "c": [0.5, 0.9], "d": [0.6, 0.1]}
    probabilities = {name: [value[0]] * 2 + [value[1]] * 3 for name, value in names.items()}
    strategy = book_run(of(**probabilities), long=1, short=1, keep=1.0)
    assert [(name, np.sign(size)) for _, name, size, *_ in strategy.fills] == [
        ("b", -1),
        ("a", 1),
        ("a", -1),
        ("b", 1),
        ("d", -1),
        ("c", 1),
    ]


def test_between_two_rankings_nothing_is_traded() -> None:
    strategy = book_run(RAGGED, **RULES, rebalance=7)
    days = sorted(strategy.analyzers.watcher.rows)
    due = {str(day.date()) for day in days[1::7]}
    # Who had no bar on the day after fills on a later one.
    assert len({day for day, *_ in strategy.fills} & due) > 10
    assert strategy.n_ranked == len(days[::7])
    filled = [day for day, name, *_ in strategy.fills if day not in due]
    assert len(filled) < 0.1 * len(strategy.fills)


def test_a_held_name_stays_while_its_rank_is_within_the_band() -> None:
    names = {"a": [0.9] * 3 + [0.8] * 3, "b": [0.8] * 3 + [0.9] * 3, "c": [0.1] * 6}
    kept = book_run(of(**names), long=1, short=1, keep=2.0)
    assert {name for _, name, *_ in kept.fills} == {"a", "c"}
    traded = book_run(of(**names), long=1, short=1, keep=1.0)
    assert [name for _, name, *_ in traded.fills] == ["c", "a", "a", "b"]


def test_calm_names_weigh_more() -> None:
    strategy = book_run(WHOLE, **RULES, weights="inverse-volatility", window=10)
    last = strategy.rankings[-1]
    moves = pd.DataFrame({name: np.log(WHOLE[name]["close"]).diff()[-10:] for name in last})
    parts = 1 / moves.std(ddof=0)
    for side in (1, -1):
        names = [name for name in last if np.sign(last[name]) == side]
        for name in names:
            assert side * last[name] == pytest.approx(0.45 * parts[name] / parts[names].sum())
    assert strategy.n_thin == 10


def test_cash_that_does_not_suffice_cuts_all_openings_alike() -> None:
    names = {"a": [0.9] * 3, "b": [0.8] * 3, "c": [0.7] * 3}
    cerebro = host(*(feed(bars, name) for name, bars in of(**names).items()), commission=0.01)
    cerebro.addstrategy(WatchedBook, long=2, short=0, gross=1.0, rebalance=10)
    [strategy] = cerebro.run()
    # 10,000 buy twice 49.505 at 100 with 1 % of commission.
    assert [fill[1:3] for fill in strategy.fills] == [
        ("a", pytest.approx(5_000 / 101, rel=1e-8)),
        ("b", pytest.approx(5_000 / 101, rel=1e-8)),
    ]
    assert [strategy.refusals()[name]["capped"] for name in names] == [1, 1, 0]


def test_whole_units_are_rounded_down_and_less_than_one_is_counted() -> None:
    names = {"a": [0.9] * 3, "b": [0.1] * 3}
    strategy = book_run(of(30.0, **names), long=1, short=1, cash=1_000.0, fractional=False)
    assert [size for *_, size, _, _ in strategy.fills] == [-15.0, 15.0]
    strategy = book_run(of(800.0, **names), long=1, short=1, cash=1_000.0, fractional=False)
    assert strategy.fills == [] and strategy.refusals()["a"]["less than one unit"] == 3


def test_what_a_name_is_ranked_by_can_be_ones_own() -> None:
    class Contrary(WatchedBook):
        def score(self, instrument: Any, reading: Any) -> float:
            return -reading.probability

    cerebro = host(*(feed(bars, name) for name, bars in of(a=[0.9] * 3, b=[0.1] * 3).items()))
    cerebro.addstrategy(Contrary, long=1, short=1)
    [strategy] = cerebro.run()
    assert strategy.rankings[0] == {"a": -0.475, "b": 0.475}


MISSING = float("nan")


def test_a_name_that_has_ended_is_settled_at_its_last_close_less_the_loss() -> None:
    names = {"a": [0.9] * 3 + [MISSING] * 7, "b": [0.8] * 10, "c": [0.1] * 10}
    strategy = book_run(of(**names), long=1, short=1, patience=3, delisting_loss=0.4)
    [settled] = [fill for fill in strategy.fills if fill[1] == "a" and fill[2] < 0]
    # Three dates without a bar: the 4th to the 6th; it is told of on the next.
    assert settled == ("2024-01-07", "a", -475.0, 60.0, "Completed")
    equities = [equity for equity, _ in strategy.analyzers.watcher.rows.values()]
    assert equities[4:6] == [100_000.0, 100_000.0 - 475 * 40]
    assert strategy.rankings[-1].keys() == {"b", "c"}
    assert strategy.refusals()["a"]["settled"] == 1
    trades = [trade for all in strategy._trades.values() for each in all.values() for trade in each]
    assert [trade.pnl for trade in trades if trade.isclosed] == [-475 * 40]


def test_a_settlement_is_no_fill_on_a_bar_that_repeats_another() -> None:
    names = {"a": [0.9] * 3 + [MISSING] * 7, "b": [0.8] * 10, "c": [0.1] * 10}
    universe = of(**names)
    universe["a"].loc[universe["a"].index[1:], "high"] = 101.0
    assert book_run(universe, long=1, short=1, patience=3).refusals()["a"]["settled"] == 1


def test_a_broker_that_settles_nothing_is_said() -> None:
    names = {"a": [0.9] * 3 + [MISSING] * 7, "b": [0.8] * 10, "c": [0.1] * 10}
    cerebro = host(*(feed(bars, name) for name, bars in of(**names).items()))
    cerebro.addstrategy(WatchedBook, long=1, short=1, patience=3)
    with pytest.warns(TradingWarning, match="data 'a': no bar on 3 dates.*= SettlingBroker()"):
        [strategy] = cerebro.run()
    assert strategy.getposition(strategy.datas[0]).size > 0
    # It keeps its place and counts against gross.
    assert strategy.rankings[-1] == {"c": pytest.approx(-0.475, abs=1e-3)}


def test_a_halt_keeps_the_order_and_its_exposure() -> None:
    names = {
        "a": [0.9, 0.9, MISSING, MISSING, 0.9, 0.9],
        "b": [0.1] * 2 + [0.95] * 4,
        "c": [0.2] * 6,
    }
    strategy = book_run(of(**names), long=1, short=1, keep=1.0, rebalance=1)
    sizes = [sizes for _, sizes in strategy.analyzers.watcher.rows.values()]
    # Halted on the 3rd and 4th, it keeps the long side's one place.
    assert [row[0] for row in sizes] == [0.0, 475.0, 475.0, 475.0, 475.0, 0.0]
    assert [row[1] for row in sizes] == [0.0, -475.0, -475.0, 0.0, 0.0, 475.0]


def test_an_order_for_a_name_that_has_ended_gives_its_place_back(tmp_path: Path) -> None:
    """Chosen on its own last bar, a name would else stand for one that is held, for good."""
    names = {"a": [0.6] * 9, "b": [0.5, 0.5, 0.9] + [-1.0] * 6, "c": [0.4] * 9}
    path = tmp_path / "book.jsonl"
    rules: dict[str, Any] = {"long": 1, "short": 1, "keep": 1.0, "gross": 0.8, "patience": 3}
    strategy = book_run(of(**names), **rules, journal=str(path))
    assert [(day, name, size) for day, name, size, *_ in strategy.fills if name != "c"] == [
        ("2024-01-02", "a", 400.0),
        ("2024-01-04", "a", -400.0),
        ("2024-01-07", "b", 0.0),  # cancelled the date before, the third without a bar
        ("2024-01-07", "a", 400.0),
    ]
    assert strategy.refusals()["b"]["canceled"] == 1 and not strategy.refusals()["b"]["settled"]
    assert replay(path).differences == []


def test_a_bar_at_fault_gets_no_order_and_no_rank() -> None:
    universe = of(a=[0.9] * 6, b=[0.8] * 6, c=[0.1] * 6)
    universe["a"].iloc[2, :4] = [100.0, 90.0, 100.0, 100.0]  # its high lies below its low
    strategy = book_run(universe, long=1, short=1, keep=1.0)
    assert {name for _, name, *_ in strategy.fills} == {"a", "c"}
    assert strategy.refusals()["a"]["a bar at fault"] == 1
    universe["a"].iloc[0, :4] = [100.0, 90.0, 100.0, 100.0]
    assert book_run(universe, long=1, short=1).fills[1][:2] == ("2024-01-02", "b")


@pytest.mark.parametrize("held", [True, False])
def test_a_close_that_is_no_number_stops_the_ranking_while_it_is_held(held: bool) -> None:
    universe = of(a=[0.9] * 6, b=[0.8] * 6, c=[0.1] * 6)
    universe["a" if held else "b"].iloc[2, 3] = np.nan
    if held:
        with pytest.warns(TradingWarning, match="the account has no value where the close of a"):
            strategy = book_run(universe, long=1, short=1)
    else:
        strategy = book_run(universe, long=1, short=1)
    assert strategy.n_ranked == 6 - held
    assert [(name, size) for _, name, size, *_ in strategy.fills] == [("c", -475), ("a", 475)]


def test_too_few_names_leave_the_book_as_it_is() -> None:
    names = {"a": [0.9] * 8, "b": [0.1] * 8, "c": [0.5] * 3 + [MISSING] * 5}
    strategy = book_run(of(**names), long=1, short=1, fewest=3)
    assert (strategy.n_ranked, strategy.n_thin) == (3, 5)
    assert [sizes[:2] for _, sizes in strategy.analyzers.watcher.rows.values()][-1] == [475, -475]


def test_a_book_that_never_has_enough_names_says_so() -> None:
    names = {"a": [0.9] * 3, "b": [float("nan")] * 3, "c": [0.1] * 3}
    universe = {name: bars_at(100.0, values) for name, values in names.items()}
    with pytest.warns(TradingWarning, match="none of 3 dates had enough names.*3 of 3"):
        book_run(universe, long=1, short=1, fewest=3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"long": 2, "short": 2}, r"2 long and 2 short .* at least 4 names, got 3"),
        ({"long": 0, "short": 0}, r"`long` and `short` must not both be 0"),
        ({"fewest": 9}, r"`fewest`=9 must have at least 9 names, got 3"),
        ({"keep": 0.5}, r"`keep` must be a number from 1, .* got 0.5"),
        ({"long": 1, "short": 1, "cap": 0.1}, r"`cap` must be at least 0.475, so that 1 long"),
        ({"long": -1, "weights": "best"}, r"`long` must be a whole .* got -1; `weights` must be"),
        ({"gross": 0.0}, r"`gross` must be a finite number above 0"),
        ({"rebalance": 0}, r"`rebalance` must be a whole number from 1, got 0"),
        ({"delisting_loss": 2}, r"`delisting_loss` must be a share from 0 to 1, got 2"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_one_message(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        book_run(of(a=[0.5] * 3, b=[0.4] * 3, c=[0.3] * 3), **params)


def test_datas_of_several_intervals_are_refused() -> None:
    universe = of(a=[0.5] * 150, b=[0.4] * 150)
    universe["c"] = universe["a"].resample("W").last()
    with pytest.raises(ValueError, match="one interval, got 1 day: a, b; 7 days: c. Leave the"):
        book_run(universe, long=1, short=1)
    assert book_run(universe, long=1, short=1, names="a, b").n_ranked == 150
    # A few bars far apart say nothing.
    universe["c"] = universe["c"][:3]
    assert book_run(universe, long=1, short=1).n_ranked == 150


def test_a_sizer_is_refused() -> None:
    cerebro = host(*(feed(bars, name) for name, bars in of(a=[0.5] * 3, b=[0.4] * 3).items()))
    cerebro.addsizer(EquityShare)
    cerebro.addstrategy(BookStrategy, long=1, short=1)
    with pytest.raises(ValueError, match="sizes are its weights, got the sizer EquityShare. Leave"):
        cerebro.run()


def test_a_data_beside_those_named_is_not_traded() -> None:
    cerebro = host(*(feed(bars, name) for name, bars in of(a=[0.5] * 9, b=[0.4] * 9).items()))
    cerebro.resampledata(cerebro.datas[0], timeframe=bt.TimeFrame.Weeks, name="weekly")
    cerebro.addstrategy(WatchedBook, long=1, short=1, names="a,b")
    [strategy] = cerebro.run()
    assert [instrument.name for instrument in strategy.traded] == ["a", "b"]
    assert strategy.n_ranked == 9


class Sending(WatchedBook):
    """Remembers of each order the bar that was there and whether it opened."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[Any, list[bool]] = {}

    def submit(self, data: Any, size: float) -> None:
        assert bt.num2date(data.datetime[0]) == self.datetime.datetime()
        assert data.low[0] <= min(data.open[0], data.close[0])
        held = self.getposition(data).size
        self.sent.setdefault(self.datetime.datetime(), []).append(abs(held + size) > abs(held))

    def buy(self, **order: Any) -> Any:
        self.submit(order["data"], order["size"])
        return super().buy(**order)

    def sell(self, **order: Any) -> Any:
        self.submit(order["data"], -order["size"])
        return super().sell(**order)


@pytest.mark.parametrize("seed", range(4))
def test_no_order_without_a_sound_bar_and_no_close_after_an_opening(seed: int) -> None:
    draw, universe = np.random.default_rng(seed), ragged_universe(10, 80, seed, holes=0.1)
    for bars in universe.values():
        at_fault = draw.uniform(size=len(bars)) < 0.05
        bars.loc[at_fault, "low"] = bars.loc[at_fault, "high"] * 2
    strategy = book_run(universe, kind=Sending, **RULES, patience=3)
    assert sum(map(len, strategy.sent.values())) > 200
    assert all(opens == sorted(opens) for opens in strategy.sent.values())
    assert sum(counts["a bar at fault"] for counts in strategy.refusals().values()) > 10


def test_the_quality_of_its_forecasts_is_that_of_its_ranked_bars() -> None:
    cerebro = host(*(feed(bars, name) for name, bars in WHOLE.items()))
    cerebro.addstrategy(WatchedBook, **RULES)
    cerebro.addanalyzer(SignalQuality, _name="quality")
    [strategy] = cerebro.run()
    quality = strategy.analyzers.quality.get_analysis()
    # The last two decisions have no outcome yet.
    assert {figures["decisions"] for figures in quality.values()} == {58}
