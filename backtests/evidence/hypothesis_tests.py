"""Hypothesis tests of forecasts and returns: direction, losses, timing, and the best of many.

Each returns a p-value, or None where there is nothing to test: a forecast that never changes,
returns that do not vary.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kurtosis, norm, skew, t

from backtests.evidence.bootstrap import NOUGHT
from backtests.simulation.vectorised import net_returns
from model.metrics import sharpe

Array = NDArray[np.float64]

SHIFTS = 200  # the smallest p-value that they can show is 1 / 201
FAMILY_ERROR = 0.05  # the chance that any of the names of `outstanding` is wrong
# How near to 0 and 1 a probability may come: one that was certain and wrong would make the mean of
# all log losses infinite.
CERTAINTY = 1e-6


def pesaran_timmermann(labels: Array, forecast: Array) -> tuple[float, float] | None:
    """Test whether directions are forecast better than an independent forecast would.

    labels, forecast: 0/1, (n,). Returns the statistic and its one-sided p-value; None where one of
    them has one class only, so that there is no direction to test. Under drift the share of hits
    alone says nothing: here it is held against what the two shares of "up" give by chance. Source:
    Pesaran and Timmermann, A simple nonparametric test of predictive performance, JBES 10 (1992).
    """
    n = len(labels)
    if n < 2 or np.ptp(labels) == 0 or np.ptp(forecast) == 0:
        return None
    observed_up, forecast_up = float(np.mean(labels)), float(np.mean(forecast))
    hits = float(np.mean(labels == forecast))
    expected = observed_up * forecast_up + (1 - observed_up) * (1 - forecast_up)
    variance_hits = expected * (1 - expected) / n
    variance_expected = (
        (2 * observed_up - 1) ** 2 * forecast_up * (1 - forecast_up)
        + (2 * forecast_up - 1) ** 2 * observed_up * (1 - observed_up)
        + 4 * observed_up * forecast_up * (1 - observed_up) * (1 - forecast_up) / n
    ) / n
    # Of a few forecasts the second may exceed the first: then there is no statistic.
    if variance_hits <= variance_expected:
        return None
    statistic = (hits - expected) / math.sqrt(variance_hits - variance_expected)
    return statistic, float(norm.sf(statistic))


def diebold_mariano(loss: Array, other: Array, horizon: int = 1) -> tuple[float, float] | None:
    """Test whether two forecasts' losses, (n,) by decision, differ in the mean.

    Returns the statistic, below 0 where the first loses less, and its two-sided p-value; None where
    the difference does not vary. Losses of overlapping outcomes are correlated over `horizon` bars,
    which the variance takes in. Sources: Diebold and Mariano (1995), with the small-sample
    correction and Student's t of Harvey, Leybourne and Newbold (1997).
    """
    difference = loss - other
    n, centred = len(difference), difference - difference.mean()
    covariances = [float(centred[lag:] @ centred[: n - lag]) / n for lag in range(horizon)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / n
    # Equal losses; with overlap the estimate may also fall below 0.
    if variance <= 1e-30:
        return None
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    statistic = correction * float(difference.mean()) / math.sqrt(variance)
    return statistic, float(2 * t.sf(abs(statistic), n - 1))


def log_losses(labels: Array, probabilities: Array) -> Array:
    """Return the log loss of each decision, (n,)."""
    probabilities = np.clip(probabilities, CERTAINTY, 1 - CERTAINTY)
    losses: Array = -np.where(labels > 0.5, np.log(probabilities), np.log1p(-probabilities))
    return losses


def shifted_means(directions: Array, moves: Array, cost: float, count: int = SHIFTS) -> Array:
    """Return the mean net returns of the directions, moved along the bars, round the end.

    There is one mean for each of `count` evenly spaced distances. Exposure and turnover stay (but
    for the border), only the timing goes: what luck earns with such positions.
    """
    # Without both ends of the grid: there the positions are not shifted at all.
    distances = np.unique(np.linspace(0, len(directions), count + 2).astype(int)[1:-1])
    shifted = np.stack([np.roll(directions, distance) for distance in distances])
    means: Array = net_returns(shifted, moves, cost).mean(axis=-1)
    return means


class Superiority(NamedTuple):
    """Hansen's test: its p-value, and the mean gain that would have had p = .05.

    critical: in standard deviations of a gain; a series by itself needs more than this.
    """

    p: float
    critical: float


def in_own_deviations(gains: Mapping[str, Array]) -> pd.DataFrame:
    """Return each series in units of its own standard deviation, a column each.

    What does not vary is left out. Of gains as they are the most volatile series would decide
    alone, and an edge on a quiet instrument would be lost among wild ones.
    """
    varying = {name: gain / gain.std() for name, gain in gains.items() if np.ptp(gain) > NOUGHT}
    # A table without columns has rows all the same: there is nothing to test then, but to draw.
    return pd.DataFrame(varying, index=range(max(map(len, gains.values()), default=0)))


def superiority(gains: pd.DataFrame, means: Array, block: int) -> Superiority | None:
    """Test whether none of the series gains anything, however many were tried.

    It is the consistent version of the test for superior predictive ability.

    Parameters
    ----------
    gains
        Of `in_own_deviations`: (n, k).
    means
        Of `Bootstrap.draw`, the mean of each series: (k, 1 + resamples).
    block
        Mean length of the resamples' blocks, in rows.

    Returns
    -------
    Superiority or None
        None where there is no series. Source: Hansen, A test for superior predictive ability, JBES
        23 (2005).
    """
    if gains.empty:
        return None
    found = gains.to_numpy().mean(axis=0)
    best = _centred(gains, means, block).max(axis=0)
    critical = float(np.quantile(best, 1 - FAMILY_ERROR))
    # What was found is one of the ways in which it could have come: no p-value is 0.
    beaten = int((best > found.max()).sum())
    return Superiority((1 + beaten) / (1 + len(best)), critical)


def outstanding(gains: pd.DataFrame, means: Array, block: int) -> list[str]:
    """Return the names of the series that gain, arguments as of `superiority`.

    The chance that any of them is named wrongly is 5 %, however many were tried. Source: Romano
    and Wolf, Stepwise multiple testing as formalized data snooping, Econometrica 73 (2005).
    """
    if gains.empty:
        return []
    found, centred = gains.to_numpy().mean(axis=0), _centred(gains, means, block)
    named = np.zeros(len(found), dtype=bool)
    # Each step tests those that are left, against the best by luck of as many.
    while not named.all():
        critical = np.quantile(centred[~named].max(axis=0), 1 - FAMILY_ERROR)
        better = ~named & (found > critical)
        if not better.any():
            break
        named |= better
    return [str(name) for name in gains.columns[named]]


def _centred(gains: pd.DataFrame, means: Array, block: int) -> Array:
    """Return the resampled means less those found, as if no series gained: (k, resamples).

    A series that lies far below 0 is left where it is: it cannot be the best by luck.
    """
    values = gains.to_numpy()
    found, n = values.mean(axis=0), len(values)
    variance = _bootstrap_variance(values - found, block)
    relevant = found >= -np.sqrt(np.maximum(variance, 0) / n * 2 * np.log(np.log(n)))
    centred: Array = means[:, 1:] - np.where(relevant, found, 0.0)[:, None]
    return centred


def _bootstrap_variance(centred: Array, block: int) -> Array:
    """Return the variance that the stationary bootstrap gives the mean, times n: (n, k) -> (k,).

    Source: Politis and Romano (1994), lemma 1: autocovariances, weighted by how often a lag stays
    within a block.
    """
    n, lags = len(centred), np.arange(1, len(centred))
    stays = 1 - 1 / block
    weights = (1 - lags / n) * stays**lags + lags / n * stays ** (n - lags)
    # The sums of products at all lags at once, by the Fourier transform of the padded series.
    power = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
    products = np.fft.irfft(power, 2 * n, axis=0)[:n]
    variance: Array = (products[0] + 2 * weights @ products[1:]) / n
    return variance


@dataclass(frozen=True)
class SharpeRatio:
    """An estimated Sharpe ratio per bar, and what its certainty depends on.

    That is the number of bars, skewness, and kurtosis (3 for a normal distribution). Sources:
    Bailey and Lopez de Prado, The Sharpe ratio efficient frontier, Journal of Risk 15 (2012), for
    the probability and the length needed; the same, The deflated Sharpe ratio, Journal of Portfolio
    Management 40 (2014), for the best of many trials.
    """

    ratio: float
    bars: int
    skewness: float
    kurtosis: float

    @classmethod
    def of(cls, returns: Array) -> "SharpeRatio | None":
        """Return the record of bar returns (n,); None where they do not vary."""
        ratio = sharpe(returns, bars_per_year=1.0)
        if ratio is None:
            return None
        return cls(
            ratio, len(returns), float(skew(returns)), float(kurtosis(returns, fisher=False))
        )

    @property
    def spread(self) -> float:
        """The variance of the ratio's estimate, times the number of bars less one."""
        return 1 - self.skewness * self.ratio + (self.kurtosis - 1) / 4 * self.ratio**2

    def probability_above(self, threshold: float = 0.0) -> float:
        """Return the probabilistic Sharpe ratio: that the true ratio lies above the threshold."""
        return float(norm.cdf((self.ratio - threshold) * math.sqrt((self.bars - 1) / self.spread)))

    def bars_needed(self, threshold: float = 0.0, confidence: float = 0.95) -> float:
        """Return the minimum track record length for that confidence, in bars.

        Infinite at or below the threshold: there a longer record of the same kind shows nothing
        either.
        """
        if self.ratio <= threshold:
            return math.inf
        return 1 + self.spread * (float(norm.ppf(confidence)) / (self.ratio - threshold)) ** 2


def expected_maximum(deviation: float, trials: int) -> float:
    """Return the highest Sharpe ratio to expect of so many trials without skill.

    deviation: the standard deviation of the trials' ratios.
    """
    if trials < 2:
        return 0.0
    # The two quantiles of the normal between which its largest of so many lies, by Gumbel's law.
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return deviation * float((1 - np.euler_gamma) * first + np.euler_gamma * second)
