"""Times of day as files write them, beside the date or in a column of their own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype, is_string_dtype

from model.bars.faults import Findings, Mask, Spans, count
from model.bars.numbers import is_missing, text
from model.errors import Setting

NO_SPAN = np.timedelta64("NaT", "ns")
MIDNIGHT = r"[\sT]+00:00(?::00(?:\.0+)?)?$"
# Times of day: 9:30, 09:30:00.250, 9:30 PM, 093000, 0930, 09-PM.
TIME = (
    r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?:\s*[AaPp]\.?[Mm]\.?)?"
    r"|[0-9]{6}|[0-9]{4}|[0-9]{1,2}\s?-?\s?[AaPp]\.?[Mm]\.?"
)
TIME_PARTS = (
    r"^(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    r"(?:\.(?P<fraction>[0-9]+))?\s*(?P<half>[AaPp])?"
)
OFFSET = r"(?:Z|UTC|GMT|(?:UTC|GMT)?[+-][0-9]{2}:?(?:[0-9]{2})?|(?:UTC|GMT)[+-][0-9](?::[0-9]{2})?)"
BEGINS_AS_A_DATE = r"(?:19|20)[0-9]{2}[-/.]?[01][0-9][-/.]?[0-3][0-9]|1[0-9]{9,18}$"
ZONE = r"[A-Z][A-Za-z_]+/[A-Za-z0-9_/+-]+"  # a name of the time zone database
TIMED = rf"(?:{TIME})\s*{OFFSET}?\s*(?:{ZONE})?"  # a whole cell of a time column
LAST_HOUR = r"24(?::?00){1,2}(?:[.,]0+)?"


def are_times_of_day(cells: pd.Series) -> bool:
    """Return whether a column of text or numbers holds nothing but times of day, or nothing."""
    if not (is_string_dtype(cells.dtype) or is_integer_dtype(cells.dtype)):
        return False
    times = _with_lost_zeros(text(cells))
    found = times.str.fullmatch(TIMED).to_numpy(dtype=bool)
    return bool(found.any() and (found | is_missing(times)).all())


def looks_like_a_date(cells: pd.Series) -> bool:
    """Return whether the first cells of a column are epochs, or dates that begin with a year."""
    words = text(cells[:20]).replace("", np.nan).dropna()
    return len(words) > 0 and bool(words.str.match(BEGINS_AS_A_DATE).all())


def with_times_of_day(
    dates: pd.Series, times: pd.Series, places: pd.Series, findings: Findings
) -> tuple[pd.Series, Mask]:
    """Join a time column to its date column.

    Return also the rows that lack a sound time of day, which a fault names.
    """
    missing, times = is_missing(times), _with_lost_zeros(times)
    wrong = ~(times.str.fullmatch(TIMED).to_numpy(dtype=bool) | missing)
    # A column without any time is that of daily bars.
    lost = missing & ~missing.all()
    if wrong.any():
        first = f"{times[wrong].iloc[0]!r} ({findings.first(places, wrong)})"
        findings.fault(
            f"the time column beside the date column holds {first}, which is no time of day. "
            "Write it as 09:30; if it holds whole dates, pass ",
            Setting("columns", {str(times.name): "date"}),
            ".",
        )
    if lost.any():
        findings.fault(
            f"{count(int(lost.sum()), 'row')} without a time of day (first: "
            f"{findings.first(places, lost)}). Repair or remove them; midnight is not taken for it."
        )
    days = dates.str.replace(MIDNIGHT, "", regex=True)
    return days.str.cat(times.where(~missing, ""), sep=" ").str.strip(), wrong | lost


def _with_lost_zeros(times: pd.Series) -> pd.Series:
    """Return times of day that were numbers with all their digits.

    93000 is 093000, 930 is 0930, and hours alone, 9, are 0900. A span of pandas, as databases give
    it, is "0 days 09:30:00".
    """
    times = times.str.replace(r"^0 days (?=[0-9])", "", regex=True)
    digits = times.str.fullmatch(r"[0-9]{1,6}(?:\.0+)?").to_numpy(dtype=bool)
    plain = times.str.replace(r"\.0+$", "", regex=True)
    # All times of a column are written alike: the longest says what the others have lost.
    longest = int(plain[digits].str.len().max()) if digits.any() else 0
    if longest <= 2:
        return times.where(~plain.str.fullmatch("[01]?[0-9]|2[0-4]"), plain.str.zfill(2) + "00")
    return times.where(~digits, plain.str.zfill(6 if longest > 4 else 4))


def times_of_day(times: pd.Series) -> Spans:
    """Return times of day as spans since midnight; the empty text is midnight, 25:00 is NaT."""
    words = times.where(times != "", "00:00:00").str.replace(",", ".", regex=False)
    words = words.str.replace(r"^([0-9]{1,2})[\s-]*([AaPp])", r"\1:00 \2", regex=True)
    digits = words.str.fullmatch(r"[0-9]{4}|[0-9]{6}")
    if digits.any():
        seconds = words.str.slice(4, 6).str.pad(2, "right", "0")
        spelt = words.str.slice(0, 2) + ":" + words.str.slice(2, 4) + ":" + seconds
        words = words.where(~digits, spelt)
    parts = parts_of(words, TIME_PARTS)
    hour, minute, second = (integers(parts[name]) for name in ("hour", "minute", "second"))
    fraction = integers(parts["fraction"].str.pad(9, "right", "0"))
    half = parts["half"].str.lower().to_numpy()
    twelve = half != ""
    valid = (minute < 60) & (second < 60) & (hour < 24) & (~twelve | ((hour >= 1) & (hour <= 12)))
    # The end of a day is the beginning of the next: 24:00 and nothing later.
    valid |= (hour == 24) & (minute == 0) & (second == 0) & (fraction == 0) & ~twelve
    # On a clock of twelve hours, 12 AM is midnight and 12 PM noon.
    hour = np.where(twelve, hour % 12 + 12 * (half == "p"), hour)
    spans = ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + fraction
    return np.where(valid, spans.astype("timedelta64[ns]"), NO_SPAN)


def parts_of(words: pd.Series, pattern: str) -> pd.DataFrame:
    """Return the named parts of the words that match, the empty text for a part left out.

    Arrow is 20 times as fast as `re`.
    """
    cells = pyarrow.array(words.to_numpy(dtype=object), pyarrow.string())
    found = pyarrow.compute.extract_regex(cells, pattern=pattern)
    rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    found = found.take(pyarrow.array(rows))
    parts = {field.name: found.field(field.name).to_pandas().astype("str") for field in found.type}
    return pd.DataFrame(parts).set_index(words.index[rows])


def integers(words: pd.Series) -> NDArray[np.int64]:
    """Return words of digits as numbers, 0 for the empty text."""
    return np.asarray(words.where(words != "", "0").astype("int64"))
