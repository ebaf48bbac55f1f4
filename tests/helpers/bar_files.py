"""Files of bars as traders have them, made from two sound markets.

a stock's days and a currency's hours.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model.bars.faults import COLUMNS
from model.bars.read import read_bars
from model.errors import BarsError

PRICES = list(COLUMNS[:4])


def market(index: pd.DatetimeIndex, level: float, move: float, digits: int) -> pd.DataFrame:
    """Return sound bars as a table.

    a column `date` and five numbers, rounded as files have them.
    """
    draw = np.random.default_rng(len(index))
    bodies, gaps = draw.normal(0, move, len(index)), draw.normal(0, move / 4, len(index))
    # Each open starts from the close before, as traded prices do.
    close = level * np.exp(np.cumsum(gaps + bodies))
    open = close * np.exp(-bodies)
    high, low = np.maximum(open, close) * (1 + move / 3), np.minimum(open, close) * (1 - move / 3)
    prices = np.column_stack((open, high, low, close)).round(digits)
    return pd.DataFrame(
        {
            "date": index,
            **dict(zip(PRICES, prices.T)),
            "volume": draw.integers(1_000_000, 9_000_000, len(index)),
        }
    )


def currency_hours(count: int) -> pd.DatetimeIndex:
    """Return the hours in which currencies trade: Sunday 22:00 to Friday 22:00."""
    hours = pd.date_range("2017-01-01 22:00", periods=2 * count, freq="h")
    hour_of_week = hours.day_of_week * 24 + hours.hour
    return hours[(hour_of_week < 118) | (hour_of_week >= 166)][:count]


def sessions(minutes: int, count: int, days: int = 60) -> pd.DatetimeIndex:
    """Return `count` bars from 9:30 on each of so many working days."""
    opening = pd.bdate_range("2019-01-02", periods=days) + pd.Timedelta(minutes=570)
    return pd.DatetimeIndex(
        [day + pd.Timedelta(minutes=minutes * k) for day in opening for k in range(count)]
    )


DAILY = market(pd.bdate_range("2015-01-02", periods=300), 4700.0, 0.01, 2)
HOURLY = market(currency_hours(400), 1.05, 0.001, 5)


def csv_text(table: pd.DataFrame, **style: Any) -> str:
    """Return the table as CSV text without an index column."""
    return table.to_csv(index=False, lineterminator="\n", **style)


def dated(table: pd.DataFrame, form: str) -> pd.DataFrame:
    """Return the table with its dates written in this form."""
    return table.assign(date=table["date"].dt.strftime(form))


def spelt(
    table: pd.DataFrame, write: Callable[[float], str], columns: list[str] = PRICES
) -> pd.DataFrame:
    """Return the table with its numbers written by `write`."""
    return table.assign(**{name: table[name].map(write) for name in columns})


def changed(table: pd.DataFrame, row: int, **values: Any) -> pd.DataFrame:
    """Return the table with other values in one row; text where the value is text."""
    table = table.astype({name: object for name in values})
    for name, value in values.items():
        table.loc[row, name] = value
    return table


def saved(folder: Path, content: str | bytes | pd.DataFrame, name: str = "bars.csv") -> Path:
    """Write a file and return its path."""
    path = folder / name
    text = csv_text(content) if isinstance(content, pd.DataFrame) else content
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(source: Any, **settings: Any) -> str:
    """Return the message with which the bars are refused."""
    try:
        bars = read_bars(source, **settings)
    except BarsError as error:
        return str(error)
    raise AssertionError(f"{len(bars)} bars were accepted")


def assert_bars(bars: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str] = COLUMNS) -> None:
    """Hold bars equal to a table, the timestamps exactly, the numbers exactly."""
    assert bars.index.equals(pd.DatetimeIndex(table["date"]).as_unit(bars.index.unit))
    np.testing.assert_array_equal(
        bars[list(columns)].to_numpy(), table[list(columns)].to_numpy(dtype=np.float64)
    )
