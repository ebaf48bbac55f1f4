"""What a feature of one's own costs beside our 86: a history, a training, a live bar.

Both sides of a row are ours, with ten columns more and without.
"""

import numpy as np
import pandas as pd

from backtests.benchmarks.engine import bars_of
from backtests.benchmarks.rounds import Round, Work
from model.checkpoint.buffer import FeatureBuffer
from model.features.own import known_feature
from model.features.registry import register_feature
from model.features.table import FEATURE_NAMES, FeatureEngineer
from model.training.config import TrainConfig
from model.training.fitting import fit

SPANS = range(2, 42, 4)
EPOCHS = 8


class Spans:
    """Ten columns as one writes them in pandas: the move over a span, in its own deviations."""

    name = "spans"
    lookback = 2 * max(SPANS) + 1

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        moves = np.log(bars["close"]).diff()
        return pd.DataFrame(
            {
                f"span_{span}": moves.rolling(span).sum() / moves.rolling(2 * span).std()
                for span in SPANS
            }
        )


def rows(bars: int) -> Round:
    """Return what computes all feature rows of a market with the ten columns."""
    engineer = FeatureEngineer([known_feature(Spans())])

    def play(number: int) -> Work:
        table = engineer.transform(bars_of(number, bars))
        # Ours are the same beside others, to the last bit.
        found = table[list(FEATURE_NAMES)].to_numpy()
        return Work(bars, found[:: max(1, bars // 50)].ravel().tolist())

    return play


def training(bars: int, own: str = "") -> Round:
    """Return a training of eight epochs, from the bars to the checkpoint."""
    if own:
        register_feature(Spans())
    # The audit of a feature costs the same however long a training is: of one epoch it is a fifth.
    config = TrainConfig(max_epochs=EPOCHS, patience=EPOCHS, features=own)

    def play(number: int) -> Work:
        fit(bars_of(number, bars), config)
        return Work(bars, [])

    return play


def live(bars: int, own: str = "") -> Round:
    """Return what makes the newest feature row as bars come one by one."""
    engineer = FeatureEngineer([known_feature(Spans())] if own else [])

    def play(number: int) -> Work:
        sample = bars_of(number, bars)
        buffer = FeatureBuffer(engineer=engineer)
        newest = []
        times = pd.DatetimeIndex(sample.index).as_unit("ns").asi8.tolist()
        for place, (time, bar) in enumerate(zip(times, sample.to_numpy(), strict=True), start=1):
            buffer.update(place, time, *bar)
            if buffer.ready:
                newest.append(buffer.window[-1, 0])
        return Work(len(newest), newest[:1_000])

    return play
