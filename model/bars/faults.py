"""What can be wrong with bars and how it is said.

The errors, the table of checks on a bar, and the list of findings.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.errors import BarsError, BarsWarning, Part, Setting, Text

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]
ROUNDING = 1e-6  # relative: float32 and adjusted prices can put a high this far below the close

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class BarRule(NamedTuple):
    """One rule of a bar.

    breach: its words. broken: whether a bar (open, high, low, close, volume) breaks it, on numbers
    or on arrays. shown: which of the five a message shows. remedy: what to do.
    """

    breach: str
    broken: Callable[[Any, Any, Any, Any, Any], Any]
    shown: tuple[str, ...]
    remedy: Text


NOT_THERE = BarRule(
    "a price that is not finite",
    lambda o, h, l, c, v: np.isnan(o) | np.isnan(h) | np.isnan(l) | np.isnan(c),
    PRICES,
    ("Remove or repair the row; prices are not filled in.",),
)
# A bar is reported for the first rule of the prices that it breaks: a NaN price is not also "not
# above 0". NaN breaks no other rule of the prices, so that what is known of a bar is judged where
# one of its prices is missing.
BAR_RULES = (
    NOT_THERE,
    BarRule(
        "a price that is not finite",
        lambda o, h, l, c, v: np.isinf(o) | np.isinf(h) | np.isinf(l) | np.isinf(c),
        PRICES,
        ("Remove or repair the row; prices are not filled in.",),
    ),
    BarRule(
        "a price that is not above 0 (negative or zero)",
        lambda o, h, l, c, v: np.fmin.reduce((o, h, l, c)) <= 0,
        PRICES,
        (
            "The features use log returns: cut the series there, or use a back-adjusted series "
            "shifted above 0.",
        ),
    ),
    BarRule(
        "high below low",
        lambda o, h, l, c, v: h < l * (1 - ROUNDING),
        ("high", "low"),
        ("Are the two columns swapped? Export again or map them with ", Setting("columns"), "."),
    ),
    BarRule(
        "open or close above the high",
        lambda o, h, l, c, v: np.fmax(o, c) > h * (1 + ROUNDING),
        ("open", "close", "high"),
        ("Are all four prices on one basis (raw or adjusted)? Repair the row.",),
    ),
    BarRule(
        "open or close below the low",
        lambda o, h, l, c, v: np.fmin(o, c) < l * (1 - ROUNDING),
        ("open", "close", "low"),
        ("Are all four prices on one basis (raw or adjusted)? Repair the row.",),
    ),
    BarRule(
        "a volume that is negative or not finite",
        # Negated, so that NaN, which satisfies no comparison, breaks the rule.
        lambda o, h, l, c, v: ~((v >= 0) & (v < np.inf)),
        ("volume",),
        ("Volume must be 0 or more; leave it out where it is unknown.",),
    ),
)


def bar_faults(
    open: float, high: float, low: float, close: float, volume: float
) -> tuple[str, ...]:
    """Return the breaches of one bar, in the words of the checks; a sound bar has none.

    NaN volume is a breach.
    """
    values = [np.float64(value) for value in (open, high, low, close, volume)]
    with np.errstate(all="ignore"):
        # Two rules share one wording (a NaN and an infinite price): it is said once.
        return tuple(dict.fromkeys(check.breach for check in BAR_RULES if check.broken(*values)))


def rounding_miss(values: Floats) -> Floats:
    """Return by which part of the price high or low miss the other prices (n, 5).

    In checked bars it is below ROUNDING.
    """
    prices, high, low = values[:, :4], values[:, 1], values[:, 2]
    return np.asarray(np.maximum(prices.max(axis=1) - high, low - prices.min(axis=1)) / np.abs(low))


@dataclass
class Findings:
    """Collect what is wrong (faults) and what was done (notes), to be said together at the end."""

    source: str
    unit: str = "row"
    faults: list[Text] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)
    n_lost: int = 0  # rows that could not be cut into cells
    about: str = ""  # what the faults found from here on are of

    def fault(self, *text: Part) -> None:
        """Add what makes the bars unusable."""
        self.faults.append((self.about, *text))

    def note(self, *text: Part) -> None:
        """Add what was done, or looks wrong, and does not make them unusable."""
        self.notes.append(text)

    def refuse(self, *text: Part) -> NoReturn:
        """Raise at once, with all faults so far.

        After this one there is nothing left to look at.
        """
        self.fault(*text)
        self.raise_faults()
        raise AssertionError("raise_faults returned in spite of a fault")

    def raise_faults(self) -> None:
        """Raise one BarsError that lists every fault so far, if there is one."""
        if len(self.faults) == 1:
            raise BarsError(f"{self.source}: ", *self.faults[0])
        if self.faults:
            lines = [
                part
                for number, fault in enumerate(self.faults, 1)
                for part in (f"\n  {number}. ", *fault)
            ]
            raise BarsError(f"{self.source}: {len(self.faults)} kinds of problem:", *lines)

    def warn_notes(self, stacklevel: int = 3) -> None:
        """Say each note once, as a BarsWarning."""
        for note in self.notes:
            warnings.warn(BarsWarning(f"{self.source}: ", *note), stacklevel=stacklevel)

    def place(self, row: pd.Series) -> str:
        """Return where a row of bars stands: its date if it is known, and its line."""
        return (
            f"{day(row['stamp'])}, {self.unit} {row['place']}"
            if pd.notna(row["stamp"])
            else f"{self.unit} {row['place']}"
        )


def day(stamp: Any) -> str:
    """Return a stamp as a reader writes it: without a time of day at midnight."""
    return str(pd.Timestamp(stamp)).removesuffix(" 00:00:00")


def count(number: int, noun: str) -> str:
    """Return "1 bar" or "1,234 bars" (no comma below 10,000)."""
    return f"{number:,} {noun}s" if number >= 10_000 else f"{number} {noun}" + "s" * (number != 1)


def figure(value: float) -> str:
    """Return a price as it stands in a file, without the last digits' binary noise."""
    return "missing" if np.isnan(value) else f"{value:.10g}"


def find_broken_bars(
    rows: pd.DataFrame, findings: Findings, checks: Sequence[BarRule] = BAR_RULES
) -> None:
    """Add a fault for every check that some of the rows break.

    Rows have stamp, place and the five columns.
    """
    values = [rows[name].to_numpy(dtype=np.float64) for name in COLUMNS]
    # A bar is named once for its prices and once for its volume.
    unbroken = {of_prices: np.ones(len(rows), dtype=bool) for of_prices in (True, False)}
    with np.errstate(all="ignore"):
        for check in checks:
            of_prices = check.shown != ("volume",)
            broken = unbroken[of_prices] & check.broken(*values)
            unbroken[of_prices] &= ~broken
            if broken.any():
                examples = []
                for _, row in rows[broken].iloc[:3].iterrows():
                    shown = ", ".join(f"{name} {figure(row[name])}" for name in check.shown)
                    examples.append(f"{findings.place(row)}: {shown}")
                more = "; ..." if broken.sum() > 3 else ""
                findings.fault(
                    f"{count(int(broken.sum()), 'bar')} with {check.breach} "
                    f"({'; '.join(examples)}{more}). ",
                    *check.remedy,
                )
