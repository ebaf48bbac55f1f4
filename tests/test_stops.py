"""The words of a stop, and the distance they mean."""

import math

import pytest

from strategy_plugin.stops import AverageTrueRange, Distance, stops


@pytest.mark.parametrize(
    "words, distance", [("3%", 3.0), ("0.5 %", 0.5), ("2atr", 8.0), ("1.5 atr", 6.0)]
)
def test_a_distance_is_percent_of_the_entry_or_true_ranges(words: str, distance: float) -> None:
    stop_loss = stops(stop_loss=words).stop_loss
    assert stop_loss and stop_loss.of(price=100.0, atr=4.0) == distance


@pytest.mark.parametrize(
    "words", ["3", "%", "atr", "-1%", "0atr", "nan%", "inf%", "3 percent", "two%"]
)
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(
        ValueError,
        match="`take_profit` must be a number above 0 with its unit, like '3%' or '2atr', got",
    ):
        stops(take_profit=words)


def test_a_trailing_stop_beside_a_stop_loss_is_refused() -> None:
    with pytest.raises(
        ValueError, match="`stop_loss` and `trailing` must not both be given, got '3%' and '2atr'"
    ):
        stops(stop_loss="3%", trailing="2atr")


def test_nothing_asked_for_is_no_protection() -> None:
    assert not any(stops()) and stops(trailing="2atr").trailing == Distance(2.0, "atr")


def test_the_average_true_range_is_that_of_fourteen_bars_with_a_close_before_them() -> None:
    ranges = AverageTrueRange()
    for number in range(14):
        ranges.update(high=103.0 + number, low=101.0, close=100.0)
    assert math.isnan(ranges.value)
    for _ in range(14):
        ranges.update(high=104.0, low=101.0, close=100.0)
    assert ranges.value == 4.0
