"""A book by a model that reads the place of each name among all: as in training, live too."""

import re
import warnings
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.features.context import compared, place_of
from model.features.joining import add_context
from strategy_plugin import BiLSTMStrategy, BookStrategy, DirectionProbability
from strategy_plugin.book import PARTLY
from strategy_plugin.decision import LATE
from strategy_plugin.guard import TradingWarning
from strategy_plugin.peers import Peers
from strategy_plugin.replaying import replay
from tests.helpers.book_account import WatchedBook, book_run
from tests.helpers.hosts import feed, host, series
from tests.helpers.live import Event, LiveFeed, live, ticks
from tests.helpers.makers import MERGED, random_bars, random_checkpoint

COLUMNS = "universe:rank(ret_z_5),mean(ret_z_20),rank(bar_close_z)"
UNIVERSE = {name: random_bars(190, seed=seed) for seed, name in enumerate("abcdef")}
# One begins later, one has holes: places are among those that have a bar.
UNIVERSE["f"] = UNIVERSE["f"][20:]
UNIVERSE["b"] = UNIVERSE["b"].drop(UNIVERSE["b"].index[[60, 61, 170]])
WHOLE = {name: random_bars(190, seed=seed) for seed, name in enumerate("abcdef")}
RULES: dict[str, Any] = {"long": 2, "short": 2, "keep": 1.0}
MODES: list[dict[str, Any]] = [
    {},
    {"runonce": False},
    {"preload": False, "exactbars": -2},
    {"live": True},
]


class Remembering(WatchedBook):
    """Remembers also what each name was ranked by on each date."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, dict[Any, float]] = {data._name: {} for data in self.datas}

    def _candidate(self, name: str, quote: Any) -> Any:
        self.shown[name][pd.Timestamp(quote.timestamp)] = quote.reading.probability
        return super()._candidate(name, quote)


def placed(
    folder: Path, universe: dict[str, pd.DataFrame], outcome: str = "relative"
) -> tuple[str, dict[str, Any]]:
    """The file of a network with random weights, and what it says of the joined bars, by name."""
    joined = add_context(universe, COLUMNS)
    known = {name: "0" * 64 for name in universe}
    checkpoint = random_checkpoint(
        joined["a"],
        seed=3,
        context=joined["a"].attrs["context"],
        instruments=known,
        outcome=outcome,
    )
    checkpoint.save(folder / "places.ckpt")
    served = add_context(universe, checkpoint.context)
    loaded = Checkpoint.load(folder / "places.ckpt")
    return str(folder / "places.ckpt"), {
        name: loaded.probabilities(bars).reindex(bars.index) for name, bars in served.items()
    }


def assert_shown(strategy: Any, expected: dict[str, Any], fewest: int) -> None:
    for name, values in expected.items():
        found = pd.Series(strategy.shown[name]).reindex(values.index)
        assert (found.isna() == values.isna()).all(), name
        assert np.nanmax(np.abs(found - values)) < 1e-6 and found.notna().sum() > fewest


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_clock_sees_the_places_of_training(tmp_path: Path, mode: dict[str, Any]) -> None:
    path, expected = placed(tmp_path, UNIVERSE)
    journal = tmp_path / "decisions.jsonl"
    strategy = book_run(
        UNIVERSE, mode=mode, kind=Remembering, checkpoint=path, journal=str(journal), **RULES
    )
    assert_shown(strategy, expected, fewest=15)
    assert strategy.n_ranked == 41
    assert replay(journal) == (sum(map(len, UNIVERSE.values())), [])


def late_feeds(universe: dict[str, pd.DataFrame], seed: int) -> Any:
    """Live feeds whose bars of a date come in any order, some steps late."""
    draw, events = np.random.default_rng(seed), dict[str, list[Event]]()
    for name, bars in universe.items():
        events[name] = [e for tick in ticks(bars) for e in (*[None] * draw.integers(0, 3), tick)]

    def feeds(_: pd.DataFrame, name: str) -> LiveFeed:
        return live(["LIVE", *events[name]], name)

    return feeds


@pytest.mark.filterwarnings("ignore:.*orders are in fractional units")
@pytest.mark.parametrize("seed", range(3))
def test_live_the_forecasts_are_those_of_the_whole_date(tmp_path: Path, seed: int) -> None:
    path, expected = placed(tmp_path, WHOLE)
    given = {"checkpoint": path, "kind": Remembering, **RULES}
    journal = tmp_path / "decisions.jsonl"
    found = book_run(WHOLE, feeds=late_feeds(WHOLE, seed), wait=1e6, journal=str(journal), **given)
    assert_shown(found, expected, fewest=15)
    assert found.rankings == book_run(WHOLE, **given).rankings and found.n_ranked == 41
    assert not any(counts[PARTLY] for counts in found.refusals().values())
    assert replay(journal) == (6 * 190, [])


@pytest.mark.filterwarnings("ignore:.*orders are in fractional units")
def test_a_date_that_its_bars_have_left_behind_is_said_to_be_partly_known(tmp_path: Path) -> None:
    path, _ = placed(tmp_path, WHOLE)
    last = {name: ticks(bars)[-3:] for name, bars in WHOLE.items()}

    def feeds(bars: pd.DataFrame, name: str) -> LiveFeed:
        # Three dates before one bar of another: the last of them alone can still be completed.
        silent: list[Event] = [None] * 5 if name == "f" else []
        return live(["LIVE", *ticks(bars)[:-3], *silent, *last[name]], name)

    journal = tmp_path / "decisions.jsonl"
    given = {"feeds": feeds, "checkpoint": path, **RULES}
    with pytest.warns(TradingWarning, match="on 2020-07-06 places were taken before all bars of"):
        found = book_run(WHOLE, wait=1e6, journal=str(journal), **given)
    assert found.n_ranked == 41
    # Of the last of the three the window still has the rows of those before.
    assert [found.refusals()[name][PARTLY] for name in "af"] == [3, 0]
    # With next to no wait the others are ranked first, and keep rows without the one that lags.
    with (
        pytest.warns(TradingWarning, match="'f': its bar of .* came after that date was ranked"),
        pytest.warns(TradingWarning, match="on 2020-07-06 places were taken before all bars of"),
    ):
        found = book_run(WHOLE, wait=1e-9, **given)
    assert found.refusals()["a"][PARTLY] and found.refusals()["f"][LATE]
    assert replay(journal) == (6 * 190, [])


def test_live_a_strategy_that_decides_bar_by_bar_is_refused(tmp_path: Path) -> None:
    path, _ = placed(tmp_path, WHOLE, "direction")
    feeds = [live(["LIVE", *ticks(bars)], name) for name, bars in WHOLE.items()]
    cerebro = host(*feeds)
    cerebro.addstrategy(BiLSTMStrategy, checkpoint=path)
    with pytest.raises(ValueError, match="'a' must be traded live by BookStrategy, got a strategy"):
        cerebro.run()


def test_a_name_without_others_and_others_without_a_name_are_told(tmp_path: Path) -> None:
    path, _ = placed(tmp_path, WHOLE)
    some = {name: WHOLE[name] for name in "abcd"}
    with pytest.warns(TradingWarning, match="2 of the 6 instruments that .* traded, e, f: places"):
        book_run(some, checkpoint=path, long=1, short=1)
    unnamed = host()
    for bars in WHOLE.values():
        unnamed.adddata(bt.feeds.PandasData(dataname=bars))
    unnamed.addstrategy(BookStrategy, checkpoint=path, long=1, short=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TradingWarning)
        unnamed.run()
    cerebro = host(feed(WHOLE["a"], "a"))
    cerebro.addindicator(DirectionProbability, checkpoint=path)
    with pytest.raises(ValueError, match=re.escape("`peers` must be given for data 'a', got")):
        cerebro.run()


def test_an_indicator_of_ones_own_takes_one_universe_for_all(tmp_path: Path) -> None:
    path, expected = placed(tmp_path, UNIVERSE)

    class Own(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            peers = Peers(self.datas)
            self.found = {
                data._name: DirectionProbability(data, checkpoint=path, peers=peers)  # type: ignore[call-arg]
                for data in self.datas
            }
            self.shown: dict[str, dict[int, float]] = {data._name: {} for data in self.datas}

        def prenext(self) -> None:
            self.next()

        def next(self) -> None:
            for data in self.datas:
                if len(data):
                    self.shown[data._name][len(data)] = self.found[data._name].probability[0]

    for mode in MODES[:2]:
        cerebro = host(*(feed(bars, name) for name, bars in UNIVERSE.items()), **mode)
        cerebro.addstrategy(Own)
        [strategy] = cerebro.run()
        for name, values in expected.items():
            found = series(strategy.shown[name], len(values))
            assert np.nanmax(np.abs(found - values.to_numpy())) < 1e-6
            assert (np.isnan(found) == values.isna()).all()


@pytest.mark.parametrize("mode", MODES[:2], ids=str)
@pytest.mark.parametrize("twice", [False, True])
def test_bars_of_one_date_at_two_times_of_day_are_refused(
    tmp_path: Path, mode: dict[str, Any], twice: bool
) -> None:
    path, _ = placed(tmp_path, WHOLE)
    late = WHOLE["f"].set_axis(WHOLE["f"].index + pd.Timedelta(hours=16))
    if twice:
        late = pd.concat([WHOLE["f"], late.iloc[100:101]]).sort_index()
    with pytest.raises(ValueError, match="'f' must have one bar on 2020-0.* one time of day, or"):
        book_run(WHOLE | {"f": late}, mode=mode, checkpoint=path, **RULES)


def test_a_bar_that_comes_after_a_place_without_it_was_given_is_refused(tmp_path: Path) -> None:
    minutes = {name: random_bars(190 * 60, seed=seed, freq="min") for seed, name in enumerate("ab")}
    # Where a day's last minutes are missing Backtrader shows its last hour before the others.
    minutes["b"] = minutes["b"][minutes["b"].index.minute < 50]
    hours = {name: bars.resample("h").agg(MERGED) for name, bars in minutes.items()}
    path, _ = placed(tmp_path, hours)
    cerebro = bt.Cerebro(stdstats=False)
    for name, bars in minutes.items():
        one = bt.feeds.PandasData(
            dataname=bars.shift(freq="1min"), timeframe=bt.TimeFrame.Minutes, compression=1
        )
        cerebro.resampledata(one, name=name, timeframe=bt.TimeFrame.Minutes, compression=60)
    cerebro.addstrategy(BookStrategy, checkpoint=path, long=1, short=1, fewest=1)
    with pytest.raises(ValueError, match="'a' must show its bar of 2020-01-01 23:00:00 in the sa"):
        cerebro.run()


def test_peers_must_be_several_and_have_the_data(tmp_path: Path) -> None:
    path, _ = placed(tmp_path, WHOLE)

    class Own(bt.Strategy):  # type: ignore[misc]
        params = (("count", 1),)

        def __init__(self) -> None:
            peers = Peers(self.datas[: self.p.count])
            DirectionProbability(self.datas[-1], checkpoint=path, peers=peers)  # type: ignore[call-arg]

    for number, names in ((1, "'a'"), (4, "'a', 'b', 'c', 'd'")):
        cerebro = host(*(feed(bars, name) for name, bars in WHOLE.items()))
        cerebro.addstrategy(Own, count=number)
        with pytest.raises(ValueError, match=f"`peers` must be data 'f' and .*, got {names}. Give"):
            cerebro.run()


def test_a_place_is_the_one_that_a_table_of_all_dates_gives() -> None:
    draw = np.random.default_rng(0)
    table = pd.DataFrame(np.round(draw.normal(size=(300, 7)), 1))  # with equal ones
    table[draw.uniform(size=table.shape) < 0.4] = np.nan
    for column in ("rank(ret_z_5)", "mean(ret_z_5)"):
        made = compared(table, column).to_numpy()
        alone = [[place_of(own, row, column) for own in row] for row in table.to_numpy()]
        assert np.allclose(made, alone, rtol=0, atol=1e-15, equal_nan=True)
    assert np.isnan(made).any() and (table.notna().sum(axis=1) == 1).any()
