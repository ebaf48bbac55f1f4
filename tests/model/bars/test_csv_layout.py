"""CSV layouts: delimiters, headers, notes, blanks, widths; and the lines that messages name."""

import re
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
    csv_text,
    dated,
    refusal,
    saved,
)

TEXT = csv_text(DAILY)
BODY = csv_text(DAILY, header=False)
MULTI = DAILY.set_index("date").rename(columns=str.title)[
    ["Close", "High", "Low", "Open", "Volume"]
]
MULTI.columns = pd.MultiIndex.from_product([MULTI.columns, ["^IXIC"]], names=["Price", "Ticker"])

DAYS = {
    "semicolon": csv_text(DAILY, sep=";"),
    "tab": csv_text(DAILY, sep="\t"),
    "bar": csv_text(DAILY, sep="|"),
    "blank": csv_text(DAILY, sep=" "),
    "blanks in columns": csv_text(DAILY, sep=" ").replace(" ", "   "),
    "everything quoted": csv_text(DAILY, quoting=1),
    "padded cells": TEXT.replace(",", " , "),
    "line that names the delimiter": "sep=;\n" + csv_text(DAILY, sep=";"),
    "nameless index": DAILY.set_index("date").rename_axis(None).to_csv(),
    "header without the index": TEXT.removeprefix("date,"),
    "numbered rows": DAILY.to_csv(),
    "delimiter at the end": TEXT.replace("\n", ",\n"),
    "delimiter at the end of the data": TEXT.replace("\n", ",\n").replace(
        "volume,\n", "volume\n", 1
    ),
    "delimiter at the end of the header": TEXT.replace("volume\n", "volume,\n", 1),
    "delimiter at the end of the data, a German date": TEXT.replace("\n", ",\n").replace(
        "date,open,high,low,close,volume,\n", "Datum,open,high,low,close,volume\n", 1
    ),
    "the end of a text of DOS": TEXT + "\x1a",
    "no header": BODY,
    "commented header of another order": "# date,close,high,low,open,volume\n"
    + csv_text(DAILY[["date", "close", "high", "low", "open", "volume"]], header=False),
    "comments and blank lines": "# exported\n\n" + TEXT.replace("\n", "\n\n", 40) + "\n\n// end\n",
    "rows of nothing": TEXT + ",,,,,\n,,,,,\n",
    "address above": "https://www.example.com\n" + TEXT,
    "notes above": "Symbol: X\nExported 2019-01-01, 12:00\n" + TEXT,
    "padded note above": "Symbol,X,,,,\n" + TEXT,
    "two equal header rows": "date,open,high,low,close,volume\n" + TEXT,
    "units below the names": TEXT.replace("\n", "\n-,USD,USD,USD,USD,shares\n", 1),
    "units in brackets": TEXT.replace("\n", "\n,(USD),(USD),(USD),(USD),(shares)\n", 1),
    "types below the names": TEXT.replace("\n", "\ndate,float,float,float,float,int\n", 1),
    "a rule below the names": TEXT.replace("\n", "\n----------,-----,-----\n", 1) + "----------\n",
    "a drawn table": re.sub(
        "(?m)^(.+)$",
        r"| \1 |",
        TEXT.replace("\n", "\n:--,--:,--:,--:,--:,--:\n", 1).replace(",", " | "),
    ),
    "three header rows": MULTI.to_csv(),
    "three header rows, ticker first": MULTI.swaplevel(axis=1).to_csv(),
}


@pytest.mark.parametrize("text", DAYS.values(), ids=DAYS)
def test_another_layout_of_the_same_days_is_read_silently(text: str, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, text)), DAILY)


def test_a_delimiter_at_the_end_is_none_beside_a_date_that_the_user_names(tmp_path: Path) -> None:
    rows = TEXT.replace("\n", ",\n").removeprefix("date,open,high,low,close,volume,\n")
    path = saved(tmp_path, "stichtag,open,high,low,close,volume\n" + rows)
    assert_bars(read_bars(path, columns={"stichtag": "date"}), DAILY)


EPOCH = HOURLY.assign(date=HOURLY["date"].astype("datetime64[ms]").astype("int64"))
KLINE = EPOCH.assign(
    close_time=EPOCH["date"] + 3_599_999, quote=1, trades=2, taker=1, taker_quote=1, ignore=0
)
CLOCKS = dated(HOURLY, "%Y.%m.%d").assign(time=HOURLY["date"].dt.strftime("%H:%M"))
SEVEN = CLOCKS[["date", "time", "open", "high", "low", "close", "volume"]]
METATRADER = SEVEN.set_axis(
    ["<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<TICKVOL>"], axis=1
)

HOURS = {
    "histdata, NinjaTrader": csv_text(dated(HOURLY, "%Y%m%d %H%M%S"), sep=";", header=False),
    "MetaTrader 4": csv_text(SEVEN, header=False),
    "MetaTrader 5": csv_text(METATRADER.assign(**{"<VOL>": 0, "<SPREAD>": 1}), sep="\t"),
    "Binance": csv_text(KLINE, header=False),
    "Kraken": csv_text(EPOCH.assign(date=EPOCH["date"] // 1000, trades=5), header=False),
}


@pytest.mark.parametrize("text", HOURS.values(), ids=HOURS)
def test_what_platforms_write_within_the_day_is_read_silently(text: str, tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, text)), HOURLY)


REFUSED = {
    "header alone": ("Date,Open,High,Low,Close,Volume\n", r"a header but no data rows \(0 bars\)"),
    "comments alone": ("# a\n# b\n", "only blank or comment lines"),
    "one column": ("a\n1\n2\n", "only one column .*delimiter"),
    "lines quoted as a whole": (
        "\n".join(f'"{line}"' for line in TEXT.splitlines()),
        "only one column",
    ),
    "thousands without quotes": (
        TEXT.replace(".", ",1."),
        "line 2 has 10 fields but the header has 6 columns",
    ),
    "a short line": (
        TEXT.replace("\n2015-01-06,", "\n"),
        r"line 4 has 5 fields .*\(1 line of other width\)",
    ),
    "short first lines": (
        re.sub(r",[0-9]+(?=\n)", "", TEXT[:1000]) + TEXT[1000:],
        r"line 2 has 5 fields but the header has 6 columns",
    ),
    "a long first line": (
        TEXT.replace("\n2015-01-05", ",1\n2015-01-05"),
        r"line 2 has 7 fields but the header has 6 columns .1 line of other width",
    ),
    "a cut last line": (TEXT[:-30], "line 301 has"),
    "a note below": (TEXT + "Data provided by X\n", "line 302 has 1 field .*A footer or note"),
    "an open quote": (
        TEXT.replace("2015-01-06", '"2015-01-06'),
        "1 line with a quote that does not close .first line 4",
    ),
    "a header within": (csv_text(DAILY[:150]) + csv_text(DAILY[150:]), "line 152, 'open'"),
    "no header, closes first": (
        csv_text(DAILY[["date", "close", "high", "low", "open", "volume"]], header=False),
        "no header row, and the second column looks like the close",
    ),
    "no header, lows and highs first": (
        csv_text(DAILY[["date", "low", "high", "open", "close", "volume"]], header=False),
        "6 columns are not date, .*as date,low,high,open,close,volume if that is what they are",
    ),
    "an endless field": (TEXT + "x" * 200_000, r"line 302 has 1 field .*: 'x{60}'"),
    "an endless field in quotes": (TEXT + '"' + "x," * 100_000 + '"', "line 302 has .* fields"),
    "no header, nine columns": (
        "\n".join(line + ",1,2,3" for line in BODY.splitlines()),
        "no header row .first line: 2015-01-02",
    ),
}


@pytest.mark.parametrize("text, message", REFUSED.values(), ids=REFUSED)
def test_a_broken_layout_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    assert re.search(message, refusal(saved(tmp_path, text)))


def test_dividends_and_splits_of_yahoos_tables_are_dropped_and_said(tmp_path: Path) -> None:
    lines = csv_text(dated(DAILY, "%b %d, %Y"), sep="\t").splitlines()
    lines[21:21] = ["Jan 30, 2015\t0.84 Dividend"]
    lines[61:61] = ["Mar 28, 2015\t0.84 Dividend\t\t\t\t"]
    lines[81:81] = ["Apr 28, 2015\t4:1 Stock Splits", "Apr 28, 2015\t1.20 Capital Gain"]
    with pytest.warns(BarsWarning, match="dropped 4 lines of dividends or splits.*first line 22"):
        assert_bars(read_bars(saved(tmp_path, "\n".join(lines))), DAILY)


def test_rows_that_are_commented_out_are_said(tmp_path: Path) -> None:
    text = "# note\n" + TEXT.replace("\n2015-01-06", "\n# a note\n#2015-01-06")
    with pytest.warns(BarsWarning, match="left out 1 row that a comment sign .*first line 6"):
        assert_bars(read_bars(saved(tmp_path, text)), DAILY.drop(index=2))


def test_a_line_break_inside_quotes_is_refused(tmp_path: Path) -> None:
    assert "quote that does not close" in refusal(
        saved(tmp_path, TEXT.replace("2015-01-06", '"2015-\n01-06"'))
    )


@pytest.mark.parametrize("row", [0, 7, 299])
def test_the_line_named_is_the_files_own_whatever_stands_between(row: int, tmp_path: Path) -> None:
    lines = csv_text(changed(DAILY, row, close="abc")).split("\n")
    text = "# note\n\n" + "\n\n".join(lines[:5]) + "\n# note\n" + "\n".join(lines[5:])
    line = text.split("\n").index(next(line for line in text.split("\n") if "abc" in line)) + 1
    assert f"line {line}, 'abc'" in refusal(saved(tmp_path, text))


def test_a_frame_names_rows(tmp_path: Path) -> None:
    assert "2015-01-13, row 7: high" in refusal(changed(DAILY, 7, high=1.0).astype({"high": float}))
