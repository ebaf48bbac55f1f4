"""Timestamps as files write them, read by proof.

Dates in any order of day, month and year, epochs in any unit, and times of day, beside the date or
in a column of their own. What the data do not prove is refused, never guessed. The result is what
the cells say; `model.bars.zones` makes of it timestamps without a time zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype, is_string_dtype

from model.bars.faults import Findings, Mask, count
from model.bars.numbers import is_missing, text
from model.errors import ReadingError, Setting, joined

Times = NDArray[np.datetime64]
Spans = NDArray[np.timedelta64]

NOT_A_TIME = np.datetime64("NaT", "ns")
NO_SPAN = np.timedelta64("NaT", "ns")
MIDNIGHT = r"[\sT]+00:00(?::00(?:\.0+)?)?$"
# Times of day: 9:30, 09:30:00.250, 9:30 PM, 093000, 0930.
TIME = (
    r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?:\s*[AaPp]\.?[Mm]\.?)?"
    r"|[0-9]{6}|[0-9]{4}"
)
TIME_PARTS = (
    r"^(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    r"(?:\.(?P<fraction>[0-9]+))?\s*(?P<half>[AaPp])?"
)
OFFSET = r"(?:Z|UTC|GMT|(?:UTC|GMT)?[+-][0-9]{2}:?(?:[0-9]{2})?)"
# A whole cell: a date of one of the shapes below, behind it maybe a time of day and an offset.
CELL = (
    r"^(?:[A-Za-z]{3,9},?\s+)?(?P<date>DATE)"
    rf"(?:(?:[T;,:]|\s+)\s*(?P<time>{TIME}))?\s*(?P<offset>{OFFSET})?$"
)
MONTH = r"[A-Za-z]{3,9}\.?"
# How a date may look, and the orders of day, month and year it may be read in. Only one may fit
# the data.
DATE_SHAPES = (
    (r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}", ("%Y-%m-%d",)),
    (r"[0-9]{8}", ("%Y%m%d",)),
    (r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2}", ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    (rf"[0-9]{{1,2}}[-/. ]?{MONTH}[-/. ,]*[0-9]{{4}}", ("%d-%b-%Y",)),
    (rf"{MONTH}[-/. ]*[0-9]{{1,2}},?[-/. ]+[0-9]{{4}}", ("%b-%d-%Y",)),
    (rf"[0-9]{{4}}[-/. ]?{MONTH}[-/. ]?[0-9]{{1,2}}", ("%Y-%b-%d",)),
    (rf"[0-9]{{1,2}}[-/. ]{MONTH}[-/. ,]+[0-9]{{2}}", ("%d-%b-%y", "%y-%b-%d")),
)
ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
COMPACT = r"(?:19|20)[0-9]{10}(?:[0-9]{2})?"  # 201501020930 or 20150102093000
# Seconds, milliseconds, microseconds and nanoseconds from 1973 to 2096 do not overlap: the size is
# the proof of the unit. Each reaches from its smallest to LARGEST times as much.
EPOCHS = (("s", 1e8), ("ms", 1e11), ("us", 1e14), ("ns", 1e17))
LARGEST = 40
# What counts otherwise: Windows file times of 1968 to 2045, .NET ticks of 1965 to 2123.
FOREIGN_EPOCHS = ((1.16e17, 1.4e17), (6.2e17, 6.7e17))
ZONE_NAME = r":[0-9]{2}\S*\s*\[?(?![AP]M$)[A-Z][A-Za-z]+(?:/[A-Za-z_]+)*\]?$"  # 10:00 US/Eastern
FEWEST_SWAPPED = 30  # dates from which on a rule without an exception is no accident


@dataclass(frozen=True)
class Timestamps:
    """What the cells say, a row each: the time on the wall and its distance from UTC.

    wall: NaT where a cell is not understood. offset: NaT where none is stated. zone: its name,
    which only typed columns know.
    """

    wall: Times
    offset: Spans
    zone: str | None = None

    @property
    def utc(self) -> Times:
        return self.wall - self.offset


@dataclass(frozen=True)
class _Column:
    """A column of timestamps while it is read, one way of writing after the other.

    A row is done where `wall` is a time, or where `reported` says that a fault names it.
    """

    wall: Times
    offset: Spans
    reported: Mask
    places: pd.Series
    findings: Findings

    def example(self, words: pd.Series) -> str:
        """Return the first of the words, with where it stands: "'13/01/2015' (line 9)"."""
        return f"{words.iloc[0]!r} ({self.findings.unit} {self.places.iloc[words.index[0]]})"


def read_timestamps(
    dates: pd.Series,
    times: pd.Series | None,
    places: pd.Series,
    date_format: str | None,
    findings: Findings,
) -> Timestamps:
    """Read the date column, and the column of times of day beside it if there is one.

    A fault names the cells that cannot be read, and why where that shows. `places` are the numbers
    of the rows in the file; `date_format` is what the user states, and the only one tried then.
    """
    if isinstance(dates.dtype, pd.PeriodDtype):
        dates = dates.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(dates.dtype) and times is None:
        timestamps = _typed(pd.DatetimeIndex(dates))
        _report(text(dates.astype(str)), np.isnat(timestamps.wall), places, None, findings)
        return timestamps
    # Beside a missing one, epochs have become floats: whole numbers are written as such again.
    if pd.api.types.is_float_dtype(dates.dtype):
        whole = (dates % 1 == 0) & (dates.abs() < 2**63)
        dates = dates.astype("Int64") if (dates.isna() | whole).all() else dates
    words = text(dates).str.replace(r"^([0-9]+)\.0$", r"\1", regex=True)
    reported = np.zeros(len(words), dtype=bool)
    if times is not None:
        words, reported = _with_times_of_day(words, text(times), places, findings)
    if date_format:
        timestamps = _by_format(words, date_format)
    else:
        timestamps = _by_proof(words, reported, places, findings)
    _report(words, np.isnat(timestamps.wall) & ~reported, places, date_format, findings)
    return replace(timestamps, wall=np.where(reported, NOT_A_TIME, timestamps.wall))


def _typed(index: pd.DatetimeIndex) -> Timestamps:
    wall = nanoseconds(index.tz_localize(None))
    if index.tz is None:
        return Timestamps(wall, np.full(len(wall), NO_SPAN))
    return Timestamps(wall, wall - nanoseconds(index.tz_convert(None)), str(index.tz))


def nanoseconds(timestamps: pd.DatetimeIndex | pd.Series) -> Times:
    """Return timestamps in nanoseconds.

    A year that does not fit in them becomes NaT, where numpy alone would wrap it silently.
    """
    series = pd.Series(timestamps)
    fits = (series.dt.year > 1677) & (series.dt.year < 2262)
    return np.asarray(series.where(fits).dt.as_unit("ns"), dtype="datetime64[ns]")


def _by_format(words: pd.Series, date_format: str) -> Timestamps:
    aware = "%z" in date_format
    try:
        parsed = pd.to_datetime(words, format=date_format, errors="coerce", utc=aware)
        # The format may be that of the date column alone, without the time column joined to it.
        if parsed.isna().all():
            parts = _parts_of(words, rf"^(?P<date>.*?)\s+(?P<time>{TIME})$")
            days = nanoseconds(pd.to_datetime(parts["date"], format=date_format, errors="coerce"))
            moments = pd.Series(days + _times_of_day(parts["time"]), index=parts.index)
            parsed = moments.reindex(words.index)
    except ValueError as error:
        stated = Setting("date_format", date_format)
        raise ReadingError(
            stated, f" is no format: {error}. Write it like '%d/%m/%Y %H:%M'."
        ) from None
    timestamps = _typed(pd.DatetimeIndex(parsed))
    if not aware:
        return timestamps
    # The date of a session is that on the wall of its own zone.
    offset = _offsets(words.str.replace(rf"^.*?({OFFSET})$", r"\1", regex=True))
    return Timestamps(timestamps.wall + offset, offset)


def _by_proof(
    words: pd.Series, reported: Mask, places: pd.Series, findings: Findings
) -> Timestamps:
    """Read epochs by their size, then every shape of date that occurs.

    What is written in no known way stays NaT.
    """
    nothing = np.full(len(words), NOT_A_TIME), np.full(len(words), NO_SPAN)
    column = _Column(*nothing, reported, places, findings)
    _read_epochs(words, column)
    # The commonest shape is not taken apart, which matters for millions of rows.
    iso = words.str.fullmatch(ISO).to_numpy(dtype=bool)
    if iso.any():
        parsed = pd.to_datetime(words[iso], format="ISO8601", errors="coerce")
        column.wall[iso] = nanoseconds(parsed)
    compact = words.str.fullmatch(r"[0-9]{12}(?:[0-9]{2})?")
    words = words.where(~compact, words.str.slice(0, 8) + " " + words.str.slice(8))
    for shape, formats in DATE_SHAPES:
        rest = np.isnat(column.wall) & ~column.reported
        if not rest.any():
            break
        _read_shape(words[rest], shape, formats, column)
    _report_swapped(words, column)
    return Timestamps(column.wall, column.offset)


def _read_epochs(words: pd.Series, column: _Column) -> None:
    """Read numbers of the size of an epoch, each in the unit that its size proves.

    Where most cells are epochs of one unit, smaller and negative numbers are so too.
    """
    rows = np.flatnonzero(words.str.fullmatch(r"[0-9]{9,19}(?:\.[0-9]+)?").to_numpy(dtype=bool))
    rows = rows[~words.iloc[rows].str.fullmatch(COMPACT).to_numpy(dtype=bool)]
    numbers = words.iloc[rows].astype("float64").to_numpy()
    for first, last in FOREIGN_EPOCHS:
        if len(numbers) and first <= numbers.min() <= numbers.max() < last:
            return
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
        rows = chosen[unit]
        counts = words.iloc[rows].str.replace(r"\..*$", "", regex=True).astype("int64").to_numpy()
        column.wall[rows] = counts.astype(f"datetime64[{unit}]").astype("datetime64[ns]")
        column.offset[rows] = np.timedelta64(0, "ns")


def _read_shape(words: pd.Series, shape: str, formats: tuple[str, ...], column: _Column) -> None:
    """Read the words of one shape, in the only order of day, month and year that fits them all."""
    parts = _parts_of(words, CELL.replace("DATE", shape))
    if not len(parts):
        return
    # 2015/1/2, 02Jan2015 and "January 2, 2015" become 2015-1-2, 02-Jan-2015 and Jan-2-2015.
    dates = parts["date"]
    if dates.str.contains("[A-Za-z]").any():
        dates = dates.str.replace(r"([A-Za-z]{3})[A-Za-z]*\.?", r"-\1-", regex=True)
    dates = dates.str.replace(r"[-/., ]+", "-", regex=True).str.strip("-")
    readings = {form: pd.to_datetime(dates, format=form, errors="coerce") for form in formats}
    fitting = [form for form, read in readings.items() if read.notna().all()]
    # A year of two digits may be a day as well; then the order of time decides, if only one has it.
    if len(fitting) > 1 and formats[0].endswith("y"):
        ordered = [
            form
            for form in fitting
            if readings[form].is_monotonic_increasing or readings[form].is_monotonic_decreasing
        ]
        fitting = ordered or fitting
    rows = parts.index.to_numpy()
    if len(fitting) > 1:
        _report_ambiguous(words.loc[parts.index], parts["date"].iloc[0], fitting, column)
        column.reported[rows] = True
        return
    # Where no order reads all dates, those that the likeliest does not read are reported by line.
    form = fitting[0] if fitting else min(formats, key=lambda form: readings[form].isna().sum())
    if not fitting and _report_two_orders(parts["date"], form, readings, column):
        column.reported[rows] = True
        return
    column.wall[rows] = nanoseconds(readings[form]) + _times_of_day(parts["time"])
    column.offset[rows] = _offsets(parts["offset"])


def _report_ambiguous(words: pd.Series, date: str, forms: list[str], column: _Column) -> None:
    """Add a fault that several orders fit, with the formats to choose from as the file has them."""
    sign = next((sign for sign in "/.- " if sign in date), "-")
    time = _time_format(words.iloc[0])
    choices = [Setting("date_format", form.replace("-", sign) + time) for form in forms]
    column.findings.fault(
        f"dates such as {column.example(words)} are ambiguous: no day above 12 proves the order "
        "of day and month. Pass ",
        *joined(choices),
        ".",
    )


def _report_two_orders(
    dates: pd.Series, likeliest: str, readings: Mapping[str, pd.Series], column: _Column
) -> bool:
    """Add a fault if some dates can only be read in one order and others only in another."""
    unread = readings[likeliest].isna()
    for reading in readings.values():
        against, in_favour = unread & reading.notna(), ~unread & reading.isna()
        if against.any() and in_favour.any():
            column.findings.fault(
                f"the date {column.example(dates[against])} has another order of day and month "
                f"than {column.example(dates[in_favour])}: two formats in one file, or a mistyped "
                "date. Use one date format."
            )
            return True
    return False


def _report_swapped(words: pd.Series, column: _Column) -> None:
    """Add a fault if a spreadsheet has taken the day of foreign dates for the month.

    It swaps the two where the day could be a month and leaves the text where it could not: then
    the dates with slashes are exactly those with a day above 12.
    """
    known = ~np.isnat(column.wall)
    late = pd.DatetimeIndex(column.wall).day.to_numpy() > 12
    slashed = words.str.fullmatch(r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}.*").to_numpy(dtype=bool)
    some = slashed.any() and not slashed[known].all()
    if known.sum() < FEWEST_SWAPPED or not some or (late != slashed)[known].any():
        return
    column.findings.fault(
        f"all dates with a day above 12 look like {column.example(words[slashed])}, all others "
        f"like {column.example(words[known & ~slashed])}: a spreadsheet took their day for the "
        "month. Export again, and open the file in no spreadsheet."
    )
    column.reported[:] = True


def _offsets(words: pd.Series) -> Spans:
    """Return offsets from UTC as spans, NaT where none is stated: "-05:00", "Z", ""."""
    offset = np.where(words == "", NO_SPAN, np.timedelta64(0, "ns"))
    parts = _parts_of(words, r"(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})?$")
    minutes = _integers(parts["hours"]) * 60 + _integers(parts["minutes"])
    minutes = np.where(parts["sign"] == "-", -minutes, minutes)
    offset[words.index.get_indexer(parts.index)] = minutes.astype("timedelta64[m]")
    return offset


def _report(
    words: pd.Series, unread: Mask, places: pd.Series, date_format: str | None, findings: Findings
) -> None:
    """Add a fault for the dates that were not understood, with the reason where it shows."""
    if not unread.any():
        return
    number, first = int(unread.sum()), words[unread].iloc[0]
    line = findings.first(places, unread)
    what = f"{count(number, 'date')} in column {words.name!r} not understood "
    what += f"(first: {line}, {first!r})"
    if is_missing(words[unread]).all():
        findings.fault(
            f"{count(number, 'row')} without a date (first: {line}). Remove or repair them."
        )
    elif re.fullmatch(r"[0-9]{5}(\.[0-9]+)?", first):
        findings.fault(
            f"{what}: it looks like an Excel serial number. Format the column as a date and "
            "export again."
        )
    elif re.fullmatch(r"[0-9]{18}", first):
        findings.fault(
            f"{what}: it looks like .NET ticks or a Windows file time, or nanoseconds of 1973 or "
            "1990. Export dates."
        )
    elif re.search(ZONE_NAME, first):
        zone = Setting("timezone", "America/New_York")
        findings.fault(
            f"{what}: write the time zone as an offset such as -05:00, or leave it out and pass ",
            zone,
            ".",
        )
    elif date_format:
        findings.fault(f"{what} with ", Setting("date_format", date_format), ".")
    else:
        findings.fault(
            f"{what}; expected e.g. 2015-01-31 or 2015-01-31 09:30:00; pass ",
            Setting("date_format", "%d/%m/%Y %H:%M"),
            " for another form.",
        )


def are_times_of_day(cells: pd.Series) -> bool:
    """Return whether a column of text or numbers holds nothing but times of day, or nothing."""
    if not (is_string_dtype(cells.dtype) or is_integer_dtype(cells.dtype)):
        return False
    times = _with_lost_zeros(text(cells))
    found = times.str.fullmatch(rf"(?:{TIME})\s*{OFFSET}?").to_numpy(dtype=bool)
    return bool(found.any() and (found | is_missing(times)).all())


def _with_times_of_day(
    dates: pd.Series, times: pd.Series, places: pd.Series, findings: Findings
) -> tuple[pd.Series, Mask]:
    """Join a time column to its date column.

    Return also the rows that lack a sound time of day, which a fault names.
    """
    missing, times = is_missing(times), _with_lost_zeros(times)
    wrong = ~(times.str.fullmatch(rf"(?:{TIME})\s*{OFFSET}?").to_numpy(dtype=bool) | missing)
    # A column without any time is that of daily bars.
    lost = missing & ~missing.all()
    if wrong.any():
        first = f"{times[wrong].iloc[0]!r} ({findings.first(places, wrong)})"
        findings.fault(
            f"the time column beside the date column holds {first}, which is no time of day. "
            "If it holds whole dates, pass ",
            Setting("columns", {"its name": "date"}),
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

    93000 is 093000, 930 is 0930, and hours alone, 9, are 0900.
    """
    digits = times.str.fullmatch(r"[0-9]{1,6}(?:\.0+)?").to_numpy(dtype=bool)
    plain = times.str.replace(r"\.0+$", "", regex=True)
    # All times of a column are written alike: the longest says what the others have lost.
    longest = int(plain[digits].str.len().max()) if digits.any() else 0
    if longest <= 2:
        return times.where(~plain.str.fullmatch("[01]?[0-9]|2[0-3]"), plain.str.zfill(2) + "00")
    return times.where(~digits, plain.str.zfill(6 if longest > 4 else 4))


def _times_of_day(times: pd.Series) -> Spans:
    """Return times of day as spans since midnight; the empty text is midnight, 25:00 is NaT."""
    words = times.where(times != "", "00:00:00").str.replace(",", ".", regex=False)
    digits = words.str.fullmatch(r"[0-9]{4}|[0-9]{6}")
    if digits.any():
        seconds = words.str.slice(4, 6).str.pad(2, "right", "0")
        spelt = words.str.slice(0, 2) + ":" + words.str.slice(2, 4) + ":" + seconds
        words = words.where(~digits, spelt)
    parts = _parts_of(words, TIME_PARTS)
    hour, minute, second = (_integers(parts[name]) for name in ("hour", "minute", "second"))
    fraction = _integers(parts["fraction"].str.pad(9, "right", "0"))
    half = parts["half"].str.lower().to_numpy()
    twelve = half != ""
    valid = (minute < 60) & (second < 60) & (hour < 24) & (~twelve | ((hour >= 1) & (hour <= 12)))
    # On a clock of twelve hours, 12 AM is midnight and 12 PM noon.
    hour = np.where(twelve, hour % 12 + 12 * (half == "p"), hour)
    spans = ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + fraction
    return np.where(valid, spans.astype("timedelta64[ns]"), NO_SPAN)


def _time_format(word: str) -> str:
    """Return the format of the time of day that a cell ends with: " %H:%M" of "31/01/2015 09:30".

    Without one it is empty.
    """
    found = re.search(r"(\s+|T)[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?(\.[0-9]+)?(\s*[AaPp][Mm])?$", word)
    if not found:
        return ""
    blank, seconds, fraction, half = found.groups()
    hours = "%I:%M" if half else "%H:%M"
    ending = (":%S" if seconds else "") + (".%f" if fraction else "") + (" %p" if half else "")
    return ("T" if blank == "T" else " ") + hours + ending


def _parts_of(words: pd.Series, pattern: str) -> pd.DataFrame:
    """Return the named parts of the words that match, the empty text for a part left out.

    Arrow is 20 times as fast as `re`.
    """
    cells = pyarrow.array(words.to_numpy(dtype=object), pyarrow.string())
    found = pyarrow.compute.extract_regex(cells, pattern=pattern)
    rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    found = found.take(pyarrow.array(rows))
    parts = {field.name: found.field(field.name).to_pandas().astype("str") for field in found.type}
    return pd.DataFrame(parts).set_index(words.index[rows])


def _integers(words: pd.Series) -> NDArray[np.int64]:
    """Return words of digits as numbers, 0 for the empty text."""
    return np.asarray(words.where(words != "", "0").astype("int64"))
