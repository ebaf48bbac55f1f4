"""Zones: distances from UTC of any form, names that are none, evenings before their sessions."""

from datetime import timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest

from model.bars.read import read_bars
from tests.helpers.bar_files import DAILY, HOURLY, assert_bars, dated, saved


def test_a_zone_without_a_name_is_not_kept_under_another() -> None:
    """A distance from UTC alone: what is kept must be a name, or bars cannot be read again."""
    zone = timezone(timedelta(hours=-5))
    bars = read_bars(DAILY.assign(date=DAILY["date"].dt.tz_localize(zone)))
    assert bars.attrs["timezone"] is None
    assert_bars(read_bars(bars), DAILY)


@pytest.mark.parametrize("offset, hours", [("UTC+1", 1), ("GMT-5", -5), ("UTC+5:30", 5.5)])
def test_an_offset_of_one_digit_is_read(offset: str, hours: float, tmp_path: Path) -> None:
    later = dated(HOURLY, f"%Y-%m-%d %H:%M {offset}")
    in_utc = HOURLY.assign(date=HOURLY["date"] - pd.Timedelta(hours=hours))
    assert_bars(read_bars(saved(tmp_path, later)), in_utc)


def test_days_that_were_moved_to_the_evening_before_are_those_of_their_sessions() -> None:
    """Midnights of UTC in New York: Sundays to Thursdays at 19 or 20 o'clock."""
    evenings = DAILY["date"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    assert_bars(read_bars(DAILY.assign(date=evenings)), DAILY)
