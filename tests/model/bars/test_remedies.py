"""Remedies: what a message says to do is done here, and then the file is read."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.bars.read import read_bars
from model.errors import BarsError, BarsWarning, Setting
from tests.helpers.bar_files import (
    DAILY,
    HOURLY,
    PRICES,
    assert_bars,
    changed,
    csv_text,
    dated,
    market,
    refusal,
    saved,
    spelt,
)


def offered(source: Any) -> list[Mapping[str, Any]]:
    """Return the settings that the refusal, or else the notes, of this source offer."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", BarsWarning)
        try:
            read_bars(source)
        except BarsError as error:
            parts = error.args
        else:
            parts = tuple(part for warning in said for part in warning.message.args)
    return [
        {part.name: part.value}
        for part in parts
        if isinstance(part, Setting) and part.value is not None
    ]


TWELVE_DAYS = market(pd.date_range("2015-01-01", periods=288, freq="h"), 100.0, 0.01, 2)
ROLLED = DAILY.assign(symbol=["ESH5"] * 60 + ["ESM5"] * 60 + ["ESU5"] * 60 + ["ESZ5"] * 120)
# Their epochs, 1501020930 and so on, are minutes of 2015-01-02 as well.
SECONDS = market(pd.date_range("2017-07-25 22:15:30", periods=25, freq="s"), 50.0, 1e-2, 2)
OF_2015 = SECONDS.assign(date=pd.date_range("2015-01-02 09:30", periods=25, freq="min"))
QUOTES = pd.concat(
    [
        DAILY[["date"]],
        DAILY[PRICES].add_prefix("bid"),
        (DAILY[PRICES] + 1).add_prefix("ask"),
        DAILY[["volume"]].set_axis(["tickqty"], axis=1),
    ],
    axis=1,
)
COUNTED = DAILY.set_axis([str(number) for number in range(6)], axis=1)
SETTLED = DAILY.drop(columns="close").assign(Last=DAILY["close"], Settle=DAILY["close"] + 1)

# The table, how it becomes what the settings offered should read (one expectation for each).
SETTINGS: dict[str, tuple[Any, list[pd.DataFrame]]] = {
    "days or months first": (dated(TWELVE_DAYS, "%d/%m/%Y %H:%M"), [TWELVE_DAYS]),
    "decimal comma": (
        spelt(HOURLY, lambda price: f"{price * 100:.3f}".replace(".", ",")),
        [spelt(HOURLY, lambda price: float(f"{price * 100:.3f}"))],
    ),
    "German thousands": (
        spelt(DAILY, lambda price: f"{price * 10:,.0f}".replace(",", ".")).assign(volume="1.234"),
        [],
    ),
    "a missing price": (changed(DAILY, 5, close=""), [DAILY.drop(index=5)]),
    "two closes": (DAILY.assign(Close=DAILY["close"] + 1, high=9999.0), []),
    "a misspelt close": (DAILY.rename(columns={"close": "cloze"}), [DAILY]),
    "two misspelt prices": (DAILY.rename(columns={"close": "cloze", "high": "hihg"}), [DAILY]),
    "two tickers": (
        pd.concat([DAILY.assign(symbol="A"), DAILY.assign(symbol="B", low=1.0)]),
        [DAILY],
    ),
    "a series rolled over": (ROLLED, [ROLLED[:60], DAILY]),
    "numbers for names": (COUNTED, [DAILY]),
    "an average as volume": (
        DAILY.assign(volume=(DAILY["high"] + DAILY["low"]) / 2),
        [DAILY.assign(volume=0)],
    ),
    "an adjusted close as volume": (
        DAILY.assign(volume=DAILY["close"] * 0.5),
        [DAILY.assign(volume=0)],
    ),
    "ten digits": (
        SECONDS.assign(date=SECONDS["date"].astype("datetime64[s]").astype("int64")),
        [OF_2015, SECONDS],
    ),
    "a time column of dates": (DAILY.assign(time=dated(DAILY, "%Y-%m-%d %H:%M")["date"]), [DAILY]),
    "bids and asks": (QUOTES, [DAILY.assign(**(DAILY[PRICES] + 1))]),
    "a last trade and a settlement": (SETTLED, [DAILY.assign(close=DAILY["close"] + 1)]),
    "two volumes": (
        DAILY.rename(columns={"volume": "Volume BTC"}).assign(**{"Volume USD": 5.0}),
        [DAILY.assign(volume=5.0)],
    ),
    "an average of volume": (DAILY.rename(columns={"volume": "Volume MA"}), [DAILY]),
    "the evenings before": (
        DAILY.assign(date=DAILY["date"] - pd.Timedelta(hours=1)),
        [DAILY],
    ),
}


@pytest.mark.filterwarnings("ignore::model.errors.BarsWarning")
@pytest.mark.parametrize("table, expected", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_that_a_message_offers_reads_the_file(
    table: pd.DataFrame, expected: list[pd.DataFrame]
) -> None:
    choices = offered(table)
    assert choices
    for number, choice in enumerate(choices):
        bars = read_bars(table, minimum_bars=None, **choice)
        assert len(bars) > 10
        if number < len(expected):
            assert_bars(bars, expected[number])


@pytest.mark.parametrize("zone", ["US/Eastern", "America/New_York"])
def test_local_hours_are_read_with_the_zone_that_is_offered(zone: str, tmp_path: Path) -> None:
    hours = market(pd.date_range("2017-10-25", periods=300, freq="h"), 100.0, 0.01, 2)
    local = hours["date"].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    path = saved(tmp_path, hours.assign(date=local))
    (choice,) = offered(path)
    assert choice == {"timezone": "America/New_York"}
    assert_bars(read_bars(path, **choice), hours)


def without_line(text: str, number: int) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(lines[: number - 1] + lines[number:])


TEXT, BODY = csv_text(DAILY), csv_text(DAILY, header=False)
NINE = "".join(f"{line},7,8,9\n" for line in BODY.splitlines())
BHAVCOPY = "".join(f"NIFTY-I,{line},13320525\n" for line in BODY.replace("-", "").splitlines())
BITMEX = DAILY.assign(
    open=DAILY["close"].shift(1, fill_value=DAILY["open"][0]), high=DAILY["close"]
)
BITMEX = BITMEX.assign(low=DAILY["close"] - 1)
FIXED = spelt(DAILY, lambda price: round(price * 100) * 10**7)


def header(names: str) -> Callable[[str], str]:
    return lambda text: names + "\n" + text


# The text, what the message says, and that done.
TEXTS: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "nine columns": (
        NINE,
        "Add a header line of 9 names, as date,open,high,low,close,volume,other 7,other 8,other 9",
        header("date,open,high,low,close,volume,other 7,other 8,other 9"),
    ),
    "a ticker first": (
        BHAVCOPY,
        "Add a header line of 8 names, as ticker,date,open,high,low,close,volume,other 8",
        header("ticker,date,open,high,low,close,volume,other 8"),
    ),
    "a footer": (
        TEXT + "24012\n",
        "line 302 has 1 field but the header has 6 columns (1 line of other width): '24012'. A "
        "footer or note, and no bar? Remove what is no row of the table.",
        lambda text: without_line(text, 302),
    ),
    "a cut line": (
        TEXT.replace("\n2015-01-06,", "\n"),
        "a cut or a joined line? Repair it.",
        lambda text: TEXT,
    ),
    "an open quote": (
        TEXT.replace("2015-01-06", '"2015-01-06'),
        "Repair the quotes.",
        lambda text: text.replace('"', ""),
    ),
    "a note within": (
        TEXT.replace("2015-01-06", "2015-01-06 (revised)"),
        "'2015-01-06 (revised)'); expected e.g. 2015-01-31",
        lambda text: text.replace(" (revised)", ""),
    ),
    "an abbreviated zone": (
        csv_text(dated(DAILY, "%Y-%m-%d 00:00:00 EST")),
        "write the time zone as an offset such as -05:00",
        lambda text: text.replace(" EST", "-05:00"),
    ),
    "thousands or 32nds": (
        csv_text(spelt(DAILY, lambda price: "110'055")),
        "numbers such as 110'055 (line 2) are ambiguous: thousands, 110055, or 32nds of a point, "
        "110.171875? For thousands pass decimal='.'; else write decimals.",
        lambda text: TEXT,
    ),
    "dates after today": (
        TEXT + BODY.splitlines()[-1].replace("2016", "2216") + "\n",
        "1 bar dated after today (first 2216-02-25, line 302)",
        lambda text: without_line(text, 302),
    ),
    "lost digits": (
        csv_text(DAILY.assign(date="1.61724E+12")),
        "its last digits are lost, as a spreadsheet shortens long numbers. Export it again",
        lambda text: TEXT,
    ),
    "thousands without quotes": (
        TEXT.replace(".", ",1."),
        "Thousands separators without quotes",
        lambda text: TEXT,
    ),
    "a volume below 0": (
        csv_text(changed(DAILY, 5, volume=-1)),
        "Volume must be 0 or more; leave it out where it is unknown.",
        lambda text: text.replace(",-1\n", ",\n"),
    ),
}


@pytest.mark.filterwarnings("ignore::model.errors.BarsWarning")
@pytest.mark.parametrize("text, message, mended", TEXTS.values(), ids=TEXTS)
def test_every_repair_that_a_message_asks_for_reads_the_file(
    text: str, message: str, mended: Callable[[str], str], tmp_path: Path
) -> None:
    path = saved(tmp_path, text)
    assert message in refusal(path)
    assert_bars(read_bars(saved(tmp_path, mended(text))), DAILY, PRICES)


def test_opens_that_are_the_closes_before_are_named_and_can_be_widened() -> None:
    said = refusal(BITMEX)
    assert "Each open is the close of the bar before, as BitMEX writes it, and no trade" in said
    prices = BITMEX[PRICES]
    widened = BITMEX.assign(high=prices.max(axis=1), low=prices.min(axis=1))
    with pytest.warns(BarsWarning, match="have no wicks"):
        assert_bars(read_bars(widened), widened)


def test_opens_outside_of_a_few_bars_are_not_blamed_on_the_exporter() -> None:
    said = refusal(changed(DAILY, 5, open=9000.0))
    assert "Are all four prices on one basis" in said and "BitMEX" not in said


def test_a_price_below_0_is_not_blamed_on_opens_that_are_the_closes_before() -> None:
    said = refusal(changed(BITMEX, 5, **dict.fromkeys(PRICES, -9999.0)))
    negative = said.split("not above 0 (negative or zero)")[1]
    assert "The features use log returns" in negative.splitlines()[0]


def test_fixed_point_prices_are_said_and_can_be_divided() -> None:
    first = f"{FIXED['close'][0] / 1e9:.10g}"
    with pytest.warns(BarsWarning, match=rf"fixed-point numbers\? In 1e-9, .* this is {first},"):
        read_bars(FIXED)
    mended = FIXED.assign(**(FIXED[PRICES] / 1e9))
    assert_bars(read_bars(mended), mended)


@pytest.mark.parametrize("factor", [10**6, 10**7, 10**8])
def test_large_prices_that_are_no_fixed_point_are_read_silently(factor: int) -> None:
    large = spelt(DAILY, lambda price: round(price * factor) + 1)
    assert_bars(read_bars(large), large)


def test_german_thousands_are_taken_for_them_when_stated(tmp_path: Path) -> None:
    table = spelt(DAILY, lambda price: f"{price * 10:,.0f}".replace(",", "."))
    path = saved(tmp_path, csv_text(table.assign(volume="1.234"), sep=";"))
    assert "'46.872' (line 2, column 'open') are ambiguous: decimal comma or thousands?" in refusal(
        path
    )
    assert read_bars(path, decimal=",").iloc[0, [0, 4]].tolist() == [46872.0, 1234.0]
    assert read_bars(path, decimal=".").iloc[0, [0, 4]].tolist() == [46.872, 1.234]


def test_prices_of_three_decimals_beside_whole_volumes_are_read_silently(tmp_path: Path) -> None:
    yen = spelt(HOURLY, lambda price: f"{price * 100:.3f}")
    bars = read_bars(saved(tmp_path, yen))
    assert bars["close"].iloc[0] == float(yen["close"][0])


SWAPPED = DAILY.rename(columns={"high": "low", "low": "high"})
NEGATIVE = DAILY.assign(**(DAILY[PRICES] - DAILY["low"].min()))
WEEKS_THEN_DAYS = pd.concat(
    [market(pd.date_range("1990-01-05", periods=120, freq="W-FRI"), 100.0, 0.01, 2), DAILY]
)
AFTERNOON = changed(DAILY, 50, date=DAILY["date"][49] + pd.Timedelta(hours=9))
ADJUSTED = DAILY.assign(**{"Adj Close": DAILY["close"]})
AUTUMN = market(pd.date_range("2017-10-25", periods=300, freq="h"), 100.0, 0.01, 2)
NEW_YORK = AUTUMN["date"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
WORDS = dated(HOURLY, "%Y-%m-%d %H:%M:%S")["date"]

# The table, its settings, what the message says, the table as it says, with what settings then.
Case = tuple[pd.DataFrame, dict[str, Any], str, pd.DataFrame, dict[str, Any]]
TABLES: dict[str, Case] = {
    "highs below lows": (
        SWAPPED,
        {},
        "Are the two columns swapped? Export again or map them with `columns`.",
        SWAPPED,
        {"columns": {"high": "low", "low": "high"}},
    ),
    "prices below 0": (
        NEGATIVE,
        {},
        "cut the series there, or use a back-adjusted series shifted above 0.",
        NEGATIVE.assign(**(NEGATIVE[PRICES] + 100)),
        {},
    ),
    "a row without a price": (
        changed(DAILY, 5, close=float("inf")),
        {},
        "Remove or repair the row; prices are not filled in.",
        DAILY.drop(index=5),
        {},
    ),
    "one date twice": (
        changed(DAILY, 5, date=DAILY["date"][4]),
        {},
        "Keep one row for each date.",
        DAILY.drop(index=5),
        {},
    ),
    "two frequencies": (WEEKS_THEN_DAYS, {}, "Use one frequency.", DAILY, {}),
    "two bars a day": (AFTERNOON, {}, "Use one bar a day.", DAILY.drop(index=50), {}),
    "a year mistyped": (
        changed(DAILY, 5, date=pd.Timestamp("1915-01-09")),
        {},
        "a mistyped date, in the future or the past? Repair it.",
        DAILY,
        {},
    ),
    "no adjusted close": (
        DAILY,
        {"adjust": True},
        "adjust=True needs a column 'Adj Close' beside Close. Leave it out",
        DAILY,
        {},
    ),
    "an adjusted close of 0": (
        changed(ADJUSTED, 5, **{"Adj Close": 0.0}),
        {"adjust": True},
        "but 1 row without an Adj Close above 0 (first 2015-01-09, row 5). Repair them.",
        ADJUSTED,
        {"adjust": True},
    ),
    "some with an offset": (
        HOURLY.assign(date=WORDS.where(HOURLY.index % 2 == 0, WORDS + "Z")),
        {},
        "Export all in UTC.",
        HOURLY.assign(date=WORDS + "Z"),
        {},
    ),
    "an hour that comes twice, once": (
        AUTUMN.assign(date=NEW_YORK.dt.tz_localize(None)).drop_duplicates("date"),
        {"timezone": "America/New_York"},
        "Export in UTC.",
        AUTUMN,
        {},
    ),
    "another zone than the one named": (
        AUTUMN.assign(date=NEW_YORK.dt.strftime("%Y-%m-%d %H:%M:%S US/Eastern")),
        {"timezone": "Asia/Tokyo"},
        "that they are of Asia/Tokyo. Leave it out.",
        AUTUMN.assign(date=NEW_YORK.dt.strftime("%Y-%m-%d %H:%M:%S US/Eastern")),
        {},
    ),
    "a time that is missing": (
        dated(HOURLY, "%Y-%m-%d").assign(
            time=HOURLY["date"].dt.strftime("%H:%M").where(HOURLY.index != 7)
        ),
        {},
        "Repair or remove them; midnight is not taken for it.",
        dated(HOURLY, "%Y-%m-%d").assign(time=HOURLY["date"].dt.strftime("%H:%M")),
        {},
    ),
    "24:00 in no order": (
        dated(HOURLY, "%Y-%m-%d")
        .assign(time=HOURLY["date"].dt.strftime("%H:%M").replace("00:00", "24:00"))
        .sample(frac=1, random_state=1),
        {},
        "Write 00:00 of the right day, or sort the rows.",
        dated(HOURLY, "%Y-%m-%d").assign(time=HOURLY["date"].dt.strftime("%H:%M")),
        {},
    ),
    "a day, a month and a year": (
        DAILY.assign(day=DAILY["date"].dt.day).drop(columns="date"),
        {},
        "Join year, month and day in one column of dates.",
        DAILY,
        {},
    ),
    "an unknown ticker": (DAILY, {"ticker": "Z"}, "Leave `ticker` out", DAILY, {}),
    "another ticker": (
        DAILY.assign(symbol="AAPL"),
        {"ticker": "APPL"},
        "Did you mean 'AAPL'?",
        DAILY.assign(symbol="AAPL"),
        {"ticker": "AAPL"},
    ),
    "a column that is none": (
        DAILY.rename(columns={"close": "settle_2"}),
        {"columns": {"setle_2": "close"}},
        "Did you mean 'settle_2'?",
        DAILY.rename(columns={"close": "settle_2"}),
        {"columns": {"settle_2": "close"}},
    ),
    "prices of two sides": (
        DAILY.set_axis(["date", "bidopen", "askhigh", "bidlow", "askclose", "v"], axis=1),
        {},
        "Export all four of one.",
        DAILY.set_axis(["date", "bidopen", "bidhigh", "bidlow", "bidclose", "v"], axis=1),
        {},
    ),
}


@pytest.mark.filterwarnings("ignore::model.errors.BarsWarning")
@pytest.mark.parametrize("table, settings, message, mended, then", TABLES.values(), ids=TABLES)
def test_what_a_refusal_of_bars_asks_for_makes_them_bars(
    table: pd.DataFrame,
    settings: dict[str, Any],
    message: str,
    mended: pd.DataFrame,
    then: dict[str, Any],
) -> None:
    assert message in refusal(table, **settings)
    assert len(read_bars(mended, **then)) >= 299
