"""What came of each window, and when that is known: of one instrument, or among several."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.labels.moves import (
    FEWEST_COMPARED,
    label_prices,
    relative_labels,
    relative_targets,
)
from model.training.config import TrainConfig
from model.training.preprocessor import Integers

NEVER = np.iinfo(np.int64).max  # when a label is known that waits for a bar to come


class Outcomes(NamedTuple):
    """The outcomes of an instrument's windows, in time order: (n,) each.

    decided, known: the bars at whose close a window is complete and its label is known, in
    nanoseconds since 1970. labels: 1.0, 0.0, or NaN where there is none. targets: what training
    aims at, on the label's side of one half.
    """

    decided: Integers
    known: Integers
    labels: NDArray[np.float64]
    targets: NDArray[np.float64]


class Unlabelled(NamedTuple):
    """How many windows have no label although what came of them is known."""

    other_stamps: int = 0
    few_names: int = 0
    at_the_median: int = 0
    both_levels: int = 0


def outcomes_of(
    universe: Mapping[str, pd.DataFrame], config: TrainConfig
) -> tuple[dict[str, Outcomes], Unlabelled]:
    """Return the outcomes of each instrument, and how many windows have no label."""
    if config.outcome == "relative":
        return relative_outcomes(universe, config)
    found, both_levels = {}, 0
    for name, bars in universe.items():
        labels, windows = (
            config.labelling.labels(bars, config.label_softness),
            windows_of(bars, config),
        )
        decided, known = _stamps(bars, labels.known, windows)
        found[name] = Outcomes(decided, known, labels.values[windows], labels.targets[windows])
        both_levels += int(labels.ambiguous[windows].sum())
    return found, Unlabelled(both_levels=both_levels)


def relative_outcomes(
    universe: Mapping[str, pd.DataFrame], config: TrainConfig
) -> tuple[dict[str, Outcomes], Unlabelled]:
    """Return whether each move was above the median move of the others of its date.

    A date compares the instruments whose entry and exit have the timestamps that most have: a move
    over a holiday or a halt is another one. The others have no label that day, and nobody has where
    fewer than `fewest_instruments` are left.
    """
    moves_of = [_moves(bars, config) for bars in universe.values()]
    rows = pd.concat(moves_of, keys=range(len(universe)), names=["number"])
    rows = rows.reset_index("number").reset_index(drop=True)
    known = rows["exit"] < NEVER
    usual = known & _has_usual_stamps(rows, known)
    dates, day = np.unique(rows["decided"], return_inverse=True)
    # (dates, instruments), NaN for those that are not compared.
    moves = np.full((len(dates), len(universe)), np.nan)
    moves[day[usual], rows["number"][usual]] = rows["move"][usual]
    few = np.isfinite(moves).sum(axis=1) < max(config.fewest_instruments, FEWEST_COMPARED)
    too_few = int(np.isfinite(moves[few]).sum())
    # The median of a few names is mostly the luck of one of them.
    moves[few] = np.nan
    labels, targets = relative_labels(moves), relative_targets(moves, config.label_softness)
    # With a label of 0 or 1 the middle one of a date would be made a loser, or a winner.
    at_the_median = int((np.isfinite(moves) & np.isnan(labels)).sum())
    counted = Unlabelled(int((known & ~usual).sum()), too_few, at_the_median)
    outcomes = {}
    for number, name in enumerate(universe):
        own = (rows["number"] == number).to_numpy()
        cells = day[own], number
        decided, exits = (rows[column][own].to_numpy() for column in ("decided", "exit"))
        outcomes[name] = Outcomes(decided, exits, labels[cells], targets[cells])
    return outcomes, counted


def first_entry(config: TrainConfig) -> int:
    """Return the number of the bar with which the position of the first window opens."""
    return config.lookback - 1 + config.sequence_length


def windows_of(bars: pd.DataFrame, config: TrainConfig) -> slice:
    """Return the decisions that have their whole window and a bar after them, as positions."""
    return slice(first_entry(config) - 1, len(bars) - 1)


def _stamps(bars: pd.DataFrame, known: Integers, windows: slice) -> tuple[Integers, Integers]:
    """Return when each window decides, and when its label is known."""
    stamps = pd.DatetimeIndex(bars.index).as_unit("ns").asi8
    # The last ones wait for bars to come.
    return stamps[windows], np.append(stamps, NEVER)[known[windows]]


def _moves(bars: pd.DataFrame, config: TrainConfig) -> pd.DataFrame:
    """Return the log move after each window, with the timestamps at which it begins and ends."""
    windows = windows_of(bars, config)
    decided, known = _stamps(bars, config.labelling.labels(bars).known, windows)
    stamps = pd.DatetimeIndex(bars.index).as_unit("ns").asi8
    before, after = label_prices(bars, config.label, config.horizon)
    first = first_entry(config)
    # The move from a close begins at the decision itself.
    entry = stamps[first:] if config.label == "open" else decided
    move = np.log(after / before)[first:]
    return pd.DataFrame({"decided": decided, "entry": entry, "exit": known, "move": move})


def _has_usual_stamps(rows: pd.DataFrame, known: pd.Series) -> pd.Series:
    """Return which rows have the entry and exit that most of their date have; of equals the first.

    Rows whose exit is not known are not counted.
    """
    stamps = ["decided", "entry", "exit"]
    names = rows[known].groupby(stamps, sort=True).size().rename("names").reset_index()
    # Stable, over sorted stamps: of pairs that equally many have the earlier one is usual.
    usual = names.sort_values("names", ascending=False, kind="stable").drop_duplicates("decided")
    # A merge by timestamps: a date has as many pairs of them as it has calendars.
    found = rows[stamps].merge(usual, how="left", on=stamps)["names"].notna()
    return found.set_axis(rows.index)
