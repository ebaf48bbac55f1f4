"""Names of columns: what exporters of brokers, exchanges and vendors call dates and prices.

One table, ALIASES. Names are compared without case, accents, brackets and signs, in any script.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from model.bars.faults import COLUMNS, PRICES

SIDES = ("bid", "mid", "ask")  # of a quote, as brokers write four prices of each
# A currency in brackets, (USD) or a sign of another script, says nothing of the column; a side, an
# average or a change does.
TELLING = r"(?:bid|mid|ask|ma|avg|mean|sma|ema|wma|chg|diff|pct|std)\)"
UNIT = rf"\s*\((?!{TELLING})(?:[a-z]{{3,4}}|[^\W\d_a-z]{{1,3}})\)"


# Letters that are one with their stroke or without their dot.
WHOLE_LETTERS = str.maketrans("\u0131\u0142\u00f8\u0111", "ilod")


def plain_name(name: object) -> str:
    """Return a name without case, accents, brackets and signs: "<Adj_Close**>" is "adj close".

    The numbers that Alpha Vantage puts before a name, "1. open" and "1b. open (USD)", are signs.
    """
    letters = unicodedata.normalize("NFKD", str(name)).casefold().translate(WHOLE_LETTERS)
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = " ".join(re.sub(rf"{UNIT}|[\W_]+", " ", letters).split())
    return re.sub(r"^[1-8][ab]? (?=\D)", "", words)


def _both_sides(name: str) -> list[str]:
    """Return how brokers call a price of bids, mids and asks, those of the bid first."""
    return [
        form
        for side in SIDES
        for form in (
            *(f"{side}{name}", f"{side} {name}", f"{name}{side}", f"{name} {side}"),
            *(f"{side} {name[0]}", f"{name}price {side}", f"{name} price {side}"),
        )
    ]


# What each column may be called, in order of preference: "close" beside "price" is the close.
# fmt: off
_NAMES: dict[str, tuple[str, ...]] = {
    "date": (
        "date", "dates", "date1", "datetime", "date time", "date ymd", "date dmy", "date mdy",
        "open time", "opentime", "time open", "timeopen",
        "timestamp", "gmt time", "local time", "bar time", "bartime", "trade date", "tradedate",
        "trading date", "trading day", "quote date", "quotedate", "price date", "pricedate",
        "session date", "business date", "exchange date", "bizdt", "traddt", "trade dt",
        "datadate", "caldt", "dlycaldt", "as of", "as of date", "asof", "dtyyyymmdd",
        "yyyymmdd", "date yyyymmdd",
        "ymd", "window start", "start", "start time", "starttime",
        "start date", "start at", "start timestamp", "open timestamp", "open date", "begin",
        "begins at",
        "begin time", "period start", "time period start", "candle time", "candle begin time",
        "kline open time", "snapshottime", "snapshottimeutc", "snapshot time", "trade time",
        "tradetime", "event time", "day", "dt", "ts", "ts event", "time", "times", "t", "date utc",
        "datetime utc", "timestamp utc", "time utc", "utc", "utc time", "gmt", "date gmt",
        "datetime gmt", "timestamp ms", "unix", "unix time", "unix timestamp", "unixtime", "epoch",
        "close time", "closetime", "time close", "timeclose",
        "datum", "datum zeit", "fecha", "data", "dato", "paivamaara", "tarih",
        "дата", "日期", "交易日期", "交易日", "日時", "日付", "日付け", "날짜", "일자", "일시",
        "index", "unnamed 0", "",
    ),
    "time": (
        "time", "hour", "time of day", "tod", "trade time", "tradetime", "hhmm",
        "hhmmss", "timehhmmss", "time hhmmss",
        "zeit", "uhrzeit", "hora", "heure", "ora", "godzina", "saat", "время", "时间", "時間",
        "時刻", "시간",
    ),
    "open": (
        "open", "o", "open price", "openprice", "opening price", "price open", "opening", "op",
        "opnpric", "px open", "openprc", "prcod", "first", "first price", "s dq open",
        *_both_sides("open"),
        "eroffnung", "eroffn", "eroffnungskurs", "erster", "oppen", "ouverture", "ouv", "apertura",
        "abertura", "otwarcie", "avaus", "acilis",
        "открытие", "откр", "开盘", "开盘价", "今开", "開盤", "開盤價", "始値", "시가", "오픈",
    ),
    "high": (
        "high", "h", "high price", "highprice", "price high", "highest", "highest price", "hi",
        "hghpric", "px high", "askhi", "prchd", "max", "maximum", "maxprice", "s dq high",
        *_both_sides("high"),
        "hoch", "hochst", "tageshoch", "haut", "plus haut", "maximo", "massimo", "maxima",
        "najwyzszy", "yuksek", "hoog", "hogsta", "hoyeste",
        "макс", "максимум", "高", "最高", "最高价", "最高價", "高値", "고가",
    ),
    "low": (
        "low", "l", "low price", "lowprice", "price low", "lowest", "lowest price", "lo",
        "lwpric", "px low", "bidlo", "prcld", "min", "minimum", "minprice", "s dq low",
        *_both_sides("low"),
        "tief", "tiefst", "tagestief", "bas", "plus bas", "minimo", "minima", "najnizszy",
        "dusuk", "laag", "lagsta", "laveste",
        "мин", "минимум", "低", "最低", "最低价", "最低價", "安値", "저가",
    ),
    "close": (
        "close", "c", "close price", "closeprice", "closing price", "price close", "closing", "cl",
        "clspric", "s dq close", *_both_sides("close"), "close last", "last", "last price",
        "lastprice", "lastpric", "px last", "prc", "prccd", "last trade", "price", "settle",
        "settle price",
        "settlement", "settlement price",
        "latest", "laatste", "senaste", "siste", "ostatnio",
        "schluss", "schlusskurs", "schlusspreis", "zuletzt", "letzter", "cloture", "clot",
        "dernier", "cierre", "ultimo", "chiusura", "fechamento", "zamkniecie", "kapanis", "simdi",
        "закрытие", "закр", "цена", "收盘", "收盘价", "收盤", "收盤價", "終値", "종가",
    ),
    "volume": (
        "volume", "v", "vol", "total volume", "totalvolume", "volume traded", "traded volume",
        "ttltradgvol", "tottrdqty", "ttl trd qnty", "total traded quantity",
        "total traded qty", "traded qty", "traded quantity", "total traded volume",
        "totaltradedquantity", "tick volume", "tickvolume", "tickvol", "tickqty", "tick qty",
        "trade volume", "base volume", "basevolume", "volumefrom", "vol base", "shares traded",
        "traded shares", "shares", "no of shares", "number of shares", "no of shares traded",
        "contracts", "lots", "quantity", "qty", "size", "px volume", "last traded volume",
        "lasttradedvolume", "deal volume", "volume shares", "s dq volume", "cshtrd",
        "stuck", "stucke", "stuecke", "umsatz stuck", "volumen", "volumi", "wolumen",
        "wol", "hacim", "hac",
        "объем", "成交量", "成交股數", "交易量", "出来高", "거래량",
    ),
    "adj close": (
        "adj close", "adjclose", "adjusted close", "adj closing price", "adj price",
        "close adj", "close adjusted", "adjusted close price", "adjusted closing price",
        "closeadj", "adj close price", "adjusted", "s dq adjclose",
    ),
    "ticker": (
        "ticker", "symbol", "tic", "instrument", "ric", "security", "asset", "pair", "isin", "code",
        "sid", "name", "permno", "ts code", "tscode", "secid", "sec id", "paper", "stock code",
        "stockcode", "stock symbol", "trading symbol", "tradingsymbol", "tckrsymb", "local symbol",
        "localsymbol", "contract", "windcode", "s info windcode", "sc code", "scrip", "scrip code",
        "currency pair", "figi", "cusip", "raw symbol", "тикер", "股票代码", "证券代码",
        "代码", "銘柄コード", "コード", "종목코드",
    ),
}
# fmt: on
ALIASES = {
    meaning: tuple(dict.fromkeys(map(plain_name, names))) for meaning, names in _NAMES.items()
}
# A name of two meanings has the first of them: "time" is the date, unless another column is.
MEANINGS = {alias: meaning for meaning, aliases in reversed(ALIASES.items()) for alias in aliases}
# Columns in which an exchange says whether a bar is over, and how it says so.
FINISHED = frozenset((
    *("complete", "completed", "confirm", "confirmed", "closed", "is closed", "isclosed"),
    *("final", "is final", "isfinal"),
))  # fmt: skip
OVER, RUNNING = frozenset(("true", "1", "1.0", "yes")), frozenset(("false", "0", "0.0", "no"))
IGNORED = "ignore"  # what the user calls a column that is not to be read
TARGETS = ("date", "time", *COLUMNS, "adj close", "ticker", IGNORED)
# Of Binance's and ccxt's single letters the small ones are the bar's own; T is its closing time,
# L the last trade, V and Q what takers bought, B nothing.
KLINE_LETTERS = frozenset("tTohlcv")
TAKERS_LETTERS = frozenset("TLVQB")
PERIOD = r"\b[0-9]+ ?(?:[dhmswy]|min|days?|hours?|weeks?)?\b"  # 20, 20d, 24 hours; not 1inch
# A volume is not an average or a change of one.
DERIVED = frozenset((
    *("ma", "sma", "ema", "wma", "avg", "average", "mean", "median", "adv", "change", "chg"),
    *("delta", "diff", "pct", "percent", "ratio", "rel", "relative", "osc", "oscillator", "rank"),
    *("zscore", "score", "std", "stdev", "weighted", "vwap", "trend", "signal", "surge", "roc"),
    *("growth", "cumulative", "cum", "profile", "log", "normalized", "scaled"),
))  # fmt: skip


def meaning_of(name: object) -> str | None:
    """Return what a column of this name means, None if nothing known.

    No name at all is a date's: pandas writes the index so. A name of signs alone, "%", is none,
    and no volume is a percentage.
    """
    plain = plain_name(name)
    if not plain and str(name).strip(" \"'"):
        return None
    meaning = MEANINGS.get(plain)
    return None if meaning == "volume" and "%" in str(name) else meaning


def n_recognised(names: Iterable[object]) -> int:
    """Return how many of the names, the empty one aside, have a meaning."""
    return sum(plain_name(name) != "" and meaning_of(name) is not None for name in names)


def is_some_volume(name: str) -> bool:
    """Return whether a name says volume and of what, "Volume BTC", and nothing derived of it."""
    plain = plain_name(name)
    if set(re.split(r"[\W\d_]+", plain)) & DERIVED or re.search(PERIOD, plain) or "%" in name:
        return False
    return plain.startswith(("volume ", "vol "))


def says_utc(name: object) -> bool:
    """Return whether a name says that its times are UTC, "Time (UTC)", and not a distance of it."""
    stated = r"(?i)(?:\b|_|time|stamp|date)(?:utc|gmt)(?![a-z]|\s*[+-]?[0-9])"
    return re.search(stated, str(name)) is not None


def says_close(name: object) -> bool:
    """Return whether a name says that a time is the end of a bar, "close_time"."""
    return plain_name(name) in ("close time", "closetime", "time close", "timeclose")


def side_of(name: object) -> str | None:
    """Return which side of a quote a price is of: "bidopen" and "Open (Bid)" are of the bid."""
    plain = plain_name(name)
    if MEANINGS.get(plain) not in PRICES:
        return None
    return next((side for side in SIDES if side in plain), None)
