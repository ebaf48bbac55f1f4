"""What cuts feature rows into windows and splits them in time order, purged; the scaler's fit."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from model.checkpoint.scaler import Scaler
from model.features.table import CALENDAR_CYCLES, FEATURE_NAMES, LOOKBACK, cut_windows
from model.labels.labelling import LABELS
from model.labels.moves import RULES, known_after
from model.settings import one_of, require_fields, whole

SMALLEST_SCALE = 1e-8  # a column that varies less is constant but for rounding

Split = tuple[slice, slice, slice]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class DataPreprocessor:
    """Cut feature rows into windows, split them by time, and fit the scaler on training alone.

    Parameters
    ----------
    sequence_length
        Feature rows per window.
    train, validation
        Shares of the windows; the rest is the test part.
    label, horizon
        As in `TrainConfig`; they decide how many windows `split` purges at the borders, and how
        many bars are asked for.
    lookback
        Bars behind a feature row, its own included.

    Raises
    ------
    ValueError
        For shares, a length, a label or a horizon that cannot be.

    Examples
    --------
    >>> DataPreprocessor().split(950)
    (slice(0, 664, None), slice(665, 806, None), slice(807, 950, None))
    """

    sequence_length: Annotated[int, whole(1)] = 50
    train: float = 0.70
    validation: float = 0.15
    label: Annotated[str, one_of(*LABELS)] = "open"
    horizon: Annotated[int, RULES["horizon"]] = 1
    lookback: Annotated[int, whole(1)] = LOOKBACK

    def __post_init__(self) -> None:
        require_fields(self)
        if not (0 < self.train < 1 and 0 < self.validation < 1 and sum(self._shares()) <= 1):
            raise ValueError(
                "`train` and `validation` must be shares above 0 with a sum of at most 1, "
                f"got {self.train} and {self.validation}."
            )

    def create_sequences(
        self, features: pd.DataFrame | ArrayLike, labels: pd.Series | ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pair the rows i .. i + 49 of `features` with `labels[i + 50]`.

        Parameters
        ----------
        features
            (n, 86); pandas objects must have equal indexes, arrays equal lengths.
        labels
            (n,); unknown ones are NaN.

        Returns
        -------
        windows
            (m, 50, 86), a read-only view. Trailing windows without a label are left out, `n - 50 -
            m` of them.
        labels
            (m,).

        Raises
        ------
        ValueError
            For unequal inputs, too few rows, or a NaN anywhere else.
        """
        values = np.asarray(features, dtype=np.float64)
        outcomes = np.asarray(labels, dtype=np.float64)
        length = self.sequence_length
        if len(values) != len(outcomes):
            raise ValueError(
                "features and labels must have equally many rows, "
                f"got {len(values)} and {len(outcomes)}."
            )
        if (
            isinstance(features, pd.DataFrame)
            and isinstance(labels, pd.Series)
            and not features.index.equals(labels.index)
        ):
            raise ValueError(
                "features and labels must have the same index. Use labels.reindex(features.index)."
            )
        if len(values) <= length:
            raise ValueError(
                f"{length} + 1 rows make the first labelled window, got {len(values)}. "
                "Give more bars."
            )
        # Row 50 opens after the first window, of rows 0 to 49, is complete.
        outcomes = outcomes[length:]
        known = np.flatnonzero(~np.isnan(outcomes))
        if not len(known):
            raise ValueError("no window has a label. Give more bars.")
        outcomes = outcomes[: known[-1] + 1]
        # Rows behind the last label reach no window and may hold anything.
        _require_numbers(values[: len(outcomes) + length - 1], outcomes)
        windows = cut_windows(values, length)[: len(outcomes)]
        # Neighbours share their rows: a change in one is one in all.
        windows.flags.writeable = False
        return windows, outcomes

    def split(self, n_windows: int) -> Split:
        """Split windows in time order into those of training, validation and test.

        The last windows of training and of validation are left out as long as their label is not
        known at the close at which the next part first decides. If the shares sum to 1 there is no
        test part and nothing after validation.

        Parameters
        ----------
        n_windows
            How many windows there are.

        Returns
        -------
        tuple of three slices
            Which windows, counted from 0, are of training, of validation and of the test.

        Raises
        ------
        ValueError
            Where training or validation would have no window.
        """
        # Windows decide one after the other, and wait alike.
        decided = np.arange(n_windows)
        wait = known_after(self.label, self.horizon)
        _, parts = self.split_dates(decided, decided + wait)
        if parts[0].stop < 1 or parts[1].stop <= parts[1].start:
            raise ValueError(
                f"{n_windows} windows are too few for a training and a validation part "
                f"({self.train} and {self.validation} of them, {wait - 1} purged at each border). "
                "Give more bars."
            )
        return parts

    def split_dates(self, decided: Integers, known: Integers) -> tuple[NDArray[np.bool_], Split]:
        """Split windows, of one instrument or several, by the dates on which they decide.

        The shares are of distinct dates. A date before a border is left out as a whole where one
        of its labels is not known at the close at which the next part first decides: by what each
        label really waits for.

        Parameters
        ----------
        decided
            When each window decides, not decreasing: (n,).
        known
            When its label is known: (n,).

        Returns
        -------
        kept
            False for windows of a date that is left out although a later one of its part stays, as
            before an instrument's long halt, or of a trade that took longer: (n,).
        split
            Which of the kept windows are of training, of validation and of the test; between two
            slices lie those that are left out at the end of a part.
        """
        dates, starts, place = np.unique(decided, return_index=True, return_inverse=True)
        # The latest exit of a date decides for all its names: it is left out, or kept, as a whole.
        latest = np.maximum.reduceat(known, starts)
        borders = (0, *self._borders(len(dates)))
        stays, stops = np.ones(len(dates), dtype=bool), []
        for start, border in pairwise(borders):
            stop = border
            if border < len(dates):
                in_time = latest[start:border] <= dates[border]
                stop = start + int(np.flatnonzero(in_time)[-1]) + 1 if in_time.any() else start
                stays[start:stop] = in_time[: stop - start]
            stops.append(stop)
        kept = stays[place]
        # The slices, of dates so far, as those of the windows that are kept.
        edges = (0, stops[0], borders[1], stops[1], borders[2], len(dates))
        found = np.searchsorted(place[kept], edges).tolist()
        return kept, (slice(*found[:2]), slice(*found[2:4]), slice(*found[4:]))

    def split_labelled(
        self, decided: Integers, known: Integers, labels: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], Split]:
        """Split windows as `split_dates`, and leave those without a label out.

        They count for the shares: whether a trade has a label is known only later, and must not
        move a border. Where all have one, it is the same.

        Parameters
        ----------
        decided, known
            As `split_dates` takes them: (n,).
        labels
            1.0, 0.0, or NaN for none: (n,).

        Returns
        -------
        kept, split
            As of `split_dates`; kept is False for windows without a label too: (n,).
        """
        there = np.isfinite(labels)
        kept, split = self.split_dates(decided, np.where(there, known, decided))
        places = np.append(0, np.cumsum(there[kept]))
        first, second, third = (
            slice(int(places[part.start]), int(places[part.stop])) for part in split
        )
        return kept & there, (first, second, third)

    def bars_needed(self, train_windows: int, validation_windows: int = 10) -> int:
        """Return the fewest bars that give training and validation so many windows.

        Parameters
        ----------
        train_windows, validation_windows
            How many each part is to have, after purging.

        Returns
        -------
        int
            Bars, with those that the first feature row and the last label need.
        """
        train, validation = self._shares()
        purge = known_after(self.label, self.horizon) - 1
        for_train = math.ceil((train_windows + purge) / train)
        if train + validation == 1:
            # Validation takes what rounding leaves over, and nothing is purged after it.
            for_validation = math.floor((validation_windows - 1) / validation) + 1
        else:
            for_validation = math.ceil((validation_windows + purge) / validation)
        n_windows = max(for_train, for_validation)
        # The rows of the first window look back, and the last label waits for later bars.
        return self.lookback - 1 + self.sequence_length - 1 + n_windows + purge + 1

    def fit_scaler(self, features: pd.DataFrame | NDArray[np.float64], train: slice) -> Scaler:
        """Fit the scaler on the feature rows that the windows of the slice `train` reach.

        No other row is looked at: a mean over later ones would tell training about the future.

        Parameters
        ----------
        features
            All feature rows, not scaled: (n, 86). A DataFrame's index decides which calendar
            columns the span covers twice; of an array all columns are kept.
        train
            The windows of training, as `split` gives them.

        Returns
        -------
        Scaler
            Mean and standard deviation of each column, and which columns are kept.
        """
        reached = features[train.start : train.stop + self.sequence_length - 1]
        kept = None
        if isinstance(reached, pd.DataFrame):
            kept = calendar_mask(reached.index, reached.columns)
        return scaler_of([np.asarray(reached, dtype=np.float64)], kept)

    def _borders(self, count: int) -> tuple[int, int]:
        """Return where validation and the test begin among so many windows, or dates."""
        train, validation = self._shares()
        # Fractions: int(0.29 * 100) would be 28.
        first = int(train * count)
        return first, count if train + validation == 1 else first + int(validation * count)

    def _shares(self) -> tuple[Fraction, Fraction]:
        """Return the shares as the fractions that they were written as.

        0.7 is 7/10 and not the nearest binary number, which would cost a window now and then. A sum
        within 1e-9 of 1 means 1, so that a third and its rounded rest leave no test part.
        """
        train, validation = Fraction(str(self.train)), Fraction(str(self.validation))
        return train, 1 - train if abs(train + validation - 1) < Fraction(1, 10**9) else validation


def scaler_of(
    tables: Iterable[NDArray[np.float64]], kept: tuple[bool, ...] | None = None
) -> Scaler:
    """Fit the scaler on the rows of all tables, (n, 86) each, one after the other.

    kept: which columns are kept; default: all.
    """
    # Here, as the settings know their split, and a command's help need not wait for scikit-learn.
    from sklearn.preprocessing import StandardScaler

    # Its sums are stable over a million rows; plain sums of squares would lose digits.
    fitted = StandardScaler()
    for rows in tables:
        fitted.partial_fit(rows)
    # scikit-learn's own rule for constant columns depends on their size; ours is a fixed bound.
    deviation = np.sqrt(fitted.var_)
    scale = np.where(deviation < SMALLEST_SCALE, 1.0, deviation)
    kept = kept or (True,) * len(scale)
    return Scaler(tuple(fitted.mean_.tolist()), tuple(scale.tolist()), kept)


def calendar_mask(index: pd.Index, names: Iterable[str] = FEATURE_NAMES) -> tuple[bool, ...]:
    """Return which of the feature columns with these names to keep.

    A calendar pair whose cycle the span does not cover twice is left out: it would be a disguised
    time trend.
    """
    # Of several instruments the rows stand one instrument after the other.
    span = index.max() - index.min()
    # Those of other series, spy:dow_sin, go with the same calendar.
    cycles = (CALENDAR_CYCLES.get(name.rpartition(":")[2], pd.Timedelta(0)) for name in names)
    return tuple(span >= cycle for cycle in cycles)


def _require_numbers(values: NDArray[np.float64], labels: NDArray[np.float64]) -> None:
    faulty = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(faulty):
        raise ValueError(
            f"features must be finite, got {len(faulty)} rows that are not, "
            f"the first is row {faulty[0]}."
        )
    faulty = np.flatnonzero(~np.isfinite(labels))
    if len(faulty):
        raise ValueError(
            f"labels must be numbers up to the last known one, got {len(faulty)} that are not, "
            f"the first at window {faulty[0]}."
        )
