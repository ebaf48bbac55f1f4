"""Files without names: what the first rows prove, and what a message offers."""

from pathlib import Path

import numpy as np
import pytest

from model.bars.headerless import likely_names
from model.bars.read import read_bars
from model.errors import BarsWarning
from tests.helpers.bar_files import (
    DAILY,
    HOURLY,
    PRICES,
    assert_bars,
    csv_text,
    refusal,
    saved,
)

EPOCH = HOURLY.assign(date=HOURLY["date"].astype("datetime64[s]").astype("int64"))
VWAP = ((HOURLY["high"] + HOURLY["low"] + HOURLY["close"]) / 3).round(6)
AVERAGE_FIRST = EPOCH.drop(columns="volume").assign(vwap=VWAP, volume=EPOCH["volume"], n=7)
AVERAGE_LAST = EPOCH.assign(n=7, vwap=VWAP)


@pytest.mark.parametrize("table", [AVERAGE_FIRST, AVERAGE_LAST], ids=["first", "last"])
def test_an_average_price_is_known_by_lying_between_low_and_high(
    table: object, tmp_path: Path
) -> None:
    assert_bars(read_bars(saved(tmp_path, csv_text(table, header=False))), HOURLY)


REFUSED = {
    "no average among eight": EPOCH.assign(n=7, m=8),
    "an average in the place of the volume": EPOCH.assign(volume=VWAP),
    "an average before the volume": EPOCH.assign(volume=VWAP, n=EPOCH["volume"]),
    "two averages": EPOCH.assign(volume=VWAP, n=VWAP, m=5),
}


@pytest.mark.parametrize("table", REFUSED.values(), ids=REFUSED)
def test_columns_that_nothing_tells_apart_are_refused(table: object, tmp_path: Path) -> None:
    said = refusal(saved(tmp_path, csv_text(table, header=False)))
    assert "no header row" in said and f"{table.shape[1]} columns are not date, open" in said
    assert f"Add a header line of {table.shape[1]} names, as date,open,high,low,close," in said


ORDERS = [
    (["date", "open", "high", "low", "close", "volume"], "date,open,high,low,close,volume"),
    (["date", "open", "close", "high", "low", "volume"], "date,open,close,high,low,volume"),
    (["date", "low", "high", "open", "close", "volume"], "date,low,high,open,close,volume"),
    (["volume", "date", "open", "high", "low", "close"], "volume,date,open,high,low,close"),
]


@pytest.mark.parametrize("order, names", ORDERS)
def test_the_names_that_are_offered_fit_the_rows(order: list[str], names: str) -> None:
    rows = DAILY[order].astype(str).to_numpy().tolist()
    assert ",".join(likely_names(rows)) == names


def test_an_adjusted_close_is_not_offered_as_the_volume() -> None:
    table = DAILY.assign(adjusted=DAILY["close"] * 0.7)[
        ["date", "open", "high", "low", "close", "adjusted", "volume"]
    ]
    rows = table.astype(str).to_numpy().tolist()
    assert likely_names(rows) == (*("date", "open", "high", "low", "close", "other 6", "volume"),)


NUMBERED = {
    "from 0": HOURLY.set_axis([str(number) for number in range(6)], axis=1),
    "with points": HOURLY.set_axis([f"{number}.0" for number in range(6)], axis=1),
    "from 1": HOURLY.set_axis([str(number) for number in range(1, 7)], axis=1),
}


@pytest.mark.parametrize("table", NUMBERED.values(), ids=NUMBERED)
def test_a_header_of_numbers_names_nothing_and_can_be_mapped(table: object, tmp_path: Path) -> None:
    for source in (table, saved(tmp_path, csv_text(table))):
        names = list(table.columns)
        assert f"the header {','.join(names)} names nothing, it counts the columns" in refusal(
            source
        )
        mapped = dict(zip(names, ("date", *PRICES, "volume"), strict=True))
        assert_bars(read_bars(source, columns=mapped), HOURLY)


def test_a_header_of_numbers_behind_an_index_names_nothing(tmp_path: Path) -> None:
    table = DAILY.set_axis(range(6), axis=1)
    said = refusal(saved(tmp_path, table.to_csv()))
    assert "the header ,0,1,2,3,4,5 names nothing" in said and "'0': 'date', '1': 'open'" in said


PRICES_AS_VOLUME = {
    "the middle": ((DAILY["high"] + DAILY["low"]) / 2, "lies between low and high in every row"),
    "the close": (DAILY["close"], "lies between low and high in every row"),
    "half of the close": (DAILY["close"] / 2, "moves as the close does"),
    "adjusted closes": (
        DAILY["close"] * np.repeat([0.5, 0.6, 0.7], 100),
        "moves as the close does",
    ),
}


@pytest.mark.parametrize("values, what", PRICES_AS_VOLUME.values(), ids=PRICES_AS_VOLUME)
def test_a_price_is_no_volume(values: object, what: str) -> None:
    said = refusal(DAILY.assign(volume=values))
    assert f"column 'volume' {what}: it is a price" in said
    with pytest.warns(BarsWarning, match="no volume column"):
        read_bars(DAILY.assign(volume=values), columns={"volume": "ignore"})


@pytest.mark.parametrize("values", [5.0, DAILY["volume"] / 1e6, np.arange(300.0) + 1])
def test_a_small_volume_is_none_of_the_prices(values: object) -> None:
    assert read_bars(DAILY.assign(volume=values))["volume"].iloc[7] > 0


def test_columns_of_a_file_that_holds_no_prices_are_not_named() -> None:
    assert likely_names([["2020-01-01", ".01"], ["2020-01-02", "-.02"]]) == ("date", "other 2")
