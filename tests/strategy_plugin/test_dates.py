"""Each date of a universe is given once: when it is complete, or when it has been waited for."""

import numpy as np
import pytest

from strategy_plugin.dates import Dates

NAMES = ("a", "b", "c")


def given(dates: Dates[int], now: float = 0.0) -> list[tuple[int, dict[str, int]]]:
    return list(dates.complete(NAMES, now))


def test_a_date_is_given_when_the_last_name_has_come() -> None:
    dates = Dates[int](60.0)
    for number, name in enumerate(NAMES):
        assert given(dates) == []
        assert dates.add(name, 1, number, now=0.0)
    assert given(dates) == [(1, {"a": 0, "b": 1, "c": 2})]
    assert given(dates) == []


def test_a_name_that_is_beyond_a_date_is_not_waited_for() -> None:
    dates = Dates[int](60.0)
    for name, date in (("a", 1), ("b", 1), ("c", 2)):
        dates.add(name, date, date, now=0.0)
    assert given(dates) == [(1, {"a": 1, "b": 1})]


def test_what_comes_after_the_wait_is_late_and_gives_no_second_time() -> None:
    dates = Dates[int](60.0)
    dates.add("a", 1, 0, now=100.0)
    assert given(dates, now=159.0) == []
    assert given(dates, now=160.0) == [(1, {"a": 0})]
    assert not dates.add("b", 1, 0, now=161.0)
    assert given(dates, now=900.0) == []
    assert dates.add("b", 2, 0, now=161.0)


def test_an_older_date_is_not_left_behind_a_newer_one() -> None:
    dates = Dates[int](60.0)
    dates.add("a", 2, 0, now=0.0)
    dates.add("b", 1, 0, now=50.0)
    assert [date for date, _ in given(dates, now=60.0)] == [1, 2]


def test_a_bar_from_before_does_not_take_a_name_back() -> None:
    dates = Dates[int](60.0)
    dates.add("a", 3, 0, now=0.0)
    dates.add("a", 1, 0, now=0.0)
    for name in ("b", "c"):
        dates.add(name, 3, 0, now=0.0)
    assert [date for date, _ in given(dates)] == [1, 3]


def test_without_a_wait_what_has_come_is_a_whole_date() -> None:
    dates = Dates[int](0.0)
    dates.add("a", 1, 0, now=0.0)
    assert given(dates) == [(1, {"a": 0})]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_delays_every_date_is_given_whole_and_in_order(seed: int) -> None:
    draw, dates, found = np.random.default_rng(seed), Dates[int](1e9), []
    left = {name: list(range(1, 21)) for name in NAMES}
    while any(left.values()):
        name = draw.choice([name for name, days in left.items() if days])
        dates.add(name, left[name][0], left[name].pop(0), now=0.0)
        found += given(dates)
    assert found == [(date, dict.fromkeys(NAMES, date)) for date in range(1, 21)]
