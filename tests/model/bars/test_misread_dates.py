"""Timestamps that were misread before they came here, each sound, and all of them proving it."""

from pathlib import Path

import pandas as pd
import pytest

from model.bars.read import read_bars
from tests.helpers.bar_files import (
    DAILY,
    assert_bars,
    dated,
    market,
    refusal,
    saved,
    sessions,
)

HOURS = market(sessions(60, 7), 50.0, 0.001, 2)
MINUTES = market(sessions(5, 78, 6), 50.0, 0.001, 2)


def days_for_months(table: pd.DataFrame) -> pd.DataFrame:
    """Return the dates as early pandas read 04/03/2015 and 13/03/2015 of one file."""
    read = [
        date.replace(month=date.day, day=date.month) if date.day <= 12 else date
        for date in table["date"]
    ]
    return table.assign(date=read)


@pytest.mark.parametrize("table", [DAILY, HOURS], ids=["days", "hours"])
@pytest.mark.parametrize("ordered", [False, True])
def test_days_that_were_taken_for_months_are_refused(
    table: pd.DataFrame, ordered: bool, tmp_path: Path
) -> None:
    wrong = days_for_months(table)
    wrong = wrong.sort_values("date") if ordered else wrong
    for source in (wrong, saved(tmp_path, wrong)):
        assert "day and month have changed places" in refusal(source)
    # What the message asks for: the file that they were read from.
    assert_bars(read_bars(saved(tmp_path, dated(table, "%d/%m/%Y %H:%M"))), table)


def test_days_of_a_market_that_never_rests_may_be_shuffled() -> None:
    table = market(pd.date_range("2019-01-01", periods=300), 50.0, 0.01, 2)
    assert "day and month" in refusal(days_for_months(table))
    with pytest.warns(match="sorted by date"):
        assert_bars(read_bars(table.sample(frac=1, random_state=1)), table)


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_epochs_of_a_wrong_unit_are_refused(unit: str, tmp_path: Path) -> None:
    seconds = DAILY["date"].astype("datetime64[s]").astype("int64")
    wrong = DAILY.assign(date=pd.to_datetime(seconds, unit=unit))
    for source in (wrong, saved(tmp_path, wrong)):
        assert "all times lie in January 1970" in refusal(source)
    assert_bars(read_bars(DAILY.assign(date=seconds)), DAILY)


def test_a_clock_of_twelve_hours_without_its_halves_is_refused(tmp_path: Path) -> None:
    wrong = saved(tmp_path, dated(MINUTES, "%Y-%m-%d %I:%M"))
    assert "fall back once within a day, on 6 days" in refusal(wrong)
    assert_bars(read_bars(saved(tmp_path, dated(MINUTES, "%Y-%m-%d %H:%M"))), MINUTES)


def test_an_evening_under_the_date_of_the_next_day_is_refused() -> None:
    """Futures in Shanghai trade in the evening for the session of the next day."""
    day = [21, 22, 9, 10, 11, 13, 14]
    dates = pd.bdate_range("2019-01-02", periods=40)
    index = pd.DatetimeIndex([date + pd.Timedelta(hours=hour) for date in dates for hour in day])
    assert "an evening under the date of the next day" in refusal(market(index, 50.0, 0.01, 2))


def test_days_that_stand_newest_first_are_put_in_order() -> None:
    backward = MINUTES.sort_values("date", ascending=False)
    by_day = backward.sort_values("date", key=lambda dates: dates.dt.normalize(), kind="stable")
    with pytest.warns(match="sorted by date"):
        assert_bars(read_bars(by_day), MINUTES)
