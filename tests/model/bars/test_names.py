"""Names: what exporters call dates and prices, in any script; averages and sides of a quote."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.bars.names import ALIASES, meaning_of, plain_name
from model.bars.read import read_bars
from model.errors import BarsWarning
from tests.helpers.bar_files import DAILY, HOURLY, PRICES, assert_bars, dated, refusal, saved

SPELT = [
    ("<OPEN>", "open"),
    (" Open ", "open"),
    ("1. open", "open"),
    ("1b. open (USD)", "open"),
    ("Adj_Close**", "adj close"),
    ("Open (USD)", "open"),
    ("Open (Bid)", "open bid"),
    ("Volume (avg)", "volume avg"),
    ("Close/Last", "close last"),
    ("Vol.", "vol"),
    ("日期", "日期"),
    ("Объём", "объем"),
    ("Máximo", "maximo"),
    ("", ""),
]


@pytest.mark.parametrize("name, plain", SPELT)
def test_a_name_is_compared_without_its_ornament(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_no_two_meanings_share_a_name_but_the_date_and_the_time() -> None:
    for meaning, names in ALIASES.items():
        for name in names:
            assert meaning_of(name) in (meaning, "date" if meaning == "time" else meaning), name


@pytest.mark.parametrize("name", ["%", "+/-", "#", "<>"])
def test_signs_alone_name_nothing(name: str) -> None:
    assert meaning_of(name) is None


# The names that stand for date, open, high, low, close and volume.
HEADERS = {
    "Polygon's flat files": "window_start open high low close volume",
    "CBOE": "quote_date open high low close trade_volume",
    "MetaStock": "<DTYYYYMMDD> <OPEN> <HIGH> <LOW> <CLOSE> <VOL>",
    "tushare": "trade_date open high low close vol",
    "MOEX": "TRADEDATE OPEN HIGH LOW CLOSE VOLUME",
    "MOEX candles": "begin open high low close volume",
    "NSE since 2024": "TradDt OpnPric HghPric LwPric ClsPric TtlTradgVol",
    "NSE before": "TIMESTAMP OPEN HIGH LOW CLOSE TOTTRDQTY",
    "CoinAPI": "time_period_start price_open price_high price_low price_close volume_traded",
    "CoinMarketCap": "timeOpen open high low close volume",
    "CryptoCompare": "time open high low close volumefrom",
    "FXCM": "date bidopen bidhigh bidlow bidclose tickqty",
    "OANDA": "time mid.o mid.h mid.l mid.c volume",
    "IG": "snapshotTime openPrice.bid highPrice.bid lowPrice.bid closePrice.bid lastTradedVolume",
    "Robinhood": "begins_at open_price high_price low_price close_price volume",
    "Bloomberg": "Date PX_OPEN PX_HIGH PX_LOW PX_LAST PX_VOLUME",
    "Wind": "TRADE_DT S_DQ_OPEN S_DQ_HIGH S_DQ_LOW S_DQ_CLOSE S_DQ_VOLUME",
    "akshare": "日期 开盘 最高 最低 收盘 成交量",
    "Taiwan": "日期 開盤價 最高價 最低價 收盤價 成交量",
    "Japan": "日付 始値 高値 安値 終値 出来高",
    "Japan with units": "日付 始値(円) 高値(円) 安値(円) 終値(円) 出来高(株)",
    "Korea": "일자 시가 고가 저가 종가 거래량",
    "Investing in Russian": "Дата Откр. Макс. Мин. Цена Объём",
    "Investing in German": "Datum Eröffn. Hoch Tief Zuletzt Vol.",
    "Investing in Spanish": "Fecha Apertura Máximo Mínimo Último Vol.",
    "Investing in Portuguese": "Data Abertura Máxima Mínima Último Vol.",
    "Boursorama": "date ouv haut bas clot vol",
    "Stooq in Polish": "Data Otwarcie Najwyzszy Najnizszy Zamkniecie Wolumen",
}


@pytest.mark.filterwarnings("ignore:.*newest row first:model.errors.BarsWarning")
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_names_of_exporters_are_known(header: str) -> None:
    assert_bars(read_bars(DAILY.set_axis(header.split(), axis=1)), DAILY)


ALPHA = DAILY.set_axis(
    ["date", "1a. open (USD)", "2a. high (USD)", "3a. low (USD)", "4a. close (USD)", "5. volume"],
    axis=1,
)


def test_two_equal_currencies_are_one_and_two_that_differ_are_refused() -> None:
    doubled = ALPHA.assign(**{"4b. close (USD)": DAILY["close"], "6. market cap (USD)": 1.0})
    assert_bars(read_bars(doubled), DAILY)
    euros = ALPHA.assign(**{"4b. close (EUR)": DAILY["close"] * 0.9})
    assert (
        "2 columns mean 'close' and differ (4a. close (USD), 4b. close (EUR)). "
        "Pass columns={'4a. close (USD)': 'close'} or columns={'4b. close (EUR)': 'close'}."
    ) in refusal(euros)
    assert_bars(read_bars(euros, columns={"4a. close (USD)": "close"}), DAILY)


FOREIGN = {
    "Chinese": "日子 甲 乙 丙 丁 戊",
    "Russian": "День Начало Выше Ниже Конец Сколько",
    "Greek": "Μέρα Άνοιγμα Υψηλό Χαμηλό Κλείσιμο Όγκος",
}


@pytest.mark.parametrize("header", FOREIGN.values(), ids=FOREIGN)
def test_unknown_names_of_any_script_can_be_mapped(header: str) -> None:
    names = header.split()
    table = DAILY.set_axis(names, axis=1).assign(**{"其他": 1})
    assert f"no 'date', 'open', 'high', 'low', 'close' columns (found: {names[0]}" in refusal(table)
    mapped = dict(zip(names, ("date", *PRICES, "volume"), strict=True))
    assert_bars(read_bars(table, columns=mapped), DAILY)


def test_a_mapped_date_keeps_its_time_column() -> None:
    table = dated(HOURLY, "%Y%m%d").rename(columns={"date": "Session"})
    table.insert(1, "<TIME>", HOURLY["date"].dt.strftime("%H%M%S").astype(int))
    assert_bars(read_bars(table, columns={"Session": "date"}), HOURLY)
    other = table.assign(**{"<TIME>": "2001-01-01"})
    assert "Several tickers in one file, or times of day lost" in refusal(
        other, columns={"Session": "date"}
    )


def test_a_clock_of_any_name_is_joined_to_its_date() -> None:
    table = dated(HOURLY, "%Y-%m-%d")
    table.insert(1, "Start Time", HOURLY["date"].dt.strftime("%H:%M"))
    assert_bars(read_bars(table), HOURLY)


KLINE = HOURLY.set_axis(["t", "o", "h", "l", "c", "v"], axis=1)


def test_capital_letters_of_a_kline_are_not_those_of_its_bar() -> None:
    table = KLINE.assign(T=HOURLY["date"] + pd.Timedelta(minutes=59), L=1, V=2, Q=3, B=0)
    assert_bars(read_bars(table), HOURLY)


def test_letters_of_two_cases_are_refused_and_can_be_told_apart() -> None:
    table = KLINE[["t", "o", "h", "l", "c"]].assign(T=HOURLY["date"] + pd.Timedelta(minutes=59))
    table = table.rename(columns={"c": "close"})
    said = refusal(table)
    assert "2 columns mean 'date' and differ (t, T). Pass columns={'t': 'date'} or" in said
    with pytest.warns(BarsWarning, match="no volume column"):
        assert_bars(read_bars(table, columns={"t": "date"}), HOURLY, PRICES)


DERIVED = [
    *("Volume MA", "Vol Avg", "Volume Change %", "Volume 20d Average", "Vol. chg", "Volume ratio"),
    *(
        "Vol %",
        "Vol_20d",
        "Volume 24h",
        "Vol 20",
        "Volume (avg)",
        "Volume SMA(20)",
        "Average Volume",
        "Volume Δ%",
        "Relative Volume %",
    ),
]


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_made_of_volume_is_no_volume(name: str) -> None:
    with (
        pytest.warns(BarsWarning, match="no volume column; volume is taken as 0"),
        pytest.warns(BarsWarning, match="is called after volume and something made of it"),
    ):
        assert (read_bars(DAILY.rename(columns={"volume": name}))["volume"] == 0).all()
    assert_bars(read_bars(DAILY.assign(**{name: 5.0})), DAILY)


@pytest.mark.parametrize(
    "name", ["Volume BTC", "Volume 1INCH", "Volume (BTC)", "Vol. in lots", "Volume USDT"]
)
def test_a_volume_of_something_is_a_volume(name: str) -> None:
    assert_bars(read_bars(DAILY.rename(columns={"volume": name})), DAILY)


def test_prices_of_several_sides_are_refused() -> None:
    table: Any = DAILY.set_axis(["date", "bidopen", "askhigh", "bidlow", "askclose", "v"], axis=1)
    assert (
        "the four prices are of several sides of a quote (bidopen, askhigh, bidlow, askclose)"
        in refusal(table)
    )


def test_a_column_can_be_left_out() -> None:
    table = DAILY.assign(Close=1.0)
    assert_bars(read_bars(table, columns={"Close": "ignore"}), DAILY)


@pytest.mark.parametrize("name", ["Gmt time", "Time (UTC)", "date_utc", "timestampUTC"])
def test_times_are_in_utc_where_their_name_says_so(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, HOURLY.rename(columns={"date": name}))
    for zone in (None, "America/New_York"):
        bars = read_bars(path, timezone=zone, columns={name: "date"})
        assert_bars(bars, HOURLY)
        assert bars.attrs["timezone"] == "UTC"


@pytest.mark.parametrize("name", ["Time", "Time (GMT+2)", "UTC-5", "outcome"])
def test_a_distance_from_utc_in_a_name_is_not_taken_for_utc(name: str) -> None:
    table = HOURLY.rename(columns={"date": name})
    assert read_bars(table, columns={name: "date"}).attrs["timezone"] is None


def test_times_that_are_called_ends_of_bars_are_said() -> None:
    table = HOURLY.rename(columns={"date": "close_time"})
    with pytest.warns(BarsWarning, match="the ends of bars.*pass stamp='close'"):
        assert_bars(read_bars(table), HOURLY)
    assert_bars(read_bars(table, stamp="close"), HOURLY)
