"""What a bar is: read_bars, the one door for files and DataFrames, and the invariants every bar satisfies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from model.bars.columns import NamedCells, Table, did_you_mean, name_columns, without_empty_rows
from model.bars.faults import (
    BAR_CHECKS,
    COLUMNS,
    NOT_THERE,
    PRICES,
    Findings,
    bar_faults,
    count,
    find_broken_bars,
)
from model.bars.intervals import bar_interval, bars_per_year
from model.bars.numbers import read_numbers
from model.bars.repairs import (
    accept_rounding,
    adjusted,
    drop_copies,
    drop_rows_without_prices,
    drop_unfinished,
    fill_volume,
    in_time_order,
    judge_repeated,
    judge_spacing,
)
from model.bars.sources import table_of
from model.bars.stamps import NOT_A_TIME, Times, read_stamps, settled
from model.bars.suspicions import highs_and_lows_elsewhere, opens_and_closes_swapped, suspect
from model.errors import BarsError, BarsWarning, Part, ReadingError, Setting, joined

__all__ = [
    "COLUMNS",
    "MINIMUM_BARS",
    "PRICES",
    "BarsError",
    "BarsWarning",
    "bar_faults",
    "bar_interval",
    "bars_per_year",
    "check_bars",
    "digest_bars",
    "read_bars",
    "require_bars",
]

MINIMUM_BARS = 244
FEWEST_BARS = {
    "batch_size": 225,
    "sequence_length": 195,
}  # what remains needed with 1 for each of the settings
MINIMUM_REASON = (
    "100 to warm up, 50 for a window, then 70 % / 15 % / 15 % of the windows to train, validate and test, "
    "the first at least one batch of 64"
)

TEXT = (
    "text and not empty",
    lambda value: value is None or (isinstance(value, str) and value != ""),
)
# What each argument of read_bars must be, and whether a value is that.
ARGUMENTS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "instrument": TEXT,
    "timezone": TEXT,
    "ticker": TEXT,
    "date_format": TEXT,
    "stamp": ("one of 'open', 'close'", lambda value: value in (None, "open", "close")),
    "decimal": ("one of '.', ','", lambda value: value in (None, ".", ",")),
    "on_missing": ("one of 'error', 'drop'", lambda value: value in ("error", "drop")),
    "adjust": ("one of False, True", lambda value: value in (False, True)),
    "columns": (
        "a dict such as {'Price': 'close'}",
        lambda value: (
            value is None
            or (
                isinstance(value, Mapping)
                and all(isinstance(word, str) for pair in value.items() for word in pair)
            )
        ),
    ),
    "minimum_bars": (
        "a whole number from 0, or None",
        lambda value: value is None or (isinstance(value, int | np.integer) and bool(value >= 0)),
    ),
}


def read_bars(
    source: str | Path | pd.DataFrame,
    *,
    instrument: str | None = None,
    timezone: str | None = None,
    stamp: str | None = None,
    columns: Mapping[str, str] | None = None,
    ticker: str | None = None,
    date_format: str | None = None,
    decimal: str | None = None,
    adjust: bool = False,
    on_missing: str = "error",
    minimum_bars: int | None = MINIMUM_BARS,
) -> pd.DataFrame:
    """Return the bars of a CSV file (plain or compressed), a Parquet file or a DataFrame.

    Another layout of the same data is read silently; what can be repaired without inventing a price is repaired with a
    BarsWarning; everything else is refused with one BarsError that lists every kind of problem.

    Parameters
    ----------
    instrument, stamp
        What the bars are of, and whether a stamp is a bar's "open" or its "close"; kept in `bars.attrs`.
        None is what a frame's own attrs say, else nothing and "open".
    timezone
        The zone of intraday stamps that state none: they become UTC. Daily stamps keep their date.
    columns
        Names in the source for names of ours: {"Price": "close"}.
    ticker
        Which one, if the source holds several.
    date_format, decimal
        What the data do not prove: "%d/%m/%Y", and "," or ".".
    adjust
        Scale all four prices by Adj Close / Close.
    on_missing
        "drop" drops rows that miss some of their prices; "error" refuses them.
    minimum_bars
        Refuse fewer; the default is what the default training needs, None is any number.
    """
    stated = {
        "instrument": instrument,
        "timezone": timezone,
        "stamp": stamp,
        "ticker": ticker,
        "date_format": date_format,
        "decimal": decimal,
        "on_missing": on_missing,
        "columns": columns,
        "adjust": adjust,
        "minimum_bars": minimum_bars,
    }
    _check_arguments(stated)
    table, findings = table_of(source, tuple(columns or ()))
    attrs = _attrs(table, stated)
    named = name_columns(table, columns, ticker, findings)
    rows, zone = _judged_rows(named, stated | attrs, findings)
    if minimum_bars is not None and len(rows) + findings.n_lost < minimum_bars:
        helping = [name for name, fewest in FEWEST_BARS.items() if fewest <= len(rows)]
        findings.fault(*_too_few(len(rows), minimum_bars, MINIMUM_REASON, helping))
    findings.raise_faults()
    accept_rounding(rows, findings)
    bars = _bars_of(rows)
    suspect(bars, findings)
    findings.warn_notes()
    bars.attrs.update(attrs, instrument=attrs["instrument"] or named.ticker, timezone=zone)
    if not isinstance(source, pd.DataFrame):
        bars.attrs["source"] = findings.source
    return bars


def _check_arguments(stated: Mapping[str, Any]) -> None:
    """Refuse arguments that cannot be meant."""
    for name, (words, is_meant) in ARGUMENTS.items():
        if name in stated and not is_meant(stated[name]):
            raise ReadingError(Setting(name), f" must be {words}, got {stated[name]!r}.")
    timezone = stated.get("timezone")
    if timezone is not None and timezone not in available_timezones():
        raise ReadingError(
            Setting("timezone"),
            f" must be a name such as 'America/New_York' or 'UTC', got {timezone!r}."
            f"{did_you_mean(timezone, available_timezones())}",
        )


def _attrs(table: Table, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the bars are: as the caller says, else as the frame's own attrs say."""
    own = {
        name: table.stated[name]
        for name in ("instrument", "timezone", "stamp", "source")
        if table.stated.get(name) is not None
    }
    given = {
        name: stated[name]
        for name in ("instrument", "timezone", "stamp")
        if stated[name] is not None
    }
    try:
        _check_arguments(own)
    except ReadingError as error:
        raise BarsError("the frame's attrs: ", *error.args) from None
    if (
        "timezone" in own.keys() & given.keys() and own["timezone"] != given["timezone"]
    ):  # it would move the stamps once more
        raise BarsError(
            Setting("timezone"),
            f" must be {own['timezone']!r} as the frame's attrs say, got {given['timezone']!r}. "
            "Leave it out.",
        )
    return {"instrument": None, "timezone": None, "stamp": "open"} | own | given


def _judged_rows(
    named: NamedCells, stated: Mapping[str, Any], findings: Findings
) -> tuple[pd.DataFrame, str | None]:
    """Return the rows in time order and their time zone; all that is wrong with them is a fault then."""
    named = without_empty_rows(named, findings)
    places = pd.Series(named.places)
    wall, zone = _stamps(named, stated, findings)
    columns = {name: named.cells[name] for name in (*COLUMNS, "adj close") if name in named.cells}
    numbers, unread = read_numbers(columns, places, stated["decimal"], findings)
    rows = pd.DataFrame({"stamp": wall, "place": places} | dict.fromkeys(COLUMNS, np.nan) | numbers)
    rows = drop_rows_without_prices(
        rows, stated["on_missing"], [name for name in PRICES if name in numbers], unread, findings
    )
    rows = adjusted(fill_volume(rows, "volume" in numbers, findings), stated["adjust"], findings)
    find_broken_bars(
        rows, findings, [check for check in BAR_CHECKS if check is not NOT_THERE]
    )  # missing prices are said
    rows = in_time_order(drop_copies(rows, findings), named.newest_first, findings)
    rows = drop_unfinished(rows, findings)
    judge_repeated(rows, findings)
    judge_spacing(rows, findings)
    if named.headerless:
        _judge_order(rows, findings)
    return rows, zone


def _judge_order(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse columns that have no names and do not look like open, high, low and close, in this order."""
    if highs_and_lows_elsewhere(rows):
        findings.fault(
            "no header row, and most highs are not the highest of their row, or lows the lowest: the order is not date, "
            "open, high, low, close. Add a header line."
        )
    elif not findings.faults and opens_and_closes_swapped(rows):
        findings.fault(
            "no header row, and the second column looks like the close, the fifth like the open. Add a header line."
        )


def _stamps(
    named: NamedCells, stated: Mapping[str, Any], findings: Findings
) -> tuple[Times, str | None]:
    if "date" not in named.cells:
        return np.full(len(named.places), NOT_A_TIME), None
    places = pd.Series(named.places)
    stamps = read_stamps(
        named.cells["date"], named.cells.get("time"), places, stated["date_format"], findings
    )
    return settled(stamps, stated["timezone"], places, findings)


def _bars_of(rows: pd.DataFrame) -> pd.DataFrame:
    values = rows[list(COLUMNS)].to_numpy(dtype=np.float64)
    return pd.DataFrame(
        values, index=pd.DatetimeIndex(rows["stamp"], name="date"), columns=list(COLUMNS)
    )


def check_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars themselves if they are in our form and satisfy every invariant, else raise BarsError.

    Our form is a DataFrame with a DatetimeIndex without time zone, increasing and unique, and the float64 columns open,
    high, low, close and volume; `read_bars` makes it of anything. High and low may miss open and close by rounding.
    """
    findings = Findings("bars")
    index = _checked_index(bars, findings)
    rows = pd.DataFrame(
        {
            "stamp": index,
            "place": np.arange(len(bars)),
            **{name: bars[name].to_numpy() for name in COLUMNS},
        }
    )
    find_broken_bars(rows, findings)
    late = np.r_[False, np.diff(index.asi8) <= 0][: len(rows)]
    if late.any():
        findings.fault(
            f"stamps must increase and be unique; {int(late.sum())} do not "
            f"(first {findings.place(rows[late].iloc[0])}). Use read_bars(frame)."
        )
    findings.raise_faults()
    return bars


def _checked_index(bars: pd.DataFrame, findings: Findings) -> pd.DatetimeIndex:
    if not isinstance(bars, pd.DataFrame) or not isinstance(bars.index, pd.DatetimeIndex):
        findings.refuse(
            f"must be a DataFrame with a DatetimeIndex, got {type(bars).__name__}. Use read_bars(frame)."
        )
    if bars.index.tz is not None or bars.index.hasnans:
        findings.refuse("the index must have no time zone and no NaT. Use read_bars(frame).")
    missing = [name for name in COLUMNS if name not in bars.columns]
    if missing:
        findings.refuse(
            f"no {', '.join(map(repr, missing))} column (found: {', '.join(map(str, bars.columns))}). "
            "Use read_bars(frame)."
        )
    wrong = [name for name in COLUMNS if bars[name].dtype != np.float64]
    if wrong:
        findings.refuse(
            f"column {wrong[0]!r} must be float64, got {bars[wrong[0]].dtype}. Use read_bars(frame)."
        )
    return bars.index


def require_bars(bars: pd.DataFrame, needed: int, why: str, helping: Sequence[str] = ()) -> None:
    """Raise BarsError unless there are as many bars as needed; `why` names the parts, `helping` the settings that lower them."""
    if len(bars) < needed:
        name = bars.attrs.get("source") or bars.attrs.get("instrument") or "the data"
        raise BarsError(f"{name}: ", *_too_few(len(bars), needed, why, helping))


def _too_few(number: int, needed: int, why: str, helping: Sequence[str]) -> tuple[Part, ...]:
    remedy = (
        ("Lower ", *joined([Setting(name) for name in helping]), " to need fewer.")
        if helping
        else ("Give more bars.",)
    )
    return f"{count(number, 'bar')}; at least {needed} are needed ({why}). ", *remedy


def digest_bars(bars: pd.DataFrame) -> str:
    """Return the sha256 over stamps (int64 nanoseconds) and the five columns (float64, row by row), in hex."""
    digest = hashlib.sha256(
        np.ascontiguousarray(pd.DatetimeIndex(bars.index).as_unit("ns").asi8).tobytes()
    )
    digest.update(np.ascontiguousarray(bars[list(COLUMNS)].to_numpy(dtype=np.float64)).tobytes())
    return digest.hexdigest()
