"""Stamps: dates and times as files write them, read by proof: the order of day and month, the epoch's unit, the time zone."""
from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.faults import Findings, Mask, count, day
from model.numbers import is_missing, text

SHOWN = "expected e.g. 2015-01-31 or 2015-01-31 09:30:00; pass date_format='%d/%m/%Y %H:%M' for another form"
OFFSET = r"(?:Z|UTC|GMT|(?:UTC|GMT)?[+-][0-9]{2}:?(?:[0-9]{2})?)"
CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?:\s*[AaPp]\.?[Mm]\.?)?|[0-9]{6}|[0-9]{4}"
WEEKDAY = r"(?:[A-Za-z]{3,9},?\s+(?=[0-9A-Za-z]))?"
SHAPE = rf"^{WEEKDAY}(?P<date>DATE)(?:(?:[T;,]|\s+|:(?=[0-9]{{2}}:))\s*(?P<clock>{CLOCK}))?\s*(?P<offset>{OFFSET})?$"
MONTH = r"[A-Za-z]{3,9}\.?"
# How a date may look, and the orders of day, month and year it may be read in. Only one may fit the data.
DATE_SHAPES = (
    (r"[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}", ("%Y-%m-%d",)),
    (r"[0-9]{8}", ("%Y%m%d",)),
    (r"[0-9]{1,2}([-/.])[0-9]{1,2}\1[0-9]{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"[0-9]{1,2}([-/.])[0-9]{1,2}\1[0-9]{2}", ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    (rf"[0-9]{{1,2}}[-/. ]?{MONTH}[-/. ,]*[0-9]{{4}}", ("%d-%b-%Y",)),
    (rf"{MONTH}[-/. ]*[0-9]{{1,2}},?[-/. ]+[0-9]{{4}}", ("%b-%d-%Y",)),
    (rf"[0-9]{{4}}[-/. ]?{MONTH}[-/. ]?[0-9]{{1,2}}", ("%Y-%b-%d",)),
    (rf"[0-9]{{1,2}}[-/. ]{MONTH}[-/. ,]+[0-9]{{2}}", ("%d-%b-%y", "%y-%b-%d")),
)
# Seconds, milliseconds, microseconds and nanoseconds from 1973 to 2096 do not overlap: the size is the proof.
EPOCHS = (("s", 1e8), ("ms", 1e11), ("us", 1e14), ("ns", 1e17))
LARGEST = 40
DAY = np.timedelta64(1, "D")
NONE = np.timedelta64("NaT", "ns")

Times = NDArray[np.datetime64]
Spans = NDArray[np.timedelta64]


@dataclass(frozen=True)
class Stamps:
    """The wall clock of each row (NaT where not understood) and its offset from UTC (NaT where none is stated)."""

    wall: Times
    offset: Spans
    zone: str | None = None

    @property
    def utc(self) -> Times:
        return self.wall - self.offset


def read_stamps(dates: pd.Series, clocks: pd.Series | None, places: pd.Series, date_format: str | None,
                findings: Findings) -> Stamps:
    """Return what the cells of the date column, and of a time column beside it, say; add faults for what they do not."""
    if isinstance(dates.dtype, pd.PeriodDtype):
        dates = dates.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(dates.dtype):
        stamps = _typed(pd.DatetimeIndex(dates))
        _report(text(dates.astype(str)), np.isnat(stamps.wall), places, None, findings)
        return stamps
    words = text(dates).str.replace(r"^([0-9]+)\.0$", r"\1", regex=True)
    if clocks is not None:
        words = _joined(words, text(clocks), findings)
    stamps = _with_format(words, date_format, findings) if date_format else _understood(words, findings)
    _report(words, np.isnat(stamps.wall), places, date_format, findings)
    return stamps


def _typed(index: pd.DatetimeIndex) -> Stamps:
    wall = _nanoseconds(index.tz_localize(None))
    if index.tz is None:
        return Stamps(wall, np.full(len(wall), NONE))
    return Stamps(wall, wall - _nanoseconds(index.tz_convert(None)), str(index.tz))


def _nanoseconds(stamps: pd.DatetimeIndex | pd.Series) -> Times:
    """Return stamps in nanoseconds; a year that does not fit in them is NaT, where numpy alone would wrap it silently."""
    series = pd.Series(stamps)
    fits = (series.dt.year > 1677) & (series.dt.year < 2262)
    return np.asarray(series.where(fits).dt.as_unit("ns"), dtype="datetime64[ns]")


def _joined(dates: pd.Series, clocks: pd.Series, findings: Findings) -> pd.Series:
    """Join a time column to its date column; times such as 93000 or 930 get their lost zeros back."""
    digits = clocks.str.fullmatch(r"[0-9]{1,6}(?:\.0+)?")
    width = 6 if clocks.str.replace(r"\.0+$", "", regex=True).str.len().max() > 4 else 4
    padded = clocks.str.replace(r"\.0+$", "", regex=True).str.zfill(width)
    clocks = clocks.where(~digits, padded)
    wrong = ~(clocks.str.fullmatch(rf"(?:{CLOCK})\s*{OFFSET}?") | is_missing(clocks)).to_numpy(dtype=bool)
    if wrong.any():
        findings.refuse(f"the time column beside the date column holds {clocks[wrong].iloc[0]!r}, which is no time of day. "
                        "If it holds whole dates, pass columns={'its name': 'date'}.")
    days = dates.str.replace(r"[\sT]+00:00(?::00(?:\.0+)?)?$", "", regex=True)
    return days.str.cat(clocks.where(~is_missing(clocks), ""), sep=" ").str.strip()


def _with_format(words: pd.Series, date_format: str, findings: Findings) -> Stamps:
    """Read the words by the format given; a time column that was joined may stand outside of it."""
    try:
        parsed = pd.to_datetime(words, format=date_format, errors="coerce", utc="%z" in date_format)
        if parsed.isna().all():
            parts = words.str.extract(rf"^(.*?)\s+({CLOCK})$")
            days = _nanoseconds(pd.to_datetime(parts[0], format=date_format, errors="coerce"))
            parsed = pd.Series(days + _clock(parts[1]))
    except ValueError as error:
        findings.refuse(f"date_format={date_format!r} is no format: {error}. Write it like '%d/%m/%Y %H:%M'.")
    return _typed(pd.DatetimeIndex(parsed))


def _understood(words: pd.Series, findings: Findings) -> Stamps:
    """Read epochs by their size, then every shape of date that occurs; what remains is NaT."""
    wall = np.full(len(words), np.datetime64("NaT", "ns"))
    offset = np.full(len(words), NONE)
    _read_epochs(words, wall, offset)
    _read_iso(words, wall)
    words = words.str.replace(r"^([0-9]{8})([0-9]{4}|[0-9]{6})$", r"\1 \2", regex=True)
    for shape, formats in DATE_SHAPES:
        rest = np.isnat(wall)
        if not rest.any():
            break
        _read_shape(words[rest], shape, formats, wall, offset, findings)
    return Stamps(wall, offset)


def _read_iso(words: pd.Series, wall: Times) -> None:
    """Read the commonest shape without taking it apart, which matters for millions of rows."""
    shape = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
    rows = words.str.fullmatch(shape).to_numpy(dtype=bool)
    if rows.any():
        wall[rows] = _nanoseconds(pd.to_datetime(words[rows], format="ISO8601", errors="coerce"))


def _read_epochs(words: pd.Series, wall: Times, offset: Spans) -> None:
    """Read whole numbers of the size of an epoch; smaller or negative ones in the unit that all the others prove."""
    units = set()
    rows = np.flatnonzero(words.str.fullmatch(r"[0-9]{9,19}(?:\.[0-9]+)?").to_numpy(dtype=bool))
    rows = rows[~words.iloc[rows].str.fullmatch(r"(?:19|20)[0-9]{10}(?:[0-9]{2})?").to_numpy(dtype=bool)]  # 201501020930[00]
    numbers = words.iloc[rows].astype("float64").to_numpy()
    for unit, smallest in EPOCHS:
        fits = (numbers >= smallest) & (numbers < smallest * LARGEST)
        _set_epochs(words, rows[fits], unit, wall, offset)
        units |= {unit} if fits.any() else set()
    if len(units) == 1 and 2 * len(rows) > len(words):
        early = np.flatnonzero(words.str.fullmatch(r"-?[0-9]{1,12}").to_numpy(dtype=bool) & np.isnat(wall))
        _set_epochs(words, early, units.pop(), wall, offset)


def _set_epochs(words: pd.Series, rows: NDArray[np.intp], unit: str, wall: Times, offset: Spans) -> None:
    whole = words.iloc[rows].str.replace(r"\..*$", "", regex=True).astype("int64").to_numpy()
    wall[rows] = whole.astype(f"datetime64[{unit}]").astype("datetime64[ns]")
    offset[rows] = np.timedelta64(0, "ns")


def _read_shape(words: pd.Series, shape: str, formats: tuple[str, ...], wall: Times, offset: Spans, findings: Findings) -> None:
    """Read the words of one shape into wall and offset, in the only order of day, month and year that fits them all."""
    parts = words.str.extract(SHAPE.replace("DATE", shape.replace(r"\1", "(?P=sign)").replace("([", "(?P<sign>[")), expand=True)
    parts = parts[parts["date"].notna()]
    if not len(parts):
        return
    dates = _hyphenated(parts["date"])
    clock, rows = _clock(parts["clock"]), parts.index.to_numpy()
    readings = {form: pd.to_datetime(dates, format=form, errors="coerce") for form in formats}
    fitting = {form: read for form, read in readings.items() if read.notna().all()}
    if len(fitting) > 1 and formats[0].endswith("y"):
        fitting = {form: read for form, read in fitting.items() if _is_ordered(read)} or fitting
    if len(fitting) > 1:
        findings.refuse(_ambiguous(words.loc[rows[0]], tuple(fitting), parts["date"].iloc[0]))
    read = next(iter(fitting.values())) if fitting else _likeliest(parts["date"], readings, findings)
    wall[rows] = _nanoseconds(read) + clock
    offset[rows] = _offsets(parts["offset"])


def _hyphenated(dates: pd.Series) -> pd.Series:
    """Bring 2015/1/2, 02Jan2015, "January 2, 2015" to parts joined by hyphens, with months of three letters."""
    dates = dates.str.replace(r"([A-Za-z]{3})[A-Za-z]*\.?", r"-\1-", regex=True)
    return dates.str.replace(r"[-/., ]+", "-", regex=True).str.strip("-")


def _is_ordered(stamps: pd.Series) -> bool:
    return stamps.is_monotonic_increasing or stamps.is_monotonic_decreasing


def _ambiguous(word: str, forms: tuple[str, ...], date: str) -> str:
    sign = next((sign for sign in "/.- " if sign in date), "-")
    choices = " or ".join(f"date_format={form.replace('-', sign) + _clock_format(word)!r}" for form in forms)
    return f"dates such as {word!r} are ambiguous: no day above 12 proves the order of day and month. Pass {choices}."


def _clock_format(word: str) -> str:
    found = re.search(r"(\s+|T)[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?(\.[0-9]+)?(\s*[AaPp][Mm])?$", word)
    if not found:
        return ""
    hour = "%I" if found[4] else "%H"
    parts = (hour + ":%M", ":%S" if found[2] else "", ".%f" if found[3] else "", " %p" if found[4] else "")
    return ("T" if found[1] == "T" else " ") + "".join(parts)


def _likeliest(dates: pd.Series, readings: dict[str, pd.Series], findings: Findings) -> pd.Series:
    """Return the reading that fails least, its failures to be reported by line; refuse dates that prove two orders."""
    failing = {form: read.isna() for form, read in readings.items()}
    best = min(failing, key=lambda form: int(failing[form].sum()))
    for other in failing:
        against, in_favour = dates[failing[best] & ~failing[other]], dates[failing[other] & ~failing[best]]
        if len(against) and len(in_favour):
            findings.refuse(f"the date {against.iloc[0]!r} has another order of day and month than {in_favour.iloc[0]!r}: "
                            "two formats in one file, or a mistyped date. Use one date format.")
    return readings[best]


def _clock(clocks: pd.Series) -> Spans:
    """Return times of day as spans; without one it is midnight."""
    words = clocks.fillna("00:00:00").str.replace(",", ".", regex=False)
    words = words.str.replace(r"^([0-9]{2})([0-9]{2})([0-9]{2})?$", r"\1:\2:\3", regex=True).str.replace(r":$", "", regex=True)
    half = words.str.extract(r"([AaPp])\.?[Mm]", expand=False).str.lower()
    parts = words.str.extract(r"^([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?:\.([0-9]+))?")
    hours, minutes, seconds = (parts[i].fillna("0").astype("int64") for i in range(3))
    twelve = half.notna()
    valid = (minutes < 60) & (seconds < 60) & (hours < 24) & (~twelve | ((hours >= 1) & (hours <= 12)))
    hours = hours.where(~twelve, hours % 12 + 12 * (half == "p"))
    fraction = parts[3].fillna("0").str.pad(9, "right", "0").astype("int64")
    spans = (((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction).to_numpy()
    return np.where(valid, spans.astype("timedelta64[ns]"), NONE)


def _offsets(words: pd.Series) -> Spans:
    """Return offsets from UTC; none stated is NaT."""
    parts = words.str.extract(r"([+-])([0-9]{2}):?([0-9]{2})?$")
    minutes = parts[1].astype("float64") * 60 + parts[2].fillna("0").astype("float64")
    minutes = minutes.where(parts[0] != "-", -minutes).where(parts[0].notna() | words.isna(), 0.0)
    return pd.to_timedelta(minutes, unit="min").to_numpy().astype("timedelta64[ns]")


def _report(words: pd.Series, unread: Mask, places: pd.Series, date_format: str | None, findings: Findings) -> None:
    """Add a fault for the dates that were not understood, with the reason where it shows."""
    if not unread.any():
        return
    first, line, number = words[unread].iloc[0], f"{findings.unit} {places[unread].iloc[0]}", int(unread.sum())
    place = f"{count(number, 'date')} not understood (first: {line}, {first!r})"
    if is_missing(words[unread]).all():
        findings.fault(f"{count(number, 'row')} without a date (first: {line}). Remove or repair them.")
    elif re.fullmatch(r"[0-9]{5}(\.[0-9]+)?", first):
        findings.fault(f"{place}: it looks like an Excel serial number. Format the column as a date and export again.")
    elif date_format:
        findings.fault(f"{place} with date_format={date_format!r}.")
    else:
        findings.fault(f"{place}; {SHOWN}.")


def settled(stamps: Stamps, timezone: str | None, findings: Findings) -> tuple[Times, str | None]:
    """Return naive stamps and their zone: dates keep the day their own zone has, times within the day become UTC."""
    known, aware = ~np.isnat(stamps.wall), ~np.isnat(stamps.offset)
    if (known & aware).any() and (known & ~aware).any():
        findings.refuse(f"{int((known & ~aware).sum())} stamps state no offset from UTC and {int((known & aware).sum())} do. "
                        "Export all in UTC.")
    if _are_dates(stamps.wall):
        return stamps.wall, timezone or stamps.zone or ("UTC" if aware.any() and not stamps.offset[known].any() else None)
    if aware.any():
        return _settled_aware(stamps, timezone)
    return (_localised(stamps.wall, timezone, findings), "UTC") if timezone else (stamps.wall, None)


def _are_dates(wall: Times) -> bool:
    """Return whether all stamps are midnights, but for a first or last row that may be a running session's."""
    timed = np.flatnonzero(~np.isnat(wall) & (wall.astype("datetime64[D]") != wall))
    return not len(timed) or (len(timed) == 1 and len(wall) > 3 and timed[0] in (0, len(wall) - 1))


def _settled_aware(stamps: Stamps, timezone: str | None) -> tuple[Times, str | None]:
    if timezone:
        local = _nanoseconds(pd.DatetimeIndex(stamps.utc, tz="UTC").tz_convert(timezone).tz_localize(None))
        if _are_dates(local):
            return local, timezone
    days = stamps.wall.astype("datetime64[D]")
    spacing = np.abs(np.diff(np.sort(stamps.wall[~np.isnat(stamps.wall)])))
    if stamps.offset.astype(np.int64).any() and len(spacing) and np.median(spacing.astype(np.int64)) >= 0.8 * 86_400e9:
        return days.astype("datetime64[ns]"), timezone or stamps.zone
    return stamps.utc, "UTC"


def _localised(wall: Times, timezone: str, findings: Findings) -> Times:
    """Return local times as UTC; an hour that happens twice is known by coming twice, the first time in summer time."""
    index = pd.DatetimeIndex(wall)
    newest_first = len(index) > 1 and index[0] > index[-1]
    first = ~index.duplicated(keep="last" if newest_first else "first")
    sides = (first, np.zeros(len(index), dtype=bool))
    summer, winter = (_utc(index.tz_localize(timezone, ambiguous=side, nonexistent="NaT")) for side in sides)
    never = np.isnat(summer) & ~np.isnat(wall)
    if never.any():
        findings.fault(f"{day(wall[never][0])} does not exist in {timezone} (clocks went forward). Is it the right zone?")
    once = (summer != winter) & ~index.duplicated(keep=False) & ~np.isnat(wall) & ~never
    if once.any():
        findings.fault(f"{day(wall[once][0])} happens twice in {timezone} (clocks went back) but stands here once: "
                       "which one is open. Export in UTC.")
    return summer


def _utc(index: pd.DatetimeIndex) -> Times:
    return _nanoseconds(index.tz_convert(None))
