"""The years that dates leave open: of two digits, and of the calendar of Taiwan."""

import numpy as np
import pandas as pd

from model.bars.epochs import tomorrow
from model.bars.faults import Findings, count

TAIWANESE = r"^([01][0-9]{2})([-/.][0-9]{1,2}[-/.][0-9]{1,2})"
HALF_A_CENTURY = np.timedelta64(50 * 365, "D")
A_CENTURY = pd.DateOffset(years=100)


def with_western_years(words: pd.Series, findings: Findings) -> pd.Series:
    """Return dates of the calendar of Taiwan, 108/01/02, with the year that is 1911 more."""
    known = words[words != ""]
    if not len(known) or not known.str.match(TAIWANESE).all():
        return words
    findings.note(
        f"years of three digits, as in {known.iloc[0]!r}, read as those of Taiwan: 1911 are added."
    )
    return words.str.replace(
        TAIWANESE, lambda found: str(int(found[1]) + 1911) + found[2], regex=True
    )


def in_its_century(read: pd.Series) -> pd.Series:
    """Return dates with years of two digits, which Python takes for 1969 to 2068, in their century.

    No bar is dated after today, and rows in order that leap by a hundred years belong together.
    """
    if not read.notna().all() or not len(read):
        return read
    early = (read - A_CENTURY).astype(read.dtype)
    read = read.where(read <= tomorrow(), early)
    leaps = np.flatnonzero(np.abs(np.diff(read.to_numpy())) > HALF_A_CENTURY)
    if len(leaps) == 1:
        before = np.arange(len(read)) <= leaps[0]
        older = before if read.iloc[leaps[0]] > read.iloc[leaps[0] + 1] else ~before
        in_order = read.where(~older, early)
        if in_order.is_monotonic_increasing or in_order.is_monotonic_decreasing:
            return in_order
    return read


def note_century(default: pd.Series, read: pd.Series, findings: Findings) -> None:
    """Say which years of two digits were not read as Python would read them."""
    moved = (default != read).to_numpy() & read.notna().to_numpy()
    if moved.any():
        years = read[moved].dt.year
        findings.note(
            f"years of two digits: {count(int(moved.sum()), 'date')} read as of {years.min()} to "
            f"{years.max()}, for no bar is dated after today, nor a century off its neighbours."
        )
