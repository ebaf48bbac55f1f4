"""Exports of brokers, exchanges, vendors and platforms, as their documentation shows them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from model.bars.read import read_bars
from tests.helpers.bar_files import DAILY, HOURLY, PRICES, assert_bars, market, refusal, saved

HOURS = market(pd.date_range("2021-01-01", periods=300, freq="h"), 29_000.0, 0.005, 2)
SESSIONS = market(
    pd.DatetimeIndex(
        [
            day + pd.Timedelta(minutes=570 + 30 * bar)
            for day in pd.bdate_range("2019-01-02", periods=24)
            for bar in range(13)
        ]
    ),
    3200.0,
    0.002,
    2,
)


class Export(NamedTuple):
    """What an exporter writes: the lines above the rows, each row, and the order of the rows."""

    table: pd.DataFrame
    above: str
    row: Callable[[Any], str]
    newest_first: bool = False
    below: str = ""
    encoding: str = "utf-8"

    def content(self) -> bytes:
        rows = list(self.table.itertuples())
        lines = [self.row(row) for row in (rows[::-1] if self.newest_first else rows)]
        return "\n".join([*self.above.splitlines(), *lines, self.below]).encode(self.encoding)


def five(row: Any) -> str:
    return f"{row.open},{row.high},{row.low},{row.close},{row.volume}"


def epoch(row: Any) -> int:
    return int(row.date.value // 10**9)


def percent(row: Any) -> str:
    return f'"{row.close}","{row.open}","{row.high}","{row.low}","{row.volume}","1.2%"'


EXPORTS = {
    "Refinitiv": Export(
        DAILY,
        "Exchange Date,Close,Net,%Chg,Open,Low,High,Volume",
        lambda r: f"{r.date:%d-%b-%Y},{r.close},1,1%,{r.open},{r.low},{r.high},{r.volume}",
        newest_first=True,
    ),
    "Investing.com in Turkish": Export(
        DAILY,
        "Tarih,Şimdi,Aç\u0131l\u0131ş,Yüksek,Düşük,Hac.,Fark %",
        lambda r: f'"{r.date:%d.%m.%Y}",{percent(r)}',
        newest_first=True,
    ),
    "Investing.com in Swedish": Export(
        DAILY,
        "Datum,Senaste,Öppen,Högsta,Lägsta,Vol.,+/- %",
        lambda r: f'"{r.date:%Y-%m-%d}",{percent(r)}',
        newest_first=True,
    ),
    "Investing.com in Korean": Export(
        DAILY,
        "날짜,종가,오픈,고가,저가,거래량,변동 %",
        lambda r: f'"{r.date:%Y- %m- %d}",{percent(r)}',
        newest_first=True,
    ),
    "Investing.com in Japanese": Export(
        DAILY,
        "日付け,終値,始値,高値,安値,出来高,変化率 %",
        lambda r: f'"{r.date:%Y年%m月%d日}",{percent(r)}',
        newest_first=True,
    ),
    "TradeStation": Export(
        SESSIONS.assign(volume=0),
        '"Date","Time","Open","High","Low","Close","Up","Down"',
        lambda r: f"{r.date:%m/%d/%Y,%H:%M},{r.open},{r.high},{r.low},{r.close},120,80",
    ),
    "Sierra Chart": Export(
        SESSIONS,
        "Date, Time, Open, High, Low, Last, Volume, NumberOfTrades, BidVolume, AskVolume",
        lambda r: f"{r.date:%Y/%-m/%-d, %H:%M:%S}.0, {five(r).replace(',', ', ')}, 12, 5, 7",
    ),
    "Interactive Brokers": Export(
        SESSIONS.assign(date=SESSIONS["date"] + pd.Timedelta(hours=5)),
        "date,open,high,low,close,volume,barCount,average",
        lambda r: (
            f"{r.date - pd.Timedelta(hours=5):%Y%m%d %H:%M:%S} US/Eastern,{five(r)},7,{r.close}"
        ),
    ),
    "Bybit": Export(
        HOURS,
        "startTime,openPrice,highPrice,lowPrice,closePrice,volume,turnover",
        lambda r: f"{epoch(r)}000,{five(r)},1234.5",
        newest_first=True,
    ),
    "OKX": Export(
        HOURS,
        "ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm",
        lambda r: f"{epoch(r)}000,{five(r)},1.5,1.6,1",
        newest_first=True,
    ),
    "Bitstamp": Export(
        HOURS,
        "https://www.example.com\nunix,date,symbol,open,high,low,close,volume",
        lambda r: f"{epoch(r)},{r.date},BTC/USD,{five(r)}",
        newest_first=True,
    ),
    "Wall Street Journal": Export(
        DAILY.assign(volume=0),
        "Date, Open, High, Low, Close",
        lambda r: f"{r.date:%m/%d/%y}, {r.open}, {r.high}, {r.low}, {r.close}",
        newest_first=True,
    ),
    "MarketWatch": Export(
        DAILY,
        "Date,Open,High,Low,Close,Volume",
        lambda r: (
            f'{r.date:%m/%d/%Y},"{r.open:,.2f}","{r.high:,.2f}","{r.low:,.2f}",'
            f'"{r.close:,.2f}","{r.volume:,}"'
        ),
        newest_first=True,
    ),
    "Tiingo": Export(
        DAILY,
        "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash",
        lambda r: (
            f"{r.date:%Y-%m-%d}T00:00:00.000Z,{r.close},{r.high},{r.low},{r.open},{r.volume},"
            f"{r.close},{r.high},{r.low},{r.open},{r.volume},0.0"
        ),
    ),
    "National Stock Exchange of India": Export(
        DAILY,
        "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, "
        "CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES",
        lambda r: (
            f"INFY, EQ, {r.date:%d-%b-%Y}, 1, {r.open}, {r.high}, {r.low}, {r.close}, {r.close}, "
            f"{r.close}, {r.volume}, 12.3, 456"
        ),
    ),
    "Bombay Stock Exchange": Export(
        DAILY,
        "Date,Open Price,High Price,Low Price,Close Price,WAP,No.of Shares,No. of Trades,",
        lambda r: (
            f"{r.date:%-d-%B-%Y},{r.open},{r.high},{r.low},{r.close},{r.close},{r.volume},123,"
        ),
        newest_first=True,
    ),
    "Taiwan Stock Exchange": Export(
        DAILY,
        '"104年01月 2330 各日成交資訊"\n'
        '"日期","成交股數","成交金額","開盤價","最高價","最低價","收盤價","漲跌價差","成交筆數",',
        lambda r: (
            f'"{r.date.year - 1911}/{r.date:%m/%d}","{r.volume:,}","123,456","{r.open:,.2f}",'
            f'"{r.high:,.2f}","{r.low:,.2f}","{r.close:,.2f}","+0.50","1,234",'
        ),
        encoding="big5",
    ),
    "tushare": Export(
        DAILY,
        ",ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount",
        lambda r: (
            f"{r.Index},600000.SH,{r.date:%Y%m%d},{r.open},{r.high},{r.low},{r.close},1,0.1,0.2,"
            f"{r.volume},123.4"
        ),
        newest_first=True,
    ),
    "Quandl": Export(
        DAILY,
        "Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. High,Adj. Low,"
        "Adj. Close,Adj. Volume",
        lambda r: f"{r.date:%Y-%m-%d},{five(r)},0.0,1.0,{five(r)}",
    ),
    "CRSP": Export(
        DAILY,
        "PERMNO,date,TICKER,BIDLO,ASKHI,PRC,VOL,RET,OPENPRC",
        lambda r: f"14593,{r.date:%Y%m%d},AAPL,{r.low},{r.high},{r.close},{r.volume},0.01,{r.open}",
    ),
    "Refinitiv Tick History": Export(
        SESSIONS,
        "#RIC,Domain,Date-Time,GMT Offset,Type,Open,High,Low,Last,Volume",
        lambda r: (
            f"ESH9,Market Price,{r.date:%Y-%m-%dT%H:%M:%S}.000000000Z,-5,Intraday 30Min,{five(r)}"
        ),
    ),
    "Bloomberg": Export(
        DAILY,
        "SPX Index\t\t\t\t\t\nDates\tPX_OPEN\tPX_HIGH\tPX_LOW\tPX_LAST\tPX_VOLUME",
        lambda r: f"{r.date:%-m/%-d/%Y}\t" + five(r).replace(",", "\t"),
    ),
    "Finam": Export(
        DAILY,
        "<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>",
        lambda r: f"SBER;D;{r.date:%d/%m/%y};00:00;" + five(r).replace(",", ";"),
    ),
    "OANDA": Export(
        HOURLY,
        "time,volume,bid.o,bid.h,bid.l,bid.c,complete",
        lambda r: (
            f"{r.date:%Y-%m-%dT%H:%M:%S}.000000000Z,{r.volume},{r.open},{r.high},{r.low},"
            f"{r.close},True"
        ),
    ),
    "Börse Frankfurt": Export(
        DAILY,
        "Datum;Eröffnung;Schluss;Tageshoch;Tagestief;Umsatz;Umsatz Stück",
        lambda r: (
            f"{r.date:%d.%m.%y};"
            + f"{r.open};{r.close};{r.high};{r.low};7.5;{r.volume}".replace(".", ",")
        ),
        newest_first=True,
        encoding="cp1252",
    ),
    "Euronext": Export(
        DAILY,
        '"Historical Data"\n"From 2015-01-02 to 2016-02-25"\nFR0000120271\n'
        'Date;Open;High;Low;Last;Close;"Number of Shares";"Number of Trades";Turnover;vwap',
        lambda r: (
            f'"{r.date:%d/%m/%Y}";{r.open};{r.high};{r.low};{r.close};{r.close};{r.volume};12;'
            f"9;{r.close}"
        ),
    ),
    "Compustat": Export(
        DAILY,
        "gvkey,iid,datadate,tic,cshtrd,prccd,prchd,prcld,prcod",
        lambda r: f"001690,01,{r.date:%Y%m%d},AAPL,{r.volume},{r.close},{r.high},{r.low},{r.open}",
    ),
    "ProRealTime": Export(
        DAILY,
        "Date\tOuverture\tHaut\tBas\tClôture\tVolume",
        lambda r: f"{r.date:%d/%m/%Y}\t" + five(r).replace(",", "\t").replace(".", ","),
        encoding="cp1252",
    ),
}


@pytest.mark.filterwarnings("ignore:.*(newest row first|no volume column|years of three digits)")
@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_an_export_is_read(export: Export, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, export.content())), export.table)


# What cannot be read as it stands, what the message says to do, and that done.
HEADERLESS = {
    "Coinbase": (
        "date,low,high,open,close,volume",
        Export(
            HOURS, "", lambda r: f"{epoch(r)},{r.low},{r.high},{r.open},{r.close},{r.volume}", True
        ),
    ),
    "Bitfinex": (
        "date,open,close,high,low,volume",
        Export(
            HOURS,
            "",
            lambda r: f"{epoch(r)}000,{r.open},{r.close},{r.high},{r.low},{r.volume}",
            True,
        ),
    ),
    "Gate.io": (
        "date,volume,close,high,low,open",
        Export(HOURS, "", lambda r: f"{epoch(r)},{r.volume},{r.close},{r.high},{r.low},{r.open}"),
    ),
    "KuCoin": (
        "date,open,close,high,low,volume,other 7",
        Export(HOURS, "", lambda r: f"{epoch(r)},{r.open},{r.close},{r.high},{r.low},{r.volume},7"),
    ),
    "CSI Data": (
        "date,open,high,low,close,volume,other 7",
        Export(DAILY, "", lambda r: f"{r.date:%Y%m%d},{five(r)},4567"),
    ),
    "Portara": (
        "date,time,open,high,low,close,volume,other 8",
        Export(SESSIONS, "", lambda r: f"{r.date:%Y%m%d,%H%M},{five(r)},9"),
    ),
}


@pytest.mark.filterwarnings("ignore:.*newest row first")
@pytest.mark.parametrize("names, export", HEADERLESS.values(), ids=HEADERLESS)
def test_an_export_without_names_is_read_with_those_that_are_offered(
    names: str, export: Export, tmp_path: Path
) -> None:
    said = refusal(saved(tmp_path, export.content()))
    assert f"Add a header line of {names.count(',') + 1} names, as {names} if that is" in said
    named = export._replace(above=names).content()
    assert_bars(read_bars(saved(tmp_path, named)), export.table)


def test_a_footer_of_barchart_can_be_removed(tmp_path: Path) -> None:
    export = Export(
        DAILY,
        'Time,Open,High,Low,Last,Change,%Chg,Volume,"Open Int"',
        lambda r: (
            f'{r.date:%m/%d/%Y},{r.open},{r.high},{r.low},{r.close},0.5,"0.44%",{r.volume},1234'
        ),
        below='"Downloaded from Barchart.com as of 04-02-2019 05:12pm CDT"',
    )
    said = refusal(saved(tmp_path, export.content()))
    assert "line 302 has 1 field" in said and "A footer or note, and no bar? Remove what" in said
    assert_bars(read_bars(saved(tmp_path, export._replace(below="").content())), DAILY)


def test_an_epoch_that_htx_calls_id_is_offered_as_the_date(tmp_path: Path) -> None:
    table = HOURS.assign(id=[epoch(row) for row in HOURS.itertuples()]).drop(columns="date")
    said = refusal(saved(tmp_path, table))
    assert "no 'date' column" in said and "Map them: columns={'id': 'date'}" in said
    bars = read_bars(saved(tmp_path, table), columns={"id": "date"})
    assert_bars(bars, HOURS, PRICES)
