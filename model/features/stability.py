"""Whether a feature of one's own is a function of its trailing bars: tried, and diagnosed.

Live it is shown its last `lookback` bars, in a backtest chunks, in training all of them. If a value
depends on which, the forecasts of a backtest are not those that are traded.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import count
from model.bars.intervals import day
from model.bars.read import digest_bars
from model.errors import FeatureError
from model.features.own import LONGEST_LOOKBACK, KnownFeature, shown_bars
from model.features.table import arrays_of
from model.features.trailing import Array, Times
from model.fresh_process import Window

TRIES = 200  # random starts, ends and chunk sizes
TOLERANCE = 1e-6  # of a column's standard deviation: rolling sums carry rounding, means a memory
FEWEST_TRIES = 10  # on each instrument of a universe
ALONE = 16  # rows, drawn from all instruments, that a fresh process is asked for
FEWEST_ALONE = 2  # of each instrument
SHOWN_AT_ONCE = 2_000_000  # bars that one fresh process is shown, in all windows together
FEW = 8  # rows that are asked for one by one before one that is compared
LOOKED_AT = 12  # rows that a diagnosis looks at
NORMAL = 1.4826  # deviation over median distance from the median, of a normal distribution
ROUNDING = 1_000.0  # times the tolerance: what differs by more is no rounding
FAR = 0.2  # of the bars that are left: a row that waits for so many waits for the whole series
SEED = 0
KEEPS = (
    "it keeps something from call to call. Make every value from the bars it is given, and from "
    "nothing else."
)

# The digests of the bars that a feature was tried on.
_found_stable: WeakKeyDictionary[KnownFeature, set[str]] = WeakKeyDictionary()


class Difference(NamedTuple):
    """A value that differs: at which bar and in which column, of all bars and of some."""

    row: int
    column: int
    of_all: float
    of_some: float


def require_stable(
    known: Sequence[KnownFeature], universe: Mapping[str, pd.DataFrame], tries: int = TRIES
) -> None:
    """Require of features the same values of bars whichever of them they are shown together.

    Each is tried once on the same bars in a process. universe: the bars of each instrument. tries:
    in all. Raises FeatureError with bar, column, both values and what to change.
    """
    digests = {digest_bars(bars): bars for bars in universe.values()} if known else {}
    of_each = max(FEWEST_TRIES, tries // max(1, len(digests)))
    rows = max(FEWEST_ALONE, ALONE // max(1, len(digests)))
    for one in known:
        tried_on = _found_stable.setdefault(one, set())
        trials = []
        for bars in (bars for digest, bars in digests.items() if digest not in tried_on):
            trial = _Trial(one, *arrays_of(bars))
            trial.require(of_each)
            trials.append((bars, trial.allowed, trial.drawn(rows)))
        _require_afresh(one, trials)
        tried_on.update(digests)


def _require_afresh(
    known: KnownFeature, trials: Sequence[tuple[pd.DataFrame, Array, Mapping[int, Array]]]
) -> None:
    """Require the same rows of a fresh process that is shown them as live, one after the other.

    trials: the bars of an instrument, by how much a column may differ, and rows by position.
    """
    asked = sorted(
        (bars.index[row], number, row)
        for number, (bars, _, rows) in enumerate(trials)
        for row in rows
    )
    found = fresh_rows(
        known, [bars for bars, *_ in trials], [(number, row) for _, number, row in asked]
    )
    for (stamp, number, row), values in zip(asked, found, strict=True):
        _, allowed, rows = trials[number]
        if (apart := _apart(values, rows[row], allowed)).any():
            column = int(apart.argmax())
            difference = Difference(row, column, rows[row][column], values[column])
            change = "in a fresh process that has seen none after it"
            raise _refusal(known, difference, stamp, change, KEEPS)


def fresh_rows(
    known: KnownFeature, universe: Sequence[pd.DataFrame], rows: Sequence[tuple[int, int]]
) -> Array:
    """Return what a fresh process makes of rows, each shown its own bars: (rows, columns).

    universe: bars. rows: of which of them, and the position there, in the order in which they are
    asked for. Another process begins where so many were shown that more would fill the memory.
    """
    found = np.empty((len(rows), len(known.record.columns)))
    before = known.record.lookback - 1
    tables = [shown_bars(*arrays_of(bars)) for bars in universe]
    at_once = max(1, SHOWN_AT_ONCE // known.record.lookback)
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        windows = [Window(number, row - before, row + 1) for number, row in part]
        replies = known.beginning.replies(tables, windows)
        answering = replace(known, feature=replies)  # type: ignore[arg-type]  # no lookback
        for position, window in enumerate(windows, start):
            bars = universe[window.table].iloc[window.start : window.stop]
            found[position] = answering.transform(*arrays_of(bars))[-1]
    return found


def tolerances(rows: Array) -> Array:
    """Return by how much a value of each column may differ: (n, columns) -> (columns,)."""
    return np.array([TOLERANCE * _spread(column[np.isfinite(column)]) for column in rows.T])


def _spread(values: Array) -> float:
    """Return how far values usually lie apart: their deviation, or less where few are far away.

    One outlier would make the deviation so large that nothing else would differ.
    """
    if not len(values):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(values.std())
        mean = abs(float(values.mean()))
    # A constant column has no deviation to measure by, only its own size.
    if deviation <= TOLERANCE * mean < np.inf:
        return mean
    off = np.abs(values - np.median(values))
    # Of those that differ at all: mostly a column of flags is 0.
    return float(np.fmin(deviation, NORMAL * np.median(off[off > 0])))


def _apart(found: Array, of_all: Array, allowed: Array) -> NDArray[np.bool_]:
    """Return where values differ by more than they may, or one of them is missing alone."""
    missing = np.isnan(found) | np.isnan(of_all)
    far = np.abs(found - of_all) > allowed
    apart: NDArray[np.bool_] = np.where(missing, np.isnan(found) != np.isnan(of_all), far)
    return apart


class _Trial:
    """A feature tried on the bars of one instrument."""

    def __init__(self, known: KnownFeature, values: Array, timestamps: Times) -> None:
        self.known, self.values, self.timestamps = known, values, timestamps
        self.lookback = known.record.lookback
        # Row by row a value sees its own trailing bars alone, whatever it does with them.
        self.exact = known.record.exact
        self.full = self.table(0, len(values))
        self.allowed = tolerances(self.full[self.lookback - 1 :])

    def table(self, first: int, stop: int) -> Array:
        """Return what the feature makes of some of the bars."""
        with warnings.catch_warnings():
            # What it warns of is told when it is asked in earnest, not at each of 200 tries.
            warnings.simplefilter("ignore")
            return self.known.transform(self.values[first:stop], self.timestamps[first:stop])

    def differs(self, found: Array, rows: slice) -> NDArray[np.bool_]:
        """Return where values differ from those of all bars, missing ones included."""
        return _apart(found, self.full[rows], self.allowed)

    def require(self, tries: int) -> None:
        if len(self.values) <= self.lookback:
            return  # training says how many bars it needs
        again = self.table(0, len(self.values))
        if self.differs(again, slice(None)).any():
            raise self._refusal(
                self._earliest(again, 0),
                "when it is asked a second time",
                f"it draws random numbers, or {KEEPS}",
            )
        if self.exact:
            return
        found = self.first_difference(self.lookback, tries)
        if found is not None:
            raise self._diagnosed(found)

    def drawn(self, n_rows: int) -> dict[int, Array]:
        """Return rows to be asked for in a fresh process, drawn from all, by position."""
        rows = np.arange(self.lookback - 1, len(self.values))
        if len(rows) > n_rows:
            rows = np.random.default_rng(SEED).choice(rows, n_rows, replace=False)
        return {row: self._served(row) for row in rows.tolist()}

    def _served(self, row: int) -> Array:
        """Return a row as training has it; of one called row by row after a few others."""
        rows = self.full[row : row + 1]
        if self.exact:
            until = self.values[: row + 1], self.timestamps[: row + 1]
            rows = self.known.rows(*until, min(FEW, row - self.lookback + 2))
        last: Array = rows[-1]
        return last

    def first_difference(self, lookback: int, tries: int) -> Difference | None:
        """Return the first value that differs at a random start, end and chunk size."""
        draw, n_rows = np.random.default_rng(SEED), len(self.values) - lookback + 1
        for _ in range(tries):
            # As many short chunks as long ones: live they are of one row.
            size = min(n_rows, int(np.exp(draw.uniform(0, np.log(n_rows + 1)))))
            first = int(draw.integers(0, n_rows - size + 1))
            stop, row = first + size + lookback - 1, first + lookback - 1
            found = self.table(first, stop)[lookback - 1 :]
            if self.differs(found, slice(row, stop)).any():
                return self._earliest(found, row)
        return None

    def _earliest(self, found: Array, first: int) -> Difference:
        differ = self.differs(found, slice(first, first + len(found)))
        row = int(differ.any(axis=1).argmax())
        column = int(differ[row].argmax())
        of_all = float(self.full[first + row, column])
        return Difference(first + row, column, of_all, float(found[row, column]))

    def _diagnosed(self, found: Difference) -> FeatureError:
        """Return the refusal that says what is wrong: it looks ahead, or further back."""
        ahead = self._looks_ahead(found)
        if ahead is not None:
            return ahead
        lookback = self._lookback_needed(found)
        changed = f"of the {count(self.lookback, 'bar')} that end there, its `lookback`"
        if (lookback is None or lookback > 4 * self.lookback) and self._is_rounding(found):
            remedy = (
                "it is rounding, as running sums carry it from bar to bar, and differences of "
                "large numbers magnify it. Take them of changes rather than of prices, or let the "
                "class have `exact = True`, which computes each row by itself."
            )
        elif lookback is None:
            remedy = (
                "it depends on where the bars begin, and no `lookback` mends that. Take a sum, a "
                "mean or an extreme over the last bars (rolling) and not over all before; bins of "
                "time that do not begin with the first bar (resample with origin='epoch'); no "
                "number of the row. Where it compares what is nearly equal, which rounding turns "
                "round, let the class have `exact = True`."
            )
        else:
            remedy = f"it looks further back than it says. Raise `lookback` to {lookback}."
        return self._refusal(found, changed, remedy)

    def _looks_ahead(self, found: Difference) -> FeatureError | None:
        """Return the refusal of a feature of which a value changes with the bars after it."""
        last = len(self.values) - 1
        drawn = np.linspace(self.lookback - 1, max(self.lookback - 1, last - 1), LOOKED_AT)
        rows = sorted({found.row, *drawn.astype(int).tolist()})
        ahead = {row: self._bars_ahead(row) for row in rows}
        ahead = {row: bars for row, bars in ahead.items() if bars}
        if not ahead:
            return None
        row = found.row if found.row in ahead else next(iter(ahead))
        without = self.table(0, row + 1)[row:]
        most = max(ahead.values())
        # Most rows wait for one and the same bar, or for much of what is left.
        waits = Counter(at + bars for at, bars in ahead.items()).most_common(1)[0][1]
        far = np.median([bars / (last - at) for at, bars in ahead.items()]) > FAR
        if (len(ahead) > 2 and (waits > len(ahead) / 2 or far)) or (far and most > self.lookback):
            remedy = (
                "it looks ahead over the whole series: a mean, a scale, a rank, a quantile, a fit "
                "or a filter over all bars knows the later ones. Take it over the last bars alone "
                "(rolling), and no bfill or interpolation."
            )
        elif len(ahead) > len(rows) / 2 and all(
            bars == min(most, last - at) for at, bars in ahead.items()
        ):
            remedy = (
                f"it looks {count(most, 'bar')} ahead. Turn the sign of the shift, or take a "
                "window that ends at its bar (center=False; np.gradient and mode='same' are "
                "centred)."
            )
        else:
            remedy = (
                f"it looks up to {count(most, 'bar')} ahead, not at every bar alike: a value of a "
                "longer period, one filled backwards, a turning point, or a filter that runs both "
                "ways stands before the time at which it is known. Shift it to the bar that "
                "completes it (a resampled bar: label='right' and shift(1); a merge: "
                "direction='backward' on that time; ffill, not bfill; of a filter the way forwards "
                "alone)."
            )
        return self._refusal(self._earliest(without, row), "without the bars after it", remedy)

    def _bars_ahead(self, row: int) -> int:
        """Return how many later bars a row needs to be what it is, beside all before."""
        last = len(self.values) - 1

        def enough(bars: int) -> bool:
            found = self.table(0, row + bars + 1)[row : row + 1]
            return not self.differs(found, slice(row, row + 1)).any()

        return _least(enough, 0, last - row) or 0

    def _is_rounding(self, found: Difference) -> bool:
        """Return whether the rows of their own bars alone differ by next to nothing."""
        drawn = np.linspace(self.lookback - 1, len(self.values) - 1, LOOKED_AT).astype(int)
        worst = 0.0
        for row in (found.row, *drawn.tolist()):
            alone = self.table(max(0, row - self.lookback + 1), row + 1)[-1:]
            if self.differs(alone, slice(row, row + 1))[0, found.column]:
                off = float(np.abs(alone - self.full[row])[0, found.column])
                worst = max(worst, np.inf if np.isnan(off) else off)
        return worst < ROUNDING * float(self.allowed[found.column])

    def _lookback_needed(self, found: Difference) -> int | None:
        """Return the least lookback that mends a feature, None where none does."""
        rows = np.unique(np.r_[found.row, np.linspace(self.lookback - 1, len(self.values) - 1, 8)])
        needed, most = self.lookback, min(LONGEST_LOOKBACK, len(self.values) // 2)
        for row in rows.astype(int).tolist():

            def enough(bars: int, row: int = row) -> bool:
                found = self.table(max(0, row - bars + 1), row + 1)[-1:]
                return not self.differs(found, slice(row, row + 1)).any()

            # With all bars before it a row is what it is, which says nothing of fewer.
            least = _least(enough, needed, min(most, row))
            needed = max(needed, least or 0)
        # What suits these rows may not suit all: half as much again, as long as there are bars.
        while needed <= most:
            if needed > self.lookback and self.first_difference(needed, TRIES) is None:
                return needed
            needed += max(1, needed // 2)
        return None

    def _refusal(self, found: Difference, change: str, remedy: str) -> FeatureError:
        stamp = pd.Timestamp(self.timestamps[found.row])
        return _refusal(self.known, found, stamp, change, remedy)


def _refusal(
    known: KnownFeature, found: Difference, stamp: pd.Timestamp, change: str, remedy: str
) -> FeatureError:
    return FeatureError(
        f"the feature {known.record.name!r} must give the same value whatever other bars it is "
        f"shown: column {known.record.columns[found.column]!r} at {day(stamp)} (bar "
        f"{found.row + 1}) is {found.of_all:.10g} of all bars, but {found.of_some:.10g} {change}: "
        f"{remedy}"
    )


def _least(holds: Callable[[int], bool], first: int, most: int) -> int | None:
    """Return the least number from `first` to `most` that holds, None where none does.

    Found by doubling the step and then halving it, as for what holds from some number on.
    """
    if first > most:
        return None
    below, step = first - 1, 1
    while not holds(above := min(first + step - 1, most)):
        if above == most:
            return None
        below, step = above, 2 * step
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above
