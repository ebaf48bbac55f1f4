"""The probability of backtest overfitting: whether the best of what was tried was but luck."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from backtests.simulation.vectorised import Array
from model.bars.faults import count

FEWEST_TRIALS = 10  # of fewer, ranks say too little
MOST_BLOCKS, FEWEST_BLOCKS = 16, 4  # 12,870 splits into halves, and 6
FEWEST_DATES = 10  # of a block, so that a Sharpe ratio over half of the blocks means something
NOTHING = 1e-12  # of the mean square: the variance that rounding leaves where nothing varies


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """The probability of backtest overfitting over the trials, and what it rests on.

    Parameters
    ----------
    probability
        Of how many splits of the dates into halves the trial that is best on one half is no better
        than the middle one on the other, a share; None for fewer than ten trials or too few common
        dates.
    trials, dates
        How many trials were compared, on how many dates that all of them have.
    blocks
        Into how many stretches the dates were cut, 0 where there is no probability.
    sentence
        The same in words.
    """

    probability: float | None
    trials: int
    dates: int
    blocks: int
    sentence: str


def overfitting_probability(trials: Sequence[pd.Series]) -> Overfitting:
    """Return the probability that choosing the best of these trials was overfitting.

    By combinatorially symmetric cross-validation: the common dates are cut into 16 contiguous
    blocks, of fewer than 160 dates into fewer, an even number with ten dates or more each. Every
    half of the blocks is once the sample in which the trial with the highest Sharpe ratio is
    chosen, and the other half shows what the choice was worth.

    trials: the net returns of each, by the timestamp of the decision. Source: Bailey, Borwein,
    Lopez de Prado and Zhu, The probability of backtest overfitting, Journal of Computational
    Finance 20 (2017).
    """
    common = pd.concat(trials, axis=1, join="inner")
    dates = len(common)
    blocks = min(MOST_BLOCKS, dates // FEWEST_DATES // 2 * 2)
    probability, lack = None, ""
    if len(trials) < FEWEST_TRIALS:
        lack = f"{count(len(trials), 'trial')}; ten are needed"
    elif blocks < FEWEST_BLOCKS:
        needed = FEWEST_BLOCKS * FEWEST_DATES
        lack = f"{len(trials)} trials have {dates} dates in common; {needed} are needed"
    else:
        found = out_of_sample_logits(common.to_numpy(float), blocks)
        probability = float(np.mean(found <= 0))
    return Overfitting(
        probability=probability,
        trials=len(trials),
        dates=dates,
        blocks=0 if probability is None else blocks,
        sentence=(
            f"probability of backtest overfitting: {lack}"
            if probability is None
            else _sentence(probability, len(trials), dates, blocks)
        ),
    )


def out_of_sample_logits(returns: Array, blocks: int) -> Array:
    """Return how well the best trial of each half of the dates ranks on the other half.

    Parameters
    ----------
    returns
        Net returns of all trials on common dates, in time order: (dates, trials).
    blocks
        An even number. Where the dates do not divide by it, some blocks have one more.

    Returns
    -------
    array
        The logit of the relative rank, above 0 where it is above the median: (splits,). Trials with
        equal Sharpe ratios have their mean rank; where several are best on one half, it is the mean
        of their ranks on the other. Returns that do not vary have a ratio of 0.
    """
    edges = np.arange(blocks + 1) * len(returns) // blocks
    sums = np.add.reduceat(returns, edges[:-1], axis=0)
    squares = np.add.reduceat(returns**2, edges[:-1], axis=0)
    lengths = np.diff(edges)
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    # Block by block rather than by a product of matrices, whose order of summing may differ from
    # column to column: trials with equal returns must stay equal to the last bit.
    columns = halves.T
    n = sum(lengths[column] for column in columns)[:, None]
    total = sum(sums[column] for column in columns)
    square = sum(squares[column] for column in columns)
    variance = (square - total**2 / n) / (n - 1)
    varying = variance > NOTHING * square / n
    ratios = np.where(varying, total / n / np.sqrt(np.where(varying, variance, 1.0)), 0.0)
    # In the order of `combinations`, the other half of the first split is the last one, and so on.
    ranks = rankdata(ratios[::-1], axis=1)
    best = ratios == ratios.max(axis=1, keepdims=True)
    relative = (ranks * best).sum(axis=1) / best.sum(axis=1) / (returns.shape[1] + 1)
    logits: Array = np.log(relative / (1 - relative))
    return logits


def _sentence(probability: float, trials: int, dates: int, blocks: int) -> str:
    words = (
        f"probability of backtest overfitting {100 * probability:.0f} %: in so many of the ways to "
        f"halve {dates:,} common dates, the best of {trials} trials on one half was no better than "
        "the middle one on the other; where none has skill it is about 50 %"
    )
    few = f" (the dates are few: {blocks} blocks instead of {MOST_BLOCKS})"
    return words if blocks == MOST_BLOCKS else words + few
