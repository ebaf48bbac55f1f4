"""What a bar is: read_bars, the one door for files and DataFrames, and the invariants every bar satisfies."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from model.columns import NamedCells, did_you_mean, name_columns, without_empty_rows
from model.dialects import table_of
from model.faults import COLUMNS, PRICES, BarsError, BarsWarning, Findings, bar_faults, find_broken_bars
from model.intervals import bar_interval, bars_per_year
from model.numbers import read_numbers
from model.repairs import (
    accept_rounding, adjusted, drop_copies, drop_rows_without_prices, drop_unfinished, fill_volume, in_time_order,
    judge_repeated, judge_spacing,
)
from model.stamps import read_stamps
from model.suspicions import opens_and_closes_swapped, suspect
from model.zones import settled

__all__ = [
    "COLUMNS", "MINIMUM_BARS", "PRICES", "BarsError", "BarsWarning", "bar_faults", "bar_interval", "bars_per_year", "check_bars",
    "digest_bars", "read_bars", "require_bars",
]

MINIMUM_BARS = 244
MINIMUM_REASON = ("100 to warm up, 50 for a window, then 70 % / 15 % / 15 % of the windows to train, validate and test, "
                  "the first at least one batch of 64; lower batch_size or sequence_length to need fewer")
STAMPS = ("open", "close")


def read_bars(
    source: str | Path | pd.DataFrame,
    *,
    instrument: str | None = None,
    timezone: str | None = None,
    stamp: str = "open",
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
    _check_arguments(timezone, stamp, decimal, on_missing, columns)
    table = table_of(source, tuple(columns or ()))
    findings = Findings(table.source, table.unit)
    named = name_columns(table, columns, ticker, findings)
    rows, zone = _sound_rows(named, findings, timezone=timezone, date_format=date_format, decimal=decimal,
                             adjust=adjust, on_missing=on_missing)
    if minimum_bars is not None:
        _require(len(rows), minimum_bars, MINIMUM_REASON, findings)
    bars = _bars_of(rows)
    suspect(bars, findings)
    findings.warn_notes()
    known = source.attrs if isinstance(source, pd.DataFrame) else {}
    bars.attrs = {"instrument": instrument or named.ticker or known.get("instrument"), "timezone": zone or known.get("timezone"),
                  "stamp": known.get("stamp", stamp) if stamp == "open" else stamp}
    return bars


def _check_arguments(timezone: str | None, stamp: str, decimal: str | None, on_missing: str,
                     columns: Mapping[str, str] | None) -> None:
    if not isinstance(columns, Mapping | None):
        raise BarsError(f"`columns` must be a dict such as {{'Price': 'close'}}, got {columns!r}.")
    if timezone is not None and timezone not in available_timezones():
        raise BarsError(f"`timezone` must be a name such as 'America/New_York' or 'UTC', got {timezone!r}."
                        + did_you_mean(timezone, available_timezones()))
    allowances = {"stamp": (stamp, STAMPS), "decimal": (decimal, (None, ".", ",")), "on_missing": (on_missing, ("error", "drop"))}
    for name, (value, allowed) in allowances.items():
        if value not in allowed:
            raise BarsError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}.")


def _sound_rows(named: NamedCells, findings: Findings, *, timezone: str | None, date_format: str | None, decimal: str | None,
                adjust: bool, on_missing: str) -> tuple[pd.DataFrame, str | None]:
    """Return rows in time order that break no rule, and their time zone; refuse all that is wrong together."""
    named = without_empty_rows(named, findings)
    places = pd.Series(named.places)
    stamps = read_stamps(named.cells["date"], named.cells.get("time"), places, date_format, findings)
    wall, zone = settled(stamps, timezone, places, findings)
    columns = {name: named.cells[name] for name in (*COLUMNS, "adj close") if name in named.cells}
    numbers, unread = read_numbers(columns, places, decimal, findings)
    rows = pd.DataFrame({"stamp": wall, "place": places, "volume": np.nan} | numbers)
    rows = drop_rows_without_prices(rows, on_missing, unread, findings)
    rows = adjusted(fill_volume(rows, "volume" in numbers, findings), adjust, findings)
    find_broken_bars(rows, findings, rows[list(PRICES)].notna().all(axis=1).to_numpy())
    rows = in_time_order(drop_copies(rows, findings), named.newest_first, findings)
    rows = drop_unfinished(rows, findings)
    judge_repeated(rows, findings)
    judge_spacing(rows, findings)
    if named.headerless and not findings.faults and opens_and_closes_swapped(rows):
        findings.fault("no header row, and the second column looks like the close, the fifth like the open. Add a header line.")
    findings.raise_faults()
    accept_rounding(rows, findings)
    return rows, zone


def _bars_of(rows: pd.DataFrame) -> pd.DataFrame:
    values = rows[list(COLUMNS)].to_numpy(dtype=np.float64)
    return pd.DataFrame(values, index=pd.DatetimeIndex(rows["stamp"], name="date"), columns=list(COLUMNS))


def check_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars themselves if they are in our form and satisfy every invariant, else raise BarsError.

    Our form is a DataFrame with a DatetimeIndex without time zone, increasing and unique, and the float64 columns open,
    high, low, close and volume; `read_bars` makes it of anything. High and low may miss open and close by rounding.
    """
    findings = Findings("bars")
    index = _checked_index(bars, findings)
    rows = pd.DataFrame({"stamp": index, "place": np.arange(len(bars)), **{name: bars[name].to_numpy() for name in COLUMNS}})
    find_broken_bars(rows, findings, np.ones(len(rows), dtype=bool))
    late = np.r_[False, np.diff(index.asi8) <= 0][:len(rows)]
    if late.any():
        findings.fault(f"stamps must increase and be unique; {int(late.sum())} do not "
                       f"(first {findings.place(rows[late].iloc[0])}). Use read_bars(frame).")
    findings.raise_faults()
    return bars


def _checked_index(bars: pd.DataFrame, findings: Findings) -> pd.DatetimeIndex:
    if not isinstance(bars, pd.DataFrame) or not isinstance(bars.index, pd.DatetimeIndex):
        findings.refuse(f"must be a DataFrame with a DatetimeIndex, got {type(bars).__name__}. Use read_bars(frame).")
    if bars.index.tz is not None or bars.index.hasnans:
        findings.refuse("the index must have no time zone and no NaT. Use read_bars(frame).")
    missing = [name for name in COLUMNS if name not in bars.columns]
    if missing:
        findings.refuse(f"no {', '.join(map(repr, missing))} column (found: {', '.join(map(str, bars.columns))}). "
                        "Use read_bars(frame).")
    wrong = [name for name in COLUMNS if bars[name].dtype != np.float64]
    if wrong:
        findings.refuse(f"column {wrong[0]!r} must be float64, got {bars[wrong[0]].dtype}. Use read_bars(frame).")
    return bars.index


def require_bars(bars: pd.DataFrame, needed: int, why: str) -> None:
    """Raise BarsError unless there are as many bars as needed; `why` names the parts and the setting that lowers them."""
    _require(len(bars), needed, why, Findings(str(bars.attrs.get("instrument") or "the data")))


def _require(number: int, needed: int, why: str, findings: Findings) -> None:
    if number < needed:
        raise BarsError(f"{findings.source} has {number} bars; at least {needed} are needed ({why}).")


def digest_bars(bars: pd.DataFrame) -> str:
    """Return the sha256 over stamps (int64 nanoseconds) and the five columns (float64, row by row), in hex."""
    digest = hashlib.sha256(np.ascontiguousarray(pd.DatetimeIndex(bars.index).as_unit("ns").asi8).tobytes())
    digest.update(np.ascontiguousarray(bars[list(COLUMNS)].to_numpy(dtype=np.float64)).tobytes())
    return digest.hexdigest()
