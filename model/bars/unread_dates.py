"""Dates that were not understood: where they stand, why as far as it shows, and what to do."""

from __future__ import annotations

import re

import pandas as pd

from model.bars.faults import Findings, Mask, count
from model.bars.numbers import is_missing
from model.errors import Setting

ZONE_NAME = r"[:0-9][0-9]{2}\S*\s*\[?(?![AP]M$)[A-Z][A-Za-z0-9]+(?:/[A-Za-z_]+)*\]?$"  # 10:00 EST
# Forms of dates that need a word of the user, and the format that says it.
STATED = (
    (r"[0-9]{4}-[0-9]{2}", "%Y-%m"),
    (r"[0-9]{4}/[0-9]{2}", "%Y/%m"),
    (r"(?:19|20)[0-9]{5}", "%Y%j"),
    (r"[0-9]{4}-W[0-9]{2}-[1-7]", "%G-W%V-%u"),
    (r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "%Y-%d-%m"),
    (r"[A-Z][a-z]{2} [0-9]{4}", "%b %Y"),
    (r"[A-Z][a-z]{2}-[0-9]{2}", "%b-%y"),
)
# What a date that was not understood looks like, and what to do then.
REASONS = (
    (
        r"[0-9]{5}(\.[0-9]+)?",
        ": it looks like an Excel serial number, or a number of days since 1970. Write dates.",
    ),
    (
        r"[0-9](?:[.,][0-9]{1,5})?[eE]\+?[0-9]{1,2}",
        ": its last digits are lost, as a spreadsheet shortens long numbers. Export it again, and "
        "open the file in no spreadsheet.",
    ),
    (
        r"[0-9]{18}",
        ": it looks like .NET ticks or a Windows file time, or nanoseconds of 1973 or 1990. Export "
        "dates.",
    ),
    (
        r"[0-9]{4}[- ]?(?:Q[1-4]|W[0-9]{2})|[0-9-]{8,10}\s*(?:[/~]|to|-)\s*[0-9-]{8,10}",
        ": a week, a quarter, or a span of two dates? Write the first day of each, as 2015-01-01.",
    ),
    (
        r"[0-9]{1,2}",
        ": a day of the month alone? Join year, month and day in one column of dates.",
    ),
    (
        r"(?:1[0-6]|2[3-9])[0-9]{2}[-/.][0-9]{1,2}[-/.][0-9]{1,2}.*",
        ": a year of another calendar, as the Buddhist one, which is 543 years ahead, or a "
        "mistyped one? Write years as 2015.",
    ),
)
FEW = 0.5  # of the dates: where more are read, another format is not what they need


def report_unread(
    words: pd.Series, unread: Mask, places: pd.Series, date_format: str | None, findings: Findings
) -> None:
    """Add a fault for the dates that were not understood, with the reason where it shows."""
    if not unread.any():
        return
    number, first = int(unread.sum()), words[unread].iloc[0]
    line = findings.first(places, unread)
    what = f"{count(number, 'date')} in column {words.name!r} not understood "
    what += f"(first: {line}, {first!r})"
    reasons = [said for shape, said in REASONS if re.fullmatch(shape, first)]
    expected = "; expected e.g. 2015-01-31 or 2015-01-31 09:30:00"
    if is_missing(words[unread]).all():
        findings.fault(
            f"{count(number, 'row')} without a date (first: {line}). Remove or repair them."
        )
    elif reasons:
        findings.fault(what + reasons[0])
    elif re.search(ZONE_NAME, first):
        findings.fault(
            f"{what}: write the time zone as an offset such as -05:00, or leave it out and pass ",
            Setting("timezone", "America/New_York"),
            ".",
        )
    elif date_format:
        findings.fault(f"{what} with ", Setting("date_format", date_format), ".")
    elif number < FEW * len(words):
        findings.fault(
            f"{what}{expected}, as in the other rows. A mistyped date, a note or a footer? Repair "
            "or remove it."
        )
    else:
        stated = (form for shape, form in STATED if re.fullmatch(shape, first))
        form = Setting("date_format", next(stated, "%d/%m/%Y %H:%M"))
        findings.fault(f"{what}{expected}; pass ", form, " for another form.")
