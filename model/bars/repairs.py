"""Repairs: what is done to rows of bars without inventing a price, each said in a note.

What cannot be done is a fault.

Rows are a DataFrame with the columns stamp, place (line or row number), open, high, low, close,
volume, maybe adj close.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import COLUMNS, PRICES, Findings, Mask, count, day, rounding_miss
from model.bars.intervals import DAY, bar_interval, spacing_change, spoken
from model.errors import Setting

LONGEST_GAP = pd.Timedelta(days=3 * 365)
NOTED_GAP = pd.Timedelta(days=15)
LEAST_KNOWN = 0.9  # share of the rows
ADJUST = Setting("adjust", True)
GRID = pd.Timedelta(hours=1)  # bars may shift by whole hours, as clocks do


def drop_rows_without_prices(
    rows: pd.DataFrame, on_missing: str, judged: Sequence[str], unread: Mask, findings: Findings
) -> pd.DataFrame:
    """Drop rows that hold no price at all.

    Rows that miss some are a fault, or are dropped if the user says so.

    judged: the prices that the source has. unread: rows that hold what is no number; they are a
    fault already.
    """
    missing = np.asarray(rows[list(judged)].isna(), dtype=bool) & ~unread[:, None]
    none = np.asarray(missing.all(axis=1)) & bool(judged)
    some = np.asarray(missing.any(axis=1)) & ~none
    nothing = none & rows["stamp"].isna().to_numpy() & rows["volume"].isna().to_numpy()
    if judged and none.all():
        findings.refuse("no data rows with prices (0 bars). Did the download fail?")
    if (none & ~nothing).any():
        findings.note(
            f"dropped {_counted(rows, none & ~nothing, 'row', 'without any price', findings)}: "
            "holidays?"
        )
    dropping = on_missing == "drop"
    if some.any():
        _say_missing(rows.loc[some], judged, dropping, findings)
    return rows.loc[~(none | some if dropping else none)]


def _say_missing(
    some: pd.DataFrame, judged: Sequence[str], dropping: bool, findings: Findings
) -> None:
    """Say which rows miss some of their prices: they are dropped as the user says, or a fault."""
    first, drop = some.iloc[0], Setting("on_missing", "drop")
    names = ", ".join(name for name in judged if np.isnan(first[name]))
    where = (
        f"{count(len(some), 'row')} with a missing price (first {findings.place(first)}: {names})"
    )
    if dropping:
        findings.note(f"dropped {where}, as ", drop, " says.")
    else:
        findings.fault(f"{where}. Remove the rows or pass ", drop, "; prices are not filled in.")


def _counted(rows: pd.DataFrame, mask: Mask, noun: str, what: str, findings: Findings) -> str:
    """Return "36 rows without any price (first 2015-01-19, line 13)"."""
    first = findings.place(rows[mask].iloc[0])
    return f"{count(int(mask.sum()), noun)} {what} (first {first})"


def fill_volume(rows: pd.DataFrame, stated: bool, findings: Findings) -> pd.DataFrame:
    """Take a missing volume for 0; a market without any volume is usual, and said once."""
    volume = rows["volume"].to_numpy()
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
        findings.note(
            f"{_counted(rows, unknown, 'bar', 'without a volume', findings)}; taken as 0 there."
        )
    return rows.assign(volume=np.where(unknown, 0.0, volume))


def adjusted(rows: pd.DataFrame, adjust: bool, findings: Findings) -> pd.DataFrame:
    """Scale all four prices by Adj Close / Close if the user says so.

    Else keep the raw ones and say that they differ.
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
    wrong = ~((factor > 0) & np.isfinite(factor)) & rows["close"].notna().to_numpy()
    if adjust and wrong.any():
        findings.fault(
            ADJUST,
            f", but {_counted(rows, wrong, 'row', 'without an Adj Close above 0', findings)}. "
            "Repair them.",
        )
    if adjust and not wrong.any():
        return rows.assign(**{name: rows[name] * factor for name in PRICES})
    differs = np.abs(factor - 1) > 1e-6
    if differs.any():
        most = np.abs(factor[differs] - 1).max()
        findings.note(
            "Adj Close differs from Close: "
            f"{_counted(rows, differs, 'row', f'by up to {most:.1%}', findings)}. "
            "Using the unadjusted open, high, low and close; pass ",
            ADJUST,
            " to scale all four by Adj Close / Close.",
        )
    return rows


def in_time_order(rows: pd.DataFrame, newest_first: bool, findings: Findings) -> pd.DataFrame:
    """Put the rows in time order, and say so: newest-first ones reversed, others sorted."""
    stamps = rows["stamp"].to_numpy()
    steps = np.diff(stamps[~np.isnat(stamps)]).astype(np.int64)
    if (steps >= 0).all():
        return rows
    if (steps <= 0).all():
        if not newest_first:
            findings.note(
                f"newest row first; the {len(rows)} rows were put in order, oldest first."
            )
        return rows[::-1]
    # fmax passes over NaT, which maximum would carry on to all rows behind it.
    late = stamps < np.fmax.accumulate(stamps)
    findings.note(
        f"{_counted(rows, late, 'row', f'of {len(rows)} out of time order', findings)}; sorted by "
        "date."
    )
    # Stable, so that two bars of one timestamp keep the file's order in the fault that names them.
    return rows.sort_values("stamp", kind="stable")


def drop_copies(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Drop rows that repeat an earlier one in everything."""
    again = (rows.duplicated(["stamp", *COLUMNS]) & rows["stamp"].notna()).to_numpy()
    if not again.any():
        return rows
    findings.note(
        f"dropped {_counted(rows, again, 'row', 'that repeat another row in full', findings)}."
    )
    return rows[~again]


def judge_repeated(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse two bars for one timestamp that differ, with the likeliest cause."""
    stamps = rows["stamp"]
    repeated = (stamps.duplicated(keep=False) & stamps.notna()).to_numpy()
    if not repeated.any():
        return
    twice = rows[repeated]
    first = twice[twice["stamp"] == twice["stamp"].iloc[0]]
    lines = ", ".join(str(place) for place in first["place"].iloc[:4])
    times = {2: "twice"}.get(len(first), f"{len(first)} times")
    what = (
        f"{count(twice['stamp'].nunique(), 'duplicate date')}: {day(first['stamp'].iloc[0])} "
        f"occurs {times} with different values ({findings.unit}s {lines})."
    )
    # The cause is guessed from how much is repeated: most of it is several tickers, dates without
    # a time are daily bars, and what is left is the hour that autumn's change of clocks repeats.
    if len(twice) > len(rows) / 2:
        findings.fault(
            f"{what} Several tickers in one file, or times of day lost? "
            "Export one ticker with its full times."
        )
    elif (twice["stamp"].dt.normalize() == twice["stamp"]).all():
        findings.fault(f"{what} Keep one row for each date.")
    else:
        findings.fault(
            f"{what} Local time with daylight saving? Export in UTC, or pass the time zone, as ",
            Setting("timezone", "America/New_York"),
            ".",
        )


def drop_unfinished(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Drop a last row that lies off the grid of all others.

    It is a session that was still running when the file was written.
    """
    stamps = rows["stamp"]
    if len(rows) < 4 or stamps.isna().any():
        return rows
    steps = np.diff(stamps.to_numpy()).astype("timedelta64[ns]")
    last, usual = steps[-1], bar_interval(pd.DatetimeIndex(stamps)).to_timedelta64()
    midnight = (stamps.dt.normalize() == stamps).to_numpy()
    early = bool(
        last > np.timedelta64(0) and last < 0.95 * usual and (steps[:-1] >= 0.95 * usual).all()
    )
    if early or _is_off_grid(steps, usual) or (midnight[:-1].all() and not midnight[-1]):
        again = (
            f" a second bar for {day(stamps.iloc[-1].normalize())}"
            if usual >= DAY and early
            else " off the grid of the others"
        )
        findings.note(
            f"the last row, {day(stamps.iloc[-1])} ({findings.unit} {rows['place'].iloc[-1]}), "
            f"is{again} "
            "(an unfinished session?); dropped."
        )
        return rows[:-1]
    return rows


def _is_off_grid(steps: NDArray[np.timedelta64], usual: np.timedelta64) -> bool:
    """Return whether only the last step leaves the grid of bars.

    The clock of an unfinished bar after a gap does.
    """
    if usual <= np.timedelta64(0):
        return False
    odd = steps % min(usual, GRID.to_timedelta64()) != np.timedelta64(0)
    return bool(odd[-1] and not odd[:-1].any())


def judge_spacing(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse two frequencies or days with two bars, and gaps of years.

    Note gaps that no holiday explains.

    Where many rows are not read, what is between the others says nothing.
    """
    known = rows["stamp"].dropna()
    index = pd.DatetimeIndex(known.drop_duplicates())
    if len(index) < 3 or len(known) < LEAST_KNOWN * (len(rows) + findings.n_lost):
        return
    if index[0] > pd.Timestamp.now() + DAY:
        first = findings.place(rows.dropna(subset="stamp").iloc[0])
        findings.fault(
            f"all dates lie in the future (first {first}): another century, or another unit of "
            "epochs? Repair them."
        )
    change = spacing_change(index)
    if change:
        findings.fault(
            f"the bars' spacing changes from {spoken(change.before)} to {spoken(change.after)} "
            f"at {day(index[change.position])}. Use one frequency."
        )
    elif bar_interval(index) >= 0.9 * DAY:
        _judge_days(rows.dropna(subset="stamp"), findings)
    _judge_gaps(rows.dropna(subset="stamp"), index, findings)


def _judge_days(rows: pd.DataFrame, findings: Findings) -> None:
    """Refuse two different stamps on one day among daily bars.

    Equal stamps are refused elsewhere.
    """
    stamps = rows["stamp"].drop_duplicates()
    again = stamps.dt.normalize().duplicated()
    if again.any():
        place = findings.place(rows.loc[again.idxmax()])
        findings.fault(
            f"{count(int(again.sum()), 'day')} with two bars among daily bars (first {place}). Use "
            "one bar a day."
        )


def _judge_gaps(rows: pd.DataFrame, index: pd.DatetimeIndex, findings: Findings) -> None:
    gaps, interval = np.diff(index.to_numpy()), bar_interval(index)
    worst = int(gaps.argmax())
    ends = [rows[rows["stamp"] == index[position]].iloc[0] for position in (worst, worst + 1)]
    between = " and ".join(findings.place(row) for row in ends)
    # In intervals too, since bars of a month or a year are far apart without any gap.
    if gaps[worst] > max(LONGEST_GAP, 5 * interval).to_timedelta64():
        findings.fault(
            f"a gap of {spoken(pd.Timedelta(gaps[worst]))} between {between}: a mistyped date, in "
            "the future or "
            "the past? Repair it."
        )
        return
    long = gaps > max(NOTED_GAP, 2.5 * interval).to_timedelta64()
    if long.any():
        findings.note(
            f"{count(int(long.sum()), 'gap')} longer than "
            f"{spoken(max(NOTED_GAP, 2.5 * interval))}; "
            f"the longest is {spoken(pd.Timedelta(gaps[worst]))}, between {between}."
        )


def accept_rounding(rows: pd.DataFrame, findings: Findings) -> None:
    """Say where high or low misses open or close by no more than rounding.

    The prices stay as they are.
    """
    miss = rounding_miss(rows[list(COLUMNS)].to_numpy(dtype=np.float64))
    if (miss > 0).any():
        what = "whose high or low misses open or close by rounding"
        findings.note(
            f"{_counted(rows, miss > 0, 'bar', what, findings)}, "
            f"at most {miss.max():.1e} of the price; accepted as it stands."
        )
