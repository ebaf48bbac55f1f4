"""Numbers: the decimal sign by proof, digits in groups, words for nothing, what is no number."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from model.bars.faults import COLUMNS
from model.bars.read import read_bars
from model.errors import BarsWarning
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

ALL = list(COLUMNS)


def german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


WRITERS: dict[str, Callable[[float], str]] = {
    "thousands": "{:,.2f}".format,
    "German": german,
    "French": lambda number: f"{number:,.2f}".translate(str.maketrans({",": "\u202f", ".": ","})),
    "blanks": lambda number: f"{number:,.2f}".replace(",", " "),
    "Swiss": lambda number: f"{number:,.2f}".replace(",", "'"),
    "decimal comma": lambda number: f"{number:.2f}".replace(".", ","),
    "dollars": "${:,.2f}".format,
    "euros": lambda number: german(number) + " €",
    "scientific": "{:.6e}".format,
    "plus sign": "{:+.2f}".format,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_numbers_are_read_as_they_were_meant(write: Callable[[float], str], tmp_path: Path) -> None:
    assert_bars(read_bars(saved(tmp_path, csv_text(spelt(DAILY, write), sep=";"))), DAILY)
    assert_bars(read_bars(saved(tmp_path, csv_text(spelt(DAILY, write), quoting=1))), DAILY)


@pytest.mark.parametrize("write", [german, "{:,.2f}".format], ids=["German", "English"])
def test_volumes_in_groups_follow_the_prices(write: Callable[[float], str], tmp_path: Path) -> None:
    volumes = spelt(spelt(DAILY, write), lambda number: write(number)[:-3], ["volume"])
    assert_bars(read_bars(saved(tmp_path, csv_text(volumes, sep=";"))), DAILY)


def test_tiny_prices_keep_every_digit(tmp_path: Path) -> None:
    tiny = spelt(DAILY, lambda price: price * 1e-9)
    assert_bars(read_bars(saved(tmp_path, spelt(tiny, repr))), tiny)


def test_suffixes_of_volume_are_written_out() -> None:
    table = DAILY.assign(volume=["1.5K", "2M", "1.44B", "-"] * 75)
    assert read_bars(table)["volume"].tolist() == [1500.0, 2e6, 1.44e9, 0.0] * 75


def test_three_decimals_after_a_comma_are_ambiguous(tmp_path: Path) -> None:
    yen = spelt(HOURLY, lambda price: f"{price * 100:.3f}".replace(".", ","))
    path = saved(tmp_path, csv_text(yen, sep=";"))
    assert (
        "(line 2, column 'open') are ambiguous: decimal comma or thousands? "
        "Pass decimal=',' or decimal='.'"
    ) in refusal(path)
    assert read_bars(path, decimal=",")["close"].iloc[0] == pytest.approx(
        HOURLY["close"].iloc[0] * 100, abs=1e-3
    )
    assert read_bars(path, decimal=".")["close"].iloc[0] == pytest.approx(
        HOURLY["close"].iloc[0] * 100_000, abs=1
    )


def test_two_number_formats_in_one_file_are_refused(tmp_path: Path) -> None:
    mixed = spelt(DAILY, "{:.2f}".format)
    mixed["close"] = mixed["close"].str.replace(".", ",")
    said = refusal(saved(tmp_path, csv_text(mixed, sep=";")))
    assert "the decimal sign is a point in '4687.23' (line 2, column 'open')" in said
    assert "and a comma in '4673,93' (line 2, column 'close')" in said


@pytest.mark.parametrize(
    "word", ["abc", "0x10", "4760 1/4", "12%", "1,2,3", "4_7", "١٢٣", "True", "1.2.3"]
)
def test_what_is_no_number_is_named_with_its_line(word: str, tmp_path: Path) -> None:
    said = refusal(saved(tmp_path, csv_text(changed(DAILY, 5, close=word), sep=";")))
    assert f"1 cell of column 'close' not a number (first: line 7, {word!r})" in said


@pytest.mark.parametrize("word", ["", "NaN", "null", "N/A", "#N/A", "None", "-", "--", "nan", " "])
@pytest.mark.parametrize("name", PRICES)
def test_a_missing_price_is_refused_whatever_word_says_so(
    word: str, name: str, tmp_path: Path
) -> None:
    said = refusal(saved(tmp_path, changed(DAILY, 5, **{name: word})))
    assert f"1 row with a missing price (first 2015-01-09, line 7: {name})" in said


@pytest.mark.parametrize("word", ["", "null", "nan"])
def test_a_missing_volume_is_taken_as_zero_and_said(word: str, tmp_path: Path) -> None:
    with pytest.warns(
        BarsWarning, match="1 bar without a volume .first 2015-01-09, line 7.; taken as 0 there"
    ):
        bars = read_bars(saved(tmp_path, changed(DAILY, 5, volume=word)))
    assert (
        bars["volume"].iloc[5] == 0
        and bars["volume"].drop(bars.index[5]).tolist() == DAILY["volume"].drop(5).tolist()
    )


def test_a_column_of_truths_is_no_column_of_prices() -> None:
    assert "300 cells of column 'close' not a number" in refusal(DAILY.assign(close=True))


@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_prices_that_a_spreadsheet_shortened_are_refused(scale: float, tmp_path: Path) -> None:
    """A spreadsheet writes 4712.55 as 4.71E+03; Python writes 4.71255e+03."""
    small = DAILY.assign(**{name: DAILY[name] * scale for name in PRICES})
    for write in ("{:.2E}".format, lambda number: f"{number:.2E}".replace(".", ",")):
        message = refusal(saved(tmp_path, csv_text(spelt(small, write), sep=";")))
        assert "column 'open' has prices of three digits" in message and "line 2" in message
    assert_bars(read_bars(saved(tmp_path, spelt(small, "{!r}".format))), small)


def test_thousands_that_cross_into_others_are_ambiguous_without_a_volume(tmp_path: Path) -> None:
    """998 beside 1.004: decimals would have 1.01 for 1.010 as well."""
    whole = market(pd.bdate_range("2015-01-02", periods=300), 1000.0, 0.01, 0)
    for table in (whole.drop(columns="volume"), whole):
        german = spelt(table, lambda price: f"{price:,.0f}".replace(",", "."))
        path = saved(tmp_path, csv_text(german, sep=";"))
        assert "decimal comma or thousands? Pass decimal=','" in refusal(path)
    assert_bars(read_bars(path, decimal=","), whole)


def test_numbers_that_are_kept_from_spreadsheets_are_read(tmp_path: Path) -> None:
    words = spelt(dated(DAILY, "%Y-%m-%d"), '="{}"'.format, [*DAILY])
    text = ",".join(words) + "\n" + "\n".join(",".join(row) for row in words.to_numpy())
    assert_bars(read_bars(saved(tmp_path, text)), DAILY)
