"""What cannot be learnt as one network: each fault of a universe is told with all names."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from model.errors import BarsError, BarsWarning
from model.training.data import prepare
from model.training.fitting import fit
from tests.helpers.makers import random_bars
from tests.helpers.universes import ALONE, NAMES, RELATIVE, SHORT, unbalanced_universe

Universe = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def universe() -> Universe:
    return unbalanced_universe()


def test_those_too_short_for_a_window_are_left_out_by_name(universe: Universe) -> None:
    short = universe | {"s1": random_bars(60, seed=50), "s2": random_bars(111, seed=51)}
    with pytest.warns(BarsWarning, match=r"needs 112: s1 \(60\), s2 \(111\)"):
        data = prepare(short, SHORT)
    assert list(data.universe) == NAMES
    with pytest.raises(BarsError, match=r"s1 \(60\), s2 \(111\); 12 instruments are left"):
        prepare(short, replace(SHORT, fewest_instruments=13))


def other_zone(universe: Universe) -> Universe:
    hourly = {name: random_bars(300, seed=n, freq="h") for n, name in enumerate(universe)}
    for name, bars in hourly.items():
        bars.attrs["timezone"] = "UTC" if name != "n02" else None
    hourly["n03"].attrs["stamp"] = "close"
    return hourly


BAD: dict[str, tuple[Any, list[str]]] = {
    "too few": (
        lambda universe: {name: universe[name] for name in ("n00", "n01")},
        ["there must be at least 4 instruments, got 2: n00, n01. Give more, or lower `fewest_"],
    ),
    "equal bars": (
        lambda universe: universe | {"again": universe["n02"].assign(volume=1.0)},
        ["again, n02 hold the same prices, which would count 2 times. Leave one."],
    ),
    "other interval": (
        lambda universe: (
            universe | {"n01": random_bars(300, freq="h"), "n02": random_bars(300, 9, freq="h")}
        ),
        ["most have 1 day, but not n01 (1 hour), n02 (1 hour)."],
    ),
    "other clock": (
        other_zone,
        [
            "the same `timezone`, most have UTC, but not n02 (not stated).",
            "the same `stamp`, most have open, but not n03 (close).",
        ],
    ),
    "no common dates": (
        lambda universe: (
            universe
            | {"x": random_bars(300, 20, "1990-01-01"), "y": random_bars(300, 21, "1980-01-01")}
        ),
        ["x, y must have dates in common with others, and have none."],
    ),
    "days by two kinds of timestamp": (
        lambda universe: {
            f"{hour}h{n}": random_bars(300, 10 * hour + n, f"2020-01-01 {hour:02}:00")
            for hour in (0, 16)
            for n in range(4)
        },
        ["16h0, 16h1, 16h2, 16h3, and have none, though of the same time: they end 2"],
    ),
    "unsound bars": (
        lambda universe: {"n00": universe["n00"][::-1], "n01": universe["n01"].tz_localize("UTC")},
        [
            "- n00: bars: timestamps must increase",
            "- n01: bars: the index must have no time zone",
            "at least 4",
        ],
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_learnt_as_one_is_refused_with_all_names(
    universe: Universe, fault: str
) -> None:
    spoil, messages = BAD[fault]
    with pytest.raises(BarsError) as refused:
        fit(spoil(universe), SHORT)
    said = str(refused.value)
    assert said.startswith("the universe of ") and said.count("\n- ") == len(messages)
    assert not [message for message in messages if message not in said]


def test_bars_too_few_for_a_batch_are_refused_with_the_numbers(universe: Universe) -> None:
    message = (
        "must hold a batch of 5000 windows and validation 10, got 1[0-9]{3} and [0-9]+; without"
    )
    with pytest.raises(BarsError, match=message):
        fit(universe, replace(RELATIVE, batch_size=5_000))
    with pytest.raises(BarsError, match="a batch of 32 windows and validation 10, got 15 and 2"):
        fit({"one": random_bars(135)}, ALONE)


def test_one_instrument_has_no_relative_outcome(bars: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="`outcome` must be 'direction' for the bars of one"):
        fit(bars, RELATIVE)
    with pytest.raises(BarsError, match="at least 4 instruments, got 1: one"):
        fit({"one": bars}, RELATIVE)
    with pytest.raises(ValueError, match="`fewest_instruments` must be a whole number from 2"):
        replace(RELATIVE, fewest_instruments=1)


def test_a_universe_has_names(bars: pd.DataFrame) -> None:
    with pytest.raises(BarsError, match=r"under names of text, got 1. Give a dict such as"):
        fit({1: bars}, ALONE)  # type: ignore[dict-item]
