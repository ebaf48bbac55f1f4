"""The scaler as plain numbers: what training fitted, applied alike in training, backtest and live."""

from dataclasses import dataclass

import numpy as np
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
