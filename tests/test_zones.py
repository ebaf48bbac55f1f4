"""Zones: a day keeps the date of its session, an hour becomes UTC, and what is said of it in attrs."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bar_files import DAILY, HOURLY, assert_bars, dated, market, refusal, saved

from model.bars import BarsWarning, read_bars

AUTUMN = market(
    pd.date_range("2017-10-25", periods=300, freq="h", tz="UTC").tz_localize(None), 100.0, 0.01, 2
)


def local(table: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Return the table with its UTC stamps as naive local ones."""
    return table.assign(
        date=table["date"].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    )


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Pacific/Auckland", "UTC"])
def test_a_day_keeps_its_date_in_every_zone(zone: str, tmp_path: Path) -> None:
    aware = DAILY.assign(date=DAILY["date"].dt.tz_localize(zone))
    for source in (aware, aware.set_index("date"), saved(tmp_path, aware)):
        assert_bars(read_bars(source), DAILY)


def test_a_day_stamped_at_its_close_keeps_its_date(tmp_path: Path) -> None:
    closes = (DAILY["date"] + pd.Timedelta(hours=16)).dt.tz_localize("America/New_York")
    assert_bars(read_bars(saved(tmp_path, DAILY.assign(date=closes))), DAILY)


def test_days_as_instants_get_their_date_from_the_zone_stated() -> None:
    instants = DAILY.assign(date=DAILY["date"].dt.tz_localize("Asia/Tokyo").dt.tz_convert("UTC"))
    assert_bars(read_bars(instants, timezone="Asia/Tokyo"), DAILY)
    with pytest.warns(
        BarsWarning,
        match="2015-01-01 15:00:00 UTC fall on Sundays and never on Fridays: the midnight of another",
    ):
        assert read_bars(instants).index[0] == instants["date"].iloc[0].tz_localize(None)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "UTC"])
def test_hours_that_state_an_offset_become_utc(zone: str, tmp_path: Path) -> None:
    aware = AUTUMN.assign(date=AUTUMN["date"].dt.tz_localize("UTC").dt.tz_convert(zone))
    for source in (aware, saved(tmp_path, aware)):
        bars = read_bars(source)
        assert_bars(bars, AUTUMN)
        assert bars.attrs["timezone"] == "UTC"


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_naive_hours_of_a_stated_zone_become_utc_across_the_end_of_summer_time(zone: str) -> None:
    table = local(AUTUMN, zone)
    assert "occurs twice with different values" in refusal(table)
    assert_bars(read_bars(table, timezone=zone), AUTUMN)
    with pytest.warns(BarsWarning, match="newest row first"):
        assert_bars(read_bars(table[::-1], timezone=zone), AUTUMN)


def test_an_hour_that_happens_twice_but_stands_once_is_refused() -> None:
    table = local(AUTUMN, "America/New_York").drop_duplicates("date")
    assert "2017-11-05 01:00:00 (row 269) happens twice in America/New_York" in refusal(
        table, timezone="America/New_York"
    )


def test_an_hour_that_does_not_exist_is_refused() -> None:
    spring = market(pd.date_range("2017-03-08", periods=300, freq="h"), 100.0, 0.01, 2)
    assert "2017-03-12 02:00:00 (row 98) does not exist in America/New_York" in refusal(
        spring, timezone="America/New_York"
    )


def test_stamps_with_and_without_an_offset_are_refused() -> None:
    dates = dated(HOURLY, "%Y-%m-%d %H:%M:%S")["date"]
    said = refusal(HOURLY.assign(date=dates.where(HOURLY.index % 2 == 0, dates + "Z")))
    assert "200 stamps state no offset from UTC and 200 do (first: row 0 and row 1)" in said


def test_an_unknown_zone_is_answered_with_the_nearest() -> None:
    assert "got 'America/NewYork'. Did you mean 'America/New_York'?" in refusal(
        HOURLY, timezone="America/NewYork"
    )


ATTRS: list[tuple[pd.DataFrame, dict[str, Any], str | None]] = [
    (DAILY, {}, None),
    (HOURLY, {}, None),
    (HOURLY, {"timezone": "Europe/Berlin"}, "UTC"),
    (DAILY, {"timezone": "Europe/Berlin"}, "Europe/Berlin"),
    (DAILY.assign(date=DAILY["date"].dt.tz_localize("Asia/Tokyo")), {}, "Asia/Tokyo"),
    (dated(DAILY, "%Y-%m-%dT00:00:00Z"), {}, "UTC"),
]


@pytest.mark.parametrize("table, settings, zone", ATTRS)
def test_attrs_say_what_zone_the_stamps_are_in(
    table: pd.DataFrame, settings: dict[str, Any], zone: str | None
) -> None:
    assert read_bars(table, **settings).attrs["timezone"] == zone
