"""Dates that are digits alone: epochs of any unit by their size, and 201501020930 by its digits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from model.bars.faults import Times
from model.bars.intervals import DAY

# Seconds, milliseconds, microseconds and nanoseconds from 1973 to 2096 do not overlap: the size is
# the proof of the unit. Each reaches from its smallest to LARGEST times as much.
EPOCHS = (("s", 1e8), ("ms", 1e11), ("us", 1e14), ("ns", 1e17))
LARGEST = 40
# What counts otherwise: Windows file times of 1968 to 2045, .NET ticks of 1965 to 2123.
FOREIGN_EPOCHS = ((1.16e17, 1.4e17), (6.2e17, 6.7e17))
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Digits that may be a date and a time as well as an epoch, by how many there are.
DIGITS = {10: ("%Y%m%d%H", "%y%m%d%H%M"), 12: ("%Y%m%d%H%M", "%y%m%d%H%M%S")}
FEWEST_DATES = 30  # from which on it is no accident that all numbers have a month, a day, an hour
# A number of so many digits in scientific notation was written by a program, not by a spreadsheet,
# which keeps six.
SCIENTIFIC = r"[0-9]\.[0-9]{1,18}[eE]\+?(?:9|1[0-8])"
KEPT_BY_SPREADSHEETS = 6


def read_epochs(words: pd.Series) -> Times:
    """Return epochs in UTC, each in the unit that its size proves, NaT for what is none.

    Where most cells are epochs of one unit, smaller and negative numbers are so too.
    """
    times = np.full(len(words), np.datetime64("NaT", "ns"))
    rows = np.flatnonzero(words.str.fullmatch(r"[0-9]{9,19}(?:\.[0-9]+)?").to_numpy(dtype=bool))
    numbers = words.iloc[rows].astype("float64").to_numpy()
    for first, last in FOREIGN_EPOCHS:
        if len(numbers) and first <= numbers.min() <= numbers.max() < last:
            return times
    chosen = {
        unit: rows[(numbers >= smallest) & (numbers < smallest * LARGEST)]
        for unit, smallest in EPOCHS
    }
    units = [unit for unit in chosen if len(chosen[unit])]
    if len(units) == 1 and 2 * len(rows) > len(words):
        small = words.str.fullmatch(r"-?[0-9]{1,12}").to_numpy(dtype=bool, copy=True)
        small[chosen[units[0]]] = False
        chosen[units[0]] = np.concatenate((chosen[units[0]], np.flatnonzero(small)))
    for unit in units:
        cells = words.iloc[chosen[unit]].str.partition(".")
        counts = cells[0].astype("int64").to_numpy()
        # A fraction has at most the nine digits that nanoseconds of a second need.
        parts = cells[2].str.slice(0, 9).str.pad(9, "right", "0").astype("int64").to_numpy()
        fraction = parts * NANOSECONDS[unit] // 10**9
        whole = counts.astype(f"datetime64[{unit}]").astype("datetime64[ns]")
        times[chosen[unit]] = whole + fraction.astype("timedelta64[ns]")
    return times


def readings_of_digits(words: pd.Series) -> dict[str, Times]:
    """Return what numbers of ten or twelve digits can be, by its format: "%s" is an epoch.

    The formats that read all words as dates before tomorrow are given. An epoch is one more, unless
    the digits prove that it is none: such times would come after today, or all have a month, a day,
    an hour and a minute in too many numbers for an accident.
    """
    first = next((word for word in words if word), "")
    formats = DIGITS.get(len(first), ()) if first.isdecimal() else ()
    if not any(_fits(pd.Series([first]), form) for form in formats):
        return {}
    known = words[words.str.fullmatch(rf"[0-9]{{{len(first)}}}")]
    if len(known) < 0.9 * len(words):
        return {}
    readings = {form: _read(words, form) for form in formats if _fits(known, form)}
    epochs = read_epochs(words)
    counted = np.unique(known.to_numpy(dtype=object))
    # Seconds within a minute, too, look like minutes of an hour.
    proven = len(counted) >= FEWEST_DATES and len({word[:-2] for word in counted}) > 1
    late = bool((epochs[~np.isnat(epochs)] > tomorrow()).any())
    zeros = bool(known.str.startswith("0").any())
    if readings and not (proven or late or zeros or "%Y%m%d%H%M" in readings):
        readings["%s"] = epochs
    return readings


def tomorrow() -> np.datetime64:
    """Return a day from now: no bar is later, in whatever zone."""
    return (pd.Timestamp.now() + DAY).to_datetime64()


def _read(words: pd.Series, form: str) -> Times:
    # A year, if it has four digits, is of an age that has bars.
    read = pd.to_datetime(words, format=form, errors="coerce")
    of_bars = (read.dt.year >= 1900) & (read.dt.year < 2200)
    return np.asarray(read.where(of_bars).dt.as_unit("ns"), dtype="datetime64[ns]")


def _fits(words: pd.Series, form: str) -> bool:
    times = _read(words, form)
    return bool(len(times) and not np.isnat(times).any() and (times <= tomorrow()).all())


def with_all_digits(words: pd.Series) -> pd.Series:
    """Return epochs in scientific notation as whole numbers, where none of their digits is lost.

    Java writes 1617235200000 as 1.6172352E12; a spreadsheet keeps 1.61724E+12, and that is lost.
    """
    found = words.str.fullmatch(SCIENTIFIC).to_numpy(dtype=bool)
    if not found.any():
        return words
    cells = words[found].str.extract(r"^([0-9])\.([0-9]+)[eE]\+?([0-9]+)$")
    if cells[1].str.len().max() < KEPT_BY_SPREADSHEETS:
        return words
    whole = [
        head + tail.ljust(int(power), "0")[: int(power)]
        for head, tail, power in cells.itertuples(index=False)
    ]
    return words.where(~found, pd.Series(whole, index=cells.index).reindex(words.index))
