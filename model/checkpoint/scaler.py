"""The scaler as plain numbers: what training fitted, applied alike in training, backtest and live."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaler:
    """z = (feature - mean) / scale, zero where a column is not kept, clipped to +-clip.

    mean, scale: one number per feature column. kept: False for calendar columns whose cycle the training span does not
    cover twice: there they would be a disguised time trend.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    kept: tuple[bool, ...]
    clip: float = 8.0

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.scale) == len(self.kept):
            lengths = len(self.mean), len(self.scale), len(self.kept)
            raise ValueError(f"mean, scale and kept must be equally long, got {lengths}.")
        mean, scale = np.array(self.mean), np.array(self.scale)
        if (
            not np.isfinite(mean).all()
            or not (np.isfinite(scale) & (scale > 0)).all()
            or not self.clip > 0
        ):
            raise ValueError(
                "mean must be finite, scale and clip above 0, "
                f"got {mean.tolist()[:3]}.., {scale.tolist()[:3]}.. and {self.clip}."
            )
        # Arrays are built once: a live bar scales one row, and building them would cost more than the arithmetic.
        object.__setattr__(self, "_mean", mean)
        object.__setattr__(self, "_factor", np.array(self.kept) / scale)

    def transform(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the z-scores of feature rows: (n, features) float64 -> (n, features) float32."""
        scores = self._scores(features)
        return np.clip(scores, -self.clip, self.clip, out=scores).astype(np.float32)

    def clipped(self, features: NDArray[np.float64]) -> int:
        """Count the values that `transform` clips."""
        return int(np.count_nonzero(np.abs(self._scores(features)) > self.clip))

    def _scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = features - self._mean  # type: ignore[attr-defined]
        scores *= self._factor  # type: ignore[attr-defined]  # in place: of a million rows each copy is 700 MB
        return scores


TAIL = 0.01  # share of a feature's values in training that lie below its usual range, and as many above
LIMIT = 0.25  # share of a window's values outside their usual ranges; markets like those of training stay below .17


@dataclass(frozen=True)
class Usual:
    """The usual range of each feature: between two quantiles of its values in training."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high):
            raise ValueError(
                f"`low` and `high` must be equally long, got {len(self.low)} and {len(self.high)}."
            )
        if not all(-math.inf < low <= high < math.inf for low, high in zip(self.low, self.high)):
            raise ValueError("`low` must be finite and nowhere above `high`.")

    def out_of_range(
        self, features: NDArray[np.float64], sequence_length: int
    ) -> NDArray[np.float64]:
        """Return the share of each window's values that lie outside: (n, features) -> (n - sequence_length + 1,)."""
        outside = (features < self.low) | (features > self.high)
        windows = sliding_window_view(outside.mean(axis=1), sequence_length)
        share: NDArray[np.float64] = windows.mean(
            axis=1
        )  # each window by itself: no running sum that remembers its past
        return share


def usual_ranges(features: NDArray[np.float64]) -> Usual:
    """Return the usual ranges of the features of training."""
    ranges = np.array(
        [np.quantile(column, (TAIL, 1 - TAIL)) for column in features.T]
    )  # one by one: no copy of them all
    return Usual(tuple(ranges[:, 0].tolist()), tuple(ranges[:, 1].tolist()))
