"""Windows of feature rows, their purged split in time order, and the scaler's fit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.utils.data import Dataset

from model.checkpoint.member import cut_windows
from model.checkpoint.scaler import Scaler
from model.features.table import CALENDAR_CYCLES, FEATURE_NAMES, LOOKBACK
from model.labels import check_label, known_after
from model.settings import require_fields, whole

SMALLEST_SCALE = 1e-8  # a column that varies less is constant but for rounding

Split = tuple[slice, slice, slice]


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
        As in `make_labels`; they decide how many windows are purged at the borders.

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
    label: str = "open"
    horizon: int = 1

    def __post_init__(self) -> None:
        check_label(self.label, self.horizon)
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
        windows.flags.writeable = (
            False  # neighbours share their rows: a change in one is one in all
        )
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
        train, validation = self._shares()
        # Fractions: int(0.29 * 100) would be 28.
        first = int(train * n_windows)
        second = n_windows if train + validation == 1 else first + int(validation * n_windows)
        purge = known_after(self.label, self.horizon) - 1
        parts = (
            slice(0, first - purge),
            slice(first, second - (purge if second < n_windows else 0)),
            slice(second, n_windows),
        )
        if parts[0].stop < 1 or parts[1].stop <= first:
            raise ValueError(
                f"{n_windows} windows are too few for a training and a validation part "
                f"({self.train} and {self.validation} of them, {purge} purged at each border). "
                "Give more bars."
            )
        return parts

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
        return LOOKBACK - 1 + self.sequence_length - 1 + n_windows + purge + 1

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
        fitted = StandardScaler().fit(np.asarray(reached, dtype=np.float64))
        # scikit-learn's own rule for constant columns depends on their size; ours is a fixed bound.
        deviation = np.sqrt(fitted.var_)
        scale = np.where(deviation < SMALLEST_SCALE, 1.0, deviation)
        kept = (True,) * len(scale)
        if isinstance(reached, pd.DataFrame):
            kept = calendar_mask(reached.index)
        return Scaler(tuple(fitted.mean_.tolist()), tuple(scale.tolist()), kept)

    def _shares(self) -> tuple[Fraction, Fraction]:
        """Return the shares as the fractions that they were written as.

        0.7 is 7/10 and not the nearest binary number, which would cost a window now and then. A sum
        within 1e-9 of 1 means 1, so that a third and its rounded rest leave no test part.
        """
        train, validation = Fraction(str(self.train)), Fraction(str(self.validation))
        return train, 1 - train if abs(train + validation - 1) < Fraction(1, 10**9) else validation


def calendar_mask(index: pd.Index) -> tuple[bool, ...]:
    """Return which feature columns to keep.

    A calendar pair whose cycle the span does not cover twice is left out: it would be a disguised
    time trend.
    """
    span = index[-1] - index[0]
    return tuple(span >= CALENDAR_CYCLES.get(name, pd.Timedelta(0)) for name in FEATURE_NAMES)


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


class TimeSeriesDataset(Dataset[tuple[Tensor, Tensor]]):
    """Windows of scaled rows with their labels, in time order, for torch's DataLoader.

    Parameters
    ----------
    rows
        Scaled feature rows: (n, 86).
    labels
        Label j belongs to the window from row j on: (n - sequence_length + 1,).
    sequence_length
        Rows per window.

    Attributes
    ----------
    windows : Tensor
        (n - sequence_length + 1, sequence_length, 86), a view of the rows.
    labels : Tensor
        The labels as float32.

    Raises
    ------
    ValueError
        Where the labels are not as many as the windows.

    Examples
    --------
    >>> dataset = TimeSeriesDataset(np.zeros((60, 86), dtype=np.float32), np.ones(11))
    >>> dataset.windows.shape
    torch.Size([11, 50, 86])
    """

    def __init__(
        self, rows: NDArray[np.float32], labels: NDArray[np.float64], sequence_length: int = 50
    ) -> None:
        n_windows = len(rows) - sequence_length + 1
        if len(labels) != n_windows:
            raise ValueError(
                f"{len(rows)} rows hold {n_windows} windows of {sequence_length}, "
                f"got {len(labels)} labels."
            )
        self.windows = torch.from_numpy(cut_windows(rows, sequence_length))
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        return self.windows[position], self.labels[position]

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Fetch a whole batch, as one slice where the positions follow each other.

        DataLoader calls this in place of __getitem__ where it exists.
        """
        first, last = positions[0], positions[-1]
        # A slice is a view; any other choice copies its windows.
        adjoining = list(positions) == list(range(first, last + 1))
        chosen = slice(first, last + 1) if adjoining else torch.as_tensor(positions)
        return list(zip(self.windows[chosen], self.labels[chosen], strict=True))
