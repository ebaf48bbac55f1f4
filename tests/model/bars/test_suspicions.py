"""Suspicions: splits, mixed units, halts and misprints are said with their first date.

Sound bars are not suspected.
"""

import numpy as np
import pandas as pd
import pytest

from model.bars.read import read_bars
from model.bars.suspicions import find_splits, flat_stretches
from model.errors import BarsWarning
from tests.helpers.bar_files import DAILY, HOURLY, PRICES, assert_bars, market, refusal, sessions


def scaled(table: pd.DataFrame, rows: slice, factor: float) -> pd.DataFrame:
    """Return the table with the prices of some rows times a factor."""
    table = table.copy()
    table.loc[table.index[rows], PRICES] *= factor
    return table


def halted(table: pd.DataFrame, first: int, stop: int) -> pd.DataFrame:
    """Return the table with rows filled forward from the close before."""
    table = table.copy()
    table.loc[first : stop - 1, PRICES] = table["close"][first - 1]
    return table


def wild(table: pd.DataFrame, row: int, **values: float) -> pd.DataFrame:
    table = table.copy()
    for name, value in values.items():
        table.loc[row, name] = value
    return table


SUSPECTED = {
    "a split": (
        scaled(DAILY, slice(150, None), 0.1),
        r"close falls 90.\d% from 2015-07-30 to 2015-07-31: an unadjusted 10:1 split\?",
    ),
    "a reverse split": (
        scaled(DAILY, slice(150, None), 20),
        r"close rises .* to 2015-07-31: an unadjusted 1:20 reverse split\?",
    ),
    "three for two": (scaled(DAILY, slice(150, None), 2 / 3), "an unadjusted 1.5:1 split"),
    "a split on the last days": (scaled(DAILY, slice(297, None), 0.25), "an unadjusted 4:1 split"),
    "two splits": (
        scaled(scaled(DAILY, slice(100, None), 0.5), slice(200, None), 0.5),
        r"2:1 split\? \(1 more like it\)",
    ),
    "pence and pounds": (
        scaled(scaled(DAILY, slice(50, 52), 100), slice(90, 91), 100),
        r"3 bars about \d[\d.]*x their neighbours \(first 2015-03-13\)",
    ),
    "pounds and pence": (
        scaled(DAILY, slice(50, 51), 0.01),
        r"1 bar about 1/\d+(\.\d)? of their neighbours \(first 2015-03-13\)",
    ),
    "a halt": (
        halted(DAILY, 100, 140),
        "price unchanged for 40 bars from 2015-05-22 to 2015-07-16",
    ),
    "two halts": (
        halted(halted(DAILY, 100, 140), 200, 230),
        "price unchanged for 40 bars .* the longest of 2 constant stretches",
    ),
    "a split of a thousand": (scaled(DAILY, slice(150, None), 0.001), "an unadjusted 1000:1 split"),
    "another level": (
        scaled(DAILY, slice(150, None), 37),
        r"close goes from [\d.]+ to [\d.]+, 2015-07-30 to 2015-07-31",
    ),
    "a misprinted high": (
        wild(DAILY, 5, high=47000.0),
        r"1 bar with a price far off its neighbours .* \(first 2015-01-09: open [\d.]+, high 47000",
    ),
    "a misprinted first high": (
        wild(DAILY, 0, high=47000.0),
        r"1 bar with a price far off .* \(first 2015-01-02",
    ),
    "a misprinted low": (
        wild(DAILY, 5, low=2900.0),
        r"1 bar with a price far off its neighbours .* \(first 2015-01-09",
    ),
    "a misprinted open": (
        wild(DAILY, 5, open=47000.0, high=47000.0),
        r"1 bar with a price far off .*: open 47000",
    ),
    "a bar twice too high": (
        scaled(DAILY, slice(5, 6), 2),
        r"1 bar with a price far off its neighbours .* \(first 2015-01-09",
    ),
}


@pytest.mark.parametrize("table, message", SUSPECTED.values(), ids=SUSPECTED)
def test_what_looks_wrong_is_said_and_left_as_it_is(table: pd.DataFrame, message: str) -> None:
    with pytest.warns(BarsWarning, match=message) as said:
        bars = read_bars(table)
    assert len(said) == 1
    np.testing.assert_array_equal(bars[PRICES].to_numpy(), table[PRICES].to_numpy())


@pytest.mark.parametrize(
    "table", [DAILY, HOURLY, scaled(DAILY, slice(150, None), 0.8)], ids=["days", "hours", "a crash"]
)
def test_sound_bars_are_not_suspected(table: pd.DataFrame) -> None:
    assert_bars(read_bars(table), table)


def test_a_price_that_never_changes_is_refused() -> None:
    said = refusal(DAILY.assign(**dict.fromkeys(PRICES, 100)))
    assert "close never changes (100 on all 300 bars): one class, nothing to learn" in said


def test_splits_are_found_with_their_ratio() -> None:
    bars = scaled(DAILY, slice(150, None), 0.2).set_index("date")
    assert [(split.position, split.ratio) for split in find_splits(bars)] == [(150, 5.0)]


def test_stretches_are_found_with_their_ends() -> None:
    assert flat_stretches(halted(DAILY, 100, 140).set_index("date")) == [(100, 140)]


WORKING = pd.date_range("2015-01-01", periods=900, freq="4h")
WORKING_HOURS = WORKING[WORKING.day_of_week < 5]


def with_dead_weekends(table: pd.DataFrame, days: tuple[int, ...], freq: str) -> pd.DataFrame:
    """Return the table with flat bars without volume on these days of the week."""
    index = pd.date_range(table["date"].iloc[0], table["date"].iloc[-1], freq=freq)
    index = index[index.day_of_week.isin(days) & ~index.isin(table["date"])]
    filled = table.set_index("date").reindex(index.union(pd.DatetimeIndex(table["date"])))
    dead = filled["close"].isna()
    closes = filled["close"].ffill()
    filled = filled.assign(**{name: filled[name].fillna(closes) for name in PRICES})
    return filled.assign(volume=filled["volume"].where(~dead, 0)).reset_index(names="date")


WEEKENDS = {
    "Saturdays": (with_dead_weekends(DAILY, (5,), "D"), "60 Saturdays without volume or movement"),
    "weekends": (
        with_dead_weekends(DAILY, (5, 6), "D"),
        "120 Saturdays and Sundays without volume",
    ),
    "four hours": (
        with_dead_weekends(market(WORKING_HOURS, 50.0, 0.01, 2), (5, 6), "4h"),
        r"\d+ bars on Saturdays and Sundays without volume or movement \(first 2015-01-03",
    ),
}


@pytest.mark.parametrize("table, message", WEEKENDS.values(), ids=WEEKENDS)
def test_weekends_that_an_exporter_filled_in_are_said(table: pd.DataFrame, message: str) -> None:
    with pytest.warns(BarsWarning, match=message):
        assert_bars(read_bars(table), table)


def test_nights_that_an_exporter_filled_in_are_said() -> None:
    traded = market(sessions(60, 7), 50.0, 0.01, 2).set_index("date")
    hours = pd.date_range(traded.index[0], traded.index[-1], freq="h")
    table = traded.reindex(hours[hours.day_of_week < 5]).fillna({"volume": 0})
    closes = table["close"].ffill()
    table = table.apply(lambda column: column.fillna(closes)).reset_index(names="date")
    with pytest.warns(BarsWarning, match="70% of the bars stand at times of day at which there"):
        assert_bars(read_bars(table), table)


def test_flat_bars_on_all_days_are_no_matter_of_weekends() -> None:
    table = market(pd.date_range("2015-01-01", periods=300), 50.0, 0.01, 2)
    flat = np.random.default_rng(0).random(300) < 0.6
    for name in PRICES:
        table[name] = table[name].where(~flat, table["close"])
    table["volume"] = table["volume"].where(~flat, 0)
    assert_bars(read_bars(table), table)
