"""The trade of a barrier label: levels, gaps, its last bar, costs, and what is ambiguous."""

import numpy as np
import pandas as pd
import pytest

from model.labels.barrier import Barrier, barrier_trades
from model.labels.distances import average_true_range, average_true_ranges
from tests.helpers.makers import random_bars

LEVELS = Barrier(stop_loss="10%", take_profit="20%")


def traded(*later: tuple[float, float, float], barrier: Barrier = LEVELS, horizon: int = 3):
    """The trade that fills at 100, and the bars after the fill as open, high, low."""
    rows = [(90.0, 90.0, 90.0), (100.0, 140.0, 60.0), *later]
    bars = pd.DataFrame(rows, columns=["open", "high", "low"]).assign(close=lambda one: one["open"])
    trades = barrier_trades(bars, barrier, horizon)
    return trades.end[0], trades.exit[0], trades.gain[0], trades.ambiguous[0]


QUIET = (101.0, 102.0, 99.0)


@pytest.mark.parametrize(
    ("later", "end", "exit"),
    [
        ([(100.0, 121.0, 99.0)], 2, 120.0),  # reached within the bar
        ([(100.0, 101.0, 89.0)], 2, 90.0),
        ([(100.0, 120.0, 99.0)], 2, 120.0),  # just reached
        ([(100.0, 101.0, 90.0)], 2, 90.0),
        ([(125.0, 126.0, 119.0)], 2, 125.0),  # opened beyond it
        ([(80.0, 101.0, 79.0)], 2, 80.0),
        ([QUIET, (100.0, 121.0, 99.0)], 3, 120.0),
        ([QUIET, QUIET, (103.0, 150.0, 50.0)], 4, 103.0),  # the next open after three bars
        ([QUIET, QUIET], 4, np.nan),  # not over yet, as many bars as there are
    ],
)
def test_a_trade_ends_at_a_level_at_a_gap_or_after_its_last_bar(
    later: list[tuple[float, float, float]], end: int, exit: float
) -> None:
    found = traded(*later)
    np.testing.assert_equal(found[:2], (end, exit))
    assert found[2] == pytest.approx(exit / 100 - 1, nan_ok=True) and not found[3]


def test_a_bar_that_reaches_both_levels_is_ambiguous_and_taken_for_the_stop() -> None:
    assert traded((100.0, 130.0, 80.0)) == (2, 90.0, pytest.approx(-0.1), True)


def test_the_bar_of_the_fill_reaches_no_level() -> None:
    # It has a high of 140 and a low of 60.
    assert traded(QUIET, QUIET, QUIET)[0] == 4


def test_costs_are_paid_on_both_sides_and_a_limit_has_no_slippage() -> None:
    dear = Barrier("10%", "20%", commission=100.0, slippage=50.0)
    entry = 100 * 1.005  # the levels are taken from it
    paid = entry * 1.01
    stop, take = entry * 0.9, entry * 1.2
    assert traded((100.0, 130.0, 99.0), barrier=dear)[2] == pytest.approx(take * 0.99 / paid - 1)
    for later, price in (
        ((100.0, 101.0, 80.0), stop),
        ((150.0, 151.0, 149.0), 150.0),  # a gap is filled at the market
    ):
        gain = price * 0.995 * 0.99 / paid - 1
        assert traded(later, barrier=dear)[2] == pytest.approx(gain)


def test_one_level_alone_will_do() -> None:
    only = traded((100.0, 999.0, 1.0), barrier=Barrier(take_profit="20%"))
    assert only == (2, 120.0, pytest.approx(0.2), False)


def test_the_true_range_is_that_of_the_bar_of_the_fill() -> None:
    bars = random_bars(60)
    found = barrier_trades(bars, Barrier(stop_loss="1.5atr"), horizon=40)
    place = 20
    rows = list(bars[["high", "low", "close"]].itertuples(index=False, name=None))
    atr = average_true_range(rows[: place + 2])
    stop = bars["open"].iloc[place + 1] - 1.5 * atr
    first = next(bar for bar in range(place + 2, 60) if bars["low"].iloc[bar] <= stop)
    assert found.end[place] == first and found.exit[place] == min(stop, bars["open"].iloc[first])
    # Thirteen true ranges are none: that trade is never over.
    assert (found.end[:13] == 60).all() and found.end[13] < 60


def test_true_ranges_are_those_that_the_strategy_computes_to_the_last_bit() -> None:
    bars = random_bars(300)
    rows = list(bars[["high", "low", "close"]].itertuples(index=False, name=None))
    one_by_one = [average_true_range(rows[: stop + 1]) for stop in range(300)]
    np.testing.assert_array_equal(average_true_ranges(bars), one_by_one)
