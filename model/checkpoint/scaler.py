"""The scaler as plain numbers: fitted in training, applied alike in training, backtest and live.

With it go the usual ranges of the features in training, by which a model tells inputs that are
unlike those it learned from.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# Share of a feature's values in training that lie below its usual range, and as many above.
TAIL = 0.01
# Share of a window's values outside of their usual ranges from which on inputs count as unlike
# those of training: markets like those of training stay below .17.
MOST_OUT_OF_RANGE = 0.25


@dataclass(frozen=True)
class Scaler:
    """z = (feature - mean) / scale, zero where a column is not kept, clipped to +-clip.

    Parameters
    ----------
    mean, scale
        One number for each feature column.
    kept
        False for calendar columns whose cycle the training span does not cover twice: there they
        would be a disguised time trend.
    clip
        Largest score, in scales.

    Raises
    ------
    ValueError
        Unless the three are equally long, every mean is finite, and every scale and the clip are
        above 0.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    kept: tuple[bool, ...]
    clip: float = 8.0

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.scale) == len(self.kept):
            lengths = len(self.mean), len(self.scale), len(self.kept)
            raise ValueError(f"mean, scale and kept must be equally long, got {lengths}.")
        # Comparisons with nan are false, so that nan is refused too.
        sound = all(map(math.isfinite, self.mean)) and all(0 < s < math.inf for s in self.scale)
        if not sound or not self.clip > 0:
            raise ValueError(
                "mean must be finite, scale and clip above 0, "
                f"got {list(self.mean[:3])}.., {list(self.scale[:3])}.. and {self.clip}."
            )

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The means and the factors of the columns.

        They are built once: a live bar scales one row, and building them would cost more than the
        arithmetic.
        """
        return np.array(self.mean), np.array(self.kept) / np.array(self.scale)

    def transform(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the z-scores of feature rows: (n, features) float64 -> (n, features) float32.

        Each row by itself, so that it scales alike alone and among others.
        """
        scores = self._scores(features)
        return np.clip(scores, -self.clip, self.clip, out=scores).astype(np.float32)

    def clipped(self, features: NDArray[np.float64]) -> int:
        """Count the values that `transform` clips."""
        return int(np.count_nonzero(np.abs(self._scores(features)) > self.clip))

    def _scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        mean, factor = self._arrays
        scores: NDArray[np.float64] = features - mean
        scores *= factor  # in place: of a million rows each copy is 700 MB
        return scores


@dataclass(frozen=True)
class UsualRanges:
    """The usual range of each feature: between two quantiles of its values in training."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high):
            raise ValueError(
                f"`low` and `high` must be equally long, got {len(self.low)} and {len(self.high)}."
            )
        ranges = zip(self.low, self.high, strict=True)
        if not all(-math.inf < low <= high < math.inf for low, high in ranges):
            raise ValueError("`low` must be finite and nowhere above `high`.")

    def out_of_range(
        self, features: NDArray[np.float64], sequence_length: int
    ) -> NDArray[np.float64]:
        """Return the share of each window's values that lie outside of their ranges.

        (n, features) -> (n - sequence_length + 1,).
        """
        # A value that is no number lies neither below nor above.
        outside = (features < self.low) | (features > self.high)
        windows = sliding_window_view(outside.mean(axis=1), sequence_length)
        # Each window by itself: no running sum that remembers its past.
        share: NDArray[np.float64] = windows.mean(axis=1)
        return share


def usual_ranges(features: NDArray[np.float64]) -> UsualRanges:
    """Return the usual ranges of the features of training, (n, features)."""
    # Column by column, so that sorting needs no copy of them all.
    ranges = np.array([np.quantile(column, (TAIL, 1 - TAIL)) for column in features.T])
    return UsualRanges(tuple(ranges[:, 0].tolist()), tuple(ranges[:, 1].tolist()))
