"""Columns: a table of named cells as it came in, and which of its columns means what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import COLUMNS, PRICES, Findings, count
from model.bars.numbers import is_missing, is_number, missing_cells, text
from model.errors import Part, Setting

# Names in order of preference: "close" beside "price" is the close. They are compared without case, signs and brackets.
ALIASES: dict[str, tuple[str, ...]] = {
    "date": (
        "date",
        "datetime",
        "date time",
        "timestamp",
        "gmt time",
        "local time",
        "open time",
        "opentime",
        "timeopen",
        "bar time",
        "trade date",
        "trading day",
        "day",
        "datum",
        "dt",
        "ts",
        "ts event",
        "time",
        "times",
        "t",
        "date utc",
        "datetime utc",
        "timestamp utc",
        "time utc",
        "utc",
        "utc time",
        "unix",
        "unix time",
        "unix timestamp",
        "unixtime",
        "epoch",
        "close time",
        "closetime",
        "index",
        "unnamed 0",
        "",
    ),
    "time": ("time", "hour", "time of day", "tod", "zeit", "uhrzeit"),
    "open": ("open", "o", "open price", "opening price", "price open", "1 open", "opening"),
    "high": ("high", "h", "high price", "price high", "2 high", "highest"),
    "low": ("low", "l", "low price", "price low", "3 low", "lowest"),
    "close": (
        "close",
        "c",
        "close price",
        "closing price",
        "price close",
        "4 close",
        "close last",
        "closing",
        "last",
        "last price",
        "price",
    ),
    "volume": (
        "volume",
        "v",
        "vol",
        "total volume",
        "5 volume",
        "6 volume",
        "volume traded",
        "tick volume",
        "tickvolume",
        "tickvol",
        "trade volume",
        "base volume",
        "shares traded",
        "no of shares",
    ),
    "adj close": (
        "adj close",
        "adjclose",
        "adjusted close",
        "adj closing price",
        "adj price",
        "5 adjusted close",
        "close adj",
        "close adjusted",
        "adjusted close price",
    ),
    "ticker": (
        "ticker",
        "symbol",
        "tic",
        "instrument",
        "ric",
        "security",
        "asset",
        "pair",
        "isin",
        "code",
        "sid",
        "name",
        "permno",
    ),
}
MEANINGS = {alias: meaning for meaning, aliases in reversed(ALIASES.items()) for alias in aliases}
TARGETS = ("date", "time", *COLUMNS, "adj close", "ticker")
Levels = tuple[str, ...]  # the names of one column, one for each header row


@dataclass(frozen=True)
class Table:
    """Cells as they came in: `names` of the columns, the `columns`, and the line or row each stands in."""

    names: tuple[Levels, ...]
    columns: tuple[pd.Series, ...]
    places: NDArray[np.int64]
    headerless: str = ""  # the first line of a file without a header row
    stated: Mapping[Any, Any] = field(default_factory=dict)  # a frame's own attrs

    def chosen(self, rows: NDArray[np.bool_]) -> Table:
        """Return the table with only these rows."""
        columns = tuple(column[rows].reset_index(drop=True) for column in self.columns)
        return replace(self, columns=columns, places=self.places[rows])


@dataclass(frozen=True)
class NamedCells:
    """Cells by meaning: date, maybe time, the four prices, maybe volume and adj close; and the ticker they belong to."""

    cells: dict[str, pd.Series]
    places: NDArray[np.int64]
    ticker: str | None
    newest_first: bool  # the layout writes the newest row first by custom
    headerless: bool  # the order of the columns is by custom, not by name


def plain_name(name: object) -> str:
    """Return a column name without case, brackets and signs: "<Adj_Close**>" is "adj close"."""
    return " ".join(re.sub(r"\s*\([a-z]{3,4}\)|[^0-9a-z]+", " ", str(name).lower()).split())


def recognised(names: Iterable[object]) -> int:
    """Return how many of the names have a meaning."""
    return sum(plain_name(name) in MEANINGS and plain_name(name) != "" for name in names)


def name_columns(
    table: Table, mapping: Mapping[str, str] | None, ticker: str | None, findings: Findings
) -> NamedCells:
    """Return the cells of one instrument by what they mean; add faults for what is missing or not decided."""
    fields, tickers = _fields_and_tickers(table.names)
    fields, found = _one_ticker(fields, tickers, ticker, findings)
    by_user = _known_names(mapping or {}, fields, findings)
    positions = _positions(_meanings(fields, by_user), fields, table, findings)
    table, found = _one_symbol(table, positions, ticker, found, findings)
    if ticker is not None and found is None:
        findings.fault(
            f"no ticker {ticker!r}: neither a column nor a second header row names tickers. Leave ",
            Setting("ticker"),
            " out; ",
            Setting("instrument", ticker),
            " names what the bars are of.",
        )
    promised = set((mapping or {}).values())
    _require_columns(
        [name for name in ("date", *PRICES) if name not in positions.keys() | promised],
        fields,
        table,
        findings,
    )
    cells = {
        meaning: table.columns[position].rename(fields[position])
        for meaning, position in positions.items()
        if meaning != "ticker"
    }
    price = fields[positions["close"]] if "close" in positions else None
    investing = plain_name(price) == "price" and any(
        plain_name(field) == "change" for field in fields
    )
    return NamedCells(cells, table.places, found, investing, bool(table.headerless))


def _fields_and_tickers(names: Sequence[Levels]) -> tuple[list[str | None], list[str]]:
    """Split header rows into the row of field names and the row of tickers, whichever stands first."""
    depth = max(len(levels) for levels in names)
    padded = [levels + ("",) * (depth - len(levels)) for levels in names]
    scores = [recognised(levels[row] for levels in padded) for row in range(depth)]
    field_row = scores.index(max(scores))
    fields: list[str | None] = [_field_of(levels, field_row) for levels in padded]
    tickers = [_ticker_of(levels, field_row) for levels in padded]
    return fields, [
        "" if MEANINGS.get(plain_name(field)) == "date" else name
        for field, name in zip(fields, tickers)
    ]


def _field_of(levels: Levels, field_row: int) -> str:
    """Return the level that names the field; the index column carries the names of the header rows instead."""
    dates = [
        name for name in levels if MEANINGS.get(plain_name(name)) == "date" and plain_name(name)
    ]
    if len(levels) > 1 and (
        dates
        or {plain_name(name) for name in levels} <= {"price", "ticker", "attributes", "symbols", ""}
    ):
        return dates[0] if dates else "date"
    return levels[field_row] or next((name for name in levels if name), "")


def _ticker_of(levels: Levels, field_row: int) -> str:
    own = {"", plain_name(levels[field_row])}  # a header that stands twice holds no tickers
    others = [
        name
        for row, name in enumerate(levels)
        if row != field_row and not name.startswith("Unnamed")
    ]
    return next((name for name in others if plain_name(name) not in own), "")


def _one_ticker(
    fields: list[str | None], tickers: list[str], ticker: str | None, findings: Findings
) -> tuple[list[str | None], str | None]:
    """Keep the columns of one ticker: the only one, or the one asked for; names that stand over no price are units."""
    named = {
        meaning: {
            name
            for name, field in zip(tickers, fields)
            if name and MEANINGS.get(plain_name(field)) == meaning
        }
        for meaning in COLUMNS
    }
    several = sorted(set().union(*(named[meaning] for meaning in PRICES)))
    if named["volume"] - set(several) and ticker not in several:
        return fields, None
    chosen = _choose(several, ticker, "the header", findings) if several else None
    return [field if name in ("", chosen) else None for field, name in zip(fields, tickers)], chosen


def _choose(several: Sequence[str], ticker: str | None, where: str, findings: Findings) -> str:
    """Return the ticker asked for, or the only one; if that is not decided, the first, whose faults follow."""
    if ticker in several:
        return str(ticker)
    listed = ", ".join(several[:8]) + (", ..." if len(several) > 8 else "")
    if ticker is not None:
        findings.fault(
            f"no ticker {ticker!r} in {where} (found: {listed}).{did_you_mean(ticker, several)}"
        )
    elif len(several) > 1:
        findings.fault(
            f"{where} holds {len(several)} tickers ({listed}); choose one: ",
            Setting("ticker", several[0]),
            ".",
        )
    if len(several) > 1:
        findings.about = f"{several[0]}: "
    return several[0]


def _known_names(
    mapping: Mapping[str, str], fields: Sequence[str | None], findings: Findings
) -> dict[str, str]:
    """Return the user's mapping by plain name, with a fault for names and targets that are none."""
    own = {plain_name(field) for field in fields if field is not None}
    for name, target in mapping.items():
        if plain_name(name) not in own:
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
    return {
        plain_name(name): target
        for name, target in mapping.items()
        if plain_name(name) in own and target in TARGETS
    }


def _meanings(fields: Sequence[str | None], by_user: Mapping[str, str]) -> list[str | None]:
    """Return each column's meaning; the user's mapping goes before the table of aliases."""
    meanings: list[str | None] = []
    for field_ in fields:
        known = None if field_ is None else MEANINGS.get(plain_name(field_))
        taken = known in by_user.values() and plain_name(field_) not in by_user
        meanings.append(
            by_user.get(plain_name(field_), None if taken else known)
            if field_ is not None
            else None
        )
    return meanings


def _positions(
    meanings: Sequence[str | None], fields: Sequence[str | None], table: Table, findings: Findings
) -> dict[str, int]:
    """Return the best column for each meaning."""
    candidates: dict[str, list[int]] = {}
    for position, meaning in enumerate(meanings):
        if meaning:
            candidates.setdefault(meaning, []).append(position)
    _find_volume(candidates, fields, findings)
    best = {
        meaning: _best(meaning, found, fields, table, findings)
        for meaning, found in candidates.items()
    }
    clock = [
        position
        for position in candidates.get("date", ())
        if plain_name(fields[position]) in ALIASES["time"]
    ]
    if (
        clock and clock[0] != best["date"]
    ):  # a time of day beside the date is joined to it, never dropped
        best.setdefault("time", clock[0])
    if "time" in best and "date" not in best:
        best["date"] = best.pop("time")
    return best


def _find_volume(
    candidates: dict[str, list[int]], fields: Sequence[str | None], findings: Findings
) -> None:
    """Take "Volume BTC" for the volume where no column is called just so, and say it if there are several."""
    if "volume" in candidates:
        return
    found = [
        position
        for position, field in enumerate(fields)
        if field and plain_name(field).startswith(("volume ", "vol "))
    ]
    if found:
        candidates["volume"] = found[:1]
    if len(found) > 1:
        first, second = str(fields[found[0]]), str(fields[found[1]])
        findings.note(
            f"{len(found)} volume columns; taking {first!r}. For another pass ",
            Setting("columns", {second: "volume"}),
            ".",
        )


def _best(
    meaning: str,
    found: Sequence[int],
    fields: Sequence[str | None],
    table: Table,
    findings: Findings,
) -> int:
    ordered = sorted(found, key=lambda position: _preference(meaning, fields[position]))
    if (
        meaning == "volume"
    ):  # the real volume of a currency pair is often all 0 beside a count of ticks
        ordered = [
            position for position in ordered if not _all_zero(table.columns[position])
        ] or ordered
    first, rank = ordered[0], _preference(meaning, fields[ordered[0]])
    same = [position for position in ordered if _preference(meaning, fields[position]) == rank]
    if len(same) > 1 and any(
        not text(table.columns[first]).equals(text(table.columns[position])) for position in same
    ):
        listed = _listed(fields[position] for position in same)
        findings.fault(
            f"{len(same)} columns mean {meaning!r} and differ ({listed}). Remove all but one, or rename it."
        )
    return first


def _preference(meaning: str, field: str | None) -> int:
    aliases = ALIASES[meaning]
    return aliases.index(plain_name(field)) if plain_name(field) in aliases else -1


def _all_zero(cells: pd.Series) -> bool:
    if is_number(cells):
        return bool((cells.isna() | (cells == 0)).all())
    return bool(text(cells).str.fullmatch(r"0*\.?0*").all())


def _one_symbol(
    table: Table,
    positions: Mapping[str, int],
    ticker: str | None,
    found: str | None,
    findings: Findings,
) -> tuple[Table, str | None]:
    """Keep the rows of one ticker where a column names it."""
    if "ticker" not in positions:
        return table, found
    words = text(table.columns[positions["ticker"]])
    several = sorted(words[~is_missing(words)].unique())
    if not several:
        return table, found
    name = table.names[positions["ticker"]][0]
    chosen = _choose(several, ticker, f"column {name!r}", findings)
    return (
        table.chosen((words == chosen).to_numpy(dtype=bool)) if len(several) > 1 else table
    ), chosen


def without_empty_rows(named: NamedCells, findings: Findings) -> NamedCells:
    """Drop rows that hold nothing at all, as a frame has them of a file's empty lines."""
    empty = np.ones(len(named.places), dtype=bool)
    for cells in named.cells.values():
        if not empty.any():
            return named
        empty[empty] = missing_cells(cells[empty])
    if not empty.any() or empty.all():
        return named
    first = f"{findings.unit} {named.places[empty][0]}"
    findings.note(
        f"dropped {count(int(empty.sum()), 'row')} without anything in them (first: {first})."
    )
    kept = {
        meaning: column[~empty].reset_index(drop=True) for meaning, column in named.cells.items()
    }
    return replace(named, cells=kept, places=named.places[~empty])


def _require_columns(
    missing: Sequence[str], fields: Sequence[str | None], table: Table, findings: Findings
) -> None:
    if missing and table.headerless:
        findings.refuse(
            f"no header row (first line: {table.headerless[:80]}), and {len(fields)} columns are not date, open, high, "
            "low, close and maybe a time and a volume. Add a header line date,open,high,low,close,volume."
        )
    if missing and len(fields) == 1:
        findings.refuse(
            f"only one column (found: {_listed(fields)}). Is the delimiter none of comma, semicolon, tab, | and blank, "
            "or every line quoted as a whole? Export it as CSV again."
        )
    if missing:
        words = ", ".join(repr(name) for name in missing)
        findings.fault(
            f"no {words} column{'s' * (len(missing) > 1)} (found: {_listed(fields)}).",
            *_remedy(missing, fields),
        )


def _remedy(missing: Sequence[str], fields: Sequence[str | None]) -> tuple[Part, ...]:
    """Return what to do about missing columns: the name that is spelt nearly so, or the setting that maps names."""
    spelt = [
        plain_name(field)
        for field in fields
        if field and MEANINGS.get(plain_name(field)) != "adj close"
    ]
    for name in missing:
        for match in get_close_matches(name, spelt, 1, 0.6):
            unused = next(str(field) for field in fields if plain_name(field) == match)
            return f" Did you mean {unused!r}? Map them: ", Setting("columns", {unused: name}), "."
    return " Map them: ", Setting("columns", {"name in the file": missing[-1]}), "."


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return " Did you mean ...?" if something known is spelt nearly so, else nothing."""
    spelt = {str(word).lower(): str(word) for word in known if word}
    match = get_close_matches(str(name).lower(), list(spelt), 1, 0.6)
    return f" Did you mean {spelt[match[0]]!r}?" if match else ""


def _listed(fields: Iterable[str | None]) -> str:
    names = [str(field) if field else "(unnamed)" for field in fields if field is not None]
    return ", ".join(names[:15]) + (", ..." if len(names) > 15 else "")
