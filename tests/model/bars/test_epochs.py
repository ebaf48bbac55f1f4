"""Dates that are digits alone: epochs by their size, dates of ten and twelve digits by proof."""

from pathlib import Path

import pandas as pd
import pytest

from model.bars.read import read_bars
from tests.helpers.bar_files import DAILY, HOURLY, assert_bars, dated, market, refusal, saved

HALF_HOURS = market(pd.date_range("2016-05-02", periods=300, freq="30min"), 50.0, 0.001, 2)
EIGHTIES = market(pd.date_range("1984-05-02", periods=300, freq="h"), 50.0, 0.001, 2)
NEXT = market(pd.date_range("2021-01-04", periods=300, freq="45min"), 50.0, 0.001, 2)
FIRST = pd.date_range("2015-01-01", periods=8)
LONG = market(pd.date_range("2012-03-01", periods=300, freq="6h"), 50.0, 0.001, 2)

DIGITS = [
    (HOURLY, "%Y%m%d%H"),
    (EIGHTIES, "%Y%m%d%H"),
    (HALF_HOURS, "%y%m%d%H%M"),
    (NEXT, "%y%m%d%H%M"),
    (HALF_HOURS, "%y%m%d%H%M%S"),
    (HALF_HOURS, "%Y%m%d%H%M"),
    (LONG, "%y%m%d%H%M%S"),
    (LONG, "%Y%m%d%H%M"),
]


@pytest.mark.parametrize("table, form", DIGITS)
def test_digits_that_are_dates_are_read(table: pd.DataFrame, form: str, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, dated(table, form))), table)


@pytest.mark.parametrize(
    "start, freq",
    [("2001-09-10", "D"), ("2010-01-01", "h"), ("2015-01-02", "min"), ("2020-12-31", "s")],
)
def test_epochs_that_are_no_dates_are_read(start: str, freq: str) -> None:
    table = market(pd.date_range(start, periods=300, freq=freq), 50.0, 0.001, 2)
    epochs = table["date"].astype("datetime64[s]").astype("int64")
    assert_bars(read_bars(table.assign(date=epochs)), table)


def test_digits_of_two_readings_are_refused() -> None:
    # The first seconds of 1501020930 are minutes of 2015-01-02 as well.
    few = market(pd.date_range("2017-07-25 22:15:30", periods=20, freq="s"), 50.0, 0.01, 2)
    said = refusal(few.assign(date=few["date"].astype("datetime64[s]").astype("int64")))
    assert (
        "dates such as '1501020930' (row 0) can be read in several ways, as 2015-01-02 09:30:00 "
        "or 2017-07-25 22:15:30 as an epoch. Pass date_format='%y%m%d%H%M' or date_format='%s'."
    ) in said
    december = market(pd.date_range("2020-12-10 10:10", periods=8, freq="D"), 50.0, 0.01, 2)
    twelve = dated(december[:3], "%y%m%d%H%M%S")
    assert "date_format='%Y%m%d%H%M' or date_format='%y%m%d%H%M%S'" in refusal(
        twelve, minimum_bars=None
    )


@pytest.mark.parametrize("unit, factor", [("s", 10**9), ("ms", 10**6), ("us", 10**3)])
def test_a_fraction_of_an_epoch_is_kept(unit: str, factor: int, tmp_path: Path) -> None:
    steps = pd.date_range("2015-01-02", periods=300, freq="250ms" if unit == "s" else "250us")
    table = market(steps.as_unit("ns"), 50.0, 0.001, 2)
    epochs = (
        table["date"]
        .astype("int64")
        .map(lambda count: f"{count // factor}.{count % factor:0{len(str(factor)) - 1}d}")
    )
    assert_bars(read_bars(saved(tmp_path, table.assign(date=epochs))), table)


def test_epochs_in_scientific_notation_are_read_if_no_digit_is_lost(tmp_path: Path) -> None:
    numbers = HOURLY["date"].astype("datetime64[ms]").astype("int64")
    of_java = numbers.map(lambda number: f"{number / 1e12:.12f}".rstrip("0") + "E12")
    assert_bars(read_bars(saved(tmp_path, HOURLY.assign(date=of_java))), HOURLY)
    of_a_spreadsheet = numbers.map("{:.5E}".format)
    assert "its last digits are lost, as a spreadsheet shortens long numbers" in refusal(
        saved(tmp_path, HOURLY.assign(date=of_a_spreadsheet))
    )


@pytest.mark.parametrize("form", ["%d%m%Y", "%m%d%Y"])
def test_days_or_months_first_without_signs_are_proven(form: str, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, dated(DAILY, form))), DAILY)
    assert f"date_format='{form}'" in refusal(dated(DAILY[:8].assign(date=FIRST), form))
