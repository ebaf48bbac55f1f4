"""Repairs: what is done to rows of bars without inventing a price, each said in a note.

What cannot be repaired so is a fault. Rows are a DataFrame with the columns timestamp, place (the
number of the line or row), open, high, low, close, volume and maybe adj close. The functions stand
in the order in which `read_bars` calls them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from model.bars.faults import COLUMNS, PRICES, Findings, Mask, Spans, count
from model.bars.intervals import (
    DAY,
    bar_interval,
    calendar_spacings,
    day,
    no_usual_spacing,
    spacing_change,
    spoken,
)
from model.errors import Setting

LONGEST_GAP = pd.Timedelta(days=3 * 365)
NOTED_GAP = pd.Timedelta(days=15)
LEAST_KNOWN = 0.9  # share of the rows that must be read for the spacing to say anything
FULL_STEP = 0.95  # of the usual spacing: summer time shortens the step of a day by an hour in 24
ADJUST = Setting("adjust", True)
LEAST_OF_A_DAY = 0.1  # of all bars on Saturdays, and on Sundays, where trading never rests
LEAST_ON_GRID = 0.95
MOST_MISSING = 0.05
IRREGULAR = (
    "the bars come at no usual distance of time: {}. Bars that end with a volume, a number of "
    "trades or a move of the price (dollar, tick, Renko bars) are not trained on: nothing could "
    "tell whether later bars are of the same kind. Make bars of equal time, of an hour for "
    "instance, of the same data."
)
GRID = pd.Timedelta(hours=1)  # bars may shift by whole hours, as clocks do


def drop_rows_without_prices(
    rows: pd.DataFrame, on_missing: str, judged: Sequence[str], unread: Mask, findings: Findings
) -> pd.DataFrame:
    """Drop rows that hold no price at all; those that miss some as `on_missing` says.

    judged: the prices that the source has a column for. unread: rows with a cell that is no number,
    which is a fault already and not a missing price.
    """
    missing = np.asarray(rows[list(judged)].isna(), dtype=bool) & ~unread[:, None]
    none = np.asarray(missing.all(axis=1)) & bool(judged)
    some = np.asarray(missing.any(axis=1)) & ~none
    if judged and none.all():
        findings.refuse("no data rows with prices (0 bars). Did the download fail?")
    # A row without anything, as at the end of a spreadsheet, is not worth a word.
    stated = none & (rows["timestamp"].notna() | rows["volume"].notna()).to_numpy()
    if stated.any():
        what = _counted(rows, stated, "row", "without any price", findings)
        findings.note(f"dropped {what}: holidays?")
    if not some.any():
        return rows.loc[~none]
    first, drop = rows.loc[some].iloc[0], Setting("on_missing", "drop")
    names = ", ".join(name for name in judged if np.isnan(first[name]))
    what = (
        f"{count(int(some.sum()), 'row')} with a missing price "
        f"(first {findings.locate(first)}: {names})"
    )
    if on_missing == "drop":
        findings.note(f"dropped {what}, as ", drop, " says.")
        return rows.loc[~(none | some)]
    findings.fault(f"{what}. Remove the rows or pass ", drop, "; prices are not filled in.")
    return rows.loc[~none]


def _counted(rows: pd.DataFrame, mask: Mask, noun: str, what: str, findings: Findings) -> str:
    """Return "36 rows without any price (first 2015-01-19, line 13)"."""
    first = findings.locate(rows[mask].iloc[0])
    return f"{count(int(mask.sum()), noun)} {what} (first {first})"


def fill_volume(rows: pd.DataFrame, stated: bool, findings: Findings) -> pd.DataFrame:
    """Take a missing volume for 0, and say so.

    stated: whether the source has a column of volumes. Currencies and indices often have none, or
    zeros alone.
    """
    volume = rows["volume"].to_numpy()
    # Interactive Brokers writes -1 where it knows no volume, as of currencies.
    if stated and (volume == -1).any() and (volume[~np.isnan(volume)] == -1).all():
        findings.note(
            f"volume is -1 on all {count(len(rows), 'bar')}, which is how some brokers write that "
            "there is none; it is taken as 0, and the volume features carry no information."
        )
        return rows.assign(volume=0.0)
    unknown = np.isnan(volume)
    if not stated:
        findings.note(
            "no volume column; volume is taken as 0, and the volume features carry no information."
        )
    elif len(rows) and not (volume[~unknown] != 0).any():
        findings.note(
            f"volume is 0 on all {count(len(rows), 'bar')} (usual for currencies and indices); "
            "the volume features carry no information."
        )
    elif unknown.any():
        what = _counted(rows, unknown, "bar", "without a volume", findings)
        findings.note(f"{what}; taken as 0 there.")
    return rows.assign(volume=np.where(unknown, 0.0, volume))


def adjusted(rows: pd.DataFrame, adjust: bool, findings: Findings) -> pd.DataFrame:
    """Scale all four prices by Adj Close / Close if the user says so.

    Else keep the prices as they were traded, and say that they differ.
    """
    if "adj close" not in rows:
        if adjust:
            findings.fault(
                ADJUST,
                " needs a column 'Adj Close' beside Close. Leave it out, or export with adjusted "
                "closes.",
            )
        return rows
    with np.errstate(all="ignore"):
        factor = rows["adj close"].to_numpy() / rows["close"].to_numpy()
    # A close that is missing is a fault of its own.
    wrong = ~((factor > 0) & np.isfinite(factor)) & rows["close"].notna().to_numpy()
    if adjust and wrong.any():
        what = _counted(rows, wrong, "row", "without an Adj Close above 0", findings)
        findings.fault(ADJUST, f", but {what}. Repair them.")
    elif adjust:
        return rows.assign(**{name: rows[name] * factor for name in PRICES})
    differs = np.abs(factor - 1) > 1e-6
    if differs.any():
        most = np.abs(factor[differs] - 1).max()
        what = _counted(rows, differs, "row", f"by up to {most:.1%}", findings)
        findings.note(
            f"Adj Close differs from Close: {what}. "
            "Using the unadjusted open, high, low and close; pass ",
            ADJUST,
            " to scale all four by Adj Close / Close.",
        )
    return rows


def drop_copies(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    again = (rows.duplicated(["timestamp", *COLUMNS]) & rows["timestamp"].notna()).to_numpy()
    if not again.any():
        return rows
    what = _counted(rows, again, "row", "that repeat another row in full", findings)
    findings.note(f"dropped {what}.")
    return rows[~again]


def in_time_order(rows: pd.DataFrame, newest_first: bool, findings: Findings) -> pd.DataFrame:
    """Put the rows in time order, and say so unless the source is known to be `newest_first`."""
    timestamps = rows["timestamp"].to_numpy()
    steps = np.diff(timestamps[~np.isnat(timestamps)]).astype(np.int64)
    if (steps >= 0).all():
        return rows
    # Reversed, not sorted: rows of one timestamp change places too.
    if (steps <= 0).all():
        if not newest_first:
            findings.note(
                f"newest row first; the {len(rows)} rows were put in order, oldest first."
            )
        return rows[::-1]
    late = timestamps < np.fmax.accumulate(timestamps)
    what = _counted(rows, late, "row", f"of {len(rows)} out of time order", findings)
    findings.note(f"{what}; sorted by date.")
    return rows.sort_values("timestamp", kind="stable")


def drop_unfinished(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Drop a last row that lies off the grid of all others.

    It is a session that was still running when the file was written, with a price that is no close.
    """
    timestamps = rows["timestamp"]
    if len(rows) < 4 or timestamps.isna().any():
        return rows
    steps = np.diff(timestamps.to_numpy()).astype("timedelta64[ns]")
    usual = bar_interval(pd.DatetimeIndex(timestamps)).to_timedelta64()
    no_time = np.timedelta64(0)
    whole = calendar_spacings(steps.astype(np.int64))
    full = whole >= FULL_STEP * calendar_spacings(np.array([usual], dtype=np.int64))
    early = bool(steps[-1] > no_time and not full[-1] and full[:-1].all())
    # After a gap the last step may be long: then it is the clock that leaves the grid.
    off_grid = False
    if usual > no_time:
        odd = steps % min(usual, GRID.to_timedelta64()) != no_time
        off_grid = bool(odd[-1] and not odd[:-1].any())
    midnight = (timestamps.dt.normalize() == timestamps).to_numpy()
    if not (early or off_grid or (midnight[:-1].all() and not midnight[-1])):
        return rows
    what = "off the grid of the others"
    same_day = timestamps.iloc[-1].normalize() == timestamps.iloc[-2].normalize()
    if usual >= DAY and early and same_day:
        what = f"a second bar for {day(timestamps.iloc[-1].normalize())}"
    findings.note(
        f"the last row, {day(timestamps.iloc[-1])} ({findings.unit} {rows['place'].iloc[-1]}), "
        f"is {what} (an unfinished session?); dropped."
    )
    return rows[:-1]


def judge_repeated(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse two bars for one timestamp that differ, with the likeliest cause."""
    timestamps = rows["timestamp"]
    repeated = rows[timestamps.duplicated(keep=False) & timestamps.notna()]
    if repeated.empty:
        return
    first = repeated[repeated["timestamp"] == repeated["timestamp"].iloc[0]]
    lines = ", ".join(str(place) for place in first["place"].iloc[:4])
    times = "twice" if len(first) == 2 else f"{len(first)} times"
    what = (
        f"{count(repeated['timestamp'].nunique(), 'duplicate date')}: "
        f"{day(first['timestamp'].iloc[0])} occurs {times} with different values "
        f"({findings.unit}s {lines})."
    )
    if len(repeated) > len(rows) / 2:
        findings.fault(
            f"{what} Several tickers in one file, or times of day lost? "
            "Export one ticker with its full times."
        )
    elif (repeated["timestamp"].dt.normalize() == repeated["timestamp"]).all():
        findings.fault(f"{what} Keep one row for each date.")
    else:
        findings.fault(
            f"{what} Local time with daylight saving? Export in UTC, or pass the time zone, as ",
            Setting("timezone", "America/New_York"),
            ".",
        )


def judge_spacing(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse two frequencies in one file, days with two bars, and gaps of years."""
    known = rows.dropna(subset="timestamp")
    index = pd.DatetimeIndex(known["timestamp"].drop_duplicates())
    # Where many rows are not read, what is between the others says nothing.
    if len(index) < 3 or len(known) < LEAST_KNOWN * (len(rows) + findings.n_lost):
        return
    # Weeks and months may be named after their last day.
    late = (known["timestamp"] > pd.Timestamp.now() + max(DAY, bar_interval(index))).to_numpy()
    if late.any():
        what = "all dates lie in the future"
        if not late.all():
            what = f"{count(int(late.sum()), 'bar')} dated after today"
        findings.fault(
            f"{what} (first {findings.locate(known[late].iloc[0])}): another century, another "
            "order of day and month, another unit of epochs, or rows filled ahead? Repair or "
            "remove them."
        )
    change, irregular = spacing_change(index), no_usual_spacing(index)
    if irregular:
        findings.fault(IRREGULAR.format(irregular))
    elif change:
        findings.fault(
            f"the bars' spacing changes from {spoken(change.before)} to {spoken(change.after)} "
            f"at {day(index[change.position])}. Use one frequency."
        )
    elif bar_interval(index) >= 0.9 * DAY:
        # Two bars of one timestamp are refused elsewhere.
        timestamps = known["timestamp"].drop_duplicates()
        again = timestamps.dt.normalize().duplicated()
        if again.any():
            place = findings.locate(known.loc[again.idxmax()])
            findings.fault(
                f"{count(int(again.sum()), 'day')} with two bars among daily bars (first {place}). "
                "Use one bar a day."
            )
    _judge_gaps(known, index, findings)


def _judge_gaps(rows: pd.DataFrame, index: pd.DatetimeIndex, findings: Findings) -> None:
    """Refuse a gap of years, which is a mistyped date; note gaps that no holiday explains."""
    gaps, interval = np.diff(index.to_numpy()), bar_interval(index)
    worst = int(gaps.argmax())
    longest = spoken(pd.Timedelta(gaps[worst]))
    ends = [rows[rows["timestamp"] == index[position]].iloc[0] for position in (worst, worst + 1)]
    between = " and ".join(findings.locate(row) for row in ends)
    if gaps[worst] > max(LONGEST_GAP, 5 * interval).to_timedelta64():
        findings.fault(
            f"a gap of {longest} between {between}: a mistyped date, in the future or the past? "
            "Repair it."
        )
        return
    noted = max(NOTED_GAP, 2.5 * interval)
    long = gaps > noted.to_timedelta64()
    if long.any():
        findings.note(
            f"{count(int(long.sum()), 'gap')} longer than {spoken(noted)}; "
            f"the longest is {longest}, between {between}."
        )
    _note_missing(index, gaps[gaps <= noted.to_timedelta64()], findings)


def _note_missing(index: pd.DatetimeIndex, steps: Spans, findings: Findings) -> None:
    """Say how many bars are missing of a market that trades on all days of the week.

    steps: between bars, without the gaps that are said already. Markets that rest on weekends rest
    at night too, and irregular bars have no grid on which one could be missing.
    """
    interval = bar_interval(index)
    weekend = [(index.day_of_week == number).mean() for number in (5, 6)]
    if interval > DAY or min(weekend) < LEAST_OF_A_DAY:
        return
    if (steps % interval.to_timedelta64() == np.timedelta64(0)).mean() < LEAST_ON_GRID:
        return
    missing = int(np.round(steps / interval.to_timedelta64() - 1).clip(0).sum())
    share = missing / (missing + len(index))
    if share > MOST_MISSING:
        findings.note(
            f"{share:.0%} of the bars are missing ({missing:,} of {missing + len(index):,} of "
            f"{spoken(interval)}) of a market that trades on all days of the week: lost in the "
            "download, or hours without a trade? The rows beside a hole are taken for neighbours."
        )


def accept_rounding(rows: pd.DataFrame, findings: Findings) -> None:
    """Say where high or low misses another price by no more than rounding; prices stay.

    Other rows are broken bars, and refused before.
    """
    prices = rows[list(PRICES)].to_numpy(dtype=np.float64)
    high, low = prices[:, 1], prices[:, 2]
    miss = np.maximum(prices.max(axis=1) - high, low - prices.min(axis=1)) / np.abs(low)
    if (miss > 0).any():
        words = "whose high or low misses open or close by rounding"
        findings.note(
            f"{_counted(rows, miss > 0, 'bar', words, findings)}, "
            f"at most {miss.max():.1e} of the price; accepted as it stands."
        )
