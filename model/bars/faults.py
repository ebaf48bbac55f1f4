"""What can be wrong with bars: the rules that a bar keeps, and the list of what was found.

`Findings` collects faults (the bars cannot be used) and notes (what was done, or looks wrong) while
a file is read, so that a user is told all of them at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.intervals import day
from model.errors import BarsError, BarsWarning, Part, Setting, Text

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]
ROUNDING = 1e-6  # relative: float32 and adjusted prices can put a high this far below the close
N_EXAMPLES = 3  # bars that a message shows of each kind of fault

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Times = NDArray[np.datetime64]
Spans = NDArray[np.timedelta64]


class BarRule(NamedTuple):
    """One rule of a bar.

    breach: what a bar that breaks it is, in words. broken: which bars break it, of their opens,
    highs, lows, closes and volumes, each of shape (n,). shown: which of the five a message shows.
    remedy: what to do.
    """

    breach: str
    broken: Callable[[Floats, Floats, Floats, Floats, Floats], Mask]
    shown: tuple[str, ...]
    remedy: Text


NOT_THERE = BarRule(
    "a price that is not finite",
    lambda o, h, l, c, v: np.isnan(o) | np.isnan(h) | np.isnan(l) | np.isnan(c),
    PRICES,
    ("Remove or repair the row; prices are not filled in.",),
)
# NaN breaks no other rule of the prices, so that what is known of a bar is judged where one of its
# prices is missing.
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
        # Written so that NaN breaks it: an unknown volume has become 0 before.
        lambda o, h, l, c, v: ~((v >= 0) & (v < np.inf)),
        ("volume",),
        ("Volume must be 0 or more; leave it out where it is unknown.",),
    ),
)


def bar_faults(
    open: float, high: float, low: float, close: float, volume: float
) -> tuple[str, ...]:
    """Return what is wrong with one bar, in the words of the rules that it breaks.

    A sound bar has no fault; a missing price or volume is one.
    """
    values = np.array([[open], [high], [low], [close], [volume]], dtype=np.float64)
    with np.errstate(all="ignore"):
        breaches = [rule.breach for rule in BAR_RULES if rule.broken(*values).any()]
    return tuple(dict.fromkeys(breaches))  # two rules have the same words


def find_broken_bars(
    rows: pd.DataFrame, findings: Findings, rules: Sequence[BarRule] = BAR_RULES
) -> None:
    """Add a fault for each rule that some of the rows break.

    Rows have the columns timestamp, place and those of a bar.
    """
    values = [rows[name].to_numpy(dtype=np.float64) for name in COLUMNS]
    named = np.zeros(len(rows), dtype=bool)
    for rule in rules:
        with np.errstate(all="ignore"):
            broken = rule.broken(*values)
        # Of its prices a bar is named for the first rule that it breaks: a high that is not finite
        # is not also below the close. Its volume is another matter.
        if rule.shown != ("volume",):
            broken &= ~named
            named |= broken
        if not broken.any():
            continue
        examples = []
        for _, row in rows[broken].iloc[:N_EXAMPLES].iterrows():
            shown = ", ".join(f"{name} {price_text(row[name])}" for name in rule.shown)
            examples.append(f"{findings.locate(row)}: {shown}")
        more = "; ..." if broken.sum() > N_EXAMPLES else ""
        findings.fault(
            f"{count(int(broken.sum()), 'bar')} with {rule.breach} ({'; '.join(examples)}{more}). ",
            *rule.remedy,
        )


@dataclass
class Findings:
    """What was found in a source: faults, which make it unusable, and notes, which do not.

    unit: what its places count, "line" of a file of text and "row" of anything else. n_lost: lines
    that could not be cut into cells. about: what the faults found from here on are of.
    """

    source: str
    unit: str = "row"
    faults: list[Text] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)
    n_lost: int = 0
    about: str = ""

    def fault(self, *text: Part) -> None:
        self.faults.append((self.about, *text))

    def note(self, *text: Part) -> None:
        self.notes.append(text)

    def refuse(self, *text: Part) -> NoReturn:
        """Raise this fault and all before it at once: after it there is nothing left to look at."""
        self.fault(*text)
        self.raise_faults()
        raise AssertionError("raise_faults returned in spite of a fault")

    def raise_faults(self) -> None:
        """Raise one BarsError that lists every fault so far; without one do nothing."""
        if len(self.faults) == 1:
            raise BarsError(f"{self.source}: ", *self.faults[0])
        if self.faults:
            parts: list[Part] = [f"{self.source}: {len(self.faults)} kinds of problem:"]
            for number, fault in enumerate(self.faults, 1):
                parts += [f"\n  {number}. ", *fault]
            raise BarsError(*parts)

    def warn_notes(self) -> None:
        """Issue each note as a BarsWarning of the line that called `read_bars`."""
        for note in self.notes:
            warnings.warn(BarsWarning(f"{self.source}: ", *note), stacklevel=3)

    def locate(self, row: pd.Series) -> str:
        """Return where a row of bars stands, "2015-01-19, line 13", or "line 13" without a date."""
        place = f"{self.unit} {row['place']}"
        return f"{day(row['timestamp'])}, {place}" if pd.notna(row["timestamp"]) else place

    def first(self, places: pd.Series, mask: Mask) -> str:
        """Return the first of the places that the mask selects: "line 13"."""
        return f"{self.unit} {places[mask].iloc[0]}"


def count(number: int, noun: str) -> str:
    """Return "1 bar", "1234 bars" or "12,345 bars"."""
    return f"{number:,} {noun}s" if number >= 10_000 else f"{number} {noun}" + "s" * (number != 1)


def price_text(value: float) -> str:
    """Return a price as it stands in a file, without the binary noise of its last digits."""
    return "missing" if np.isnan(value) else f"{value:.10g}"
