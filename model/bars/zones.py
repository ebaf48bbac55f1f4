"""From what cells say to timestamps without a time zone.

Dates keep the day of their own zone, whatever day it is in UTC then. Times within the day become
UTC where their offset or zone is known, and stay as they are where nothing is.
"""

from __future__ import annotations

from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from model.bars.faults import Findings, Times
from model.bars.intervals import DAY, day
from model.bars.timestamps import NOT_A_TIME, Timestamps, nanoseconds
from model.errors import Setting, did_you_mean

MANY = 0.1  # share of daily timestamps on Sundays that is no accident
DAILY = 0.8 * DAY  # summer time makes a day of 23 hours
LONGEST_DAY = 1.5 * DAY
NOON = 12


def known_zone(name: object) -> str:
    """Return the name of a time zone; ValueError for any other value."""
    known = available_timezones()
    if isinstance(name, str) and name in known:
        return name
    raise ValueError(
        f"`timezone` must be a name such as 'America/New_York' or 'UTC', got {name!r}."
        f"{did_you_mean(name, known)}"
    )


def without_zone(
    timestamps: Timestamps, timezone: str | None, places: pd.Series, findings: Findings
) -> tuple[Times, str | None]:
    """Return timestamps without a zone, NaT where not known, and the name of the zone they are in.

    `timezone` is what the user states; it holds for cells that state no offset from UTC.
    """
    wall = timestamps.wall
    known, aware = ~np.isnat(wall), ~np.isnat(timestamps.offset)
    if (known & aware).any() and (known & ~aware).any():
        without, with_offset = known & ~aware, known & aware
        findings.fault(
            f"{without.sum()} timestamps state no offset from UTC and {with_offset.sum()} do "
            f"(first: {findings.first(places, without)} and "
            f"{findings.first(places, with_offset)}). Export all in UTC."
        )
        return np.full(len(known), NOT_A_TIME), None
    if _are_dates(wall):
        in_utc = aware.any() and not timestamps.offset[known].any()
        return wall, timezone or timestamps.zone or ("UTC" if in_utc else None)
    if aware.any():
        return _aware_without_zone(timestamps, timezone, findings)
    if timestamps.zone and timezone not in (None, timestamps.zone):
        findings.fault(
            f"the timestamps say that they are of {timestamps.zone}, ",
            Setting("timezone", timezone),
            f" that they are of {timezone}. Leave it out.",
        )
    timezone = timestamps.zone or timezone
    if _are_sessions_evenings(pd.DatetimeIndex(wall)):
        if timezone:
            return _sessions_of(wall), timezone
        _note_evenings(pd.DatetimeIndex(wall), "", findings)
        return wall, None
    if timezone:
        return _local_as_utc(wall, timezone, places, findings), "UTC"
    return wall, None


def _are_dates(wall: Times) -> bool:
    """Return whether all timestamps are midnights.

    The first or the last of a file may differ: it may be that of a session still running.
    """
    timed = np.flatnonzero(~np.isnat(wall) & (wall.astype("datetime64[D]") != wall))
    return not len(timed) or (len(timed) == 1 and len(wall) > 3 and timed[0] in (0, len(wall) - 1))


def _aware_without_zone(
    timestamps: Timestamps, timezone: str | None, findings: Findings
) -> tuple[Times, str | None]:
    utc = pd.DatetimeIndex(timestamps.utc)
    if timezone:
        local = nanoseconds(utc.tz_localize("UTC").tz_convert(timezone).tz_localize(None))
        if _are_dates(local):
            return local, timezone
        if _are_sessions_evenings(pd.DatetimeIndex(local)):
            return _sessions_of(local), timezone
    wall = timestamps.wall
    if _median_spacing(wall) < DAILY:
        return timestamps.utc, "UTC"
    # Daily bars with a time of day, that of the exchange's close for instance, keep their date. In
    # UTC it may be that of the day before, which only the user can know.
    if timestamps.offset.astype(np.int64).any():
        if _are_sessions_evenings(pd.DatetimeIndex(wall)):
            return _sessions_of(wall), timezone or timestamps.zone
        return wall.astype("datetime64[D]").astype("datetime64[ns]"), timezone or timestamps.zone
    if _are_on_sundays_not_fridays(utc):
        _note_evenings(utc, " UTC", findings)
    return timestamps.utc, "UTC"


def _median_spacing(wall: Times) -> pd.Timedelta:
    spacings = np.diff(np.sort(wall[~np.isnat(wall)])).astype(np.int64)
    return pd.Timedelta(int(np.median(spacings)) if len(spacings) else 0, unit="ns")


def _are_on_sundays_not_fridays(index: pd.DatetimeIndex) -> bool:
    weekdays = index.dropna().day_of_week
    return (weekdays == 6).mean() > MANY and not (weekdays == 4).any() and not (weekdays == 5).any()


def _are_sessions_evenings(index: pd.DatetimeIndex) -> bool:
    """Return whether daily bars stand at the evening before their session: Sundays, no Fridays."""
    known = index.dropna()
    spacing = _median_spacing(known.to_numpy())
    daily = DAILY <= spacing <= LONGEST_DAY
    return daily and bool((known.hour >= NOON).all()) and _are_on_sundays_not_fridays(known)


def _sessions_of(evenings: Times) -> Times:
    """Return the dates of the sessions whose evenings before are given."""
    return nanoseconds(pd.DatetimeIndex(evenings).normalize() + DAY)


def _note_evenings(index: pd.DatetimeIndex, zone: str, findings: Findings) -> None:
    findings.note(
        f"daily timestamps such as {index.dropna()[0]}{zone} fall on Sundays and never on Fridays: "
        "the midnight of another time zone? They stay as they are; pass its name, as ",
        Setting("timezone", "Europe/Berlin"),
        ", for the dates of the sessions.",
    )


def _local_as_utc(wall: Times, timezone: str, places: pd.Series, findings: Findings) -> Times:
    """Return local times as UTC.

    An hour that happens twice when clocks go back must come twice, the first time in summer time.
    """
    index = pd.DatetimeIndex(wall)
    newest_first = len(index) > 1 and index[0] > index[-1]
    first = ~index.duplicated(keep="last" if newest_first else "first")
    summer, winter = (
        nanoseconds(index.tz_localize(timezone, ambiguous=side, nonexistent="NaT").tz_convert(None))
        for side in (first, np.zeros(len(index), dtype=bool))
    )
    never = np.isnat(summer) & ~np.isnat(wall)
    if never.any():
        findings.fault(
            f"{day(wall[never][0])} ({findings.first(places, never)}) does not exist in {timezone} "
            "(clocks went forward). Is it the right zone?"
        )
    once = (summer != winter) & ~index.duplicated(keep=False) & ~np.isnat(wall) & ~never
    if once.any():
        findings.fault(
            f"{day(wall[once][0])} ({findings.first(places, once)}) happens twice in {timezone} "
            "(clocks went back) but stands here once: which one is open. Export in UTC."
        )
    return summer
