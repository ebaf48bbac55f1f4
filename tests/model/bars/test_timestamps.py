"""Timestamps: dates of any form, the order of day and month by proof, epochs by their size."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from model.bars.read import read_bars
from model.errors import BarsWarning
from tests.helpers.bar_files import (
    DAILY,
    HOURLY,
    assert_bars,
    changed,
    dated,
    market,
    refusal,
    saved,
)


def timed(times: pd.Series) -> pd.DataFrame:
    """Return the hours with their dates in one column and these times in another."""
    return dated(HOURLY, "%Y-%m-%d").assign(time=times)


TIMES = {
    "hours": HOURLY["date"].dt.hour,
    "hours with a point": HOURLY["date"].dt.hour.astype(float),
    "hours and minutes": HOURLY["date"].dt.hour * 100,
    "hours, minutes and seconds": HOURLY["date"].dt.hour * 10_000,
    "a clock": HOURLY["date"].dt.strftime("%H:%M"),
    "spans since midnight": HOURLY["date"] - HOURLY["date"].dt.normalize(),
    "a clock of twelve hours": HOURLY["date"].dt.strftime("%I:%M %p"),
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_times_of_every_form_are_joined(times: pd.Series) -> None:
    assert_bars(read_bars(timed(times)), HOURLY)


@pytest.mark.parametrize("times", [0, "00:00", "0000", ""])
def test_days_at_midnight_are_days(times: object) -> None:
    assert_bars(read_bars(dated(DAILY, "%Y-%m-%d").assign(time=times)), DAILY)


def test_numbers_that_are_no_hours_are_refused() -> None:
    assert "holds '25' (row 2), which is no time of day" in refusal(
        timed(HOURLY["date"].dt.hour.replace(0, 25))
    )


HOUR_ENDS = market(pd.date_range("2021-04-01 01:00", periods=300, freq="h"), 50.0, 0.01, 2)


@pytest.mark.parametrize("write", [lambda h: f"{h}:00", lambda h: h, lambda h: f"{h:02d}0000"])
def test_the_hour_24_is_the_end_of_its_day_where_the_order_says_so(
    write: Callable[[int], object],
) -> None:
    before = HOUR_ENDS["date"] - pd.Timedelta(hours=1)
    table = HOUR_ENDS.assign(
        date=before.dt.strftime("%Y-%m-%d"), time=(before.dt.hour + 1).map(write)
    )
    with pytest.warns(BarsWarning, match=r"12 times of day of 24:00, such as .*stamp='close'"):
        assert_bars(read_bars(table), HOUR_ENDS)


def test_the_hour_24_is_the_beginning_where_the_order_says_so() -> None:
    hours = HOURLY["date"].dt.hour.replace(0, 24)
    with pytest.warns(BarsWarning, match="17 times of day of 24:00.* of the same day"):
        assert_bars(read_bars(timed(hours)), HOURLY)
    words = dated(HOURLY, "%Y-%m-%dT%H:%M:%S")["date"].str.replace("T00:00", "T24:00")
    with pytest.warns(BarsWarning, match="17 times of day of 24:00.* of the same day"):
        assert_bars(read_bars(HOURLY.assign(date=words)), HOURLY)
    mixed = timed(hours).sample(frac=1, random_state=1)
    assert "the time of day 24:00, as in '2017-" in refusal(mixed)


@pytest.mark.parametrize("word", ["24:01", "24:00:01", "25:00"])
def test_no_time_is_later_than_24(word: str) -> None:
    assert "not understood" in refusal(timed(HOURLY["date"].dt.strftime("%H:%M")).assign(time=word))


def test_a_missing_time_is_not_taken_for_midnight() -> None:
    times = HOURLY["date"].dt.strftime("%H:%M").where(HOURLY.index != 7)
    assert "1 row without a time of day (first: row 7). Repair or remove them" in refusal(
        timed(times)
    )


DAYS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%y-%m-%d",
    "%d-%b-%y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%d%b%Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%Y-%b-%d",
    "%a %d %b %Y",
    "%a, %d %b %Y 00:00:00 GMT",
    "%Y-%m-%dT00:00:00Z",
    "%Y-%m-%d 00:00:00-05:00",
    "%Y-%m-%d 00:00:00+09:00",
    "%Y%m%d 000000",
)
HOURS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S.000",
    "%Y%m%d %H%M%S",
    "%Y%m%d %H%M",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%d.%m.%Y %H:%M:%S.000",
    "%m/%d/%Y %I:%M %p",
    "%Y-%m-%d:%H:%M:%S",
    "%Y-%m-%d %H:%M:%S UTC",
    "%d.%m.%Y %H:%M:%S GMT+0000",
    "%Y-%m-%d %I-%p",
    "%Y-%m-%d %I %p",
    "%m/%d/%Y %I%p",
    "%Y%m%d  %H:%M:%S UTC",
)


@pytest.mark.parametrize("form", DAYS)
def test_days_of_any_form_are_read(form: str, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, dated(DAILY, form))), DAILY)


STATED = ["%Y-%m", "%Y/%m", "%b %Y", "%b-%y"]
MONTHS = market(pd.date_range("1990-01-01", periods=300, freq="MS"), 50.0, 0.01, 2)


@pytest.mark.parametrize(
    "table, form",
    [*((MONTHS, form) for form in STATED), (DAILY, "%Y%j"), (DAILY, "%G-W%V-%u")],
)
def test_the_format_that_is_offered_reads_the_dates(
    table: pd.DataFrame, form: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, dated(table, form))
    assert f"pass date_format='{form}' for another form" in refusal(path)
    assert_bars(read_bars(path, date_format=form), table)


@pytest.mark.parametrize("form", ["%y%m%d", "%d%m%y", "%m%d%y"])
def test_dates_of_six_digits_are_proven(form: str, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, dated(DAILY, form))), DAILY)
    few = dated(DAILY[:6], form)
    assert "ambiguous" in refusal(few, minimum_bars=None)
    assert_bars(read_bars(few, date_format=form, minimum_bars=None), DAILY[:6])


def test_months_of_six_digits_are_read_as_their_first_day(tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, dated(MONTHS, "%Y%m"))), MONTHS)


@pytest.mark.parametrize("years", [543, -621])
def test_years_of_another_calendar_are_named(years: int) -> None:
    words = [f"{date.year + years}-{date:%m-%d}" for date in DAILY["date"]]
    assert "a year of another calendar, as the Buddhist one, which is 543 years ahead" in refusal(
        DAILY.assign(date=words)
    )


FOREIGN = {
    ".NET ticks": lambda timestamp: timestamp.value // 100 + 621_355_968_000_000_000,
    "Windows file time": lambda timestamp: timestamp.value // 100 + 116_444_736_000_000_000,
}


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN)
def test_other_epochs_are_not_taken_for_nanoseconds(write: Callable[[pd.Timestamp], int]) -> None:
    assert "it looks like .NET ticks or a Windows file time" in refusal(
        DAILY.assign(date=DAILY["date"].map(write))
    )


def test_dates_turned_by_a_spreadsheet_are_refused(tmp_path: Path) -> None:
    turned = (
        DAILY["date"]
        .dt.strftime("%Y-%d-%m")
        .where(DAILY["date"].dt.day <= 12, DAILY["date"].dt.strftime("%d/%m/%Y"))
    )
    said = refusal(saved(tmp_path, DAILY.assign(date=turned)))
    assert (
        "look like '13/01/2015' (line 9), all others like '2015-02-01' (line 2): a spreadsheet "
        "took their day" in said
    )


@pytest.mark.parametrize("form", HOURS)
def test_hours_of_any_form_are_read(form: str, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, dated(HOURLY, form))), HOURLY)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("table", [DAILY, HOURLY], ids=["days", "hours"])
def test_epochs_are_read_by_their_size(unit: str, table: pd.DataFrame, tmp_path: Path) -> None:
    epochs = table.assign(date=table["date"].astype(f"datetime64[{unit}]").astype("int64"))
    assert_bars(read_bars(saved(tmp_path, epochs)), table)
    assert_bars(read_bars(epochs), table)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epochs_that_have_become_floats_are_read(unit: str) -> None:
    epochs = HOURLY.assign(
        date=HOURLY["date"].astype(f"datetime64[{unit}]").astype("int64").astype("float64")
    )
    assert_bars(read_bars(epochs), HOURLY)
    assert "1 row without a date (first: row 5)" in refusal(
        epochs.assign(date=epochs["date"].where(epochs.index != 5))
    )


def test_a_fault_of_dates_names_the_column_of_the_file() -> None:
    parts = DAILY.assign(
        day=DAILY["date"].dt.day, month=DAILY["date"].dt.month, year=DAILY["date"].dt.year
    ).drop(columns="date")
    assert (
        "300 dates in column 'day' not understood (first: row 0, '2'): a day of the month alone? "
        "Join year, month and day in one column of dates." in refusal(parts)
    )


def test_a_few_dates_of_another_form_are_no_matter_of_the_format(tmp_path: Path) -> None:
    said = refusal(saved(tmp_path, changed(dated(DAILY, "%Y-%m-%d"), 299, date="Total")))
    assert "1 date in column 'date' not understood (first: line 301, 'Total'); expected" in said
    assert "A mistyped date, a note or a footer? Repair or remove it." in said


def test_days_before_1973_are_read_in_the_unit_that_the_others_prove() -> None:
    old = market(pd.bdate_range("1969-06-02", periods=2500), 100.0, 0.01, 2)
    assert_bars(
        read_bars(old.assign(date=old["date"].astype("datetime64[s]").astype("int64"))), old
    )


TWELVE_DAYS = market(pd.date_range("2015-01-01", periods=12 * 24, freq="h"), 100.0, 0.01, 2)


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%m-%d-%Y %I:%M %p"]
)
def test_no_day_above_12_is_ambiguous_until_the_form_is_stated(form: str, tmp_path: Path) -> None:
    path = saved(tmp_path, dated(TWELVE_DAYS, form))
    said = refusal(path)
    assert (
        "are ambiguous: no day above 12 proves the order of day and month" in said
        and f"date_format={form!r}" in said
    )
    assert_bars(read_bars(path, date_format=form), TWELVE_DAYS)


def test_two_orders_of_day_and_month_in_one_file_are_refused() -> None:
    dates = (
        DAILY["date"]
        .dt.strftime("%d/%m/%Y")
        .where(DAILY.index < 150, DAILY["date"].dt.strftime("%m/%d/%Y"))
    )
    assert "has another order of day and month than" in refusal(DAILY.assign(date=dates))


UNREAD = [
    ("Q1 2015", "1 date in column 'date' not understood (first: line 7, 'Q1 2015')"),
    ("2015Q1", "a week, a quarter, or a span of two dates"),
    ("2015-W02", "a week, a quarter, or a span of two dates"),
    ("2015-01-05/2015-01-11", "a quarter, or a span of two dates"),
    ("42006", "looks like an Excel serial number"),
    ("", "1 row without a date"),
    ("NaT", "1 row without a date (first: line 7)"),
    ("2015-02-30", "1 date in column 'date' not understood (first: line 7, '2015-02-30')"),
    ("9999-12-31", "'9999-12-31'"),
    ("1015-01-09", "'1015-01-09'"),
    ("2015-01-09 25:00", "'2015-01-09 25:00'"),
    ("22:00", "'22:00'"),
    (
        "2015-01-09 10:00 US/Eastern",
        "'2015-01-09 10:00 US/Eastern'): write the time zone as an offset",
    ),
    ("2015-01-09T10:00-05:00[America/New_York]", "write the time zone as an offset"),
    ("2015-01-09 13:00 PM", "'2015-01-09 13:00 PM'); expected"),
    ("2015-01-09 10:00 EST5EDT", "write the time zone as an offset such as -05:00"),
    (
        "2015-01-09 10:00 EST",
        "'2015-01-09 10:00 EST'): write the time zone as an offset such as -05:00",
    ),
]


@pytest.mark.parametrize("word, message", UNREAD)
def test_a_date_that_is_none_is_refused_with_its_line(
    word: str, message: str, tmp_path: Path
) -> None:
    assert message in refusal(saved(tmp_path, changed(dated(DAILY, "%Y-%m-%d"), 5, date=word)))


@pytest.mark.parametrize("word", ["Q1 2015", "42006", "22:00"])
def test_a_column_of_them_is_refused(word: str, tmp_path: Path) -> None:
    assert "300 dates in column 'date' not understood (first: line 2" in refusal(
        saved(tmp_path, DAILY.assign(date=word))
    )


def test_a_stated_form_that_does_not_fit_is_refused() -> None:
    assert (
        "300 dates in column 'date' not understood (first: row 0, '2015-01-02') with "
        "date_format='%d/%m/%Y'" in refusal(dated(DAILY, "%Y-%m-%d"), date_format="%d/%m/%Y")
    )


def test_a_stated_form_that_is_none_is_refused() -> None:
    assert "is no format" in refusal(dated(DAILY, "%Y-%m-%d"), date_format="%Q")


def test_a_stated_form_of_the_date_leaves_the_time_column_alone() -> None:
    table = dated(TWELVE_DAYS, "%d/%m/%Y")
    table.insert(1, "time", TWELVE_DAYS["date"].dt.strftime("%H:%M"))
    assert_bars(read_bars(table, date_format="%d/%m/%Y"), TWELVE_DAYS)


def test_a_stated_form_with_an_offset_keeps_the_sessions_date() -> None:
    tokyo = dated(DAILY, "%d/%m/%Y 00:00 +0900")
    assert_bars(read_bars(tokyo, date_format="%d/%m/%Y %H:%M %z"), DAILY)


def test_a_missing_date_in_an_index_is_refused() -> None:
    index = DAILY.set_index("date").index.insert(0, pd.NaT)[:300]
    assert "1 row without a date (first: row 0)" in refusal(
        DAILY.set_index(index).drop(columns="date")
    )


def test_years_before_days_and_months_are_read_as_the_message_says(tmp_path: Path) -> None:
    path = saved(tmp_path, dated(DAILY, "%Y-%d-%m"))
    assert "date_format='%Y-%d-%m'" in refusal(path)
    assert_bars(read_bars(path, date_format="%Y-%d-%m"), DAILY)


CENTURIES = {
    "fifties": market(pd.bdate_range("1955-03-01", periods=300), 50.0, 0.01, 2),
    "over 1969": market(pd.bdate_range("1968-06-03", periods=500), 50.0, 0.01, 2),
    "from the twenties to the thirties": market(
        pd.bdate_range("1925-03-02", periods=1000), 9.0, 0.01, 2
    ),
}


@pytest.mark.parametrize("form", ["%m/%d/%y", "%d-%b-%y", "%d.%m.%y"])
@pytest.mark.parametrize("table", CENTURIES.values(), ids=CENTURIES)
def test_years_of_two_digits_belong_to_the_century_that_the_data_prove(
    table: pd.DataFrame, form: str, tmp_path: Path
) -> None:
    with pytest.warns(BarsWarning, match=r"years of two digits: \d+ dates read as of 19\d\d to 19"):
        assert_bars(read_bars(saved(tmp_path, dated(table, form))), table)


@pytest.mark.parametrize("form", ["%d/%m/%y", "%d-%b-%y"])
def test_days_of_the_week_may_be_those_of_the_century_before(form: str, tmp_path: Path) -> None:
    sundays_to_thursdays = pd.bdate_range("2022-03-01", periods=300) - pd.Timedelta(days=1)
    near = market(sundays_to_thursdays, 50.0, 0.01, 2)
    path = saved(tmp_path, dated(near, form))
    assert (
        "Sundays to Thursdays if of 2022, Mondays to Fridays if of 1922. "
        f"Pass date_format='{form}' for 2022, else write years with four digits." in refusal(path)
    )
    assert_bars(read_bars(path, date_format=form), near)
    assert_bars(read_bars(saved(tmp_path, dated(near, form.replace("y", "Y")))), near)


def test_weeks_named_after_their_sunday_are_of_this_century(tmp_path: Path) -> None:
    weeks = market(pd.date_range("2001-01-07", periods=300, freq="7D"), 50.0, 0.01, 2)
    assert_bars(read_bars(saved(tmp_path, dated(weeks, "%d/%m/%y"))), weeks)


def test_a_stated_format_of_two_digit_years_keeps_to_the_past(tmp_path: Path) -> None:
    fifties = CENTURIES["fifties"]
    path = saved(tmp_path, dated(fifties, "%d/%m/%y"))
    assert_bars(read_bars(path, date_format="%d/%m/%y"), fifties)


UNIX = HOURLY["date"].astype("datetime64[s]").astype("int64")


def test_a_readable_column_of_dates_stands_in_for_one_that_is_not(tmp_path: Path) -> None:
    table = dated(HOURLY, "Week %W, %a %Hh").assign(**{"Unix Timestamp": UNIX})
    with pytest.warns(
        BarsWarning,
        match="column 'date' is not understood .*the dates are those of column 'Unix Timestamp'",
    ):
        assert_bars(read_bars(saved(tmp_path, table)), HOURLY)
