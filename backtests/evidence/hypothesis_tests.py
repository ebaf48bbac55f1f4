"""Two classical tests of forecasts: of direction, and of one forecast's loss against another's."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, norm, skew, t

Array = NDArray[np.float64]


def pesaran_timmermann(labels: Array, said: Array) -> tuple[float, float] | None:
    """Return the statistic and the one-sided p-value of "directions are forecast no better than independent ones would be".

    labels, said: 0/1, (n,). None where one of them has one class only: then there is no direction to test. Source: Pesaran
    and Timmermann, A simple nonparametric test of predictive performance, JBES 10 (1992).
    """
    n = len(labels)
    if n < 2 or np.ptp(labels) == 0 or np.ptp(said) == 0:
        return None
    came, forecast = float(np.mean(labels)), float(np.mean(said))
    hit = float(np.mean(labels == said))
    expected = came * forecast + (1 - came) * (1 - forecast)
    variance_hit = expected * (1 - expected) / n
    variance_expected = (
        (2 * came - 1) ** 2 * forecast * (1 - forecast)
        + (2 * forecast - 1) ** 2 * came * (1 - came)
        + 4 * came * forecast * (1 - came) * (1 - forecast) / n
    ) / n
    if variance_hit <= variance_expected:
        return None
    statistic = (hit - expected) / math.sqrt(variance_hit - variance_expected)
    return statistic, float(norm.sf(statistic))


def diebold_mariano(loss: Array, other: Array, horizon: int = 1) -> tuple[float, float] | None:
    """Return the statistic and the two-sided p-value of "both losses are equal in the mean"; below 0 the first is lower.

    loss, other: (n,) by decision. None where the difference does not vary. Sources: Diebold and Mariano (1995), with the
    small-sample correction and Student's t of Harvey, Leybourne and Newbold (1997).
    """
    difference = loss - other
    n, centred = len(difference), difference - difference.mean()
    covariances = [float(centred[lag:] @ centred[: n - lag]) / n for lag in range(horizon)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / n
    if variance <= 1e-30:
        return None
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    statistic = correction * float(difference.mean()) / math.sqrt(variance)
    return statistic, float(2 * t.sf(abs(statistic), n - 1))


def log_losses(labels: Array, probabilities: Array) -> Array:
    """Return the log loss of each decision, with probabilities kept a millionth away from 0 and 1."""
    said = np.clip(probabilities, 1e-6, 1 - 1e-6)
    losses: Array = -np.where(labels > 0.5, np.log(said), np.log1p(-said))
    return losses


@dataclass(frozen=True)
class TrackRecord:
    """The moments of a track record: Sharpe ratio per bar, number of bars, skewness and kurtosis (3 for a normal)."""

    ratio: float
    bars: int
    skewness: float
    kurtosis: float

    @classmethod
    def of(cls, returns: Array) -> "TrackRecord | None":
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


def expected_maximum(deviation: float, trials: int) -> float:
    """Return the highest ratio to expect of so many trials without skill whose ratios have this standard deviation."""
    if trials < 2:
        return 0.0
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return deviation * float((1 - np.euler_gamma) * first + np.euler_gamma * second)
