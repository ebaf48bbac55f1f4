"""A book on live feeds: bars come late, and each date is ranked once."""

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strategy_plugin import book
from strategy_plugin.guard import TradingWarning
from tests.helpers.book_account import book_run, ragged_universe
from tests.helpers.live import Event, LiveProbabilities, ticks

FRACTIONS = "ignore:.*orders are in fractional units"
LATE = "a bar after its date was ranked"
RULES: dict[str, Any] = {"long": 3, "short": 3, "keep": 2.0, "gross": 0.9}
pytestmark = pytest.mark.filterwarnings(FRACTIONS)


def whole_universe(names: int = 20, dates: int = 40) -> dict[str, pd.DataFrame]:
    universe = ragged_universe(names * 2, dates, holes=0.0)
    whole = {name: bars for name, bars in universe.items() if len(bars) == dates}
    return dict(list(whole.items())[:names])


UNIVERSE = whole_universe()


def live_feeds(universe: dict[str, pd.DataFrame], events: dict[str, list[Event]]) -> Any:
    def feeds(bars: pd.DataFrame, name: str) -> LiveProbabilities:
        return LiveProbabilities(dataname=["LIVE", *events[name]], name=name)

    return feeds


@pytest.mark.parametrize("seed", range(3))
def test_twenty_feeds_with_random_delays_give_the_decisions_of_the_backtest(seed: int) -> None:
    draw = np.random.default_rng(seed)
    events = {
        name: [event for tick in ticks(bars) for event in (*[None] * draw.integers(0, 3), tick)]
        for name, bars in UNIVERSE.items()
    }
    found = book_run(UNIVERSE, feeds=live_feeds(UNIVERSE, events), wait=1e6, **RULES)
    expected = book_run(UNIVERSE, **RULES)
    assert found.n_ranked == expected.n_ranked == 40
    assert found.rankings == expected.rankings
    assert not {*chain(*found.refusals().values())} & {"no bar on a date", LATE}


@pytest.mark.parametrize("seed", range(2))
def test_the_first_ranking_waits_for_all_feeds_that_still_connect(seed: int) -> None:
    draw, events = np.random.default_rng(seed), {}
    for name, bars in UNIVERSE.items():
        slow = [e for tick in ticks(bars) for e in (*[None] * draw.integers(0, 3), tick)]
        # Ten bars of history, then the report that the feed is live.
        start = slow.index(ticks(bars)[10])
        events[name] = [*slow[:start], "LIVE", *slow[start:]]

    def feeds(bars: pd.DataFrame, name: str) -> LiveProbabilities:
        return LiveProbabilities(dataname=events[name], name=name)

    found = book_run(UNIVERSE, feeds=feeds, wait=1e6, **RULES)
    first = next(iter(UNIVERSE.values())).index[10]
    expected = book_run(UNIVERSE, trade_from=str(first.date()), **RULES)
    assert found.rankings == expected.rankings and found.n_ranked == 30


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(book, "time", clock)
    return clock


def test_a_late_name_is_missing_is_said_and_ranks_nothing_again(clock: Clock) -> None:
    universe = dict(list(UNIVERSE.items())[:7])
    last = list(universe)[-1]
    events: dict[str, list[Event]] = {}
    for name, bars in universe.items():
        events[name] = []
        for number, tick in enumerate(ticks(bars)):
            # On the 11th date the last name comes when the wait is over; Backtrader asks a feed
            # without a bar twice in a step.
            if number == 10 and name == last:
                events[name] += [None, None, lambda: clock.passes(61.0), None, None, tick]
            elif number == 11:
                events[name] += [*[None] * (5 if name != last else 0), tick]
            else:
                events[name].append(tick)
    with pytest.warns(TradingWarning, match=f"data '{last}': its bar of 2020-01-15 came after"):
        strategy = book_run(universe, feeds=live_feeds(universe, events), **RULES)
    counts = strategy.refusals()[last]
    assert counts[LATE] == counts["no bar on a date"] == 1
    assert strategy.n_ranked == 40


def test_a_date_is_ranked_when_the_wait_is_over_though_no_bar_comes(clock: Clock) -> None:
    universe = dict(list(UNIVERSE.items())[:7])
    silent, *others = universe
    events: dict[str, list[Event]] = {name: list(ticks(universe[name])[:5]) for name in others}
    ranked: list[int] = []

    def look() -> None:
        ranked.append(running[0].n_ranked)

    running: list[Any] = []

    class Noted(book.BookStrategy):
        def start(self) -> None:
            super().start()
            running.append(self)

    events[silent] = [
        *ticks(universe[silent])[:4],
        # Backtrader asks twice in the step of the others' fifth bar.
        None,
        None,
        look,
        lambda: clock.passes(59.0),
        None,
        look,
        lambda: clock.passes(2.0),
        None,
        look,
        None,
    ]
    book_run(universe, feeds=live_feeds(universe, events), kind=Noted, **RULES)
    assert ranked == [4, 4, 5]
