"""Detectors of look-ahead.

Pure functions that take the thing under test as a callable and return what they found.

A planted leak and the real pipeline go through the same detector. Bars that follow a cut are taken
away or poisoned; what was computed at or before the cut must not notice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.intervals import day
from model.checkpoint.scaler import Scaler
from model.features.table import FEATURE_NAMES, LOOKBACK
from model.labels.labelling import Labels
from model.metrics import auc_standard_error
from model.training.preprocessor import Split

Compute = Callable[[pd.DataFrame], pd.DataFrame | pd.Series]
Table = NDArray[Any]  # (bars, items)
Mask = NDArray[np.bool_]
Timestamps = pd.Index | Sequence[None]
Tolerance: TypeAlias = float | tuple[float, ...]  # of all items, or of each
# the bars with another future behind a position, each with its description
Futures: TypeAlias = Callable[[pd.DataFrame, int], Iterator[tuple[str, pd.DataFrame]]]
# Shows progress over what it passes on; `iter` shows none.
Track = Callable[[Sequence[int]], Iterable[int]]

AHEAD = 20  # poisoned bars where not the whole future is
POISON = 10.0
LATER = pd.Timedelta(days=3, hours=5)  # a poisoned future comes later, too
LARGEST_Z = 4.0  # standard errors within which an AUC counts as one half
# Where a label's two prices stand: the column, and bars from the decision to the first; the second
# is `horizon` bars on.
OUTCOMES = {"open": ("open", 1), "close": ("close", 0)}


@dataclass(frozen=True)
class Difference:
    """One value that knows the future.

    What it is, at which bar, what it was and what it is with another future.
    """

    check: str
    item: str
    bar: pd.Timestamp | None
    value: object
    other: object
    change: str

    def __str__(self) -> str:
        where = "" if self.bar is None else f" at {day(self.bar)}"
        return f"{self.check}: {self.item}{where} is {self.value}, but {self.other} {self.change}"


@dataclass(frozen=True)
class LeakResult:
    """What a detector compared and how much differed.

    `findings` holds the earliest difference of each item.
    """

    name: str
    compared: int
    differences: int
    findings: tuple[Difference, ...] = ()
    note: str = ""


@dataclass
class Tally:
    """Counts comparisons and keeps the earliest difference of each item."""

    name: str
    compared: int = 0
    differences: int = 0
    findings: dict[str, Difference] = field(default_factory=dict)

    def compare(
        self,
        items: Sequence[str],
        bars: Timestamps,
        values: Table,
        others: Table,
        change: str,
        tolerance: Tolerance = 0.0,
    ) -> None:
        """Compare two tables (bars, items), value by value.

        Two missing values are no comparison.
        """
        # What neither table has is not compared, and must not count as an agreement.
        missing = pd.isna(values) & pd.isna(others)
        # `count` adds every cell.
        self.compared -= int(missing.sum())
        self.count(
            items, bars, values, others, ~(alike(values, others, tolerance) | missing), change
        )

    def count(
        self,
        items: Sequence[str],
        bars: Timestamps,
        values: Table,
        others: Table,
        differ: Mask,
        change: str,
    ) -> None:
        """Count what was compared and what differs; keep the first bar at which an item does."""
        self.compared += differ.size
        self.differences += int(differ.sum())
        for column in np.flatnonzero(differ.any(axis=0)).tolist():
            row = int(differ[:, column].argmax())
            # As numbers of Python's own: a message shows 0.5, not np.float64(0.5).
            value, other = (
                cell.item() if isinstance(cell, np.generic) else cell
                for cell in (values[row, column], others[row, column])
            )
            found = Difference(self.name, items[column], bars[row], value, other, change)
            # The earliest bar of an item says where the leak begins; later ones follow from it.
            known = self.findings.get(found.item)
            earlier = known and known.bar is not None and found.bar and found.bar < known.bar
            if known is None or earlier:
                self.findings[found.item] = found

    @property
    def result(self) -> LeakResult:
        return LeakResult(self.name, self.compared, self.differences, tuple(self.findings.values()))


def alike(values: Table, others: Table, tolerance: Tolerance) -> Mask:
    """Return where two tables agree, numbers bit for bit or within the tolerance.

    Bit for bit, 0 and -0 differ, and two missing values of one kind agree.
    """
    if not values.dtype == others.dtype == np.float64:  # texts and flags
        same: Mask = values == others
    elif np.any(tolerance):
        same = np.abs(values - others) <= tolerance
    else:
        # As integers: == would part a NaN from itself and take -0 for 0.
        same = np.ascontiguousarray(values).view(np.int64) == np.ascontiguousarray(others).view(
            np.int64
        )
    return same


def window_leaks(
    name: str,
    compute: Compute,
    bars: pd.DataFrame,
    memory: int = LOOKBACK,
    *,
    ahead: int = AHEAD,
    tolerance: Tolerance = 0.0,
    track: Track = iter,
) -> LeakResult:
    """Recompute the row of every bar from its own last `memory` bars.

    Behind them come first no bars, then `ahead` poisoned ones. `compute` turns bars into rows on
    their timestamps, of every bar with `memory` - 1 bars before it. The rows of one call with all
    bars must be the same: then none holds anything of a later bar, nor of the length or the rest
    of the history.
    """
    full = pd.DataFrame(compute(bars))
    items, tally = [str(column) for column in full.columns], Tally(name)
    for last in track(range(memory - 1, len(bars))):
        stamp = bars.index[last : last + 1]
        for change, other in futures(bars.iloc[last - memory + 1 : last + 1 + ahead], memory - 1):
            values, others = (
                rows.reindex(stamp).to_numpy() for rows in (full, pd.DataFrame(compute(other)))
            )
            tally.compare(
                items,
                stamp,
                values,
                others,
                f"from its own {memory} bars {change} that follow",
                tolerance,
            )
    return tally.result


def history_leaks(
    name: str,
    compute: Compute,
    bars: pd.DataFrame,
    cuts: Sequence[int],
    *,
    other_futures: Futures | None = None,
    tolerance: Tolerance = 0.0,
    track: Track = iter,
) -> LeakResult:
    """Compute again with another future behind each cut (default: none, and poison).

    Compare all rows at or before the cut.

    cuts: positions of the last bar that is left as it was. `compute` may return several rows with
    one stamp, or none.
    """
    full = _numbered(compute(bars))
    items, tally = [str(column) for column in full.columns], Tally(name)
    for cut in track(cuts):
        for change, other in (other_futures or futures)(bars, cut):
            before, after = (
                rows[rows.index.get_level_values(0) <= bars.index[cut]]
                for rows in (full, _numbered(compute(other)))
            )
            # A row that only one of the two has is missing in the other, and so differs.
            rows = before.index.union(after.index)
            values, others = (
                table.reindex(rows).to_numpy() for table in (before, after[full.columns])
            )
            tally.compare(
                items,
                rows.get_level_values(0),
                values,
                others,
                f"{change} after {day(bars.index[cut])}",
                tolerance,
            )
    return tally.result


def scaler_leaks(
    fit: Callable[[pd.DataFrame], Scaler],
    features: pd.DataFrame,
    reached: int,
    *,
    track: Track = iter,
) -> LeakResult:
    """Fit again with the feature rows from every cut behind training on taken away and poisoned.

    The scaler stays, bit for bit.

    fit: with the borders of the split frozen. reached: how many rows, from the first, the training
    windows reach.
    """
    full, tally = scaler_figures(fit(features)), Tally("scaler")
    items = scaler_items(features.columns)
    for cut in track(range(reached, len(features))):
        poison = features.to_numpy(copy=True)
        # Plus 1, so that a feature of 0 changes too.
        poison[cut:] = POISON * poison[cut:] + 1
        later = _later(features.index, cut)
        poisoned_rows = pd.DataFrame(poison, later, features.columns, copy=False)
        for change, other in (
            ("without the rows", features.iloc[:cut]),
            ("with other rows", poisoned_rows),
        ):
            tally.compare(
                items,
                features.index[cut : cut + 1],
                full,
                scaler_figures(fit(other)),
                f"{change} from there on",
            )
    return tally.result


def preparation_leaks(
    fit: Callable[[pd.DataFrame], Scaler],
    bars: pd.DataFrame,
    cuts: Sequence[int],
    names: Iterable[str] = FEATURE_NAMES,
    *,
    track: Track = iter,
) -> LeakResult:
    """Go the whole way from bars to the scaler again with the bars behind each cut poisoned.

    It stays, bit for bit.

    As many bars are given as before, so the split has its old borders. cuts: positions from the
    last training decision on. names: of the features.
    """
    items = scaler_items(names)
    full, tally = scaler_figures(fit(bars)), Tally("scaler of training")
    for cut in track(cuts):
        again = scaler_figures(fit(poisoned(bars, cut)))
        tally.compare(items, bars.index[cut : cut + 1], full, again, "with other bars after it")
    return tally.result


def label_leaks(
    labels: pd.Series, bars: pd.DataFrame, label: str, horizon: int, name: str = "labels"
) -> LeakResult:
    """Recompute the outcome of every decision from the prices.

    The label must be that of a position opened after it.

    labels: on the timestamps of the decision bars, missing where the outcome is not known yet.
    """
    column, start = OUTCOMES[label]
    prices, tally = bars[column].to_numpy(), Tally(name)
    decided = bars.index.get_indexer(labels.index)
    first, last = decided + start, decided + start + horizon
    known = last < len(prices)
    outcomes = np.full(len(labels), np.nan)
    outcomes[known] = prices[last[known]] > prices[first[known]]
    change = f"by the {column} {start} and {start + horizon} bars after it"
    tally.compare(
        ["label"], labels.index, labels.to_numpy(np.float64)[:, None], outcomes[:, None], change
    )
    return tally.result


def ended_label_leaks(
    labels: pd.Series,
    compute: Callable[[pd.DataFrame], Labels],
    bars: pd.DataFrame,
    count: int,
    name: str = "labels",
) -> LeakResult:
    """Compute labels again from the bars up to the one at which each is known.

    labels: on the timestamps of the decision bars. compute: what labels bars. count: labels at the
    most, evenly spaced.
    """
    tally, known = Tally(name), compute(bars).known
    places = bars.index.get_indexer(labels.index)
    there = np.flatnonzero(known[places] < len(bars))
    there = there[:: 1 + len(there) // count]
    again = [compute(bars.iloc[: known[place] + 1]).values[place] for place in places[there]]
    tally.compare(
        ["label"],
        labels.index[there],
        labels.to_numpy(np.float64)[there, None],
        np.array(again)[:, None],
        "with only the bars up to its end",
    )
    return tally.result


def overlap_leaks(parts: Split, decided: pd.DatetimeIndex, known: pd.DatetimeIndex) -> LeakResult:
    """Check the borders of training, validation and test part.

    A part's labels must be known at the close of the next one's first decision, and no window may
    be in two parts. decided, known: when each window decides, and when its label is known.
    """
    tally = Tally("overlap")
    for name, part, later in zip(("training", "validation"), parts, parts[1:], strict=False):
        if later.start == later.stop:
            continue
        values, border = known.to_numpy()[part][:, None], decided[later.start]
        tally.count(
            [f"outcome of a {name} window"],
            decided[part],
            values,
            np.full(values.shape, border),
            ~(values <= border.to_numpy()),  # what is never known is no number to compare
            "is the first decision of the next part",
        )
    return tally.result


def shuffled_label_leaks(
    score: Callable[[NDArray[np.float64]], float],
    labels: NDArray[np.float64],
    judged: slice,
    seeds: Sequence[int] = range(5),
    *,
    track: Track = iter,
) -> LeakResult:
    """Shuffle the labels and score again.

    An AUC away from one half says that what is judged was learnt from.

    score: trains on labels (m,) and returns the AUC on the windows `judged`, against the same
    labels.
    """
    tally = Tally("shuffled labels")
    for seed in track(seeds):
        shuffled = np.random.default_rng(seed).permutation(labels)
        bound = LARGEST_Z * auc_standard_error(shuffled[judged])
        auc = score(shuffled)
        # Written as a comparison of values: equal within the bound, one half beyond it.
        other = auc if abs(auc - 0.5) <= bound else 0.5
        tally.compare(
            [f"AUC with seed {seed}"],
            [None],
            np.array([[auc]]),
            np.array([[other]]),
            f"+-{bound:.3f} without a leak",
        )
    return tally.result


def futures(bars: pd.DataFrame, last: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the bars with everything after position `last` taken away, and poisoned."""
    yield from cut_off(bars, last)
    if last + 1 < len(bars):
        yield "with other bars", poisoned(bars, last)


def cut_off(bars: pd.DataFrame, last: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the bars up to position `last`."""
    yield "without the bars", bars.iloc[: last + 1]


def poisoned(bars: pd.DataFrame, last: int, factor: float = POISON) -> pd.DataFrame:
    """Return the bars with other ones after position `last`.

    Prices move the other way at once, more volume, later timestamps.
    """
    # Against the way that the market took: whoever knows the next move is wrong at once.
    closes, values = bars["close"].to_numpy(), bars.to_numpy(copy=True)
    values[last + 1 :, :4] *= 1 / factor if closes[last + 1] > closes[last] else factor
    # Plus 1, so that a volume of 0 changes too.
    values[last + 1 :, 4:] = POISON * values[last + 1 :, 4:] + 1
    other = pd.DataFrame(values, index=_later(bars.index, last + 1), columns=bars.columns)
    other.attrs = bars.attrs
    return other


def _later(index: pd.Index, start: int) -> pd.DatetimeIndex:
    """Return the timestamps, those from position `start` on moved into the future."""
    timestamps = pd.DatetimeIndex(index)
    return pd.DatetimeIndex(timestamps[:start].append(timestamps[start:] + LATER))


def _numbered(rows: pd.DataFrame | pd.Series) -> pd.DataFrame:
    """Return the rows on their stamp and their number among the rows of that stamp."""
    frame = pd.DataFrame(rows)
    # Several orders may stand on one timestamp; by number each is compared with itself.
    number = frame.groupby(level=0).cumcount()
    return frame.set_index([frame.index, number])


def scaler_items(names: Iterable[str]) -> list[str]:
    """Return what the scaler's numbers are called, for features of these names."""
    return [f"{figure} of {name}" for name in names for figure in ("mean", "scale", "mask")]


def scaler_figures(scaler: Scaler) -> Table:
    """Return the scaler's numbers as one row, in the order of `scaler_items`."""
    return np.array([scaler.mean, scaler.scale, scaler.kept], dtype=np.float64).T.reshape(1, -1)
