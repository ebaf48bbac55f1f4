"""Timestamps as files write them, read by proof.

Dates in any order of day, month and year, epochs in any unit, and times of day, beside the date or
in a column of their own. What the data do not prove is refused, never guessed. The result is what
the cells say; `model.bars.zones` makes of it timestamps without a time zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from model.bars.centuries import in_its_century, note_century, with_western_years
from model.bars.epochs import (
    read_epochs,
    readings_of_digits,
    tomorrow,
    with_all_digits,
)
from model.bars.faults import Findings, Mask, Spans, Times, count
from model.bars.intervals import DAY, day
from model.bars.numbers import text
from model.bars.times_of_day import (
    LAST_HOUR,
    NO_SPAN,
    OFFSET,
    TIME,
    ZONE,
    integers,
    parts_of,
    times_of_day,
    with_times_of_day,
)
from model.bars.unread_dates import report_unread
from model.errors import ReadingError, Setting, joined

NOT_A_TIME = np.datetime64("NaT", "ns")
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
    (r"(?:1[6-9]|2[01])[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{2}", ("%Y%m%d",)),
    (r"[0-9]{8}", ("%d%m%Y", "%m%d%Y")),
    (r"[0-9]{6}", ("%d%m%y", "%m%d%y", "%y%m%d", "%Y%m")),
    (r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2}", ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    (rf"[0-9]{{1,2}}[-/. ]?{MONTH}[-/. ,]*[0-9]{{4}}", ("%d-%b-%Y",)),
    (rf"{MONTH}[-/. ]*[0-9]{{1,2}},?[-/. ]+[0-9]{{4}}", ("%b-%d-%Y",)),
    (rf"[0-9]{{4}}[-/. ]?{MONTH}[-/. ]?[0-9]{{1,2}}", ("%Y-%b-%d",)),
    (rf"[0-9]{{1,2}}[-/. ]{MONTH}[-/. ,]+[0-9]{{2}}", ("%d-%b-%y", "%y-%b-%d")),
)
ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
COMPACT = r"(?:19|20)[0-9]{10}(?:[0-9]{2})?"  # 201501020930 or 20150102093000
# A stamp with the name of a zone of the time zone database, behind an offset or in its place.
ZONED = rf"^(?P<stamp>.*[0-9AaPpMm])\s*\[?(?P<zone>{ZONE})\]?$"
SPELT_DATE = r"^([0-9]{4})(?:\u5e74|- )\s*([0-9]{1,2})(?:\u6708|- )\s*([0-9]{1,2})\u65e5?"
FEWEST_SWAPPED = 30  # dates from which on a rule without an exception is no accident


@dataclass(frozen=True)
class Timestamps:
    """What the cells say, a row each: the time on the wall and its distance from UTC.

    wall: NaT where a cell is not understood. offset: NaT where none is stated. zone: its name,
    which only typed columns know, and stamps that end with it.
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
    others: Sequence[pd.Series] = (),
) -> Timestamps:
    """Read the date column, and the column of times of day beside it if there is one.

    A fault names the cells that cannot be read, and why where that shows. `places` are the numbers
    of the rows in the file; `date_format` is what the user states, and the only one tried then.
    Where nothing of the column is understood, one of the `others` that is takes its place.
    """
    first = Findings(findings.source, findings.unit)
    read = _read_column(dates, times, places, date_format, first)
    if others and np.isnat(read.wall).all() and not date_format:
        for other in others:
            second = Findings(findings.source, findings.unit)
            instead = _read_column(other, None, places, None, second)
            if not second.faults:
                first, read = second, instead
                findings.note(
                    f"column {dates.name!r} is not understood ({str(dates.iloc[0])!r}); the dates "
                    f"are those of column {other.name!r} beside it."
                )
                break
    for fault in first.faults:
        findings.fault(*fault)
    for note in first.notes:
        findings.note(*note)
    return read


def _read_column(
    dates: pd.Series,
    times: pd.Series | None,
    places: pd.Series,
    date_format: str | None,
    findings: Findings,
) -> Timestamps:
    if isinstance(dates.dtype, pd.PeriodDtype):
        dates = dates.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(dates.dtype) and times is None:
        timestamps = _typed(pd.DatetimeIndex(dates))
        report_unread(text(dates.astype(str)), np.isnat(timestamps.wall), places, None, findings)
        return timestamps
    # Beside a missing one, epochs have become floats: whole numbers are written as such again.
    if pd.api.types.is_float_dtype(dates.dtype):
        whole = (dates % 1 == 0) & (dates.abs() < 2**63)
        dates = dates.astype("Int64") if (dates.isna() | whole).all() else dates
    words = text(dates).str.replace(r"^([0-9]+)\.0$", r"\1", regex=True)
    reported = np.zeros(len(words), dtype=bool)
    if times is not None:
        words, reported = with_times_of_day(words, text(times), places, findings)
    # The signs for year, month and day of Chinese and Japanese, and blanks of Korean exports.
    if re.match(SPELT_DATE, next(iter(words), "")):
        words = words.str.replace(SPELT_DATE, r"\1-\2-\3", regex=True)
    words, zone = _without_zone_name(words)
    words = with_western_years(words, findings)
    if date_format == "%s":
        timestamps = in_utc(read_epochs(words))
    elif date_format:
        timestamps = _by_format(words, date_format)
    else:
        timestamps = _by_proof(words, reported, places, findings)
    report_unread(words, np.isnat(timestamps.wall) & ~reported, places, date_format, findings)
    wall = np.where(reported, NOT_A_TIME, timestamps.wall)
    return replace(timestamps, wall=wall, zone=zone or timestamps.zone)


def in_utc(times: Times) -> Timestamps:
    """Return times that are those of UTC."""
    return Timestamps(times, np.where(np.isnat(times), NO_SPAN, np.timedelta64(0, "ns")))


def _without_zone_name(words: pd.Series) -> tuple[pd.Series, str | None]:
    """Return stamps without the name of their zone, and the name if it is the same in all.

    Behind an offset it says nothing more.
    """
    if not re.match(ZONED, next(iter(words), "")):
        return words, None
    parts = parts_of(words, ZONED)
    names = parts["zone"].unique()
    if len(parts) < (words != "").sum() or len(names) > 1 or names[0] not in available_timezones():
        return words, None
    stamps = parts["stamp"].reindex(words.index, fill_value="")
    stamps.name = words.name
    offset = re.search(rf"[0-9]\s*{OFFSET}$", stamps.iloc[0])
    return stamps, None if offset else str(names[0])


def _typed(index: pd.DatetimeIndex) -> Timestamps:
    wall = nanoseconds(index.tz_localize(None))
    if index.tz is None:
        return Timestamps(wall, np.full(len(wall), NO_SPAN))
    # A distance from UTC alone, or a zone of dateutil, has no name that could be stated later.
    zone = str(index.tz) if str(index.tz) in available_timezones() else None
    return Timestamps(wall, wall - nanoseconds(index.tz_convert(None)), zone)


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
            parts = parts_of(words, rf"^(?P<date>.*?)\s+(?P<time>{TIME})$")
            days = nanoseconds(pd.to_datetime(parts["date"], format=date_format, errors="coerce"))
            moments = pd.Series(days + times_of_day(parts["time"]), index=parts.index)
            parsed = moments.reindex(words.index)
        if "%y" in date_format and not aware:
            parsed = in_its_century(parsed)
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
    words = with_all_digits(words)
    _read_digits(words, column)
    # The commonest shape is not taken apart, which matters for millions of rows.
    iso = words.str.fullmatch(ISO).to_numpy(dtype=bool) & np.isnat(column.wall)
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


def _read_digits(words: pd.Series, column: _Column) -> None:
    """Read numbers: dates of ten or twelve digits where they prove to be such, else epochs."""
    readings = readings_of_digits(words)
    known = words.str.fullmatch(r"[0-9]+").to_numpy(dtype=bool)
    if len(readings) > 1:
        choices = [Setting("date_format", form) for form in readings]
        meant = " or ".join(
            day(reading[known][0]) + (" as an epoch" if form == "%s" else "")
            for form, reading in readings.items()
        )
        column.findings.fault(
            f"dates such as {column.example(words[known])} can be read in several ways, as "
            f"{meant}. Pass ",
            *joined(choices),
            ".",
        )
        column.reported[known] = True
    elif readings:
        column.wall[:] = next(iter(readings.values()))
    else:
        numbers = words.where(~words.str.fullmatch(COMPACT), "")
        epochs = in_utc(read_epochs(numbers))
        column.wall[:], column.offset[:] = epochs.wall, epochs.offset


def _read_shape(words: pd.Series, shape: str, formats: tuple[str, ...], column: _Column) -> None:
    """Read the words of one shape, in the only order of day, month and year that fits them all."""
    parts = parts_of(words, CELL.replace("DATE", shape))
    if not len(parts):
        return
    # 2015/1/2, 02Jan2015 and "January 2, 2015" become 2015-1-2, 02-Jan-2015 and Jan-2-2015.
    dates = parts["date"]
    if dates.str.contains("[A-Za-z]").any():
        dates = dates.str.replace(r"([A-Za-z]{3})[A-Za-z]*\.?", r"-\1-", regex=True)
    dates = dates.str.replace(r"[-/., ]+", "-", regex=True).str.strip("-")
    readings = {form: pd.to_datetime(dates, format=form, errors="coerce") for form in formats}
    century = {form: in_its_century(read) for form, read in readings.items() if "%y" in form}
    readings |= century
    fitting = [form for form, read in readings.items() if read.notna().all()]
    if len(fitting) > 1:  # no bar is dated after today
        fitting = [form for form in fitting if readings[form].max() <= tomorrow()] or fitting
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
    if "%y" in form and _report_century(words.loc[parts.index], readings[form], form, column):
        return
    wall = nanoseconds(readings[form]) + times_of_day(parts["time"])
    column.wall[rows] = _with_ends_of_days(wall, parts["time"], words, column)
    column.offset[rows] = _offsets(parts["offset"])
    if "%y" in form:
        note_century(
            pd.to_datetime(dates, format=form, errors="coerce"), readings[form], column.findings
        )


def _with_ends_of_days(wall: Times, times: pd.Series, words: pd.Series, column: _Column) -> Times:
    """Return times with 24:00 as the end of its day, which is the next one, or as its beginning.

    ISO 8601 has it for the end; the order of the rows tells, and one reading alone may fit it.
    """
    ends = times.str.fullmatch(LAST_HOUR).to_numpy(dtype=bool)
    if not ends.any():
        return wall
    example = column.example(words.loc[times.index[ends]])
    whole, rows = column.wall.copy(), times.index.to_numpy()
    whole[rows] = wall
    if _in_order(whole):
        column.findings.note(
            f"{count(int(ends.sum()), 'time')} of day of 24:00, such as {example}, read as 00:00 "
            "of the next day; bars so named are mostly named after their close: ",
            Setting("stamp", "close"),
            ".",
        )
        return wall
    earlier = np.where(ends, wall - DAY.to_timedelta64(), wall)
    whole[rows] = earlier
    if _in_order(whole):
        column.findings.note(
            f"{count(int(ends.sum()), 'time')} of day of 24:00, such as {example}, read as 00:00 "
            "of the same day, for only so the rows are in order."
        )
        return earlier
    column.findings.fault(
        f"the time of day 24:00, as in {example}, may be the end of its day or its beginning, and "
        "the rows are in no order that tells. Write 00:00 of the right day, or sort the rows."
    )
    column.reported[times.index[ends]] = True
    return wall


def _in_order(wall: Times) -> bool:
    steps = np.diff(wall[~np.isnat(wall)]).astype(np.int64)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _report_century(words: pd.Series, read: pd.Series, form: str, column: _Column) -> bool:
    """Add a fault if the days of the week fit the century before better.

    Sundays to Thursdays are the sessions of some markets; a hundred years before, the same dates
    are Mondays to Fridays.
    """
    days = set(read.dt.day_of_week.dropna())
    if len(read) < FEWEST_SWAPPED or 6 not in days or len(days) < 4 or days & {4, 5}:
        return False
    sign = next((sign for sign in "/.- " if sign in words.iloc[0]), "-")
    year = read.dt.year.iloc[0]
    column.findings.fault(
        f"years of two digits such as in {column.example(words)}: Sundays to Thursdays if of "
        f"{year}, Mondays to Fridays if of {year - 100}. Pass ",
        Setting("date_format", form.replace("-", sign) + _time_format(words.iloc[0])),
        f" for {year}, else write years with four digits.",
    )
    column.reported[read.index] = True
    return True


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
    parts = parts_of(words, r"(?P<sign>[+-])(?P<hours>[0-9]{1,2}):?(?P<minutes>[0-9]{2})?$")
    minutes = integers(parts["hours"]) * 60 + integers(parts["minutes"])
    minutes = np.where(parts["sign"] == "-", -minutes, minutes)
    offset[words.index.get_indexer(parts.index)] = minutes.astype("timedelta64[m]")
    return offset


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
