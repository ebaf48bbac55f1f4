"""Columns without names: what they can only be, and what they may be.

A file without a header row is read where its first rows prove the order of its columns; elsewhere
they give the names that a message offers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from model.bars.faults import PRICES, Floats, Mask
from model.bars.table import Levels

CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9.]+)?|(?:[01][0-9]|2[0-4])(?:[0-5][0-9]){1,2}"
EPOCH = r"[0-9]{10,19}"
DAY = r"[0-9]{8}|(?=.*[0-9]{2})[0-9A-Za-z]{1,9}[-/., ]+[0-9A-Za-z]{1,9}[-/.,: ]+[0-9].*"

PRICES_BY_DATE: Levels = ("date", "open", "high", "low", "close", "volume")
PRICES_BY_DATE_AND_TIME: Levels = ("date", "time", *PRICES_BY_DATE[1:])
FEWEST_MOVES, SAME_MOVES = 20, 0.1  # of the close's own, by which an adjusted close may miss it
MOST_SOUND = 0.5  # of the rows, from which on single ones are broken and not the order of columns
ALMOST_ALL = 0.9  # of the rows, in which a price that is the highest is the high
# Kraken's archives add a count of trades, others an average price too; its interface gives the
# average before the volume.
WITH_AVERAGE_LAST: Levels = (*PRICES_BY_DATE, "trades", "vwap")
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
    has_epoch = re.fullmatch(EPOCH, first[0]) is not None
    candidates: list[Levels] = []
    if has_epoch:
        if width == len(BINANCE) and re.fullmatch(EPOCH, first[6]):
            candidates = [BINANCE]
        elif width <= len(WITH_AVERAGE_LAST):
            candidates = [WITH_AVERAGE_LAST[:width]]
            candidates += [WITH_AVERAGE_FIRST] if width == len(WITH_AVERAGE_FIRST) else []
    else:
        candidates = [PRICES_BY_DATE[:width]] if width <= len(PRICES_BY_DATE) else []
        if width in (6, 7) and _all_match(CLOCK, rows, 1):
            candidates.append(PRICES_BY_DATE_AND_TIME[:width])
    numbers = _numbers(rows)
    fitting = {names for names in candidates if "close" in names and _fits(names, numbers)}
    numbered = tuple(f"column {number}" for number in range(1, width + 1))
    return fitting.pop() if len(fitting) == 1 else numbered


def _all_match(pattern: str, rows: Rows, column: int) -> bool:
    """Return whether all rows of full width hold such a cell in this column."""
    cells = [row[column] for row in rows if len(row) == len(rows[0])]
    return all(re.fullmatch(pattern, cell) for cell in cells)


def _fits(names: Levels, numbers: Floats) -> bool:
    """Return whether the columns can mean this: an average lies between low and high, no volume."""
    if not len(numbers):
        return True
    open, high, low, close = (numbers[:, names.index(name)] for name in PRICES)
    # Single rows that break the rules of a bar are told by line, later.
    known = np.isfinite(high - low + open - close)
    sound = (high >= np.fmax(open, close)) & (low <= np.fmin(open, close)) & (high >= low)
    if known.any() and sound[known].mean() < MOST_SOUND:
        return False
    return all(
        lies_between(numbers[:, names.index(name)], low, high) == (name == "vwap")
        for name in ("volume", "vwap")
        if name in names
    )


def lies_between(values: Floats, low: Floats, high: Floats) -> bool:
    """Return whether values lie between low and high in every row, as prices of the bar do."""
    return bool(((values >= low) & (values <= high)).all() and (low < high).any())


def price_like(values: Floats, low: Floats, high: Floats, close: Floats) -> str:
    """Return in which way values are prices and no volume, nothing if they are not."""
    if lies_between(values, low, high):
        return "lies between low and high in every row"
    if len(values) >= FEWEST_MOVES:
        with np.errstate(all="ignore"):
            own, moves = np.diff(np.log(close)), np.diff(np.log(values))
        if np.median(np.abs(moves - own)) < SAME_MOVES * np.median(np.abs(own)):
            return "moves as the close does"
    return ""


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
    cells = [cell.removesuffix(".0") for cell in (row[1:] if row and not row[0] else row)]
    counted = [[str(number) for number in range(start, start + len(cells))] for start in (0, 1)]
    return len(cells) >= 4 and cells in counted


def likely_names(rows: Rows) -> Levels:
    """Return what the columns of these rows may be: names for a message to offer, never read.

    A price that is nearly always the highest is the high, one that is the lowest the low.
    """
    first, numbers = rows[0], _numbers(rows)
    names = [f"other {number}" for number in range(1, len(first) + 1)]
    are_dates = [re.fullmatch(f"{DAY}|{EPOCH}", cell) is not None for cell in first]
    date = are_dates.index(True) if any(are_dates) else 0
    names[date] = "date"
    rest = [column for column in range(len(first)) if column != date]
    has_epoch = re.fullmatch(EPOCH, first[date]) is not None
    if date + 1 in rest and not has_epoch and _all_match(CLOCK, rows, date + 1):
        names[date + 1] = "time"
        rest.remove(date + 1)
    words = [column for column in rest if np.isnan(numbers[:, column]).all()]
    if words:
        names[words[0]] = "ticker"
    rest = [column for column in rest if column not in words]
    prices = _prices_among(rest, numbers)
    newest_first = len(rows) > 1 and rows[0][date] > rows[1][date]
    for column, name in zip(prices, _order_of(numbers[:, prices], newest_first), strict=False):
        names[column] = name
    others = [column for column in rest if prices and column not in prices]
    for column in sorted(others, key=lambda column: column < prices[0]):
        low, high, close = (
            numbers[:, names.index(name)] if name in names else numbers[:, prices[0]]
            for name in ("low", "high", "close")
        )
        if not price_like(numbers[:, column], low, high, close):
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


def _order_of(prices: Floats, newest_first: bool) -> tuple[str, ...]:
    """Return which of four prices is which: the open is near the close of the row before.

    Of no prices none is.
    """
    if not prices.shape[1]:
        return ()
    highest, lowest = np.flatnonzero(_highest(prices)), np.flatnonzero(_highest(-prices))
    if not len(highest) or not len(lowest) or highest[0] == lowest[0]:
        return PRICES
    left, right = (column for column in range(4) if column not in (highest[0], lowest[0]))
    ordered = prices[::-1] if newest_first else prices
    as_named = np.abs(ordered[1:, left] - ordered[:-1, right])
    swapped = np.abs(ordered[1:, right] - ordered[:-1, left])
    if len(ordered) > 1 and np.median(swapped) < np.median(as_named):
        left, right = right, left
    named = {highest[0]: "high", lowest[0]: "low", left: "open", right: "close"}
    return tuple(named[column] for column in range(4))


def _highest(prices: Floats) -> Mask:
    """Return which columns hold the highest price of nearly every row."""
    highest = prices >= prices.max(axis=1, keepdims=True)
    return np.asarray(highest.mean(axis=0) >= ALMOST_ALL)
