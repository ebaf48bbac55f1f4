"""50-bar windows, the chronological purged split and the scaler's fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.utils.data import Dataset

from model.checkpoint.scaler import Scaler
from model.features.table import CALENDAR_CYCLES, FEATURE_NAMES, LOOKBACK
from model.labels import check_label, known_after

SMALLEST_SCALE = 1e-8  # a column that varies less is constant but for rounding

Split = tuple[slice, slice, slice]


@dataclass(frozen=True)
class DataPreprocessor:
    """Cut feature rows into windows, split them by time, and fit the scaler on the training part alone.

    sequence_length: feature rows per window. train, validation: shares of the windows; the rest is the test part.
    label, horizon: as in `make_labels`; they decide how many windows are purged at the borders.
    """

    sequence_length: int = 50
    train: float = 0.70
    validation: float = 0.15
    label: str = "open"
    horizon: int = 1

    def __post_init__(self) -> None:
        check_label(self.label, self.horizon)
        if not isinstance(self.sequence_length, int) or self.sequence_length < 1:
            raise ValueError(
                f"`sequence_length` must be a whole number from 1, got {self.sequence_length!r}."
            )
        if not (0 < self.train < 1 and 0 < self.validation < 1 and sum(self._shares()) <= 1):
            raise ValueError(
                "`train` and `validation` must be shares above 0 with a sum of at most 1, "
                f"got {self.train} and {self.validation}."
            )

    def create_sequences(
        self, features: Any, labels: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pair the rows i .. i + 49 of `features` with `labels[i + 50]`.

        features: (n, columns), labels: (n,); pandas objects must have equal indexes, arrays equal lengths.
        Returns X (m, 50, columns), a read-only view, and y (m,); trailing windows without a label are left out
        (`n - 50 - m` of them). Raises ValueError for unequal inputs, too few rows, or a NaN anywhere else.
        """
        _require_equal_rows(features, labels)
        values, outcomes = (
            np.asarray(features, dtype=np.float64),
            np.asarray(labels, dtype=np.float64),
        )
        length = self.sequence_length
        if len(values) <= length:
            raise ValueError(
                f"{length} + 1 rows make the first labelled window, got {len(values)}. Give more bars."
            )
        outcomes = outcomes[length:]
        outcomes = outcomes[: _labelled(outcomes)]
        _require_numbers(values[: len(outcomes) + length - 1], outcomes)
        windows = sliding_window_view(values, length, axis=0)[: len(outcomes)]  # (m, columns, 50)
        return windows.transpose(0, 2, 1), outcomes

    def split(self, n_windows: int) -> Split:
        """Return the slices of the training, validation and test windows, in time order and purged.

        The last windows of training and of validation are left out as long as their label is not known at the close at
        which the next part first decides. If the shares sum to 1 there is no test part and nothing after validation.
        """
        train, validation = self._shares()
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
                f"({self.train} and {self.validation} of them, {purge} purged at each border). Give more bars."
            )
        return parts

    def bars_needed(self, train_windows: int, validation_windows: int = 10) -> int:
        """Return the fewest bars that give the training and validation parts so many windows after purging."""
        train, validation = self._shares()
        purge = known_after(self.label, self.horizon) - 1
        for_train = -(-(train_windows + purge) // train)
        if (
            train + validation == 1
        ):  # validation takes what rounding leaves over, and nothing is purged after it
            for_validation = (validation_windows - 1) // validation + 1
        else:
            for_validation = -(-(validation_windows + purge) // validation)
        n_windows = max(for_train, for_validation)
        return LOOKBACK - 1 + self.sequence_length - 1 + int(n_windows) + purge + 1

    def fit_scaler(self, features: pd.DataFrame | NDArray[np.float64], train: slice) -> Scaler:
        """Fit the scaler on the feature rows that the windows of the slice `train` reach, and on no others.

        A DataFrame's index decides which calendar columns the span covers twice; for an array all columns are kept.
        """
        reached = features[train.start : train.stop + self.sequence_length - 1]
        fitted = StandardScaler().fit(np.asarray(reached, dtype=np.float64))
        # scikit-learn's own rule for constant columns depends on their size; ours is a fixed bound on the deviation.
        deviation = np.sqrt(fitted.var_)
        scale = np.where(deviation < SMALLEST_SCALE, 1.0, deviation)
        kept = (
            calendar_mask(reached.index)
            if isinstance(reached, pd.DataFrame)
            else (True,) * len(scale)
        )
        return Scaler(tuple(fitted.mean_.tolist()), tuple(scale.tolist()), kept)

    def _shares(self) -> tuple[Fraction, Fraction]:
        """Return the shares as the fractions they were written as: 0.7 is 7/10, not the nearest binary number.

        A sum within 1e-9 of 1 means 1, so that a third and its rounded rest leave no test part.
        """
        train, validation = Fraction(str(self.train)), Fraction(str(self.validation))
        return train, 1 - train if abs(train + validation - 1) < Fraction(1, 10**9) else validation


def calendar_mask(index: pd.Index) -> tuple[bool, ...]:
    """Return which feature columns to keep: not a calendar pair whose cycle the span does not cover twice."""
    span = index[-1] - index[0]
    return tuple(span >= CALENDAR_CYCLES.get(name, pd.Timedelta(0)) for name in FEATURE_NAMES)


def _require_equal_rows(features: Any, labels: Any) -> None:
    both_pandas = hasattr(features, "index") and hasattr(labels, "index")
    if len(features) != len(labels):
        raise ValueError(
            f"features and labels must have equally many rows, got {len(features)} and {len(labels)}."
        )
    if both_pandas and not features.index.equals(labels.index):
        raise ValueError(
            "features and labels must have the same index. Use labels.reindex(features.index)."
        )


def _labelled(outcomes: NDArray[np.float64]) -> int:
    """Return how many labels there are up to the last one known."""
    known = np.flatnonzero(~np.isnan(outcomes))
    if not len(known):
        raise ValueError("no window has a label. Give more bars.")
    return int(known[-1]) + 1


def _require_numbers(values: NDArray[np.float64], outcomes: NDArray[np.float64]) -> None:
    faulty = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(faulty):
        raise ValueError(
            f"features must be finite, got {len(faulty)} rows that are not, the first is row {faulty[0]}."
        )
    faulty = np.flatnonzero(~np.isfinite(outcomes))
    if len(faulty):
        raise ValueError(
            f"labels must be numbers up to the last known one, got {len(faulty)} that are not, "
            f"the first at window {faulty[0]}."
        )


class TimeSeriesDataset(Dataset[tuple[Tensor, Tensor]]):
    """Windows of scaled rows with their labels, in time order; each window is a view of the rows."""

    def __init__(
        self, rows: NDArray[np.float32], labels: NDArray[np.float64], sequence_length: int = 50
    ) -> None:
        """Take rows (n, columns) and labels (n - sequence_length + 1, ...): label j belongs to the window from row j on."""
        if len(labels) != len(rows) - sequence_length + 1:
            raise ValueError(
                f"{len(rows)} rows hold {len(rows) - sequence_length + 1} windows of {sequence_length}, "
                f"got {len(labels)} labels."
            )
        self.windows = (
            torch.from_numpy(rows).unfold(0, sequence_length, 1).transpose(1, 2)
        )  # (m, 50, columns), a view
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        return self.windows[position], self.labels[position]

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Fetch a whole batch as one slice where the positions follow each other: DataLoader calls this if it exists."""
        first, last = positions[0], positions[-1]
        adjoining = list(positions) == list(range(first, last + 1))
        chosen = slice(first, last + 1) if adjoining else torch.as_tensor(positions)
        return list(zip(self.windows[chosen], self.labels[chosen]))
