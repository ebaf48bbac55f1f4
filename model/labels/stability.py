"""Whether a label of one's own is known at the end that it gives: tried, and diagnosed."""

from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from model.bars.intervals import day
from model.bars.read import digest_bars
from model.errors import LabelError
from model.fresh_process import Window
from model.labels.own import KnownLabel, Labelled, shown_bars

TRIES = 50  # ends at which the bars are cut
ALONE = 8  # of them, drawn from all instruments, those that a fresh process is shown
FEWEST_ALONE = 2  # of each instrument
SEED = 0
KEEPS = (
    "it keeps something from call to call. Make every label from the bars that it is given, and "
    "from nothing else"
)
KNOWS_MORE = (
    "it knows more than it says. Give as end the bar at whose close it is known, and NaN as the "
    "label where that has not come; take thresholds from the bars before, not from all"
)

# The digests of the bars on which a label was found to know its end.
_found_stable: WeakKeyDictionary[KnownLabel, set[str]] = WeakKeyDictionary()


def require_known_at_end(
    known: KnownLabel, universe: Mapping[str, pd.DataFrame], tries: int = TRIES
) -> None:
    """Require of a label the same values where the bars are cut at its end.

    Tried once on the same bars in a process, at ends drawn from all; at a few of them in a fresh
    process, too. universe: the bars of each instrument. Raises LabelError with the bar, both values
    and what to change.
    """
    tried_on = _found_stable.setdefault(known, set())
    digests = {digest_bars(bars): bars for bars in universe.values()}
    trials = [
        _Trial(known, bars, tries) for digest, bars in digests.items() if digest not in tried_on
    ]
    for trial in trials:
        trial.require()
    _require_afresh(known, trials, max(FEWEST_ALONE, ALONE // len(digests)))
    tried_on.update(digests)


class _Trial:
    """A label tried on the bars of one instrument."""

    def __init__(self, known: KnownLabel, bars: pd.DataFrame, tries: int) -> None:
        self.known, self.bars = known, bars
        self.full = known.transform(bars)
        ends = np.unique(self.full[1][self.full[1] < len(bars) - 1])
        self.cuts: list[int] = np.random.default_rng(SEED).permutation(ends)[:tries].tolist()

    def require(self) -> None:
        last = len(self.bars) - 1
        # First of all the same bars again: what draws random numbers is told so.
        again = "when it is asked a second time: make it from the bars alone"
        self.require_settled(last, self.known.transform(self.bars), again)
        for cut in self.cuts:
            found = self.known.transform(self.bars.iloc[: cut + 1])
            until = f"of the bars up to {day(self.bars.index[cut])}"
            self.require_settled(cut, found, f"{until}: {KNOWS_MORE}")

    def require_settled(self, cut: int, found: Labelled, change: str) -> None:
        """Require that labels known at a cut are the same without the bars after it.

        change: what is other than with all bars, and what to do, in words.
        """
        whole, end = (part[: cut + 1] for part in self.full)
        values, ended = found
        settled = (end <= cut) | (ended <= cut)
        differ = settled & ~((values == whole) & (ended == end))
        if differ.any():
            row = int(differ.argmax())
            raise LabelError(
                f"the label {self.known.record.name!r} must be the same without the bars after its "
                f"end: at {day(self.bars.index[row])} (bar {row + 1}) it is "
                f"{self._worded(whole[row], end[row], len(self.bars))} of all bars, but "
                f"{self._worded(values[row], ended[row], cut + 1)} {change}."
            )

    def _worded(self, label: float, end: int, n_bars: int) -> str:
        return f"{label:g} with end {'none' if end >= n_bars else day(self.bars.index[end])}"


def _require_afresh(known: KnownLabel, trials: list[_Trial], cuts_of_each: int) -> None:
    """Require the same of a fresh process that is shown ever longer histories, as live."""
    asked = sorted(
        (trial.bars.index[cut], number, cut)
        for number, trial in enumerate(trials)
        for cut in trial.cuts[:cuts_of_each]
    )
    if not asked:
        return
    tables = [shown_bars(trial.bars) for trial in trials]
    windows = [Window(number, 0, cut + 1) for _, number, cut in asked]
    answering = replace(known, label=known.beginning.replies(tables, windows))
    for stamp, number, cut in asked:
        trial = trials[number]
        found = answering.transform(trial.bars.iloc[: cut + 1])
        change = f"in a fresh process that has seen none after {day(stamp)}: {KEEPS}"
        trial.require_settled(cut, found, change)
