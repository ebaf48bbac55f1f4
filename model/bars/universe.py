"""A universe: bars of several instruments by name, and what keeps them from being one.

Everything that is wrong with them is told at once and by name, so that a folder of a hundred files
is mended in one go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import count
from model.bars.intervals import DAY, bar_interval, spoken
from model.bars.read import check_bars, digest_bars, require_usual_spacing
from model.errors import BarsError, Setting, Text

Universe = Mapping[str, pd.DataFrame]
Bars = pd.DataFrame | Universe  # of one instrument, or by name of several

NAMELESS = "bars"  # what an instrument is called whose bars do not say their name


def universe_of(bars: Bars) -> dict[str, pd.DataFrame]:
    """Return bars by the instrument's name, in the order of the names: of one, or of several."""
    if isinstance(bars, pd.DataFrame):
        return {bars.attrs.get("instrument") or NAMELESS: bars}
    nameless = [name for name in bars if not (isinstance(name, str) and name)]
    if nameless:
        raise BarsError(
            f"the bars of a universe must stand under names of text, got {nameless[0]!r}. "
            "Give a dict such as {'gold': bars}."
        )
    return dict(sorted(bars.items()))


def require_universe(universe: Universe, fewest: int) -> None:
    """Refuse, in one BarsError, instruments that cannot be learnt together; `fewest`: how many."""
    faults: list[Text] = []
    for name, bars in universe.items():
        try:
            require_usual_spacing(check_bars(bars))
        except BarsError as error:
            faults.append((f"{name}: ", *error.args))
    # Only sound bars can be compared.
    faults += too_few_instruments(universe, fewest) if faults else faults_together(universe, fewest)
    refuse(faults, len(universe))


def refuse(faults: Sequence[Text], number: int) -> None:
    """Raise all faults of a universe of so many instruments as one BarsError, if there are any."""
    if faults:
        listed = (part for fault in faults for part in ("\n- ", *fault))
        raise BarsError(f"the universe of {count(number, 'instrument')} cannot be used:", *listed)


def faults_together(universe: Universe, fewest: int = 1) -> list[Text]:
    """Say what keeps sound bars from being learnt as one: a text for each fault, with all names."""
    return [
        *too_few_instruments(universe, fewest),
        *equal_bars(universe),
        *other_intervals(universe),
        *other_clocks(universe),
        *no_common_dates(universe),
    ]


def too_few_instruments(universe: Universe, fewest: int) -> list[Text]:
    """Say that there are fewer instruments than `fewest`."""
    if len(universe) >= fewest:
        return []
    found = f"got {len(universe)}: {', '.join(universe) or 'none'}. "
    needed = f"there must be at least {count(fewest, 'instrument')}"
    return [(f"{needed}, {found}Give more, or lower ", Setting("fewest_instruments"), ".")]


def equal_bars(universe: Universe) -> list[Text]:
    """Say which are copies of each other: they would count for instruments of their own.

    In whatever volumes: those of another source differ, and the instrument is the same.
    """
    # Copies make every figure look surer than it is.
    alike = _groups(universe, lambda bars: digest_bars(bars.assign(volume=0)))
    return [
        (
            f"{', '.join(same)} hold the same prices, which would count {len(same)} times. "
            "Leave one.",
        )
        for same in alike.values()
        if len(same) > 1
    ]


def other_intervals(universe: Universe) -> list[Text]:
    """Say which differ from the usual interval: figures per bar mean nothing over both."""
    intervals = _groups(universe, lambda bars: spoken(bar_interval(pd.DatetimeIndex(bars.index))))
    if len(intervals) < 2:
        return []
    usual, others = _usual_and_others(intervals)
    return [
        (
            f"all files must have bars of the same interval, most have {usual}, but not {others}. "
            "Run each interval by itself.",
        )
    ]


def other_clocks(universe: Universe) -> list[Text]:
    """Say which differ in what their timestamps mean: the same one would be another moment.

    Bars of a day or longer are known by their dates, in whatever zone.
    """
    faults: list[Text] = []
    within_a_day = {
        name: bars
        for name, bars in universe.items()
        if bar_interval(pd.DatetimeIndex(bars.index)) < DAY
    }
    for setting, absent, compared in (
        ("timezone", "not stated", within_a_day),
        ("stamp", "open", universe),  # what `read_bars` assumes where a file says nothing
    ):
        stated: dict[Hashable, list[str]] = {}
        for name, bars in compared.items():
            stated.setdefault(bars.attrs.get(setting) or absent, []).append(name)
        if len(stated) > 1:
            usual, others = _usual_and_others(stated)
            faults.append(
                (
                    "all must have the same ",
                    Setting(setting),
                    f", most have {usual}, but not {others}. Read all with the same.",
                )
            )
    return faults


def no_common_dates(universe: Universe) -> list[Text]:
    """Say which share no timestamp with any other: nothing is decided beside them.

    Nor may groups of days go side by side: each day would be counted once for every kind of stamp.
    """
    calendars = _calendars(universe)
    if len(calendars) < 2:
        return []
    faults: list[Text] = []
    alone = [names[0] for names, _ in calendars if len(names) == 1]
    if alone:
        faults.append(
            (
                f"{', '.join(alone)} must have dates in common with others, and "
                f"{'have' if len(alone) > 1 else 'has'} none. "
                "Leave out what was traded at other times, or give all with one kind of timestamp.",
            )
        )
    # Within the day two exchanges may well trade at different times.
    long_bars = [
        (names, stamps)
        for names, stamps in calendars
        if len(names) > 1 and bar_interval(pd.DatetimeIndex(universe[names[0]].index)) >= DAY
    ]
    for (early, first), (late, second) in pairwise(sorted(long_bars, key=lambda one: one[1][0])):
        # Those that ended before the others began had no date to share.
        if second[0] <= first[-1]:
            stamps = " and ".join(f"{pd.Timestamp(one[-1])}" for one in (first, second))
            faults.append(
                (
                    f"{', '.join(early)} must have dates in common with {', '.join(late)}, and "
                    f"have none, though of the same time: they end {stamps}. "
                    "Give all with one kind of timestamp, or run each by themselves.",
                )
            )
    return faults


def _calendars(universe: Universe) -> list[tuple[list[str], NDArray[np.int64]]]:
    """Return the instruments that dates in common hold together, each with all of its dates."""
    calendars: list[tuple[list[str], NDArray[np.int64]]] = []
    for name, bars in universe.items():
        own = [name], pd.DatetimeIndex(bars.index).as_unit("ns").asi8
        apart = []
        for one in calendars:
            if np.isin(own[1], one[1]).any():
                own = one[0] + own[0], np.union1d(one[1], own[1])
            else:
                apart.append(one)
        calendars = [*apart, own]
    return calendars


def _groups(
    universe: Universe, kind: Callable[[pd.DataFrame], Hashable]
) -> dict[Hashable, list[str]]:
    """Return the names of the instruments by what they have in common."""
    groups: dict[Hashable, list[str]] = {}
    for name, bars in universe.items():
        groups.setdefault(kind(bars), []).append(name)
    return groups


def _usual_and_others(groups: Mapping[Hashable, Sequence[str]]) -> tuple[Hashable, str]:
    """Return what most have, and the names of all others, each with what it has."""
    [(usual, _)] = Counter({kind: len(names) for kind, names in groups.items()}).most_common(1)
    others = ", ".join(
        f"{name} ({kind})" for kind, names in groups.items() if kind != usual for name in names
    )
    return usual, others
