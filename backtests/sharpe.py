"""What a Sharpe ratio is worth: its probability, its deflation by the number of trials, and the record it would need.

All ratios here are per bar, not annualised. Sources: Bailey and Lopez de Prado, The Sharpe ratio efficient frontier (2012)
and The deflated Sharpe ratio (2014).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, norm, skew

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Record:
    """The moments of a track record: Sharpe ratio per bar, number of bars, skewness and kurtosis (3 for a normal)."""

    ratio: float
    bars: int
    skewness: float
    kurtosis: float

    @classmethod
    def of(cls, returns: Array) -> "Record | None":
        """Return the record of bar returns (n,); None where they do not vary."""
        deviation = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
        if deviation < 1e-15:
            return None
        return cls(
            float(np.mean(returns)) / deviation,
            len(returns),
            float(skew(returns)),
            float(kurtosis(returns, fisher=False)),
        )

    @property
    def spread(self) -> float:
        """The variance of the ratio's estimate, times the number of bars less one."""
        return 1 - self.skewness * self.ratio + (self.kurtosis - 1) / 4 * self.ratio**2

    def probability_above(self, threshold: float = 0.0) -> float:
        """Return the probability that the true ratio lies above the threshold (PSR)."""
        return float(norm.cdf((self.ratio - threshold) * math.sqrt((self.bars - 1) / self.spread)))

    def bars_needed(self, threshold: float = 0.0, confidence: float = 0.95) -> float:
        """Return how long the record must be for that confidence (minimum track record length); inf at or below the threshold."""
        if self.ratio <= threshold:
            return math.inf
        return 1 + self.spread * (float(norm.ppf(confidence)) / (self.ratio - threshold)) ** 2


def best_of_luck(deviation: float, trials: int) -> float:
    """Return the highest ratio to expect of so many trials without skill whose ratios have this standard deviation."""
    if trials < 2:
        return 0.0
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return deviation * float((1 - np.euler_gamma) * first + np.euler_gamma * second)
