"""The returns of any strategy by date, beside those of what they are held against.

Nothing of ours made them: what a verdict on them cannot look at is said beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.evidence.alpha import TrackRecord
from backtests.simulation.vectorised import Array
from model.bars.artefacts import FlagRecord
from model.bars.faults import Findings
from model.bars.intervals import bars_per_year, day, no_usual_spacing
from model.errors import Setting

FEWEST = 50  # returns of which anything is said
CASH = "cash"
# What a verdict cannot look at.
FORECASTS = "forecasts, for there are none"
FILLS = "fills at the close decided at"
COSTS = "costs"
TRIALS = "what else was tried"


@dataclass(frozen=True, eq=False)
class DatedReturns:
    """Net returns beside those of what they are held against, in time order.

    Parameters
    ----------
    name
        Whose returns they are.
    start
        From when the first of them counts.
    dates
        When each ended: (n,).
    returns, benchmark
        As fractions: (n,).
    benchmark_name
        What the benchmark is, as a verdict names it.
    periods_per_year
        How many of them a year has.
    unseen
        What a verdict on them cannot look at.
    timing
        What timing and choice gain, filled at the close decided at: (n,); None where not known.
    exposed
        Whether a position was held: (n,); None where not known.
    instruments
        The names of those that were traded, where they are known.
    flags
        What speaks against them, by which "edge" may not be said.
    """

    name: str
    start: pd.Timestamp
    dates: pd.DatetimeIndex
    returns: Array
    benchmark: Array
    benchmark_name: str
    periods_per_year: float
    unseen: Sequence[str]
    timing: Array | None = None
    exposed: Array | None = None
    instruments: Sequence[str] = ()
    flags: Sequence[FlagRecord] = ()

    @property
    def record(self) -> TrackRecord:
        """The track record by which they are judged."""
        return TrackRecord(
            returns=self.returns,
            benchmark=self.benchmark,
            periods_per_year=self.periods_per_year,
            # One series: how many were tried before it only its owner knows.
            tried={"strategy": (self.returns, self.benchmark)},
            # Nothing is known of other fills: no return says at which price it began.
            timing={} if self.timing is None else {"close": self.timing},
            flags=self.flags,
        )


def report_few(number: int, findings: Findings) -> None:
    """Report too few returns to be judged."""
    if number < FEWEST:
        findings.fault(
            f"a verdict needs at least {FEWEST} returns, got {number}. Give a longer record."
        )


def report_missing(
    values: Array, dates: pd.DatetimeIndex, what: str, remedy: str, findings: Findings
) -> None:
    """Report the dates at which there is no return, NaN or infinite, and what to do."""
    missing = ~np.isfinite(values)
    if missing.any():
        findings.fault(
            f"{what} at {missing.sum():,} of {len(values):,} dates (first: "
            f"{day(dates[int(missing.argmax())])}). {remedy}"
        )


def returns_per_year(dates: pd.DatetimeIndex, stated: float | None, findings: Findings) -> float:
    """Return how many returns a year has: as stated, or as their dates show.

    Where they show nothing, a fault says so.
    """
    if stated:
        return float(stated)
    if irregular := no_usual_spacing(dates):
        findings.fault(
            f"the dates have no usual spacing, by which a year's returns are counted: {irregular}. "
            "State their number, as ",
            Setting("bars_per_year", 252),
            ".",
        )
        return np.nan
    return bars_per_year(dates)
