"""Zones: distances from UTC of any form, names that are none, evenings before their sessions."""

from datetime import timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest

from model.bars.read import read_bars
from model.errors import BarsWarning
from tests.helpers.bar_files import (
    DAILY,
    HOURLY,
    assert_bars,
    dated,
    market,
    refusal,
    saved,
)


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


AUTUMN = market(
    pd.date_range("2017-10-25", periods=300, freq="h", tz="UTC").tz_localize(None), 100.0, 0.01, 2
)


def local(table: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Return the table with its UTC timestamps as naive local ones."""
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
        match=(
            "2015-01-01 15:00:00 UTC fall on Sundays and never on Fridays: the midnight of another"
        ),
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


def test_timestamps_with_and_without_an_offset_are_refused() -> None:
    dates = dated(HOURLY, "%Y-%m-%d %H:%M:%S")["date"]
    said = refusal(HOURLY.assign(date=dates.where(HOURLY.index % 2 == 0, dates + "Z")))
    assert "200 timestamps state no offset from UTC and 200 do (first: row 0 and row 1)" in said


def test_an_unknown_zone_is_answered_with_the_nearest() -> None:
    assert "got 'America/NewYork'. Did you mean 'America/New_York'?" in refusal(
        HOURLY, timezone="America/NewYork"
    )


NAMED = [
    "%Y%m%d %H:%M:%S US/Eastern",
    "%Y-%m-%d %H:%M America/New_York",
    "%d.%m.%Y %I:%M %p US/Eastern",
]


@pytest.mark.parametrize("form", NAMED)
def test_a_zone_named_in_every_timestamp_is_that_of_all(form: str, tmp_path: Path) -> None:
    path = saved(tmp_path, dated(local(AUTUMN, "America/New_York"), form))
    bars = read_bars(path)
    assert_bars(bars, AUTUMN)
    assert bars.attrs["timezone"] == "UTC"
    assert "that they are of Asia/Tokyo. Leave it out." in refusal(path, timezone="Asia/Tokyo")


def test_a_zone_named_in_the_time_column_is_that_of_all() -> None:
    table = local(AUTUMN, "America/New_York")
    times = table["date"].dt.strftime("%H:%M US/Eastern")
    assert_bars(read_bars(dated(table, "%Y-%m-%d").assign(time=times)), AUTUMN)


def test_a_zone_named_behind_an_offset_says_nothing_more(tmp_path: Path) -> None:
    aware = AUTUMN["date"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    words = aware.map(lambda timestamp: f"{timestamp.isoformat()}[America/New_York]")
    assert_bars(read_bars(saved(tmp_path, AUTUMN.assign(date=words))), AUTUMN)


def test_days_with_a_named_zone_keep_their_dates(tmp_path: Path) -> None:
    bars = read_bars(saved(tmp_path, dated(DAILY, "%Y-%m-%d 00:00:00 Asia/Tokyo")))
    assert_bars(bars, DAILY)
    assert bars.attrs["timezone"] == "Asia/Tokyo"


def test_two_zones_in_one_file_are_refused() -> None:
    words = dated(HOURLY, "%Y-%m-%d %H:%M")["date"]
    zones = [" US/Eastern" if row % 2 else " US/Pacific" for row in range(len(words))]
    assert "write the time zone as an offset" in refusal(HOURLY.assign(date=words + zones))


EVENINGS = {
    "Berlin's midnights in UTC": (
        DAILY["date"].dt.tz_localize("Europe/Berlin").dt.tz_convert("UTC").dt.tz_localize(None),
        "Europe/Berlin",
    ),
    "Tokyo's midnights in UTC": (
        DAILY["date"].dt.tz_localize("Asia/Tokyo").dt.tz_convert("UTC").dt.tz_localize(None),
        "Asia/Tokyo",
    ),
    "the openings of New York's futures": (
        DAILY["date"] - pd.Timedelta(hours=6),
        "America/New_York",
    ),
}


@pytest.mark.parametrize("evenings, zone", EVENINGS.values(), ids=EVENINGS)
def test_daily_bars_of_the_evening_before_get_their_date_from_a_zone(
    evenings: pd.Series, zone: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, DAILY.assign(date=evenings))
    with pytest.warns(BarsWarning, match="fall on Sundays and never on Fridays: the midnight of"):
        assert read_bars(path).index[0] == evenings.iloc[0]
    assert_bars(read_bars(path, timezone=zone), DAILY)


def test_openings_in_utc_get_their_date_from_the_zone_of_the_exchange() -> None:
    evenings = (DAILY["date"] - pd.Timedelta(hours=6)).dt.tz_localize("America/New_York")
    assert_bars(
        read_bars(DAILY.assign(date=evenings.dt.tz_convert("UTC")), timezone="America/New_York"),
        DAILY,
    )


@pytest.mark.parametrize("hour", [16, 17, 22])
def test_daily_bars_named_after_their_close_are_no_evenings_before(hour: int) -> None:
    closes = DAILY["date"] + pd.Timedelta(hours=hour)
    assert_bars(read_bars(DAILY.assign(date=closes)), DAILY.assign(date=closes))


ATTRS: list[tuple[pd.DataFrame, dict[str, str], str | None]] = [
    (DAILY, {}, None),
    (HOURLY, {}, None),
    (HOURLY, {"timezone": "Europe/Berlin"}, "UTC"),
    (DAILY, {"timezone": "Europe/Berlin"}, "Europe/Berlin"),
    (DAILY.assign(date=DAILY["date"].dt.tz_localize("Asia/Tokyo")), {}, "Asia/Tokyo"),
    (dated(DAILY, "%Y-%m-%dT00:00:00Z"), {}, "UTC"),
]


@pytest.mark.parametrize("table, settings, zone", ATTRS)
def test_attrs_say_what_zone_the_timestamps_are_in(
    table: pd.DataFrame, settings: dict[str, str], zone: str | None
) -> None:
    assert read_bars(table, **settings).attrs["timezone"] == zone
