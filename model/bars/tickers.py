"""Tickers: of a table that holds several instruments, the one to read.

They stand in a second header row, as yfinance writes it, or in a column of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from model.bars.faults import COLUMNS, PRICES, Findings
from model.bars.names import IGNORED, meaning_of, n_recognised, plain_name
from model.bars.numbers import is_missing, text
from model.bars.table import Levels, Table
from model.errors import Setting, Text, did_you_mean

# What stands in the index column where several header rows name fields and tickers.
HEADER_ROW_NAMES = {"price", "ticker", "attributes", "symbols", ""}


def fields_and_tickers(names: Sequence[Levels]) -> tuple[list[str | None], list[str]]:
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


def fields_of_ticker(
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
    several: Sequence[str], ticker: str | None, where: str, findings: Findings, rolled: str = ""
) -> str:
    """Return the ticker asked for, or the only one.

    Where that is not decided it is the first, so that faults of its bars can be said as well.
    rolled: the column that names them, where they may be the contracts of one series.
    """
    if ticker in several:
        return str(ticker)
    listed = ", ".join(several[:8]) + (", ..." if len(several) > 8 else "")
    if ticker is not None:
        hint = did_you_mean(ticker, several)
        findings.fault(f"no ticker {ticker!r} in {where} (found: {listed}).{hint}")
    elif len(several) > 1:
        one = Setting("ticker", several[0])
        # What is one series to the user needs no choice, but he has to say so.
        series: Text = (
            ", or, if it is one series rolled over contracts, read it whole: ",
            Setting("columns", {rolled: IGNORED}),
        )
        findings.fault(
            f"{where} holds {len(several)} tickers ({listed}); choose one: ",
            one,
            *(series if rolled else ()),
            ".",
        )
    if len(several) > 1:
        findings.about = f"{several[0]}: "
    return several[0]


def rows_of_ticker(
    table: Table,
    positions: Mapping[str, int],
    ticker: str | None,
    found: str | None,
    findings: Findings,
) -> tuple[Table, str | None]:
    """Keep the rows of one ticker where a column names it; `found` is the one of the header."""
    name = table.names[positions["ticker"]][0]
    words = text(table.columns[positions["ticker"]])
    several = sorted(words[~is_missing(words)].unique())
    if not several:
        return table, found
    # Contracts of one series follow each other; instruments of one time stand side by side.
    when = [table.columns[positions[name]] for name in ("date", "time") if name in positions]
    in_turn = 1 + int((words != words.shift())[1:].sum()) == len(several)
    once = bool(when) and not pd.concat(when, axis=1, keys=range(len(when))).duplicated().any()
    rolled = name if in_turn and once else ""
    chosen = _choose_ticker(several, ticker, f"column {name!r}", findings, rolled)
    if len(several) > 1:
        rows = (words == chosen).to_numpy(dtype=bool)
        columns = tuple(column[rows].reset_index(drop=True) for column in table.columns)
        table = replace(table, columns=columns, places=table.places[rows])
    return table, chosen
