"""Random faults of every kind, several at a time: sound bars or a refusal, no changed price."""

import contextlib
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from model.bars.faults import COLUMNS, ROUNDING
from model.bars.read import read_bars
from model.errors import BarsError, BarsWarning
from tests.helpers.bar_files import DAILY, PRICES, csv_text, dated, saved

# What a hostile exporter does to cells, rows, names and dates.
CELLS: tuple[float | str | None, ...] = (
    *(np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-9, 1e9, 1e300, 5e-324),
    *("abc", "", "null", "1,5", "1.234,5", "-", None),
)
DATES = ("", "xx", "42006", None, "2105-01-01", "2015-13-01")
FACTORS = (1 + 1e-7, 1 - 1e-7, 1.2, 0.5, 100.0, 0.01)
CLOSES = ("Close", "Last", "cloze", "", "<CLOSE>")
OFFSETS = ("Z", "+09:00", " EST")
FAULTS = (
    *("cell", "date", "drop", "factor", "form", "lose", "order", "rename"),
    *("repeat", "reverse", "swap", "text", "zone"),
)


def with_fault(table: pd.DataFrame, fault: str, data: some.DataObject) -> pd.DataFrame:
    """Return the table with one fault; KeyError and the like where an earlier one is in the way."""

    def one_of(choices: Sequence[Any]) -> Any:
        return data.draw(some.sampled_from(choices))

    def at_most(number: int) -> int:
        return data.draw(some.integers(0, number))

    match fault:
        case "cell" | "date":
            value = one_of(CELLS if fault == "cell" else DATES)
            names = COLUMNS if fault == "cell" else ("date",)
            names = [name for name in names if name in table.columns]
            if not names or not len(table):
                return table
            table = table.astype(object)
            row = at_most(len(table) - 1)
            table.iat[row, list(table.columns).index(one_of(names))] = value
            return table
        case "factor":
            factor, name = one_of(FACTORS), one_of(PRICES)
            return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") * factor})
        case "order":
            return table.sample(frac=1, random_state=at_most(9))
        case "reverse":
            return table[::-1]
        case "repeat":
            return pd.concat([table, table[at_most(250) :]])
        case "drop":
            return table.drop(index=table.index[: at_most(200)])
        case "lose":
            return table.drop(columns=one_of(list(table.columns)))
        case "rename":
            return table.rename(columns={"close": one_of(CLOSES)})
        case "zone":
            return table.assign(date=table["date"].astype(str) + one_of(OFFSETS))
        case "form":
            dates = pd.to_datetime(table["date"], errors="coerce", format="%Y-%m-%d")
            return table.assign(date=dates.dt.strftime("%d/%m/%Y"))
        case "swap":
            return table.rename(columns={"high": "low", "low": "high"})
        case "text":
            return table.astype(str)
    raise AssertionError(f"no fault is called {fault!r}")


def survive(source: Any) -> None:
    """Read the source: BarsError, or sound bars without a price that the source does not hold."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            bars = read_bars(source, minimum_bars=None)
        except BarsError as error:
            assert str(error)
            return
    assert all(issubclass(warning.category, BarsWarning) for warning in said)
    assert_invariants(bars)
    assert_nothing_invented(bars)


def assert_invariants(bars: pd.DataFrame) -> None:
    values = bars.to_numpy()
    assert bars.index.is_monotonic_increasing and bars.index.is_unique and not bars.index.hasnans
    assert np.isfinite(values).all() and (values[:, :4] > 0).all() and (values[:, 4] >= 0).all()
    assert (values[:, 1] >= values[:, :4].max(axis=1) * (1 - ROUNDING)).all()
    assert (values[:, 2] <= values[:, :4].min(axis=1) * (1 + ROUNDING)).all()


MULTIPLES = {
    math.prod(factors)
    for n in range(4)
    for factors in itertools.combinations_with_replacement(FACTORS, n)
}
KNOWN = np.unique(
    np.r_[
        np.outer(DAILY[PRICES].to_numpy(), sorted(MULTIPLES)).ravel(),
        *(cell for cell in CELLS if isinstance(cell, float) and 0 < cell < np.inf),
        *(1.5, 1234.5),
    ]
)


def assert_nothing_invented(bars: pd.DataFrame) -> None:
    """Hold every price equal to one of the market's, changed at most by the faults put in."""
    prices = bars[PRICES].to_numpy().ravel()
    at = np.clip(np.searchsorted(KNOWN, prices), 1, len(KNOWN) - 1)
    nearest = np.minimum(np.abs(KNOWN[at] - prices), np.abs(KNOWN[at - 1] - prices))
    assert (nearest <= 1e-12 * prices).all()


def damaged(data: some.DataObject) -> pd.DataFrame:
    table = dated(DAILY, "%Y-%m-%d")
    for fault in data.draw(some.lists(some.sampled_from(FAULTS), min_size=1, max_size=3)):
        # A fault may need what an earlier one has taken away.
        with contextlib.suppress(KeyError, IndexError, TypeError):
            table = with_fault(table, fault, data)
    return table


RANDOM = dict(
    deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)


@settings(max_examples=200, **RANDOM)
@given(some.data())
def test_a_damaged_frame_is_read_right_or_refused(data: some.DataObject) -> None:
    survive(damaged(data))


@settings(max_examples=60, **RANDOM)
@given(data=some.data(), delimiter=some.sampled_from(",;\t|"))
def test_a_damaged_file_is_read_right_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: some.DataObject, delimiter: str
) -> None:
    survive(
        saved(tmp_path_factory.getbasetemp(), csv_text(damaged(data), sep=delimiter), "damaged.csv")
    )


@pytest.mark.slow
@settings(max_examples=2000, **RANDOM)
@given(some.data())
def test_two_thousand_damaged_frames_are_read_right_or_refused(data: some.DataObject) -> None:
    survive(damaged(data))


@settings(max_examples=60, **RANDOM)
@given(position=some.integers(0, 5000), bite=some.binary(max_size=40))
def test_a_file_with_random_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, bite: bytes
) -> None:
    whole = csv_text(DAILY).encode()
    path = saved(
        tmp_path_factory.getbasetemp(),
        whole[:position] + bite + whole[position + len(bite) :],
        "bitten.csv",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BarsWarning)
        try:
            assert_invariants(read_bars(path, minimum_bars=None))
        except BarsError as error:
            assert str(error).startswith(str(path))
