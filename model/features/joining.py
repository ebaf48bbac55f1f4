"""Bars with the columns of other series beside them: asked for, read, joined, or refused."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import pandas as pd
from msgspec import ValidationError, convert, to_builtins

from model.bars.faults import COLUMNS
from model.bars.intervals import day, spoken
from model.bars.read import check_bars, read_bars
from model.bars.universe import Bars, Universe, universe_of
from model.errors import FeatureError
from model.features.context import Joined, SeriesBars, join, places_among, require_columns
from model.features.series import (
    DAY,
    OWN,
    UNIVERSE,
    Clock,
    ContextRecord,
    clock_words,
    period,
    require_comparable,
)
from model.features.table import FEATURE_NAMES
from model.features.trailing import LOOKBACK, Array
from model.files import bare_name

ATTRIBUTE = "context"  # of bars, under which their attrs keep the record
MAX_AGE = 7.0
COLUMNS_PART = r"(:(?P<columns>[\w,]+))?"
SLOWER = re.compile(rf"{OWN}:(?P<every>\w+){COLUMNS_PART}")
PLACE = r"(rank|mean)\(\w+\)"
PLACES = re.compile(rf"{UNIVERSE}:(?P<columns>{PLACE}(,{PLACE})*)")
OTHER = re.compile(rf"(?P<place>[^@:]+)(@(?P<clock>([\d:]+ )?[A-Za-z][\w/+-]*))?{COLUMNS_PART}")


class Wanted(NamedTuple):
    """A series as a user asks for it.

    place: its file, or its name where its bars are given. clock: what is said of its dates. every:
    of the instrument's own slower bars, "" of others.
    """

    name: str
    place: str
    clock: str
    every: str
    columns: tuple[str, ...]

    @property
    def brings_bars(self) -> bool:
        """Whether it has bars of its own, and is not made of those of the instruments."""
        return not self.every and self.name != UNIVERSE


def wanted_series(texts: Sequence[str]) -> list[Wanted]:
    """Return the series that texts ask for; FeatureError for a text that says none.

    texts: as spy.csv, spy.csv:ret_z_5,vol_ratio_5_20, nikkei.csv@Asia/Tokyo, self:1W or
    universe:rank(ret_z_5).
    """
    wanted = []
    for text in texts:
        # In this order: the last form would take self and universe for names of files.
        found = SLOWER.fullmatch(text) or PLACES.fullmatch(text) or OTHER.fullmatch(text)
        if found is None or (found.re is OTHER and found["place"] in (OWN, UNIVERSE)):
            raise FeatureError(
                "`context` must name series as spy.csv, spy.csv:ret_z_5,vol_ratio_5_20, "
                "'spy.csv@16:00 America/New_York', nikkei.csv@Asia/Tokyo:ret_z_5, self:1W or "
                f"universe:rank(ret_z_5), got {text!r}. Write it so."
            )
        parts = found.groupdict()
        columns = tuple(filter(None, (parts["columns"] or "").split(","))) or FEATURE_NAMES
        require_columns(columns, text)
        own = UNIVERSE if found.re is PLACES else OWN
        place, every = parts.get("place") or own, parts.get("every") or ""
        if every:
            period(every)
        clock_words(parts.get("clock") or "")
        name = bare_name(Path(place)) if found.re is OTHER else own
        wanted.append(Wanted(name, place, parts.get("clock") or "", every, columns))
    _require_different(wanted)
    return wanted


def _require_different(wanted: Sequence[Wanted]) -> None:
    # Columns are called by their series: of two with one name nobody could tell which is which.
    first: dict[tuple[str, str], Wanted] = {}
    for one in wanted:
        before = first.setdefault((one.name, one.every), one)
        if before is one:
            continue
        title = f"{one.place}:{one.every}" if one.every else one.place
        raise FeatureError(
            f"`context` must name each series once, got {title} twice. Name it once, with all of "
            f"its columns, as {title}:ret_z_5,ret_z_2."
            if before.place == one.place
            else f"`context` must name series of different names, got {before.place} and "
            f"{one.place}, whose columns would be called alike. Rename one of the files."
        )


@overload
def add_context(
    bars: pd.DataFrame,
    context: str | Sequence[str] | ContextRecord,
    *,
    series: Mapping[str, pd.DataFrame] | None = None,
    closes: str = "",
    max_context_age: float = MAX_AGE,
    lookback: int = LOOKBACK,
) -> pd.DataFrame: ...
@overload
def add_context(
    bars: Universe,
    context: str | Sequence[str] | ContextRecord,
    *,
    series: Mapping[str, pd.DataFrame] | None = None,
    closes: str = "",
    max_context_age: float = MAX_AGE,
    lookback: int = LOOKBACK,
) -> Universe: ...
def add_context(
    bars: Bars,
    context: str | Sequence[str] | ContextRecord,
    *,
    series: Mapping[str, pd.DataFrame] | None = None,
    closes: str = "",
    max_context_age: float = MAX_AGE,
    lookback: int = LOOKBACK,
) -> Bars:
    """Return bars with the columns of other series, which a network then sees beside its own.

    At each bar they are those of the newest bar of the series that was complete by the decision,
    whatever zone, session or interval it has.

    Parameters
    ----------
    bars
        As `read_bars` gives them, of one instrument or of several by name.
    context
        The series: files or names in `series`, each perhaps with columns of our 86
        (spy.csv:ret_z_5,vol_ratio_5_20) and with the zone of its dates, or when they end
        (nikkei.csv@Asia/Tokyo, 'spy.csv@16:00 America/New_York'); or slower bars of the instrument
        itself (self:1W, self:4h); or, of several instruments, its place among all and their mean
        (universe:rank(ret_z_5),mean(ret_z_5)). Or `Checkpoint.context`, for the columns of that
        checkpoint.
    series
        Bars by name, of the series that are not to be read.
    closes
        When the instrument's own dates end, a zone or a time and a zone. Needed where a series has
        bars within the day, or dates of a stated zone.
    max_context_age
        Days by which the newest bar of a series may be older than one of its intervals.
    lookback
        Bars behind a row of the features that are used with it: `TrainConfig.lookback`. Bars before
        the first that has all columns, and so many before that, are left out.

    Returns
    -------
    DataFrame, or dict of them by name
        (n, 5 and one for each column), named as spy:ret_z_5. With a checkpoint's context no bar is
        left out, and a column is NaN where nothing is known or is too old: then there is no
        forecast.

    Raises
    ------
    FeatureError
        For what names no series or column, series of other dates, clocks that cannot be compared,
        and where a series is too old at a bar.
    BarsError
        For a file that cannot be read.

    Examples
    --------
    >>> joined = add_context(bars, ["spy.csv:ret_z_5", "self:1W:bar_close_z"])
    >>> joined.columns[5:].tolist(), len(bars) - len(joined)
    (['spy:ret_z_5', 'self:1W:bar_close_z'], 6)
    >>> checkpoint = fit(joined, TrainConfig(architecture="transformer", max_epochs=1))
    >>> newer = add_context(bars, checkpoint.context, series={"spy": read_bars("spy.csv")})
    >>> probabilities = checkpoint.probabilities(newer)
    """
    universe, given = universe_of(bars), dict(series or {})
    if isinstance(context, ContextRecord):
        record = context
    else:
        wanted = wanted_series([context] if isinstance(context, str) else context)
        for one in wanted:
            if one.brings_bars and one.name not in given:
                given[one.name] = read_bars(one.place, instrument=one.name)
        record = record_for(universe, wanted, given, closes=closes, max_age=max_context_age)
    found = {}
    for name, joined in join_all(universe, record, given).items():
        found[name] = table = with_columns(universe[name], joined, record)
        # Served, every bar keeps its row: what a series lacks there is said by NaN.
        if record is not context:
            found[name] = whole(table, joined, record, lookback)
    return next(iter(found.values())) if isinstance(bars, pd.DataFrame) else found


def record_for(
    universe: Universe,
    wanted: Sequence[Wanted],
    series: Mapping[str, pd.DataFrame],
    *,
    closes: str,
    max_age: float,
) -> ContextRecord:
    """Return what a checkpoint keeps of the series that are wanted; FeatureError where it cannot.

    series: the bars of those that are not made of the instrument's own.
    """
    # As a file would hold them: all else is checked where it is made of that.
    # The place of a bar in time is that of its clock: joined by two it would be known twice.
    clocks = {_clock(own, closes) for own in universe.values()}
    if len(clocks) > 1:
        raise FeatureError(
            "the instruments of a universe must have one clock to be joined with other series, got "
            f"{len(clocks)}: {', '.join(sorted(map(str, clocks)))}. Read all alike."
        )
    [clock] = clocks
    records = []
    for one in wanted:
        other = _clock(series[one.name], one.clock) if one.brings_bars else clock
        if one.every and period(one.every) < 2 * clock.interval * 1_000_000_000:
            raise FeatureError(
                f"`context` must name slower bars than the instrument's own, got self:{one.every} "
                f"of bars of {spoken(pd.Timedelta(clock.interval, 's'))}. Take longer ones."
            )
        if one.brings_bars:
            require_comparable(clock, other, one.place)
        records.append(
            {
                "name": one.name,
                "every": one.every,
                "columns": one.columns,
                "clock": to_builtins(other),
            }
        )
    try:
        return convert(
            {"clock": to_builtins(clock), "max_age": max_age, "series": records}, ContextRecord
        )
    except ValidationError as error:
        raise FeatureError(f"`context` cannot be kept in a checkpoint: {error}.") from error


def _clock(bars: pd.DataFrame, words: str) -> Clock:
    check_bars(bars)
    return Clock.of(bars, words)


def join_all(
    universe: Universe, record: ContextRecord, series: Mapping[str, pd.DataFrame]
) -> dict[str, Joined]:
    """Return the columns of all series at each bar of each instrument, by name.

    Raises FeatureError where a series is not there, or the places of one instrument are asked for.
    """
    if record.ranks and len(universe) < 2:
        raise FeatureError(
            "`context` asks for places in a universe, which must have several instruments, got "
            f"{', '.join(universe)}. Give the files, or the folder, of all."
        )
    among: dict[str, Array] = {}
    for one in record.series:
        if one.name == UNIVERSE:
            bars = {name: _bars_of(own) for name, own in universe.items()}
            among = places_among(bars, one.columns)
    return {name: join_bars(own, record, series, among.get(name)) for name, own in universe.items()}


def join_bars(
    bars: pd.DataFrame,
    record: ContextRecord,
    series: Mapping[str, pd.DataFrame],
    among: Array | None = None,
) -> Joined:
    """Return the columns of all series at each bar; FeatureError where a series is not there.

    among: its places in the universe, where the record asks for them. The zone and the end of dates
    are those of the record: whoever serves it need not say them again.
    """
    if missing := [name for name in record.others if name not in series]:
        raise FeatureError(
            f"`context` must give the bars of {', '.join(record.others)}, got none of "
            f"{', '.join(missing)}. Give their files, or bars by that name."
        )
    others = {name: _bars_of(series[name]) for name in record.others}
    for name, clock, own in (
        ("the bars", record.clock, bars),
        *((one.name, one.clock, series[one.name]) for one in record.series if one.name in others),
    ):
        found = _clock(own, "")
        for part in ("interval", "stamp", "dates"):
            theirs, ours = getattr(clock, part), getattr(found, part)
            # Of a few bars the commonest spacing says little.
            if theirs != ours and not (part == "interval" and len(own) < LOOKBACK):
                raise FeatureError(
                    f"{name} must have the {part} of training, {theirs}, to be joined, got {ours}. "
                    "Give bars such as those of training."
                )
        # Dates have no hour that another zone would move.
        if own is not bars and clock.zone and not clock.dates and clock.zone != found.zone:
            raise FeatureError(
                f"{name} must have times in {clock.zone} as in training to be joined, got "
                f"{found.zone or 'those of no stated zone'}. Read them with their `timezone`, "
                "which makes them so."
            )
    return join(_bars_of(bars), others, record, among)


def _bars_of(bars: pd.DataFrame) -> SeriesBars:
    stamps = pd.DatetimeIndex(bars.index).as_unit("ns").asi8
    return SeriesBars(bars[list(COLUMNS)].to_numpy(np.float64), stamps)


def with_columns(bars: pd.DataFrame, joined: Joined, record: ContextRecord) -> pd.DataFrame:
    """Return bars with the joined columns, and the record in their attrs."""
    columns = pd.DataFrame(joined.rows, bars.index, pd.Index(record.names), copy=False)
    table = pd.concat((bars[list(COLUMNS)], columns), axis=1)
    table.attrs = {**bars.attrs, ATTRIBUTE: record}
    return table


def whole(
    table: pd.DataFrame, joined: Joined, record: ContextRecord, lookback: int
) -> pd.DataFrame:
    """Return the bars from where all series are known, with those that a first row looks back on.

    Raises FeatureError where that is nowhere, and where a series is too old behind it.
    """
    known = np.isfinite(joined.rows).all(axis=1)
    ages = dict(zip(record.series, joined.ages.T, strict=True))
    if not known.any():
        reasons = {
            one.title: "no bar of it is known before they end"
            if (age < 0).all()
            else "it ends long before they begin"
            if (age > record.oldest(one)).all()
            else "of it too few are known before they end"
            for one, age in ages.items()
        }
        told = ", ".join(f"{title}: {reason}" for title, reason in reasons.items())
        raise FeatureError(
            f"`context` must give series of the dates of the bars, {day(table.index[0])} to "
            f"{day(table.index[-1])}, and with as many bars as their features look back, got none "
            f"of all series together ({told}). Give files of those dates."
        )
    # Holes behind it are the user's to mend: a row that is left out would join two bars.
    first = int(known.argmax())
    for one, age in ages.items():
        late = age[first:] > record.oldest(one)
        if late.any():
            place = first + int(late.argmax())
            # Rounded up: with so many days it is never too old.
            enough = np.ceil((age[first:].max() - one.interval) / DAY)
            raise FeatureError(
                f"{one.title} is too old at {day(table.index[place])}, and at "
                f"{int(late.sum())} bars in all: its newest bar was complete "
                f"{spoken(pd.Timedelta(int(age[place]), 'ns'))} before, more than "
                f"`max_context_age`={record.max_age:g} days beyond its interval. Give a file that "
                f"has those bars, or raise it to {enough:g}."
            )
    return table.iloc[max(0, first - lookback + 1) :]


def context_of(bars: Bars) -> ContextRecord | None:
    """Return what is joined to bars; FeatureError where that and their columns differ."""
    records = []
    for name, own in universe_of(bars).items():
        record = own.attrs.get(ATTRIBUTE)
        names = set(record.names) if isinstance(record, ContextRecord) else set()
        # A column of ours or of the bars has no colon in its name.
        found = {str(column) for column in own.columns if ":" in str(column)}
        if names != found:
            raise FeatureError(
                f"the bars of {name} must have the columns of the series that were joined to them, "
                f"got {', '.join(sorted(names ^ found)[:3])} without the rest. Call add_context "
                "last, and keep the attrs of the bars."
            )
        records.append(record)
    # One network reads the rows of all: they must mean the same.
    if any(record != records[0] for record in records):
        raise FeatureError(
            "the instruments of a universe must be joined with the same series, got others. "
            "Call add_context with all of them."
        )
    return records[0]
