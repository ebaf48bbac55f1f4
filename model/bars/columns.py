"""Columns: a table of named cells as it came in, and which of its columns means what.

The names that exporters write stand in one table, ALIASES; what a user maps goes before it. Tickers
may stand in a second header row or in a column of their own: only one of them is read.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import COLUMNS, PRICES, Findings, count
from model.bars.numbers import is_missing, is_number, missing_cells, text
from model.errors import Setting, did_you_mean

# What each column may be called, in order of preference: "close" beside "price" is the close. Names
# are compared as `plain_name` gives them, so write them here in lower case and without signs.
# fmt: off
ALIASES: dict[str, tuple[str, ...]] = {
    "date": (
        "date", "datetime", "date time", "timestamp", "gmt time", "local time", "open time",
        "opentime", "timeopen", "bar time", "trade date", "trading day", "day", "datum", "dt", "ts",
        "ts event", "time", "times", "t", "date utc", "datetime utc", "timestamp utc", "time utc",
        "utc", "utc time", "unix", "unix time", "unix timestamp", "unixtime", "epoch",
        "close time", "closetime", "index", "unnamed 0", "",
    ),
    "time": ("time", "hour", "time of day", "tod", "zeit", "uhrzeit"),
    "open": ("open", "o", "open price", "opening price", "price open", "1 open", "opening"),
    "high": ("high", "h", "high price", "price high", "2 high", "highest"),
    "low": ("low", "l", "low price", "price low", "3 low", "lowest"),
    "close": (
        "close", "c", "close price", "closing price", "price close", "4 close", "close last",
        "closing", "last", "last price", "price",
    ),
    "volume": (
        "volume", "v", "vol", "total volume", "5 volume", "6 volume", "volume traded",
        "tick volume", "tickvolume", "tickvol", "trade volume", "base volume", "shares traded",
        "no of shares",
    ),
    "adj close": (
        "adj close", "adjclose", "adjusted close", "adj closing price", "adj price",
        "5 adjusted close", "close adj", "close adjusted", "adjusted close price",
    ),
    "ticker": (
        "ticker", "symbol", "tic", "instrument", "ric", "security", "asset", "pair", "isin", "code",
        "sid", "name", "permno",
    ),
}
# fmt: on
# A name of two meanings has the first of them: "time" is the date, unless another column is.
MEANINGS = {alias: meaning for meaning, aliases in reversed(ALIASES.items()) for alias in aliases}
TARGETS = ("date", "time", *COLUMNS, "adj close", "ticker")
# What stands in the index column where several header rows name fields and tickers.
HEADER_ROW_NAMES = {"price", "ticker", "attributes", "symbols", ""}

Levels = tuple[str, ...]  # the names of one column, one for each header row


@dataclass(frozen=True)
class Table:
    """Cells as they came in: `names` of the columns, the `columns`, and each row's place.

    A place is the line of a file, or the row of a frame, that messages name.
    """

    names: tuple[Levels, ...]
    columns: tuple[pd.Series, ...]
    places: NDArray[np.int64]
    headerless: str  # the first line of a file without a header row
    attrs: Mapping[Hashable, Any]  # a frame's own


@dataclass(frozen=True)
class NamedCells:
    """Cells of one instrument by meaning: date, four prices, maybe time, volume and adj close."""

    cells: dict[str, pd.Series]
    places: NDArray[np.int64]
    ticker: str | None
    newest_first: bool  # the layout writes the newest row first by custom
    headerless: bool  # the order of the columns is by custom, not by name


def plain_name(name: object) -> str:
    """Return a column name without case, brackets and signs: "<Adj_Close**>" is "adj close"."""
    return " ".join(re.sub(r"\s*\([a-z]{3,4}\)|[^0-9a-z]+", " ", str(name).lower()).split())


def meaning_of(name: object) -> str | None:
    """Return what a column of this name means, None if nothing known.

    No name at all is a date's: pandas writes the index so.
    """
    return MEANINGS.get(plain_name(name))


def n_recognised(names: Iterable[object]) -> int:
    """Return how many of the names, the empty one aside, have a meaning."""
    return sum(plain_name(name) != "" and meaning_of(name) is not None for name in names)


def name_columns(
    table: Table, mapping: Mapping[str, str] | None, ticker: str | None, findings: Findings
) -> NamedCells:
    """Return the cells of one instrument by what they mean.

    What is missing, or not decided, is a fault: a ticker among several, a column, one of two that
    differ. `mapping` is the user's own, from names in the source to names of ours.
    """
    mapping = mapping or {}
    fields, tickers = _fields_and_tickers(table.names)
    fields, found = _fields_of_ticker(fields, tickers, ticker, findings)
    meanings = _meanings(fields, mapping, findings)
    positions = _positions(meanings, fields, table, findings)
    if "ticker" in positions:
        table, found = _rows_of_ticker(table, positions["ticker"], ticker, found, findings)
    if ticker is not None and found is None:
        findings.fault(
            f"no ticker {ticker!r}: neither a column nor a second header row names tickers. Leave ",
            Setting("ticker"),
            " out; ",
            Setting("instrument", ticker),
            " names what the bars are of.",
        )
    # A column that the user maps wrongly is a fault already, and not missing as well.
    known = positions.keys() | set(mapping.values())
    missing = [name for name in ("date", *PRICES) if name not in known]
    if missing:
        _report_missing(missing, fields, table.headerless, findings)
    cells = {
        meaning: table.columns[position].rename(fields[position])
        for meaning, position in positions.items()
        if meaning != "ticker"
    }
    # Investing.com, which calls the close "Price", writes the newest row first.
    investing = (
        "close" in positions
        and plain_name(fields[positions["close"]]) == "price"
        and "change" in map(plain_name, fields)
    )
    return NamedCells(cells, table.places, found, investing, bool(table.headerless))


def _fields_and_tickers(names: Sequence[Levels]) -> tuple[list[str | None], list[str]]:
    """Split header rows into the names of fields and those of tickers, whichever stands first.

    A column that no ticker stands over has the ticker "".
    """
    depth = max(len(levels) for levels in names)
    padded = [levels + ("",) * (depth - len(levels)) for levels in names]
    # The row of the fields is the one with most names that are known.
    n_known = [n_recognised(levels[row] for levels in padded) for row in range(depth)]
    field_row = n_known.index(max(n_known))
    fields: list[str | None] = []
    tickers = []
    for levels in padded:
        fields.append(_field_of(levels, field_row))
        own = ("", plain_name(levels[field_row]))  # a header that stands twice holds no tickers
        others = [
            name
            for row, name in enumerate(levels)
            if row != field_row and not name.startswith("Unnamed") and plain_name(name) not in own
        ]
        tickers.append(others[0] if others and meaning_of(fields[-1]) != "date" else "")
    return fields, tickers


def _field_of(levels: Levels, field_row: int) -> str:
    """Return the level that names the field; an index column may name the header rows instead."""
    if len(levels) > 1:
        dates = [name for name in levels if plain_name(name) and meaning_of(name) == "date"]
        if dates or {plain_name(name) for name in levels} <= HEADER_ROW_NAMES:
            return dates[0] if dates else "date"
    return levels[field_row] or next((name for name in levels if name), "")


def _fields_of_ticker(
    fields: list[str | None], tickers: list[str], ticker: str | None, findings: Findings
) -> tuple[list[str | None], str | None]:
    """Keep the fields of one ticker, the only one or the one asked for; all others become None."""
    over = {meaning: set[str]() for meaning in COLUMNS}
    for name, field in zip(tickers, fields, strict=True):
        meaning = meaning_of(field)
        if name and meaning in over:
            over[meaning].add(name)
    several = sorted(set().union(*(over[meaning] for meaning in PRICES)))
    # What stands over the volume and over no price is a unit, such as "shares" beside "USD".
    if over["volume"] - set(several) and ticker not in several:
        return fields, None
    chosen = _choose_ticker(several, ticker, "the header", findings) if several else None
    of_chosen = [name in ("", chosen) for name in tickers]
    kept = [field if keep else None for field, keep in zip(fields, of_chosen, strict=True)]
    return kept, chosen


def _choose_ticker(
    several: Sequence[str], ticker: str | None, where: str, findings: Findings
) -> str:
    """Return the ticker asked for, or the only one.

    Where that is not decided it is the first, so that faults of its bars can be said as well.
    """
    if ticker in several:
        return str(ticker)
    listed = ", ".join(several[:8]) + (", ..." if len(several) > 8 else "")
    if ticker is not None:
        hint = did_you_mean(ticker, several)
        findings.fault(f"no ticker {ticker!r} in {where} (found: {listed}).{hint}")
    elif len(several) > 1:
        findings.fault(
            f"{where} holds {len(several)} tickers ({listed}); choose one: ",
            Setting("ticker", several[0]),
            ".",
        )
    if len(several) > 1:
        findings.about = f"{several[0]}: "
    return several[0]


def _meanings(
    fields: Sequence[str | None], mapping: Mapping[str, str], findings: Findings
) -> list[str | None]:
    """Return each column's meaning: as the user maps it, else by the table of aliases.

    Names and targets of the mapping that there are none of are faults.
    """
    in_source = {plain_name(field) for field in fields if field is not None}
    by_user = {}
    for name, target in mapping.items():
        if plain_name(name) not in in_source:
            findings.fault(
                Setting("columns"),
                f" names {name!r}, which is no column (found: {_listed(fields)})."
                f"{did_you_mean(name, fields)}",
            )
        if target not in TARGETS:
            findings.fault(
                Setting("columns", {name: target}),
                f": the target must be one of {', '.join(TARGETS)}.{did_you_mean(target, TARGETS)}",
            )
        if plain_name(name) in in_source and target in TARGETS:
            by_user[plain_name(name)] = target
    meanings: list[str | None] = []
    for field in fields:
        if field is not None and plain_name(field) in by_user:
            meanings.append(by_user[plain_name(field)])
        else:
            known = meaning_of(field)
            # A column that means by its name what the user gives to another is not read.
            meanings.append(None if known in by_user.values() else known)
    return meanings


def _positions(
    meanings: Sequence[str | None], fields: Sequence[str | None], table: Table, findings: Findings
) -> dict[str, int]:
    """Return the position of the best column for each meaning."""
    candidates: dict[str, list[int]] = {}
    for position, meaning in enumerate(meanings):
        if meaning:
            candidates.setdefault(meaning, []).append(position)
    if "volume" not in candidates:
        candidates |= _volume_of_something(fields, findings)
    best = {
        meaning: _best_column(meaning, found, fields, table, findings)
        for meaning, found in candidates.items()
    }
    # A time of day beside the date is joined to it, never dropped; alone it is the date.
    clocks = [
        position
        for position in candidates.get("date", ())
        if plain_name(fields[position]) in ALIASES["time"]
    ]
    if clocks and clocks[0] != best["date"]:
        best.setdefault("time", clocks[0])
    if "time" in best and "date" not in best:
        best["date"] = best.pop("time")
    return best


def _volume_of_something(fields: Sequence[str | None], findings: Findings) -> dict[str, list[int]]:
    """Take "Volume BTC" for the volume where no column is called just so.

    Where there are several, in coins and in money, the first is taken and that is said.
    """
    found = [
        position
        for position, field in enumerate(fields)
        if field and plain_name(field).startswith(("volume ", "vol "))
    ]
    if len(found) > 1:
        first, second = str(fields[found[0]]), str(fields[found[1]])
        findings.note(
            f"{len(found)} volume columns; taking {first!r}. For another pass ",
            Setting("columns", {second: "volume"}),
            ".",
        )
    return {"volume": found[:1]} if found else {}


def _best_column(
    meaning: str,
    found: Sequence[int],
    fields: Sequence[str | None],
    table: Table,
    findings: Findings,
) -> int:
    """Return the column whose name stands first among the aliases; doubles must be equal.

    A name outside of the aliases is the user's own, or the only volume, and goes before them.
    """
    aliases = ALIASES[meaning]
    names = {position: plain_name(fields[position]) for position in found}
    ranks = {
        position: aliases.index(name) if name in aliases else -1 for position, name in names.items()
    }
    ordered = sorted(found, key=lambda position: ranks[position])
    if meaning == "volume":
        # The real volume of a currency pair is often all 0 beside a count of ticks.
        traded = [position for position in ordered if not _is_all_zero(table.columns[position])]
        ordered = traded or ordered
    first = ordered[0]
    same = [position for position in ordered if ranks[position] == ranks[first]]
    if len(same) > 1:
        cells = text(table.columns[first])
        if not all(text(table.columns[position]).equals(cells) for position in same[1:]):
            findings.fault(
                f"{len(same)} columns mean {meaning!r} and differ "
                f"({_listed(fields[position] for position in same)}). "
                "Remove all but one, or rename it."
            )
    return first


def _is_all_zero(cells: pd.Series) -> bool:
    if is_number(cells):
        return bool((cells.isna() | (cells == 0)).all())
    return bool(text(cells).str.fullmatch(r"0*\.?0*").all())


def _rows_of_ticker(
    table: Table, position: int, ticker: str | None, found: str | None, findings: Findings
) -> tuple[Table, str | None]:
    """Keep the rows of one ticker where a column names it; `found` is the one of the header."""
    words = text(table.columns[position])
    several = sorted(words[~is_missing(words)].unique())
    if not several:
        return table, found
    where = f"column {table.names[position][0]!r}"
    chosen = _choose_ticker(several, ticker, where, findings)
    if len(several) > 1:
        rows = (words == chosen).to_numpy(dtype=bool)
        columns = tuple(column[rows].reset_index(drop=True) for column in table.columns)
        table = replace(table, columns=columns, places=table.places[rows])
    return table, chosen


def _report_missing(
    missing: Sequence[str], fields: Sequence[str | None], headerless: str, findings: Findings
) -> None:
    """Add a fault for missing columns, with what to do about them.

    The remedy is the name that is spelt nearly so, or the setting that maps names.
    """
    if headerless:
        findings.refuse(
            f"no header row (first line: {headerless[:80]}), and {len(fields)} columns are not "
            "date, open, high, low, close and maybe a time and a volume. "
            "Add a header line date,open,high,low,close,volume."
        )
    if len(fields) == 1:
        findings.refuse(
            f"only one column (found: {_listed(fields)}). Is the delimiter none of comma, "
            "semicolon, tab, | and blank, or every line quoted as a whole? Export it as CSV again."
        )
    words = ", ".join(map(repr, missing))
    said = f"no {words} column{'s' * (len(missing) > 1)} (found: {_listed(fields)})."
    # Adjusted closes are no closes: they must not be offered for them.
    spelt = {
        plain_name(field): field
        for field in reversed(fields)
        if field and meaning_of(field) != "adj close"
    }
    for name in missing:
        for match in get_close_matches(name, spelt, 1, 0.6):
            unused = str(spelt[match])
            mapped = Setting("columns", {unused: name})
            findings.fault(f"{said} Did you mean {unused!r}? Map them: ", mapped, ".")
            return
    mapped = Setting("columns", {"name in the file": missing[-1]})
    findings.fault(f"{said} Map them: ", mapped, ".")


def without_empty_rows(named: NamedCells, findings: Findings) -> NamedCells:
    """Drop rows that hold nothing at all, as a frame has them of a file's empty lines."""
    empty = np.ones(len(named.places), dtype=bool)
    for cells in named.cells.values():
        # Rarely more than one column is looked at, for few rows have a first cell that is empty.
        if not empty.any():
            return named
        empty[empty] = missing_cells(cells[empty])
    if not empty.any() or empty.all():
        return named
    findings.note(
        f"dropped {count(int(empty.sum()), 'row')} without anything in them "
        f"(first: {findings.unit} {named.places[empty][0]})."
    )
    kept = {name: cells[~empty].reset_index(drop=True) for name, cells in named.cells.items()}
    return replace(named, cells=kept, places=named.places[~empty])


def _listed(fields: Iterable[str | None]) -> str:
    names = [str(field) if field else "(unnamed)" for field in fields if field is not None]
    return ", ".join(names[:15]) + (", ..." if len(names) > 15 else "")
