"""Columns: which of a table's columns means what.

The names that exporters write stand in `model.bars.names`; what a user maps goes before them. Of
several tickers one is read: `model.bars.tickers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import PRICES, Findings, count
from model.bars.names import (
    ALIASES,
    FINISHED,
    IGNORED,
    KLINE_LETTERS,
    OVER,
    RUNNING,
    SIDES,
    TAKERS_LETTERS,
    TARGETS,
    is_some_volume,
    meaning_of,
    plain_name,
    side_of,
)
from model.bars.numbers import is_number, missing_cells, text
from model.bars.table import Table
from model.bars.tickers import fields_and_tickers, fields_of_ticker, rows_of_ticker
from model.bars.times_of_day import are_times_of_day, looks_like_a_date
from model.errors import Setting, Text, did_you_mean, joined


@dataclass(frozen=True)
class NamedCells:
    """Cells of one instrument by meaning: date, four prices, maybe time, volume and adj close.

    other_dates: further columns of dates, for where the first is not understood.
    """

    cells: dict[str, pd.Series]
    places: NDArray[np.int64]
    ticker: str | None
    newest_first: bool  # the layout writes the newest row first by custom
    headerless: bool  # the order of the columns is by custom, not by name
    other_dates: tuple[pd.Series, ...] = ()


def name_columns(
    table: Table, mapping: Mapping[str, str] | None, ticker: str | None, findings: Findings
) -> NamedCells:
    """Return the cells of one instrument by what they mean.

    What is missing, or not decided, is a fault: a ticker among several, a column, one of two that
    differ. `mapping` is the user's own, from names in the source to names of ours.
    """
    mapping = mapping or {}
    # A second header row names tickers, as downloads of several have it.
    fields, tickers = fields_and_tickers(table.names)
    fields, found = fields_of_ticker(fields, tickers, ticker, findings)
    meanings = _meanings(fields, mapping, table, findings)
    positions = _positions(meanings, fields, table, findings)
    if "ticker" in positions:
        table, found = rows_of_ticker(table, positions, ticker, found, findings)
    if ticker is not None and found is None:
        findings.fault(
            f"no ticker {ticker!r}: neither a column nor a second header row names tickers. Leave ",
            Setting("ticker"),
            " out; ",
            Setting("instrument", ticker),
            " names what the bars are of.",
        )
    table = _without_running_bar(table, fields, mapping, findings)
    # A column that the user maps wrongly is a fault already, and not missing as well.
    known = positions.keys() | set(mapping.values())
    missing = [name for name in ("date", *PRICES) if name not in known]
    if missing:
        _report_missing(missing, fields, table, findings)
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
    others = tuple(
        table.columns[position].rename(fields[position])
        for position, meaning in enumerate(meanings)
        if meaning == "date" and position not in positions.values()
    )
    return NamedCells(cells, table.places, found, investing, bool(table.headerless), others)


def _meanings(
    fields: Sequence[str | None], mapping: Mapping[str, str], table: Table, findings: Findings
) -> list[str | None]:
    """Return each column's meaning: as the user maps it, else by the table of aliases.

    Names and targets of the mapping that there are none of are faults.
    """
    by_user: dict[int, str] = {}
    for name, target in mapping.items():
        called = [position for position, field in enumerate(fields) if field == name] or [
            position
            for position, field in enumerate(fields)
            if field is not None and plain_name(field) == plain_name(name)
        ]
        if not called:
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
        else:
            by_user |= dict.fromkeys(called, target)
    given, kline = set(by_user.values()), set(fields) >= KLINE_LETTERS
    meanings: list[str | None] = []
    for position, field in enumerate(fields):
        known = by_user.get(position, meaning_of(field))
        if position in by_user:
            known = None if known == IGNORED else known
        elif known == "date" and known in given and _is_clock(field, table.columns[position]):
            known = None if "time" in given else "time"
        # A column that means by its name what the user gives to another is not read.
        elif (
            known in given
            or (kline and field in TAKERS_LETTERS)
            or (known == "date" and counts_rows(field, table.columns[position]))
        ):
            known = None
        meanings.append(known)
    return meanings


def counts_rows(name: str | None, cells: pd.Series) -> bool:
    """Return whether an index holds nothing but the numbers of the rows, and so no dates."""
    if plain_name(name or "") not in ("", "index", "unnamed 0"):
        return False
    first = list(text(cells[:20]))
    return first in [[str(n) for n in range(start, start + len(first))] for start in (0, 1)]


def _is_clock(name: str | None, cells: pd.Series) -> bool:
    """Return whether a column holds times of day alone, not looking at more cells than needed.

    Bare numbers are times of day only where the column is called so.
    """
    named = plain_name(name) in ALIASES["time"]
    if not named and not text(cells[:1]).str.contains(":").any():
        return False
    return are_times_of_day(cells[:20]) and are_times_of_day(cells)


def _positions(
    meanings: Sequence[str | None], fields: Sequence[str | None], table: Table, findings: Findings
) -> dict[str, int]:
    """Return the position of the best column for each meaning."""
    candidates: dict[str, list[int]] = {}
    for position, meaning in enumerate(meanings):
        if meaning:
            candidates.setdefault(meaning, []).append(position)
    if "volume" not in candidates:
        candidates |= _volume_of_something(fields, meanings, findings)
    # A time of day beside the date is joined to it, never dropped; alone it is the date.
    dates = candidates.get("date", [])
    clocks = [
        position
        for position in dates
        if len(dates) > 1
        and (
            plain_name(fields[position]) in ALIASES["time"]
            or _is_clock(fields[position], table.columns[position])
        )
    ]
    if 0 < len(clocks) < len(dates):
        candidates["date"] = [position for position in dates if position not in clocks]
        candidates.setdefault("time", clocks[:1])
    best = {
        meaning: _best_column(meaning, found, fields, table, findings)
        for meaning, found in candidates.items()
    }
    if "time" in best and "date" not in best:
        best["date"] = best.pop("time")
    _judge_sides(best, candidates, fields, findings)
    _note_other_closes(best, candidates, fields, table, findings)
    return best


def _volume_of_something(
    fields: Sequence[str | None], meanings: Sequence[str | None], findings: Findings
) -> dict[str, list[int]]:
    """Take "Volume BTC" for the volume where no column is called just so.

    Where there are several, in coins and in money, the first is taken and that is said.
    """
    unknown = [
        (position, field)
        for position, field in enumerate(fields)
        if field and meanings[position] is None and meaning_of(field) is None
    ]
    found = [(position, field) for position, field in unknown if is_some_volume(field)]
    # An average of the volume is no volume, though it is called after it.
    derived = [field for _, field in unknown if {"volume", "vol"} & set(plain_name(field).split())]
    if len(found) > 1:
        findings.note(
            f"{len(found)} volume columns; taking {found[0][1]!r}. For another pass ",
            Setting("columns", {found[1][1]: "volume"}),
            ".",
        )
    elif derived and not found:
        findings.note(
            f"column {derived[0]!r} is called after volume and something made of it, such as an "
            "average or a change: it is not read. If it is the volume itself pass ",
            Setting("columns", {derived[0]: "volume"}),
            ".",
        )
    return {"volume": [found[0][0]]} if found else {}


def _judge_sides(
    best: Mapping[str, int],
    candidates: Mapping[str, Sequence[int]],
    fields: Sequence[str | None],
    findings: Findings,
) -> None:
    """Say which side of a quote the prices are of; refuse prices of several sides."""
    chosen = {name: side_of(fields[best[name]]) for name in PRICES if name in best}
    # Prices that name no side of a quote are trades.
    if None in chosen.values() or len(chosen) < len(PRICES):
        return
    if len(set(chosen.values())) > 1:
        listed = ", ".join(str(fields[best[name]]) for name in PRICES)
        findings.fault(
            f"the four prices are of several sides of a quote ({listed}). Export all four of one."
        )
        return
    for side in SIDES:
        other = {
            str(fields[position]): name
            for name in PRICES
            for position in candidates[name]
            if side_of(fields[position]) == side
        }
        # A side that lacks one of the four could not be taken instead.
        if side != chosen["open"] and len(other) == len(PRICES):
            findings.note(
                f"prices of several sides of a quote; taking the {chosen['open']}. "
                f"For the {side} pass ",
                Setting("columns", other),
                ".",
            )
            return


def _note_other_closes(
    best: Mapping[str, int],
    candidates: Mapping[str, Sequence[int]],
    fields: Sequence[str | None],
    table: Table,
    findings: Findings,
) -> None:
    """Say which of a last trade and a settlement is taken for the close; a named close is sure."""
    aliases, first = ALIASES["close"], best.get("close", -1)
    name = plain_name(fields[first]) if first >= 0 else ""
    if name not in aliases or aliases.index(name) < aliases.index("close last") or side_of(name):
        return
    cells = text(table.columns[first])
    for position in candidates["close"]:
        # Two columns of the same content leave nothing to decide.
        if not text(table.columns[position]).equals(cells):
            findings.note(
                f"columns {fields[first]!r} and {fields[position]!r} may both be the close; "
                f"taking {fields[first]!r}. For the other pass ",
                Setting("columns", {str(fields[position]): "close"}),
                ".",
            )
            return


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
    cells = text(table.columns[first]) if len(same) > 1 else None
    if cells is not None and not all(
        text(table.columns[position]).equals(cells) for position in same[1:]
    ):
        spelt = [str(fields[position]) for position in same]
        remedy: Text = (" Remove all but one.",)
        # Names that differ in their spelling can be told apart.
        if len(set(spelt)) == len(spelt):
            choices = [Setting("columns", {name: meaning}) for name in spelt]
            remedy = (" Pass ", *joined(choices), ".")
        findings.fault(
            f"{len(same)} columns mean {meaning!r} and differ ({_listed(spelt)}).", *remedy
        )
    return first


def _is_all_zero(cells: pd.Series) -> bool:
    if is_number(cells):
        return bool((cells.isna() | (cells == 0)).all())
    return bool(text(cells).str.fullmatch(r"0*\.?0*").all())


def _without_running_bar(
    table: Table, fields: Sequence[str | None], mapping: Mapping[str, str], findings: Findings
) -> Table:
    """Drop a first or last row that a column such as OANDA's "complete" says is not over yet."""
    for field, cells in zip(fields, table.columns, strict=True):
        if field is None or field in mapping or plain_name(field) not in FINISHED:
            continue
        words = text(cells).str.lower()
        running = np.flatnonzero(words.isin(RUNNING))
        ends = (0, len(words) - 1)
        if len(running) != 1 or running[0] not in ends or not words.isin(OVER | RUNNING).all():
            continue
        findings.note(
            f"dropped the bar of {findings.unit} {table.places[running[0]]}: column {field!r} says "
            "that it was not over yet."
        )
        kept = tuple(column.drop(running).reset_index(drop=True) for column in table.columns)
        return replace(table, columns=kept, places=np.delete(table.places, running))
    return table


def _report_missing(
    missing: Sequence[str], fields: Sequence[str | None], table: Table, findings: Findings
) -> None:
    """Add a fault for missing columns, with what to do about them.

    The remedy is the name that is spelt nearly so, or the setting that maps names.
    """
    if table.headerless:
        findings.refuse(
            f"no header row (first line: {table.headerless[:80]}), and {len(fields)} columns are "
            "not date, open, high, low, close and maybe a time and a volume. Add a header line of "
            f"{len(fields)} names, as {table.delimiter.join(table.likely)} if that is what they "
            "are."
        )
    if table.likely:
        pairs = zip(map(str, fields), table.likely, strict=True)
        known = {number: name for number, name in pairs if name in TARGETS}
        findings.refuse(
            f"the header {','.join(map(str, fields))} names nothing, it counts the columns. "
            "Map them, if that is their order: ",
            Setting("columns", known),
            ".",
        )
    if len(fields) == 1:
        findings.refuse(
            f"only one column (found: {_listed(fields)}). Is the delimiter none of comma, "
            "semicolon, tab, | and blank, or every line quoted as a whole? Export it as CSV again."
        )
    words = ", ".join(map(repr, missing))
    said = f"no {words} column{'s' * (len(missing) > 1)} (found: {_listed(fields)})."
    # Adjusted closes are no closes, nor is a column taken already: they must not be offered.
    spelt = {
        plain_name(field): field
        for field in reversed(fields)
        if field and meaning_of(field) is None
    }
    offered: dict[str, str] = {}
    for name in missing:
        for match in get_close_matches(name, spelt, 1, 0.6):
            offered.setdefault(str(spelt[match]), name)
    # A column of epochs or dates needs no name to be offered as the date.
    if "date" in missing and "date" not in offered.values():
        unknown = [at for at, field in enumerate(fields) if field and meaning_of(field) is None]
        dates = [at for at in unknown if looks_like_a_date(table.columns[at])]
        offered |= {str(fields[at]): "date" for at in dates[:1]}
    if offered:
        listed = ", ".join(map(repr, offered))
        findings.fault(
            f"{said} Did you mean {listed}? Map them: ", Setting("columns", offered), "."
        )
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
    others = tuple(cells[~empty].reset_index(drop=True) for cells in named.other_dates)
    return replace(named, cells=kept, places=named.places[~empty], other_dates=others)


def _listed(fields: Iterable[str | None]) -> str:
    names = [str(field) if field else "(unnamed)" for field in fields if field is not None]
    return ", ".join(names[:15]) + (", ..." if len(names) > 15 else "")
