"""From wall clocks to timestamps without a time zone.

Dates keep the day of their own zone, times within the day become UTC.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from model.bars.faults import Findings, day
from model.bars.intervals import DAY
from model.bars.stamps import NOT_A_TIME, Stamps, Times, nanoseconds
from model.errors import Setting


def settled(
    stamps: Stamps, timezone: str | None, places: pd.Series, findings: Findings
) -> tuple[Times, str | None]:
    """Return naive stamps and their zone.

    Dates keep the day their own zone has, times within the day become UTC.
    """
    known, aware = ~np.isnat(stamps.wall), ~np.isnat(stamps.offset)
    if (known & aware).any() and (known & ~aware).any():
        lines = " and ".join(
            f"{findings.unit} {places[rows].iloc[0]}" for rows in (known & ~aware, known & aware)
        )
        findings.fault(
            f"{int((known & ~aware).sum())} stamps state no offset from UTC and "
            f"{int((known & aware).sum())} do "
            f"(first: {lines}). Export all in UTC."
        )
        return np.full(len(known), NOT_A_TIME), None
    if _are_dates(stamps.wall):
        return stamps.wall, timezone or stamps.zone or (
            "UTC" if aware.any() and not stamps.offset[known].any() else None
        )
    if aware.any():
        return _settled_aware(stamps, timezone, findings)
    return (
        (_localised(stamps.wall, timezone, places, findings), "UTC")
        if timezone
        else (stamps.wall, None)
    )


def _are_dates(wall: Times) -> bool:
    """Return whether all timestamps are midnights.

    A first or last row may differ: it may be a running session's.
    """
    timed = np.flatnonzero(~np.isnat(wall) & (wall.astype("datetime64[D]") != wall))
    return not len(timed) or (len(timed) == 1 and len(wall) > 3 and timed[0] in (0, len(wall) - 1))


def _settled_aware(
    stamps: Stamps, timezone: str | None, findings: Findings
) -> tuple[Times, str | None]:
    if timezone:
        local = nanoseconds(
            pd.DatetimeIndex(stamps.utc, tz="UTC").tz_convert(timezone).tz_localize(None)
        )
        if _are_dates(local):
            return local, timezone
    days = stamps.wall.astype("datetime64[D]")
    spacing = np.diff(np.sort(stamps.wall[~np.isnat(stamps.wall)])).astype(np.int64)
    daily = len(spacing) and pd.Timedelta(int(np.median(spacing)), unit="ns") >= 0.8 * DAY
    if daily and stamps.offset.astype(np.int64).any():
        return days.astype("datetime64[ns]"), timezone or stamps.zone
    if daily:
        _note_evenings(pd.DatetimeIndex(stamps.utc).dropna(), findings)
    return stamps.utc, "UTC"


def _note_evenings(utc: pd.DatetimeIndex, findings: Findings) -> None:
    """Say it where daily stamps in UTC are the evenings before their sessions.

    Such timestamps fall on Sundays and never on Fridays or Saturdays.
    """
    weekdays = utc.day_of_week
    if (weekdays == 6).mean() > 0.1 and not (weekdays == 4).any() and not (weekdays == 5).any():
        findings.note(
            f"daily stamps such as {utc[0]} UTC fall on Sundays and never on Fridays: the midnight "
            "of another time zone? "
            "They stay as they are; pass its name, as ",
            Setting("timezone", "Europe/Berlin"),
            ", for the dates of the sessions.",
        )


def _localised(wall: Times, timezone: str, places: pd.Series, findings: Findings) -> Times:
    """Return local times as UTC.

    An hour that happens twice is known by coming twice, the first time in summer time.
    """
    index = pd.DatetimeIndex(wall)
    newest_first = len(index) > 1 and index[0] > index[-1]
    first = ~index.duplicated(keep="last" if newest_first else "first")
    sides = (first, np.zeros(len(index), dtype=bool))
    summer, winter = (
        nanoseconds(index.tz_localize(timezone, ambiguous=side, nonexistent="NaT").tz_convert(None))
        for side in sides
    )
    never = np.isnat(summer) & ~np.isnat(wall)
    if never.any():
        place = f"{day(wall[never][0])} ({findings.unit} {places[never].iloc[0]})"
        findings.fault(
            f"{place} does not exist in {timezone} (clocks went forward). Is it the right zone?"
        )
    once = (summer != winter) & ~index.duplicated(keep=False) & ~np.isnat(wall) & ~never
    if once.any():
        place = f"{day(wall[once][0])} ({findings.unit} {places[once].iloc[0]})"
        findings.fault(
            f"{place} happens twice in {timezone} (clocks went back) but stands here once: "
            "which one is open. Export in UTC."
        )
    return summer
