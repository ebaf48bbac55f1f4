"""Drift: how much of what a network is shown lies outside of what it was trained on."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

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

    def strangeness(
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
