"""The features of a whole market, our engine and pandas: sides of the benchmark.

No torch here: its memory would be counted.
"""

from functools import cache

import pandas as pd

from backtests.benchmarks.features import PandasTools, usual_features
from backtests.benchmarks.rounds import Round, Work
from backtests.synthetic.markets import market
from model.features.table import LOOKBACK, FeatureEngineer

LATER = pd.Timedelta(days=365)  # bars to trade on come after those that the model has seen


@cache
def walk(bars: int) -> pd.DataFrame:
    sample = market("walk", bars).bars
    return sample.set_axis(sample.index + LATER)


def bars_of(number: int, bars: int) -> pd.DataFrame:
    """Return the bars of a round.

    Each has its own level, so that nothing remembered from the last one helps.
    """
    # Scaled prices: the features are those of the first round, what is cached of it is not.
    return walk(bars) * (1 + number / 1_000)


def features_ours(bars: int) -> Round:
    """Return what computes all feature rows of a market by our engine."""

    def play(number: int) -> Work:
        found = FeatureEngineer().transform(bars_of(number, bars)).to_numpy()
        return Work(bars, found[:: max(1, bars // 50)].ravel().tolist())

    return play


def features_pandas(bars: int) -> Round:
    """Return what computes the same in pandas."""

    def play(number: int) -> Work:
        found = usual_features(bars_of(number, bars), PandasTools()).to_numpy()[LOOKBACK - 1 :]
        return Work(bars, found[:: max(1, bars // 50)].ravel().tolist())

    return play
