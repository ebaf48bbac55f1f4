"""Clocks: a time column beside the date is joined to it in every form, and never guessed."""

import pandas as pd
import pytest
from bar_files import DAILY, HOURLY, assert_bars, dated, refusal

from model.bars import read_bars


def timed(times: pd.Series) -> pd.DataFrame:
    """Return the hours with their dates in one column and these times in another."""
    return dated(HOURLY, "%Y-%m-%d").assign(time=times)


TIMES = {
    "hours": HOURLY["date"].dt.hour,
    "hours with a point": HOURLY["date"].dt.hour.astype(float),
    "hours and minutes": HOURLY["date"].dt.hour * 100,
    "hours, minutes and seconds": HOURLY["date"].dt.hour * 10_000,
    "a clock": HOURLY["date"].dt.strftime("%H:%M"),
    "a clock of twelve hours": HOURLY["date"].dt.strftime("%I:%M %p"),
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_times_of_every_form_are_joined(times: pd.Series) -> None:
    assert_bars(read_bars(timed(times)), HOURLY)


@pytest.mark.parametrize("times", [0, "00:00", "0000", ""])
def test_days_at_midnight_are_days(times: object) -> None:
    assert_bars(read_bars(dated(DAILY, "%Y-%m-%d").assign(time=times)), DAILY)


def test_numbers_that_are_no_hours_are_refused() -> None:
    assert "holds '24' (row 2), which is no time of day" in refusal(
        timed(HOURLY["date"].dt.hour.replace(0, 24))
    )


def test_a_missing_time_is_not_taken_for_midnight() -> None:
    times = HOURLY["date"].dt.strftime("%H:%M").where(HOURLY.index != 7)
    assert "1 row without a time of day (first: row 7). Repair or remove them" in refusal(
        timed(times)
    )
