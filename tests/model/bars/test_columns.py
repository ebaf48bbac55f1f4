"""Columns: names of any spelling, several tickers, doubles, and the user's own mapping."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.bars.read import read_bars
from model.errors import BarsWarning
from tests.helpers.bar_files import DAILY, HOURLY, assert_bars, dated, refusal, spelt


def renamed(*names: str) -> pd.DataFrame:
    return DAILY.set_axis(list(names), axis=1)


NAMES = {
    "capitals": renamed("DATE", "OPEN", "HIGH", "LOW", "CLOSE", "VOLUME"),
    "padded": renamed("Date", " Open ", "High", "Low ", "Close", " Volume"),
    "letters": renamed("t", "o", "h", "l", "c", "v"),
    "Alpha Vantage": renamed("timestamp", "1. open", "2. high", "3. low", "4. close", "5. volume"),
    "MetaTrader": renamed("<DATE>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<TICKVOL>"),
    "Nasdaq": renamed("Date", "Open", "High", "Low", "Close/Last", "Volume"),
    "close beside price": DAILY.assign(Price=1.0, Last=2.0),
    "what else yfinance writes": DAILY.assign(
        Dividends=0.0, **{"Stock Splits": 0.0, "Capital Gains": 0.0}
    ),
    "the same close twice": DAILY.assign(Close=DAILY["close"]),
    "an equal adjusted close": DAILY.assign(**{"Adj Close": DAILY["close"]}),
    "a count of ticks beside a volume of 0": DAILY.rename(columns={"volume": "tick volume"}).assign(
        volume=0
    ),
}


@pytest.mark.parametrize("table", NAMES.values(), ids=NAMES)
def test_columns_are_known_by_many_names(table: pd.DataFrame) -> None:
    assert_bars(read_bars(table), DAILY)


def test_a_time_column_is_joined_to_its_date() -> None:
    table = dated(HOURLY, "%Y-%m-%d")
    table.insert(1, "Time", HOURLY["date"].dt.strftime("%H:%M:%S"))
    assert_bars(read_bars(table), HOURLY)


def test_a_time_column_that_lost_its_zeros_is_joined() -> None:
    table = dated(HOURLY, "%Y%m%d").rename(columns={"date": "<DATE>"})
    assert_bars(
        read_bars(table.assign(**{"<TIME>": HOURLY["date"].dt.strftime("%H%M%S").astype(int)})),
        HOURLY,
    )


def test_rows_without_anything_in_them_are_dropped_and_said() -> None:
    table = pd.concat([DAILY[:3], DAILY[:2].map(lambda _: None), DAILY[3:]], ignore_index=True)
    with pytest.warns(
        BarsWarning, match=r"dropped 2 rows without anything in them \(first: row 3\)"
    ):
        assert_bars(read_bars(table), DAILY)


def test_a_time_column_that_is_no_time_of_day_is_refused() -> None:
    assert "holds '1420156800' (row 0), which is no time of day" in refusal(
        DAILY.assign(time=1420156800)
    )


def test_investing_exports_are_read_silently() -> None:
    table = dated(DAILY, "%m/%d/%Y")[["date", "close", "open", "high", "low", "volume"]].iloc[::-1]
    table = spelt(table, "{:,.2f}".format).assign(
        volume=table["volume"].map(lambda volume: f"{volume / 1e6!r}M"), change="0.10%"
    )
    named = table.set_axis(["Date", "Price", "Open", "High", "Low", "Vol.", "Change %"], axis=1)
    assert_bars(read_bars(named), DAILY)


TWO = {
    "long": pd.concat(
        [DAILY.assign(symbol="AAA"), spelt(DAILY, lambda price: price / 2).assign(symbol="BBB")]
    ).sort_values("date"),
    "wide": pd.concat({"AAA": DAILY.set_index("date"), "BBB": DAILY.set_index("date") / 2}, axis=1),
    "in the index": pd.concat(
        {"AAA": DAILY.set_index("date"), "BBB": DAILY.set_index("date") / 2},
        names=["symbol", "date"],
    ),
}


@pytest.mark.parametrize("table", TWO.values(), ids=TWO)
def test_two_tickers_are_refused_unless_one_is_chosen(table: pd.DataFrame) -> None:
    assert "holds 2 tickers (AAA, BBB); choose one: ticker='AAA'" in refusal(table)
    bars = read_bars(table, ticker="AAA")
    assert_bars(bars, DAILY)
    assert bars.attrs["instrument"] == "AAA"


@pytest.mark.parametrize("table", TWO.values(), ids=TWO)
def test_a_mistyped_ticker_is_answered_with_the_nearest(table: pd.DataFrame) -> None:
    said = refusal(table, ticker="AAB")
    assert "no ticker 'AAB'" in said and "Did you mean" in said


def test_a_ticker_is_refused_where_none_is_named() -> None:
    assert (
        "no ticker 'Z': neither a column nor a second header row names tickers. Leave `ticker` out"
        in refusal(DAILY, ticker="Z")
    )


REFUSED: list[tuple[pd.DataFrame, dict[str, Any], str]] = [
    (DAILY.drop(columns="close"), {}, "no 'close' column (found: date, open, high, low, volume)"),
    (DAILY[["date", "close"]], {}, "no 'open', 'high', 'low' columns (found: date, close)"),
    (
        DAILY.rename(columns={"close": "cloze"}),
        {},
        "Did you mean 'cloze'? Map them: columns={'cloze': 'close'}",
    ),
    (
        DAILY.rename(columns={"close": "Adj Close"}),
        {},
        "Map them: columns={'name in the file': 'close'}",
    ),
    (DAILY.drop(columns="date"), {}, "no 'date' column"),
    (
        DAILY[["date", "volume"]],
        {},
        "no 'open', 'high', 'low', 'close' columns (found: date, volume)",
    ),
    (DAILY.assign(Close=1.0), {}, "2 columns mean 'close' and differ (close, Close)"),
    (
        DAILY,
        {"columns": {"clsoe": "close"}},
        "the DataFrame: `columns` names 'clsoe', which is no column",
    ),
    (DAILY, {"columns": {"clsoe": "close"}}, "Did you mean 'close'?"),
    (
        DAILY.rename(columns={"close": "settle"}),
        {"columns": {"setle": "close"}},
        "the DataFrame: `columns` names 'setle'",
    ),
    (
        DAILY,
        {"columns": {"close": "clsoe"}},
        "the target must be one of date, time, open, high, low, close, volume",
    ),
]


@pytest.mark.parametrize("table, settings, message", REFUSED)
def test_missing_double_and_mistyped_columns_are_refused(
    table: pd.DataFrame, settings: dict[str, Any], message: str
) -> None:
    assert message in refusal(table, **settings)


def test_the_users_mapping_goes_before_our_names() -> None:
    table = DAILY.rename(columns={"close": "settle"}).assign(close=1.0)
    assert_bars(read_bars(table, columns={"settle": "close"}), DAILY)


def test_the_choice_between_two_volumes_is_said() -> None:
    table = DAILY.rename(columns={"volume": "Volume BTC"}).assign(**{"Volume USD": 1.0})
    with pytest.warns(BarsWarning, match="2 volume columns; taking 'Volume BTC'"):
        assert_bars(read_bars(table), DAILY)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_bar_that_its_column_says_is_not_over_is_dropped(newest_first: bool) -> None:
    table = HOURLY.assign(complete=[*[True] * (len(HOURLY) - 1), False])
    table = table[::-1] if newest_first else table
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_bars(read_bars(table), HOURLY[:-1])
        said = [str(one.message) for one in caught]
        assert_bars(read_bars(table, columns={"complete": "ignore"}), HOURLY)
    assert "column 'complete' says that it was not over yet" in said[0]
    assert sum("not over yet" in str(one.message) for one in caught) == 1


def test_numbers_of_rows_are_no_dates_and_the_dates_are_offered(tmp_path: Path) -> None:
    table = DAILY.rename(columns={"date": "stichtag"})
    path = tmp_path / "bars.csv"
    table.to_csv(path)
    assert "Did you mean 'stichtag'? Map them: columns={'stichtag': 'date'}" in refusal(path)
    assert_bars(read_bars(path, columns={"stichtag": "date"}), DAILY)
