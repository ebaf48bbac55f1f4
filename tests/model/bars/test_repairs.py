"""Repairs: what is done without inventing a price is said with its count and first date.

What cannot be done is refused.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.bars.read import read_bars
from model.errors import BarsWarning
from tests.helpers.bar_files import (
    DAILY,
    HOURLY,
    PRICES,
    assert_bars,
    changed,
    market,
    refusal,
    saved,
    sessions,
)

HOLIDAYS = pd.concat(
    [DAILY, pd.DataFrame({"date": pd.date_range("2015-01-03", periods=12, freq="W-SAT")})]
).sort_values("date")


def appended(table: pd.DataFrame, date: str) -> pd.DataFrame:
    """Return the table with its last row once more, at another date and with another close."""
    row = table.iloc[[-1]].assign(date=pd.Timestamp(date), close=table["close"].iloc[-1] * 0.9999)
    return pd.concat([table, row], ignore_index=True)


REPAIRED = {
    "newest first": (DAILY[::-1], "newest row first; the 300 rows were put in order"),
    "shuffled": (
        DAILY.sample(frac=1, random_state=1),
        r"\d+ rows of 300 out of time order \(first 20..-..-.., line \d+\); sorted by date",
    ),
    "holidays as rows": (
        HOLIDAYS,
        r"dropped 12 rows without any price \(first 2015-01-03, line 3\): holidays\?",
    ),
    "holidays with a volume": (HOLIDAYS.fillna({"volume": 0}), "dropped 12 rows without any price"),
    "repeated rows": (
        pd.concat([DAILY[:200], DAILY[150:]]),
        r"dropped 50 rows that repeat another row in full \(first 2015-07-31, line 202\)",
    ),
    "a running session": (
        appended(DAILY, "2016-02-25 15:41"),
        "the last row, 2016-02-25 15:41:00 .line 302., is a second bar for 2016-02-25",
    ),
    "a new running session": (
        appended(DAILY, "2016-02-26 11:12"),
        "the last row, 2016-02-26 11:12:00 .* is off the grid of the others",
    ),
}


@pytest.mark.parametrize("table, message", REPAIRED.values(), ids=REPAIRED)
def test_what_can_be_repaired_is_repaired_and_said(
    table: pd.DataFrame, message: str, tmp_path: Path
) -> None:
    with pytest.warns(BarsWarning, match=message):
        assert_bars(read_bars(saved(tmp_path, table)), DAILY)


def test_a_running_hour_is_dropped(tmp_path: Path) -> None:
    with pytest.warns(BarsWarning, match="off the grid of the others .an unfinished session"):
        assert_bars(
            read_bars(appended(HOURLY, f"{HOURLY['date'].iloc[-1] + pd.Timedelta(minutes=17)}")),
            HOURLY,
        )


def test_a_running_bar_after_a_gap_is_dropped() -> None:
    table = market(pd.date_range("2017-01-01", periods=300, freq="4h"), 100.0, 0.01, 2)
    with pytest.warns(
        BarsWarning, match="the last row, 2017-02-20 01:23:11 .* is off the grid of the others"
    ):
        assert_bars(read_bars(appended(table, "2017-02-20 01:23:11")), table)


def test_dates_that_all_lie_in_the_future_are_refused() -> None:
    future = market(pd.bdate_range("2168-01-04", periods=300), 4700.0, 0.01, 2)
    assert "all dates lie in the future (first 2168-01-04, row 0): another century" in refusal(
        future
    )


def test_an_early_close_in_the_middle_is_no_running_session() -> None:
    table = HOURLY.drop(index=[250, 251, 252])
    assert_bars(read_bars(table), table)


def test_rows_that_miss_some_prices_go_only_if_the_user_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path, changed(changed(DAILY, 5, open=np.nan, high=np.nan), 9, close=np.nan))
    said = refusal(path)
    assert (
        "2 rows with a missing price (first 2015-01-09, line 7: open, high). Remove the rows or "
        "pass on_missing='drop'" in said
    )
    with pytest.warns(BarsWarning, match="dropped 2 rows with a missing price"):
        assert_bars(read_bars(path, on_missing="drop"), DAILY.drop(index=[5, 9]))


def test_a_file_without_any_price_is_refused(tmp_path: Path) -> None:
    assert "no data rows with prices (0 bars)" in refusal(
        saved(tmp_path, DAILY.assign(**dict.fromkeys(PRICES, np.nan)))
    )


@pytest.mark.parametrize(
    "table", [HOURLY.assign(volume=0), HOURLY.assign(volume=np.nan)], ids=["zero", "missing"]
)
def test_a_market_without_volume_is_said_once(table: pd.DataFrame) -> None:
    with pytest.warns(BarsWarning, match="volume is 0 on all 400 bars") as said:
        bars = read_bars(table)
    assert len(said) == 1 and (bars["volume"] == 0).all()


def test_a_missing_volume_column_is_said_once() -> None:
    with pytest.warns(BarsWarning, match="no volume column; volume is taken as 0") as said:
        bars = read_bars(HOURLY.drop(columns="volume"))
    assert len(said) == 1 and (bars["volume"] == 0).all()


@pytest.mark.parametrize("volume", [-1, -1.0, "-1", [-1.0, None] * 200])
def test_a_volume_of_minus_one_everywhere_is_none_and_said(volume: object) -> None:
    with pytest.warns(BarsWarning, match="volume is -1 on all 400 bars, which is how some brokers"):
        assert (read_bars(HOURLY.assign(volume=volume))["volume"] == 0).all()


ADJUSTED = DAILY.assign(**{"Adj Close": DAILY["close"] * np.linspace(0.8, 1, 300)})


def test_an_adjusted_close_is_never_mixed_with_raw_prices() -> None:
    with pytest.warns(
        BarsWarning,
        match=r"Adj Close differs from Close: 299 rows by up to 20.0% \(first 2015-01-02",
    ):
        assert_bars(read_bars(ADJUSTED), DAILY)


def test_adjust_scales_all_four_prices() -> None:
    bars = read_bars(ADJUSTED, adjust=True)
    expected = DAILY[PRICES].mul(np.linspace(0.8, 1, 300), axis=0)
    np.testing.assert_allclose(bars[PRICES].to_numpy(), expected.to_numpy(), rtol=1e-12)
    assert bars["volume"].tolist() == DAILY["volume"].tolist()


def test_adjust_needs_adjusted_closes() -> None:
    assert "adjust=True needs a column 'Adj Close'" in refusal(DAILY, adjust=True)
    assert "1 row without an Adj Close above 0 (first 2015-01-09, row 5)" in refusal(
        changed(ADJUSTED, 5, **{"Adj Close": 0.0}), adjust=True
    )


def daily_from(start: str, count: int, freq: str) -> pd.DataFrame:
    return market(pd.date_range(start, periods=count, freq=freq), 100.0, 0.01, 2)


def daily(count: int, freq: str) -> pd.DataFrame:
    return market(pd.date_range("1990-01-05", periods=count, freq=freq), 100.0, 0.01, 2)


REFUSED = {
    "one date twice": (
        changed(DAILY, 5, date=DAILY["date"][4]),
        "1 duplicate date: 2015-01-08 occurs twice .*lines 6, 7.. Keep one row",
    ),
    "one hour twice": (
        changed(HOURLY, 5, date=HOURLY["date"][4]),
        "2017-01-02 02:00:00 occurs twice .* daylight saving\\?.*timezone=",
    ),
    "times lost": (
        HOURLY.assign(date=HOURLY["date"].dt.normalize()),
        "Several tickers in one file, or times of day lost",
    ),
    "days, then hours": (
        pd.concat([DAILY, HOURLY.assign(date=HOURLY["date"] + pd.Timedelta(days=1))]),
        "spacing changes from 1 day to 1 hour at 2017-01-02 22:00:00",
    ),
    "hours, then days": (
        pd.concat([HOURLY.assign(date=HOURLY["date"] - pd.Timedelta(days=999)), DAILY]),
        "spacing changes from 1 hour to 1 day",
    ),
    "weeks, then days": (
        pd.concat(
            [daily(120, "W-FRI"), DAILY.assign(date=pd.bdate_range("1992-06-01", periods=300))]
        ),
        "from 7 days to 1 day",
    ),
    "months, then days": (
        pd.concat([daily(240, "ME"), DAILY]),
        "spacing changes from 1 month to 1 day at 2015-01-05",
    ),
    "quarters, then months": (
        pd.concat([daily(60, "QS"), DAILY.iloc[:0], daily_from("2005-02-01", 60, "MS")]),
        "spacing changes from 3 months to 1 month at 2005-0",
    ),
    "a few months, then days": (
        pd.concat([daily_from("2014-07-31", 6, "ME"), DAILY]),
        "spacing changes from 1 month to 1 day at 2015-01-05",
    ),
    "years, then days": (
        pd.concat([daily(25, "YE"), DAILY]),
        "spacing changes from 1 year to 1 day at 2015-01-05",
    ),
    "days, then months": (
        pd.concat([DAILY, daily_from("2016-03-31", 40, "ME")]),
        "spacing changes from 1 day to 1 month at 2016-0",
    ),
    "working months, then weeks": (
        pd.concat([daily(120, "BME"), daily_from("2000-01-07", 100, "W-FRI")]),
        "spacing changes from 1 month to 7 days at 1999-12-31",
    ),
    "dates filled ahead": (
        daily_from(f"{pd.Timestamp.now() - pd.Timedelta(days=390):%Y-%m-%d}", 300, "B"),
        r"\d+ bars? dated after today .first 20",
    ),
    "a day with two bars": (
        changed(DAILY, 50, date=DAILY["date"][49] + pd.Timedelta(hours=9)),
        "1 day with two bars among daily bars",
    ),
    "a year mistyped": (
        changed(DAILY, 5, date=pd.Timestamp("2105-01-09")),
        "a gap of 88.9 years between .* and 2105-01-09, line 7",
    ),
    "a year long past": (
        changed(DAILY, 5, date=pd.Timestamp("1915-01-09")),
        "between 1915-01-09, line 7 and 2015-01-02, line 2",
    ),
}


@pytest.mark.parametrize("table, message", REFUSED.values(), ids=REFUSED)
def test_timestamps_that_no_market_has_are_refused(
    table: pd.DataFrame, message: str, tmp_path: Path
) -> None:
    said = refusal(saved(tmp_path, table))
    assert re.search(message, said, re.DOTALL), said


def irregular(count: int) -> pd.DataFrame:
    seconds = np.random.default_rng(3).exponential(900, count).astype(int) + 1
    index = pd.Timestamp("2020-01-01") + pd.to_timedelta(seconds.cumsum(), unit="s")
    return market(pd.DatetimeIndex(index), 100.0, 0.001, 3)


LEGITIMATE = {
    "weeks": daily(300, "W-FRI"),
    "months": daily(300, "MS"),
    "ends of months": daily(300, "ME"),
    "working ends of months": daily(300, "BME"),
    "quarters": daily_from("1950-01-01", 250, "QS"),
    "years": daily_from("1700-12-31", 250, "YE"),
    "a market around the clock": daily_from("2020-01-01", 2000, "h"),
    "the same without two days": daily_from("2020-01-01", 2000, "h").drop(index=range(500, 548)),
    "all days": daily(300, "D"),
    "hours": HOURLY,
    "a week closed": DAILY.drop(index=range(100, 106)),
    "half days": HOURLY.drop(index=range(100, 112)),
    "five minutes": market(sessions(5, 78, days=8), 100.0, 0.001, 3),
    "thin trading": market(
        pd.date_range("2020-01-01", periods=3000, freq="min")[
            np.random.default_rng(0).random(3000) < 0.3
        ],
        100.0,
        0.001,
        3,
    ),
}


@pytest.mark.parametrize("table", LEGITIMATE.values(), ids=LEGITIMATE)
def test_weekends_holidays_and_thin_trading_are_read_silently(table: pd.DataFrame) -> None:
    assert_bars(read_bars(table), table)


THIN = {
    "a third of the hours": (daily_from("2020-01-01", 3000, "h"), 2 / 3, "33%|34%|32%"),
    "a tenth of the days": (daily_from("2018-01-01", 1000, "D"), 0.9, "9%|10%|11%"),
    "every third hour": (
        daily_from("2020-01-01", 3000, "h"),
        np.tile([0.0, 1.0, 1.0], 1000),
        "33%",
    ),
    "half of the minutes": (daily_from("2020-01-01", 20_000, "min"), 0.5, "49%|50%|51%"),
}


@pytest.mark.parametrize("table, kept, share", THIN.values(), ids=THIN)
def test_missing_bars_of_a_market_that_never_rests_are_said(
    table: pd.DataFrame, kept: Any, share: str
) -> None:
    thin = table[np.random.default_rng(1).random(len(table)) < kept]
    with pytest.warns(BarsWarning, match=rf"(?:{share}) of the bars are missing \([\d,]+ of "):
        read_bars(thin)


def test_a_month_that_is_still_running_is_dropped() -> None:
    months = daily_from("1990-01-01", 300, "MS")
    running = appended(months, f"{months['date'].iloc[-1] + pd.Timedelta(days=12)}")
    with pytest.warns(BarsWarning, match="off the grid of the others .an unfinished session"):
        assert_bars(read_bars(running), months)


def test_a_gap_that_no_holiday_explains_is_said() -> None:
    with pytest.warns(
        BarsWarning, match="1 gap longer than 15 days; the longest is 43 days, between"
    ):
        read_bars(DAILY.drop(index=range(100, 130)))


def test_a_miss_by_rounding_is_accepted_and_said() -> None:
    body = DAILY[["open", "close"]].max(axis=1)
    table = changed(DAILY, 5, high=body[5] * (1 - 1e-7))
    with pytest.warns(
        BarsWarning,
        match="1 bar whose high or low misses open or close by rounding .first 2015-01-09, row 5.",
    ):
        assert_bars(read_bars(table), table)
