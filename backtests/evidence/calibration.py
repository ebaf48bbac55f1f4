"""Calibration: how often "up" was observed where it was forecast, beside what chance would show.

A forecast that is exact still misses in every bin by chance: an expected calibration error of .04
means nothing on 1,000 windows. So every figure stands beside its null, simulated from y ~
Bernoulli(p).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BINS = 10
SIMULATIONS = 1_000
BAND = (0.025, 0.975)  # quantiles of 95 of 100 samples


@dataclass(frozen=True)
class Bin:
    """One bin of equal mass.

    The mean probability, the observed frequency of "up", and the band in which that lies by chance.
    """

    windows: int
    probability: float
    frequency: float
    low: float
    high: float

    @property
    def outside(self) -> bool:
        """Whether the frequency is not what exact probabilities show in 95 of 100 samples."""
        return not self.low <= self.frequency <= self.high


@dataclass(frozen=True)
class Reliability:
    """Bins of rising probability, and their expected calibration error.

    error_by_chance, error_limit: the mean and the 95th percentile of that error by chance alone.
    """

    bins: tuple[Bin, ...]
    error: float
    error_by_chance: float
    error_limit: float

    @property
    def outside(self) -> int:
        """How many bins lie outside their band; about one in twenty does by chance."""
        return sum(bin.outside for bin in self.bins)


def reliability(
    labels: Array,
    probabilities: Array,
    *,
    bins: int = BINS,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> Reliability:
    """Judge the calibration of probabilities of "up", in bins of equal mass.

    labels: 0 or 1, (n,); probabilities: (n,). The expected calibration error is the mean distance
    of frequency from probability over the bins, each by its windows. Raises ValueError for more
    bins than probabilities. Source: Brocker and Smith, Increasing the reliability of reliability
    diagrams, Weather and Forecasting 22 (2007).
    """
    groups = equal_mass(probabilities, bins)
    forecast = _bin_means(probabilities[None], groups)[0]
    observed = _bin_means(labels[None], groups)[0]
    random = np.random.default_rng(seed)
    # What exact probabilities would show. One simulation at a time, so that only the outcomes are
    # held in memory, not the numbers drawn for them.
    outcomes = [random.random(len(probabilities)) < probabilities for _ in range(simulations)]
    chance = _bin_means(np.stack(outcomes), groups)
    low, high = np.quantile(chance, BAND, axis=0)
    # Each bin counts by its windows, since sizes may differ by one.
    windows = np.array([len(group) for group in groups])
    mass = windows / len(probabilities)
    errors = np.abs(chance - forecast) @ mass
    figures = (windows, forecast, observed, low, high)
    return Reliability(
        tuple(Bin(*row) for row in zip(*(figure.tolist() for figure in figures), strict=True)),
        error=float(np.abs(observed - forecast) @ mass),
        error_by_chance=float(errors.mean()),
        error_limit=float(np.quantile(errors, 0.95)),
    )


def equal_mass(probabilities: Array, bins: int) -> list[NDArray[np.int64]]:
    """Return the positions of each bin, lowest probabilities first.

    The bins' sizes differ by one at most, even where all probabilities are equal. Raises ValueError
    for more bins than probabilities.
    """
    if not 1 <= bins <= len(probabilities):
        raise ValueError(
            f"`bins` must be from 1 to the {len(probabilities)} probabilities there are, "
            f"got {bins}. Ask for fewer."
        )
    # A stable sort: equal probabilities stay in time order, so that the bins are always the same.
    return np.array_split(np.argsort(probabilities, kind="stable"), bins)


def _bin_means(values: NDArray[np.generic], groups: Sequence[NDArray[np.int64]]) -> Array:
    """Return the mean of each bin: (rows, n) -> (rows, bins)."""
    return np.stack([values[:, group].mean(axis=1) for group in groups], axis=1)
