"""Bars at fault: which they are, that one by one and all at once agree, and that a guarded feed is a clean one."""
import backtrader as bt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import random_bars

from strategy_plugin.clock import EARLIEST
from strategy_plugin.guard import LATE, Bar, BarGuard, Gate, bar_fault, clean_bars

GOOD = (10.0, 12.0, 9.0, 11.0, 100.0)
NAN, INF = float("nan"), float("inf")
PRICES = "a price that is not finite"
POSITIVE = "a price that is not above 0 (negative or zero)"
VOLUME = "a volume that is negative or not finite"


@pytest.mark.parametrize("bar, fault", [
    (GOOD, ""), ((10.0, 10.0, 10.0, 10.0, 0.0), ""),
    ((NAN, 12.0, 9.0, 11.0, 1.0), PRICES), ((10.0, INF, 9.0, 11.0, 1.0), PRICES), ((10.0, 12.0, 0.0, 11.0, 1.0), POSITIVE),
    ((10.0, 12.0, 9.0, -11.0, 1.0), POSITIVE), ((10.0, 8.0, 9.0, 8.5, 1.0), "high below low"),
    ((10.0, 10.5, 9.0, 11.0, 1.0), "open or close above the high"),
    ((10.0, 12.0, 10.5, 11.0, 1.0), "open or close below the low"),
    ((10.0, 12.0, 9.0, 11.0, -1.0), VOLUME), ((10.0, 12.0, 9.0, 11.0, INF), VOLUME),
])
def test_a_bar_at_fault_is_named(bar: Bar, fault: str) -> None:
    assert bar_fault(bar) == fault


def test_a_gate_admits_only_increasing_stamps_and_counts_the_others() -> None:
    gate = Gate()
    admitted = [gate.admit(number, stamp, GOOD) is not None for number, stamp in enumerate([5, 7, 7, 6, EARLIEST, 8], start=1)]
    assert admitted == [True, True, False, False, False, True]
    assert gate.counts == {LATE: 3}


def test_a_gate_takes_a_growing_bar_again_and_counts_it_once() -> None:
    gate = Gate()
    assert gate.admit(1, 5, (NAN, *GOOD[1:])) is None and gate.admit(1, 5, (NAN, *GOOD[1:])) is None
    assert gate.admit(1, 5, GOOD) == GOOD and gate.admit(1, 6, GOOD) == GOOD
    assert gate.counts == {PRICES: 1}


@pytest.mark.parametrize("first, later", [(NAN, 0.0), (1.0, None)])
def test_the_first_bar_tells_whether_a_missing_volume_is_a_fault(first: float, later: float | None) -> None:
    gate = Gate()
    gate.admit(1, 1, (*GOOD[:4], first))
    admitted = gate.admit(2, 2, (*GOOD[:4], NAN))
    assert (admitted[4] if admitted else None) == later


SPOILT = st.sampled_from([
    GOOD, GOOD, GOOD, (NAN, *GOOD[1:]), (*GOOD[:4], NAN), (10.0, 9.0, 12.0, 11.0, 1.0), (10.0, INF, 9.0, 11.0, 1.0)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SPOILT, st.integers(0, 12) | st.just(EARLIEST)), min_size=1, max_size=30))
def test_all_bars_at_once_are_judged_as_one_by_one(shown: list[tuple[Bar, int]]) -> None:
    values, clean, faults = clean_bars(np.array([bar for bar, _ in shown]), np.array([stamp for _, stamp in shown]))
    gate = Gate()
    admitted = [gate.admit(number, stamp, bar) for number, (bar, stamp) in enumerate(shown, start=1)]
    assert clean.tolist() == [bar is not None for bar in admitted]
    assert values[clean].tolist() == [list(bar) for bar in admitted if bar is not None]
    assert faults == gate.counts


class Closes(bt.Strategy):  # type: ignore[misc]
    """Remembers the closes it was shown."""

    def __init__(self) -> None:
        self.closes: list[float] = []

    def next(self) -> None:
        self.closes.append(self.data.close[0])


@pytest.mark.parametrize("mode", [{}, {"preload": False}, {"runonce": False}, {"exactbars": 1}])
def test_a_guarded_feed_shows_the_clean_bars_only(mode: dict[str, int]) -> None:
    bars = random_bars(50)
    bars.iloc[[0, 7, 8, 49], 1] = NAN
    cerebro = bt.Cerebro(**mode)
    feed = bt.feeds.PandasData(dataname=bars)
    feed.addfilter(BarGuard)
    cerebro.adddata(feed)
    cerebro.addstrategy(Closes)
    assert cerebro.run()[0].closes == bars["close"].drop(bars.index[[0, 7, 8, 49]]).tolist()
