"""Random faults of every kind, several at a time: bars that satisfy every invariant, or a refusal; never a changed price."""

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from model.bars.faults import ROUNDING
from model.bars.read import COLUMNS, read_bars
from model.errors import BarsError, BarsWarning
from tests.helpers.bar_files import DAILY, PRICES, csv_text, dated, saved

# What a hostile exporter does to cells, rows, names and dates.
CELL = some.sampled_from(
    [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -1.0,
        1e-9,
        1e9,
        1e300,
        5e-324,
        "abc",
        "",
        "null",
        "1,5",
        "1.234,5",
        "-",
        None,
    ]
)
EDITS = {
    "cell": lambda table, draw: edited(table, draw.draw(CELL), draw),
    "date": lambda table, draw: edited(
        table,
        draw.draw(some.sampled_from(["", "xx", "42006", None, "2105-01-01", "2015-13-01"])),
        draw,
        ["date"],
    ),
    "factor": lambda table, draw: factored(
        table, draw.draw(some.sampled_from([1 + 1e-7, 1 - 1e-7, 1.2, 0.5, 100.0, 0.01])), draw
    ),
    "order": lambda table, draw: table.sample(frac=1, random_state=draw.draw(some.integers(0, 9))),
    "reverse": lambda table, draw: table[::-1],
    "repeat": lambda table, draw: pd.concat([table, table[draw.draw(some.integers(0, 250)) :]]),
    "drop": lambda table, draw: table.drop(index=table.index[: draw.draw(some.integers(0, 200))]),
    "lose": lambda table, draw: table.drop(
        columns=draw.draw(some.sampled_from(list(table.columns)))
    ),
    "rename": lambda table, draw: table.rename(
        columns={"close": draw.draw(some.sampled_from(["Close", "Last", "cloze", "", "<CLOSE>"]))}
    ),
    "zone": lambda table, draw: table.assign(
        date=table["date"].astype(str) + draw.draw(some.sampled_from(["Z", "+09:00", " EST"]))
    ),
    "form": lambda table, draw: table.assign(
        date=pd.to_datetime(table["date"], errors="coerce", format="%Y-%m-%d").dt.strftime(
            "%d/%m/%Y"
        )
    ),
    "swap": lambda table, draw: table.rename(columns={"high": "low", "low": "high"}),
    "text": lambda table, draw: table.astype(str),
}


def edited(
    table: pd.DataFrame, value: Any, draw: Any, names: list[str] = list(COLUMNS)
) -> pd.DataFrame:
    names = [name for name in names if name in table.columns]
    if not names or not len(table):
        return table
    table = table.astype(object)
    table.iat[
        draw.draw(some.integers(0, len(table) - 1)),
        list(table.columns).index(draw.draw(some.sampled_from(names))),
    ] = value
    return table


def factored(table: pd.DataFrame, factor: float, draw: Any) -> pd.DataFrame:
    name = draw.draw(some.sampled_from(PRICES))
    return (
        table.assign(**{name: pd.to_numeric(table[name], errors="coerce") * factor})
        if name in table.columns
        else table
    )


def survive(source: Any) -> None:
    """Read the source: bars that satisfy every invariant and hold no price that the source does not, or BarsError."""
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


FACTORS = (1 + 1e-7, 1 - 1e-7, 1.2, 0.5, 100.0, 0.01)
MULTIPLES = {
    math.prod(factors)
    for n in range(4)
    for factors in itertools.combinations_with_replacement(FACTORS, n)
}
KNOWN = np.unique(
    np.r_[
        np.outer(DAILY[PRICES].to_numpy(), sorted(MULTIPLES)).ravel(),
        1e-9,
        1e9,
        1e300,
        5e-324,
        1.5,
        1234.5,
    ]
)


def assert_nothing_invented(bars: pd.DataFrame) -> None:
    """Hold every price equal to one of the market's, at most changed by the faults that were put in."""
    prices = bars[PRICES].to_numpy().ravel()
    at = np.clip(np.searchsorted(KNOWN, prices), 1, len(KNOWN) - 1)
    nearest = np.minimum(np.abs(KNOWN[at] - prices), np.abs(KNOWN[at - 1] - prices))
    assert (nearest <= 1e-12 * prices).all()


def damaged(data: some.DataObject) -> pd.DataFrame:
    table = dated(DAILY, "%Y-%m-%d")
    for name in data.draw(some.lists(some.sampled_from(sorted(EDITS)), min_size=1, max_size=3)):
        try:
            table = EDITS[name](table, data)
        except (KeyError, IndexError, TypeError):
            pass  # the fault needs what an earlier one has taken away
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
