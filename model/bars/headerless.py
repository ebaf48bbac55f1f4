"""Columns without names: what they can only be, and what they may be.

A file without a header row is read where its first rows prove the order of its columns; elsewhere
they give the names that a message offers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from model.bars.columns import Levels
from model.bars.faults import PRICES, Floats, Mask

CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9.]+)?|[0-9]{6}"
EPOCH = r"[0-9]{10,19}"
DAY = r"[0-9]{8}|(?=.*[0-9]{2})[0-9A-Za-z]{1,9}[-/., ]+[0-9A-Za-z]{1,9}[-/.,: ]+[0-9].*"

PRICES_BY_DATE: Levels = ("date", "open", "high", "low", "close", "volume")
PRICES_BY_DATE_AND_TIME: Levels = ("date", "time", *PRICES_BY_DATE[1:])
# Kraken's archives add a count of trades, others an average price too; its interface gives the
# average before the volume.
KRAKEN: Levels = (*PRICES_BY_DATE, "trades")
WITH_AVERAGE_LAST: Levels = (*KRAKEN, "vwap")
WITH_AVERAGE_FIRST: Levels = (*PRICES_BY_DATE[:5], "vwap", "volume", "trades")
# Binance's archives: the times of open and close are epochs.
BINANCE: Levels = (
    *("open time", "open", "high", "low", "close", "volume"),
    *("close time", "quote volume", "trades", "taker volume", "taker quote volume", "ignore"),
)

Rows = Sequence[Sequence[str]]


def headerless_names(rows: Rows) -> Levels:
    """Return the names that a file without a header can only have, by its first rows.

    Where there is no such reading the columns are numbered, which no later step understands.
    """
    width, first = len(rows[0]), rows[0]
    has_clock = width > 1 and re.fullmatch(CLOCK, first[1]) is not None
    has_epoch = re.fullmatch(EPOCH, first[0]) is not None
    names: Levels = ()
    if has_epoch and width == len(BINANCE) and re.fullmatch(EPOCH, first[6]):
        names = BINANCE
    elif has_clock and width in (6, 7):
        names = PRICES_BY_DATE_AND_TIME[:width]
    elif not has_clock and width in (5, 6):
        names = PRICES_BY_DATE[:width]
    elif has_epoch and width == len(KRAKEN):
        names = KRAKEN
    elif has_epoch and width == len(WITH_AVERAGE_LAST):
        average_first = _averages(rows, WITH_AVERAGE_FIRST)["vwap"]
        names = WITH_AVERAGE_FIRST if average_first else WITH_AVERAGE_LAST
    averages = _averages(rows, names)
    # An average price lies between low and high, and a volume does not.
    if averages.get("volume") or averages.get("vwap") is False:
        names = ()
    return names or tuple(f"column {number}" for number in range(1, width + 1))


def _averages(rows: Rows, names: Levels) -> dict[str, bool]:
    """Return which of the volume and the average lie between low and high in every row."""
    numbers = _numbers(rows)
    if not len(numbers) or "low" not in names:
        return {}
    low, high = numbers[:, names.index("low")], numbers[:, names.index("high")]
    return {
        name: lies_between(numbers[:, names.index(name)], low, high)
        for name in ("volume", "vwap")
        if name in names
    }


def lies_between(values: Floats, low: Floats, high: Floats) -> bool:
    """Return whether values lie between low and high in every row, as prices of the bar do."""
    return bool(((values >= low) & (values <= high)).all() and (low < high).any())


def _numbers(rows: Rows) -> Floats:
    """Return the rows of full width as numbers, NaN for what is none."""
    width = len(rows[0])
    return np.array(
        [[_number(cell) for cell in row] for row in rows if len(row) == width], dtype=np.float64
    )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def are_numbers_of_columns(row: Sequence[str]) -> bool:
    """Return whether a row only counts the columns, 0,1,2,3, as pandas writes names it lacks."""
    cells = row[1:] if row and not row[0] else row
    counted = [[str(number) for number in range(start, start + len(cells))] for start in (0, 1)]
    return len(cells) >= 4 and list(cells) in counted


def likely_names(rows: Rows) -> Levels:
    """Return what the columns of these rows may be: names for a message to offer, never read.

    A price that is the highest in every row is the high, one that is the lowest the low.
    """
    first, numbers = rows[0], _numbers(rows)
    names = [f"other {number}" for number in range(1, len(first) + 1)]
    are_dates = [re.fullmatch(f"{DAY}|{EPOCH}", cell) is not None for cell in first]
    date = are_dates.index(True) if any(are_dates) else 0
    names[date] = "date"
    rest = [column for column in range(len(first)) if column != date]
    if date + 1 in rest and re.fullmatch(CLOCK, first[date + 1]):
        names[date + 1] = "time"
        rest.remove(date + 1)
    words = [column for column in rest if np.isnan(numbers[:, column]).all()]
    if words:
        names[words[0]] = "ticker"
    rest = [column for column in rest if column not in words]
    prices = _prices_among(rest, numbers)
    for column, name in zip(prices, _order_of(numbers[:, prices]), strict=False):
        names[column] = name
    behind = [column for column in rest if prices and column > prices[-1]]
    for column in behind:
        edges = (numbers[:, prices].min(axis=1), numbers[:, prices].max(axis=1))
        if not lies_between(numbers[:, column], *edges):
            names[column] = "volume"
            break
    return tuple(names)


def _prices_among(columns: Sequence[int], numbers: Floats) -> list[int]:
    """Return the first four columns in a row that look like prices of one bar, else the first."""
    windows = [list(columns[at : at + 4]) for at in range(len(columns) - 3)]
    for window in windows:
        prices = numbers[:, window]
        alike = np.nanmedian(prices.max(axis=1) - prices.min(axis=1)) < np.nanmedian(prices)
        if alike and _highest(prices).any() and _highest(-prices).any():
            return window
    return windows[0] if windows else []


def _order_of(prices: Floats) -> tuple[str, ...]:
    highest, lowest = np.flatnonzero(_highest(prices)), np.flatnonzero(_highest(-prices))
    if not len(highest) or not len(lowest) or highest[0] == lowest[0]:
        return PRICES
    rest = iter(("open", "close"))
    return tuple(
        "high" if column == highest[0] else "low" if column == lowest[0] else next(rest)
        for column in range(len(PRICES))
    )


def _highest(prices: Floats) -> Mask:
    """Return which columns hold the highest price of every row."""
    return np.asarray((prices >= prices.max(axis=1, keepdims=True)).all(axis=0))
