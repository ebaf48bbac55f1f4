"""Fractions: prices of bonds in 32nds of a point, of grains in eighths, as futures are quoted.

110'16 and 110-16 are 110 and 16/32, 110'165 is 110 and 16.5/32, 110'16+ the same, 451'6 is 451 and
6/8. The third digit stands for eighths of a 32nd: 1, 2, 3, 5, 6, 7, 8, and never 4 or 9 (source:
CME Group, "Understanding Treasury price quotes" and the displays of its grain futures).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from model.bars.faults import PRICES, Findings, Floats, count
from model.errors import Setting

QUOTE = r"^(?P<whole>[0-9]{1,5})(?P<sign>['\u2019-])(?P<part>[0-9]{1,3})(?P<rest>\+|\.[0-9]+)?$"
THIRD_DIGITS = {0: 0.0, 1: 1 / 8, 2: 2 / 8, 3: 3 / 8, 5: 4 / 8, 6: 5 / 8, 7: 6 / 8, 8: 7 / 8}
# Thousands that cross into others pass by all that no 32nds write, 320 to 999: where prices of two
# points and this many parts never stand there, that is no accident.
FEWEST_PARTS = 8


def without_fractions(
    words: Mapping[str, pd.Series], decimal: str | None, places: pd.Series, findings: Findings
) -> tuple[dict[str, pd.Series], bool]:
    """Return prices in 32nds or eighths as decimals, other numbers as they are, and if in doubt.

    In doubt, between 32nds and thousands such as 110'005, is a fault; a stated `decimal` sign says
    that they are thousands.
    """
    quoted = {name: words[name] for name in words if name in PRICES or name == "adj close"}
    cells = pd.concat(list(quoted.values())) if quoted else pd.Series(dtype="str")
    cells = cells[cells.str.contains("[0-9]")]
    if not len(cells) or not cells.str.fullmatch(QUOTE).all():
        return dict(words), False
    parts = cells.str.extract(QUOTE)
    width = parts["part"].str.len()
    values = _values(parts)
    if np.isnan(values).any() or (width.nunique() > 1 and width.min() == 1):
        return dict(words), False
    if (width == 3).all() and (parts["sign"] != "-").all() and parts["rest"].isna().all():
        if decimal:
            return dict(words), False
        if parts["whole"].nunique() < 2 or parts["part"].nunique() < FEWEST_PARTS:
            plain = cells.iloc[0].replace("'", "").replace("\u2019", "")
            findings.fault(
                f"numbers such as {cells.iloc[0]} ({findings.unit} {places.iloc[cells.index[0]]}) "
                f"are ambiguous: thousands, {plain}, or 32nds of a point, {values[0]:.10g}? For "
                "thousands pass ",
                Setting("decimal", "."),
                "; else write decimals.",
            )
            return dict(words), True
    decimals = dict(zip(cells, values, strict=True))
    findings.note(
        f"{count(len(cells), 'price')} such as {cells.iloc[0]} read as "
        f"{'eighths' if width.max() == 1 else '32nds'} of a point, {values[0]:.10g}."
    )
    read = {
        name: column.map(lambda word: repr(float(decimals[word])) if word in decimals else word)
        for name, column in quoted.items()
    }
    return dict(words) | read, False


def _values(parts: pd.DataFrame) -> Floats:
    """Return the prices that quotes are, NaN where a quote is none."""
    digits = parts["part"]
    eighths = np.where(digits.str.len() == 1, digits.astype(float), np.nan)
    third = digits.str.slice(2).map(lambda digit: THIRD_DIGITS.get(int(digit)) if digit else 0.0)
    rest = (
        parts["rest"]
        .map({"+": 0.5})
        .fillna(pd.to_numeric(parts["rest"].where(parts["rest"] != "+"), errors="coerce"))
    )
    # What stands behind the second digit stands there once.
    both = (digits.str.len() != 2) & parts["rest"].notna()
    of_32 = digits.str.slice(0, 2).astype(float) + third.astype(float) + rest.fillna(0.0)
    share = np.where(digits.str.len() == 1, eighths / 8, of_32 / 32)
    values = parts["whole"].astype(float).to_numpy() + share
    return np.asarray(np.where(both | (share >= 1), np.nan, values), dtype=np.float64)
