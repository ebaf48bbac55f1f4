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

TRIES = 200  # random starts, ends and chunk sizes
TOLERANCE = 1e-6  # of a column's standard deviation: rolling sums carry rounding, means a memory
FEWEST_TRIES = 10  # on each instrument of a universe
ALONE = 16  # rows, drawn from all instruments, that a fresh process is asked for
FEWEST_ALONE = 2  # of each instrument
FEW = 8  # rows that are asked for one by one before one that is compared
LOOKED_AT = 12  # rows that a diagnosis looks at
ROUNDING = 1_000.0  # times the tolerance: what differs by more is no rounding
FAR = 0.2  # of the bars that are left: a row that waits for so many waits for the whole series
SEED = 0
KEEPS = (
    "it keeps something from call to call. Make every value from the bars it is given, and from "
    "nothing else."
)

# The digests of the bars that a feature was tried on.
_found_stable: WeakKeyDictionary[KnownFeature, set[str]] = WeakKeyDictionary()


class _Alone(NamedTuple):
    """A row to be asked for in a fresh process: its own bars, and what it is among all of them."""

    row: int
    bars: pd.DataFrame
    of_all: Array
    allowed: Array


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
        alone: list[_Alone] = []
        for bars in (bars for digest, bars in digests.items() if digest not in tried_on):
            trial = _Trial(one, *arrays_of(bars))
            trial.require(of_each)
            alone += trial.drawn(rows)
        if alone:
            _require_afresh(one, alone)
        tried_on.update(digests)


def _require_afresh(known: KnownFeature, alone: list[_Alone]) -> None:
    """Require the same rows of a fresh process that is shown them as live, one after the other."""
    alone.sort(key=lambda one: one.bars.index[-1])
    replies = known.beginning.replies([one.bars for one in alone])
    answering = replace(known, feature=replies)  # type: ignore[arg-type]  # no lookback
    for one in alone:
        found = answering.transform(*arrays_of(one.bars))[-1:]
        if (apart := _apart(found, one.of_all, one.allowed)).any():
            column = int(apart.argmax())
            difference = Difference(one.row, column, one.of_all[0, column], found[0, column])
            raise _refusal(
                known,
                difference,
                one.bars.index[-1],
                "in a fresh process that has seen none after it",
                KEEPS,
            )


def tolerances(rows: Array) -> Array:
    """Return by how much a value of each column may differ: (n, columns) -> (columns,)."""
    known = np.where(np.isfinite(rows), rows, np.nan)
    counted = np.isfinite(known).sum(axis=0)
    means = np.nansum(known, axis=0) / np.maximum(counted, 1)
    deviation = np.sqrt(np.nansum((known - means) ** 2, axis=0) / np.maximum(counted, 1))
    # A constant column has no deviation to measure by, only its own size.
    usual = np.where(deviation > TOLERANCE * np.abs(means), deviation, np.abs(means))
    allowed: Array = TOLERANCE * usual
    return allowed


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

    def drawn(self, count: int) -> list[_Alone]:
        """Return rows to be asked for in a fresh process, drawn from all."""
        before, drawn = self.lookback - 1, np.arange(self.lookback - 1, len(self.values))
        if len(drawn) > count:
            drawn = np.random.default_rng(SEED).choice(drawn, count, replace=False)
        return [self._alone(row, slice(row - before, row + 1)) for row in drawn.tolist()]

    def _alone(self, row: int, own: slice) -> _Alone:
        bars, of_all = shown_bars(self.values[own], self.timestamps[own]), self.full[row : row + 1]
        if self.exact:  # training has called it for a few other rows before
            until = self.values[: row + 1], self.timestamps[: row + 1]
            of_all = self.known.rows(*until, min(FEW, row - self.lookback + 2))[-1:]
        return _Alone(row, bars, of_all, self.allowed)

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
                "number of the row."
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
