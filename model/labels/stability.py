"""Whether a label of one's own is known at the end that it gives: tried, and diagnosed."""

from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from model.bars.intervals import day
from model.bars.read import digest_bars
from model.errors import LabelError
from model.labels.own import KnownLabel, Labelled, shown_bars

TRIES = 50  # ends at which the bars are cut
ALONE = 8  # of them, drawn from all instruments, those that a fresh process is shown
FEWEST_ALONE = 2  # of each instrument
SEED = 0

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
    cuts: list[tuple[pd.DataFrame, Labelled, int]] = []
    for bars in (bars for digest, bars in digests.items() if digest not in tried_on):
        full = known.transform(bars)
        last = len(bars) - 1
        ends = np.unique(full[1][full[1] < last])
        drawn = np.random.default_rng(SEED).permutation(ends)[:tries].tolist()
        # First of all the same bars again: what draws random numbers is told so.
        for cut in (last, *drawn):
            _require_settled(known, bars, cut, full, known.transform(bars.iloc[: cut + 1]))
        alone = max(FEWEST_ALONE, ALONE // len(digests))
        cuts += [(bars, full, cut) for cut in drawn[:alone]]
    if cuts:
        cuts.sort(key=lambda one: one[0].index[one[2]])
        # Of what it keeps from call to call only a process that never saw the later bars tells.
        replies = known.beginning.replies(
            [shown_bars(bars.iloc[: cut + 1]) for bars, _, cut in cuts]
        )
        answering = replace(known, label=replies)
        for bars, full, cut in cuts:
            found = answering.transform(bars.iloc[: cut + 1])
            _require_settled(known, bars, cut, full, found, afresh=True)
    tried_on.update(digests)


def _require_settled(
    known: KnownLabel,
    bars: pd.DataFrame,
    cut: int,
    full: Labelled,
    found: Labelled,
    afresh: bool = False,
) -> None:
    """Require that labels known at a cut are the same without the bars after it."""
    whole, end = (part[: cut + 1] for part in full)
    values, ended = found
    settled = (end <= cut) | (ended <= cut)
    differ = settled & ~((values == whole) & (ended == end))
    if differ.any():
        row = int(differ.argmax())
        of_all, of_some = (whole[row], end[row]), (values[row], ended[row])
        raise _unstable(known, bars, row, cut, of_all, of_some, afresh)


def _unstable(
    known: KnownLabel,
    bars: pd.DataFrame,
    row: int,
    cut: int,
    of_all: tuple[float, int],
    of_some: tuple[float, int],
    afresh: bool,
) -> LabelError:
    """Return the refusal of a label that is another without the bars after its end."""

    def told(label: float, end: int, count: int) -> str:
        until = "none" if end >= count else day(bars.index[end])
        return f"{label:g} with end {until}"

    if afresh:
        when = (
            f"in a fresh process that has seen none after {day(bars.index[cut])}: it keeps "
            "something from call to call. Make every label from the bars that it is given, and "
            "from nothing else"
        )
    elif cut == len(bars) - 1:
        when = "when it is asked a second time: make it from the bars alone"
    else:
        when = (
            f"of the bars up to {day(bars.index[cut])}: it knows more than it says. Give as end "
            "the bar at whose close it is known, and NaN as the label where that has not come; "
            "take thresholds from the bars before, not from all"
        )
    return LabelError(
        f"the label {known.record.name!r} must be the same without the bars after its end: at "
        f"{day(bars.index[row])} (bar {row + 1}) it is {told(*of_all, len(bars))} of all bars, but "
        f"{told(*of_some, cut + 1)} {when}."
    )
