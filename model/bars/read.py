"""Bars of any file or frame: `read_bars`, the one door, and what holds of every bar it returns.

The path of a file: sources (what it holds) -> csv_layout (cells) -> columns (which cell means what)
-> numbers, timestamps and zones (what the cells say) -> repairs and faults (which rows are sound
bars) -> suspicions (what looks wrong in them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from model.bars.artefacts import REPEATS, TESTS, FlagRecord, drop_repeats, judge_artefacts
from model.bars.columns import NamedCells, name_columns, without_empty_rows
from model.bars.csv_layout import csv_table
from model.bars.faults import (
    COLUMNS,
    PRICES,
    Findings,
    Mask,
    Times,
    count,
    find_broken_bars,
)
from model.bars.intervals import no_usual_spacing
from model.bars.misread_dates import judge_misread
from model.bars.names import says_close, says_utc
from model.bars.numbers import read_numbers
from model.bars.repairs import (
    IRREGULAR,
    accept_rounding,
    adjusted,
    drop_copies,
    drop_rows_without_prices,
    drop_unfinished,
    fill_volume,
    in_time_order,
    judge_repeated,
    judge_spacing,
)
from model.bars.sources import frame_table, load
from model.bars.suspicions import (
    judge_volume,
    opens_and_closes_swapped,
    rules_of,
    suspect,
)
from model.bars.table import Table
from model.bars.timestamps import NOT_A_TIME, in_utc, read_timestamps
from model.bars.zones import without_zone
from model.errors import (
    BarsError,
    Part,
    ReadingError,
    Setting,
    did_you_mean,
    joined,
)

MINIMUM_BARS = 244
MINIMUM_REASON = (
    "100 to warm up, 50 for a window, then 70 % / 15 % / 15 % of the windows to train, validate "
    "and test, the first at least one batch of 64"
)
# How many bars are needed still where one of these settings is 1: with fewer it does not help.
FEWEST_BARS = {"batch_size": 225, "sequence_length": 195}
TEXTS = ("instrument", "timezone", "ticker", "date_format")
CHOICES = {
    "stamp": (None, "open", "close"),
    "decimal": (None, ".", ","),
    "on_missing": ("error", "drop"),
    "adjust": (False, True),
    "repeats": (None, "drop", "keep"),
}


def read_bars(
    source: str | Path | pd.DataFrame,
    *,
    instrument: str | None = None,
    timezone: str | None = None,
    stamp: str | None = None,
    columns: Mapping[str, str] | None = None,
    ticker: str | None = None,
    date_format: str | None = None,
    decimal: str | None = None,
    adjust: bool = False,
    on_missing: str = "error",
    repeats: str | None = None,
    accept: Sequence[str] = (),
    minimum_bars: int | None = MINIMUM_BARS,
) -> pd.DataFrame:
    """Read the bars of a CSV file (plain or compressed), a Parquet or Feather file or a DataFrame.

    Another layout of the same data is read silently; what can be repaired without inventing a price
    is repaired with a BarsWarning; everything else is refused with one BarsError that lists every
    kind of problem.

    Parameters
    ----------
    source
        The path of a file, or a frame with a date in its index or in a column.
    instrument, stamp
        What the bars are of, and whether a timestamp is a bar's "open" or its "close";
        kept in `bars.attrs`. None is what a frame's own attrs say, else nothing and "open".
    timezone
        The zone of intraday timestamps that state none: they become UTC. Daily ones keep their
        date.
    columns
        Names in the source for names of ours: {"Price": "close"}; "ignore" leaves one out.
    ticker
        Which one, if the source holds several.
    date_format, decimal
        What the data do not prove: "%d/%m/%Y" or, of epochs, "%s", and "," or ".".
    adjust
        Scale all four prices by Adj Close / Close.
    on_missing
        "drop" drops rows that miss some of their prices; "error" refuses them.
    repeats
        From 1 % of the rows on, those that repeat others or lie halfway between them are refused,
        unless "drop" leaves them out or "keep" takes them: then no order fills at their opens.
    accept
        A name, or several, of what else is refused, or said, of bars that were hardly traded so:
        "heikin-ashi", "gaps" and those in the notes. It is said at every read all the same.
    minimum_bars
        Refuse fewer; the default is what the default training needs, None is any number.

    Returns
    -------
    DataFrame of shape (n_bars, 5)
        The float64 columns open, high, low, close (prices in the units of the source) and volume,
        over a DatetimeIndex named "date", increasing and unique, without a time zone. Its attrs say
        instrument, timezone, stamp, flags (what the bars say against themselves, a list of dicts:
        name, sentence, identity, accepted) and, of a file, source; where the source's attrs say it,
        prices: what kind they are.

    Raises
    ------
    BarsError
        The bars cannot be used, or an argument cannot be meant.

    Examples
    --------
    >>> table = sample_bars().reset_index()
    >>> read_bars(table, instrument="nasdaq").shape
    (5031, 5)
    """
    settings = ReadingSettings(
        instrument=instrument,
        timezone=timezone,
        stamp=stamp,
        columns=columns,
        ticker=ticker,
        date_format=date_format,
        decimal=decimal,
        adjust=adjust,
        on_missing=on_missing,
        repeats=repeats,
        accept=(accept,) if isinstance(accept, str) else tuple(accept),
        minimum_bars=minimum_bars,
    )
    content, findings = load(source, tuple(columns or ()))
    if isinstance(content, str):
        table = csv_table(content, tuple(columns or ()), findings)
    else:
        table = frame_table(content, findings)
    settings = _with_attrs(settings, table)
    cells = without_empty_rows(name_columns(table, columns, ticker, findings), findings)
    if stamp is None and table.attrs.get("stamp") is None:
        _note_ends(cells, findings)
    rows, unread, zone = _rows_of(cells, settings, findings)
    rows = _sound_rows(rows, unread, cells, settings, findings)
    # Only here, so that a file's faults are all told at once; what follows needs sound rows.
    findings.raise_faults()
    bars, flags = _bars_of(rows, settings, findings)
    findings.warn_notes()
    # Bars know what they are, so that reading them once more changes nothing.
    bars.attrs = {"instrument": settings.instrument or cells.ticker, "timezone": zone}
    bars.attrs |= {"stamp": settings.stamp, "flags": flags}
    origin = table.attrs.get("source") if isinstance(source, pd.DataFrame) else findings.source
    stated = {"prices": str(table.attrs.get("prices") or "") or None, "source": origin}
    bars.attrs |= {name: value for name, value in stated.items() if value is not None}
    return bars


@dataclass(frozen=True)
class ReadingSettings:
    """What the caller of `read_bars` states; None is what the data or a frame's attrs say."""

    instrument: str | None = None
    timezone: str | None = None
    stamp: str | None = None
    columns: Mapping[str, str] | None = None
    ticker: str | None = None
    date_format: str | None = None
    decimal: str | None = None
    adjust: bool = False
    on_missing: str = "error"
    repeats: str | None = None
    accept: Sequence[str] = ()
    minimum_bars: int | None = MINIMUM_BARS

    def __post_init__(self) -> None:
        """Refuse the first setting that cannot be meant."""
        for name in TEXTS:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise _meaningless(name, "text and not empty", value)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                listed = ", ".join(repr(choice) for choice in choices if choice is not None)
                raise _meaningless(name, f"one of {listed}", getattr(self, name))
        columns, fewest, zone = self.columns, self.minimum_bars, self.timezone
        if columns is not None and not (
            isinstance(columns, Mapping)
            and all(isinstance(word, str) for pair in columns.items() for word in pair)
        ):
            raise _meaningless("columns", "a dict such as {'Price': 'close'}", columns)
        for name in self.accept:
            if name not in TESTS:
                listed = ", ".join(map(repr, TESTS))
                raise _meaningless("accept", f"one of {listed}", name, did_you_mean(name, TESTS))
        if fewest is not None and not (isinstance(fewest, int | np.integer) and fewest >= 0):
            raise _meaningless("minimum_bars", "a whole number from 0, or None", fewest)
        if zone is not None and zone not in available_timezones():
            # A zone is misspelt more often than it is meant otherwise.
            hint = did_you_mean(zone, available_timezones())
            raise _meaningless("timezone", "a name such as 'America/New_York' or 'UTC'", zone, hint)


def _meaningless(name: str, words: str, value: object, hint: str = "") -> ReadingError:
    return ReadingError(Setting(name), f" must be {words}, got {value!r}.{hint}")


def _with_attrs(settings: ReadingSettings, table: Table) -> ReadingSettings:
    """Return the settings with what a frame's own attrs say where the caller says nothing."""
    own = {
        name: table.attrs[name]
        for name in ("instrument", "timezone", "stamp")
        if table.attrs.get(name) is not None
    }
    try:
        # Checked apart from the caller's settings: the message must say whose they are.
        ReadingSettings(**own)
    except ReadingError as error:
        raise BarsError("the frame's attrs: ", *error.args) from None
    # The timestamps of such a frame are in its zone already: another would move them again.
    if settings.timezone is not None and own.get("timezone") not in (None, settings.timezone):
        raise BarsError(
            Setting("timezone"),
            f" must be {own['timezone']!r} as the frame's attrs say, got {settings.timezone!r}. "
            "Leave it out.",
        )
    unstated = {name: own[name] for name in own if getattr(settings, name) is None}
    # What was accepted of these bars once is accepted of them again.
    flags = table.attrs.get("flags")
    known = flags if isinstance(flags, list) else []
    accepted = [
        flag["name"]
        for flag in known
        if isinstance(flag, dict) and flag.get("accepted") and flag.get("name") in (*TESTS, REPEATS)
    ]
    if REPEATS in accepted and settings.repeats is None:
        unstated["repeats"] = "keep"
    unstated["accept"] = (*settings.accept, *(name for name in accepted if name != REPEATS))
    settings = replace(settings, **unstated)
    return settings if settings.stamp else replace(settings, stamp="open")


def _note_ends(named: NamedCells, findings: Findings) -> None:
    """Say that the dates are the ends of bars by their name, and so not what is taken for them."""
    if "date" in named.cells and says_close(named.cells["date"].name):
        findings.note(
            f"the times are those of column {named.cells['date'].name!r}, the ends of bars, and "
            "are taken for their beginnings: pass ",
            Setting("stamp", "close"),
            ".",
        )


def _rows_of(
    named: NamedCells, settings: ReadingSettings, findings: Findings
) -> tuple[pd.DataFrame, Mask, str | None]:
    """Return what the cells say, which rows are not all read, and the time zone.

    Rows have the columns timestamp, place, open, high, low, close, volume and maybe adj close, NaN
    or NaT where a cell is missing or not read; a fault says why it is not.
    """
    places = pd.Series(named.places)
    timestamps: Times = np.full(len(places), NOT_A_TIME)
    zone = None
    if "date" in named.cells:
        dates, times = named.cells["date"], named.cells.get("time")
        read = read_timestamps(
            dates, times, places, settings.date_format, findings, named.other_dates
        )
        # The name of the column counts where its times state no distance from UTC.
        if says_utc(dates.name) and read.zone is None and np.isnat(read.offset).all():
            read = in_utc(read.wall)
        timestamps, zone = without_zone(read, settings.timezone, places, findings)
    columns = {name: named.cells[name] for name in (*COLUMNS, "adj close") if name in named.cells}
    numbers, unread = read_numbers(columns, places, settings.decimal, findings)
    nothing = dict.fromkeys(COLUMNS, np.nan)
    rows = pd.DataFrame({"timestamp": timestamps, "place": places} | nothing | numbers)
    return rows, unread, zone


def _sound_rows(
    rows: pd.DataFrame,
    unread: Mask,
    named: NamedCells,
    settings: ReadingSettings,
    findings: Findings,
) -> pd.DataFrame:
    """Repair the rows and put them in time order; all that is wrong with them is a fault then."""
    # A column that is not there is one fault of the file, not a missing price of every row.
    prices = [name for name in PRICES if name in named.cells]
    rows = drop_rows_without_prices(rows, settings.on_missing, prices, unread, findings)
    rows = fill_volume(rows, "volume" in named.cells, findings)
    rows = adjusted(rows, settings.adjust, findings)
    # Missing prices are said already, by the rows that miss them.
    find_broken_bars(rows, findings, rules_of(rows))
    judge_volume(
        rows, str(named.cells["volume"].name) if "volume" in named.cells else None, findings
    )
    # Copies first: twice the same row is no disorder, and no repeat of a price.
    rows = drop_copies(rows, findings)
    judge_misread(rows, findings)
    rows = in_time_order(rows, named.newest_first, findings)
    # The last row in time, so only now: a bar that still runs has a close that nobody knew.
    rows = drop_unfinished(rows, findings)
    judge_repeated(rows, findings)
    judge_spacing(rows, findings)
    if named.headerless:
        _judge_column_order(rows, findings)
    fewest = settings.minimum_bars
    # Lines that could not be cut into cells are faults already, and count as bars here.
    if fewest is not None and len(rows) + findings.n_lost < fewest:
        helping = [name for name, needed in FEWEST_BARS.items() if needed <= len(rows)]
        findings.fault(*_too_few(len(rows), fewest, MINIMUM_REASON, helping))
    return rows


def _judge_column_order(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse columns without names whose opens and closes have changed places.

    It shows in sound bars only, and is not looked for beside other faults.
    """
    if not findings.faults and opens_and_closes_swapped(rows):
        findings.fault(
            "no header row, and the second column looks like the close, the fifth like the open. "
            "Add a header line."
        )


def _bars_of(
    rows: pd.DataFrame, settings: ReadingSettings, findings: Findings
) -> tuple[pd.DataFrame, list[FlagRecord]]:
    """Return sound rows in the form of bars, and what they say against themselves.

    Each has a note for all that looks wrong in it; what nobody could have traded is refused.
    """
    accept_rounding(rows, findings)
    # One block of numbers, row by row, so that equal bars have equal bytes and digests.
    values = rows[list(COLUMNS)].to_numpy(dtype=np.float64)
    index = pd.DatetimeIndex(rows["timestamp"], name="date")
    bars = pd.DataFrame(values, index=index, columns=list(COLUMNS))
    suspect(bars, findings)
    if settings.repeats == "drop":
        bars = drop_repeats(bars, findings)
    flags = judge_artefacts(bars, findings, accept=settings.accept, repeats=settings.repeats)
    findings.raise_faults()
    return bars, flags


def check_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars themselves if they are in our form and satisfy every invariant.

    `read_bars` makes such bars of anything. High and low may miss open and close by rounding.

    Parameters
    ----------
    bars
        A DataFrame with a DatetimeIndex without time zone, increasing and unique, and the float64
        columns open, high, low, close and volume; others may stand beside them.

    Raises
    ------
    BarsError
        Another form, or a bar that breaks a rule of `model.bars.faults`.

    Examples
    --------
    >>> check_bars(sample_bars()).shape
    (5031, 5)
    """
    findings = Findings("bars")
    _require_form(bars, findings)
    # The places of bars are their numbers, counted from 0 as iloc does.
    index = pd.DatetimeIndex(bars.index)
    columns = {name: bars[name].to_numpy() for name in COLUMNS}
    rows = pd.DataFrame({"timestamp": index, "place": np.arange(len(bars)), **columns})
    find_broken_bars(rows, findings)
    # Equal ones as well: of two bars of one time nobody knows which was traded.
    late = np.r_[False, np.diff(index.asi8) <= 0][: len(rows)]
    if late.any():
        findings.fault(
            f"timestamps must increase and be unique; {int(late.sum())} do not "
            f"(first {findings.locate(rows[late].iloc[0])}). Use read_bars(frame)."
        )
    findings.raise_faults()
    return bars


def require_usual_spacing(bars: pd.DataFrame) -> None:
    """Refuse, with a BarsError, bars of no usual spacing: to be called before training."""
    irregular = no_usual_spacing(pd.DatetimeIndex(bars.index))
    if irregular:
        raise BarsError(IRREGULAR.format(irregular))


def _require_form(bars: pd.DataFrame, findings: Findings) -> None:
    if not isinstance(bars, pd.DataFrame) or not isinstance(bars.index, pd.DatetimeIndex):
        findings.refuse(
            f"must be a DataFrame with a DatetimeIndex, got {type(bars).__name__}. "
            "Use read_bars(frame)."
        )
    if bars.index.tz is not None or bars.index.hasnans:
        findings.refuse("the index must have no time zone and no NaT. Use read_bars(frame).")
    missing = [name for name in COLUMNS if name not in bars.columns]
    if missing:
        found = ", ".join(map(str, bars.columns))
        findings.refuse(
            f"no {', '.join(map(repr, missing))} column (found: {found}). Use read_bars(frame)."
        )
    for name in COLUMNS:
        # Float32 would round prices to seven digits, and the features of training with them.
        if bars[name].dtype != np.float64:
            findings.refuse(
                f"column {name!r} must be float64, got {bars[name].dtype}. Use read_bars(frame)."
            )


def require_bars(bars: pd.DataFrame, needed: int, why: str, helping: Sequence[str] = ()) -> None:
    """Raise BarsError unless there are as many bars as needed.

    `why` names the parts that need them, `helping` the settings that lower the number.
    """
    if len(bars) < needed:
        name = bars.attrs.get("source") or bars.attrs.get("instrument") or "the data"
        raise BarsError(f"{name}: ", *_too_few(len(bars), needed, why, helping))


def _too_few(number: int, needed: int, why: str, helping: Sequence[str]) -> tuple[Part, ...]:
    said = f"{count(number, 'bar')}; at least {needed} are needed ({why}). "
    if not helping:
        return said, "Give more bars."
    return said, "Lower ", *joined([Setting(name) for name in helping]), " to need fewer."


def digest_bars(bars: pd.DataFrame) -> str:
    """Return the sha256, in hex, over the timestamps and the five columns, and over nothing else.

    Timestamps are int64 nanoseconds, whatever the unit of the index; the columns are float64, row
    by row. Columns of other series that are joined to the bars (spy:ret_z_5) count with their
    names.
    """
    timestamps = pd.DatetimeIndex(bars.index).as_unit("ns").asi8
    joined = [str(name) for name in bars.columns if ":" in str(name)]
    values = bars[[*COLUMNS, *joined]].to_numpy(dtype=np.float64)
    digest = hashlib.sha256(np.ascontiguousarray(timestamps).tobytes())
    # Their names, too: the same numbers as another column are other bars.
    digest.update(",".join(joined).encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
