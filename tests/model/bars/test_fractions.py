"""Fractions: prices in 32nds and eighths of a point, told from thousands by proof."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.bars.read import read_bars
from model.errors import BarsWarning
from tests.helpers.bar_files import PRICES, csv_text, market, refusal, saved, spelt

DAYS = pd.bdate_range("2018-01-02", periods=60)


def quoted(parts: int, level: float) -> pd.DataFrame:
    """Return sound bars whose prices are whole numbers of such parts of a point."""
    table = market(DAYS, level, 0.004, 6)
    return table.assign(**(np.round(table[PRICES] * parts) / parts))


BONDS, HALVES, GRAINS = quoted(32, 110.0), quoted(64, 110.0), quoted(8, 451.0)
QUARTERS = quoted(128, 110.0)
DIGITS = "02570257"


def of_32(price: float, sign: str = "'") -> str:
    whole, part = divmod(round(price * 32), 32)
    return f"{whole}{sign}{part:02d}"


def of_64(price: float, sign: str = "'", half: str = "+") -> str:
    whole, part = divmod(round(price * 64), 64)
    return f"{whole}{sign}{part // 2:02d}{half if part % 2 else ''}"


def of_128(price: float, sign: str = "'") -> str:
    whole, part = divmod(round(price * 128), 128)
    return f"{whole}{sign}{part // 4:02d}{'0257'[part % 4]}"


def of_8(price: float, sign: str = "'") -> str:
    whole, part = divmod(round(price * 8), 8)
    return f"{whole}{sign}{part}"


QUOTES: dict[str, tuple[pd.DataFrame, Callable[[float], str], str]] = {
    "32nds": (BONDS, of_32, "32nds"),
    "32nds with a hyphen": (BONDS, lambda price: of_32(price, "-"), "32nds"),
    "halves of them": (HALVES, of_64, "32nds"),
    "halves with a point": (HALVES, lambda price: of_64(price, "-", ".5"), "32nds"),
    "a third digit": (QUARTERS, of_128, "32nds"),
    "a third digit behind a hyphen": (QUARTERS, lambda price: of_128(price, "-"), "32nds"),
    "eighths": (GRAINS, of_8, "eighths"),
    "eighths with a hyphen": (GRAINS, lambda price: of_8(price, "-"), "eighths"),
}


@pytest.mark.parametrize("table, write, what", QUOTES.values(), ids=QUOTES)
def test_quotes_of_futures_are_read_and_said(
    table: pd.DataFrame, write: Callable[[float], str], what: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, csv_text(spelt(table, write)))
    with pytest.warns(BarsWarning, match=rf"240 prices such as .* read as {what} of a point, \d"):
        bars = read_bars(path, minimum_bars=None)
    np.testing.assert_array_equal(bars[PRICES].to_numpy(), table[PRICES].to_numpy())


def test_thousands_of_all_sizes_are_no_32nds(tmp_path: Path) -> None:
    table = spelt(market(DAYS, 110_500.0, 0.004, 0), lambda price: f"{price:,.0f}")
    swiss = table.assign(**{name: table[name].str.replace(",", "'") for name in PRICES})
    bars = read_bars(saved(tmp_path, swiss), minimum_bars=None)
    assert bars["open"].iloc[0] == float(table["open"][0].replace(",", ""))


NARROW = market(DAYS, 110_150.0, 0.00005, 0)


def test_thousands_that_may_be_32nds_are_refused_unless_stated(tmp_path: Path) -> None:
    near = NARROW.assign(**(np.round(NARROW[PRICES] / 10) * 10))
    path = saved(tmp_path, csv_text(spelt(near, lambda price: f"{price:,.0f}".replace(",", "'"))))
    assert "are ambiguous: thousands, 110" in refusal(path, minimum_bars=None)
    bars = read_bars(path, decimal=".", minimum_bars=None)
    np.testing.assert_array_equal(bars[PRICES].to_numpy(), near[PRICES].to_numpy())


@pytest.mark.parametrize("word", ["110'32", "110-99", "110'054", "451'8", "110'05+5"])
def test_parts_that_no_quote_has_are_no_numbers(word: str, tmp_path: Path) -> None:
    table = spelt(BONDS, of_32)
    table.loc[5, "close"] = word
    assert "not a number" in refusal(saved(tmp_path, table))
