"""A walk-forward in PyBroker with a plain training function: a rival of the benchmark."""

import importlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.benchmarks import plain
from backtests.benchmarks.features import PandasTools, usual_features
from backtests.benchmarks.rounds import Round, Work
from backtests.synthetic.markets import market
from model.bars.sample import sample_bars
from model.features.table import FEATURE_NAMES, LOOKBACK
from model.runtime import torch_threads

EPOCHS = 2
TRAIN_SHARE = 0.7
FEATURES = list(FEATURE_NAMES)
# How PyBroker cuts so many bars, less the first hundred that have no features: windows, and bars to
# train and to test on.
NAMES = 8  # instruments of a pooled model: of as many windows a batch is eight whole dates
SHARE = 0.95  # of the account, in positions
CUTS = {5_031: (4, 1_815, 776), 1_200: (2, 592, 252)}


def walk_pybroker(bars: int) -> Round:
    """Return features in pandas, training by the plain loop, and trades by PyBroker's engine."""

    def play(number: int) -> Work:
        frame = with_features(sample_bars().iloc[-bars:])
        return Work(1, walked(frame, Learner(), CUTS[bars][0]))

    return play


def walk_pybroker_pooled(bars: int) -> Round:
    """Return the same over several instruments, of which PyBroker trains one model together."""

    def play(number: int) -> Work:
        frames = [with_features(own, name) for name, own in planted(NAMES, bars).items()]
        frame = pd.concat(frames, ignore_index=True)
        return Work(1, walked(frame, PooledLearner(), CUTS[bars][0]))

    return play


def planted(names: int, bars: int) -> dict[str, pd.DataFrame]:
    """Return histories of one law, by name, on daily bars of the same dates."""
    days = pd.date_range("1990-01-01", periods=bars, name="date")
    return {
        f"echo{seed:02d}": market("echo", bars, seed).bars.set_axis(days)
        for seed in range(1, names + 1)
    }


def walked(frame: pd.DataFrame, learner: "Learner | PooledLearner", windows: int) -> list[float]:
    """Return the last training loss of each window of a walk-forward in PyBroker."""
    pybroker = importlib.import_module("pybroker")  # an optional extra
    # What it prints would be part of its time.
    pybroker.disable_logging()
    pybroker.disable_progress_bar()
    pybroker.register_columns(FEATURES)
    dates = frame["date"]
    strategy = pybroker.Strategy(frame, dates.min(), dates.max())
    pooled = isinstance(learner, PooledLearner)
    model = pybroker.model("lstm", learner.train, predict_fn=learner.predict, pooled=pooled)
    symbols = sorted(set(frame["symbol"]))
    hold = partial(hold_while_likely, share=SHARE / len(symbols))
    strategy.add_execution(hold, symbols, models=model)
    with torch_threads(1):
        # lookahead=1: as in our purge, the label of the last training bar is known in time.
        strategy.walkforward(windows=windows, train_size=TRAIN_SHARE, lookahead=1)
    return learner.losses


def with_features(bars: pd.DataFrame, symbol: str = "bars") -> pd.DataFrame:
    known = pd.concat([bars, usual_features(bars, PandasTools())], axis=1).iloc[LOOKBACK - 1 :]
    return known.reset_index().assign(symbol=symbol)


class Learner:
    """Trains on a window's past and predicts its test bars."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._fitted = np.empty((0, len(FEATURES)))

    def train(
        self, symbol: str, train_data: pd.DataFrame, test_data: pd.DataFrame
    ) -> plain.PlainLSTM:
        features, labels = features_and_labels(train_data)
        training, validation, self._fitted = plain.parts_of(features, labels)
        network, losses = plain.train(plain.start_weights(), training, validation, EPOCHS)
        self.losses.append(losses[-1])
        return network

    def predict(self, network: plain.PlainLSTM, data: pd.DataFrame) -> NDArray[np.float64]:
        rows = plain.standardised(data[FEATURES].to_numpy(), self._fitted)
        return np.concatenate((np.full(plain.LENGTH - 1, np.nan), plain.predict(network, rows)))


class PooledLearner(Learner):
    """Trains on the past of all instruments together."""

    def train(
        self, symbols: Sequence[str], train_data: pd.DataFrame, test_data: pd.DataFrame
    ) -> plain.PlainLSTM:
        parts = [features_and_labels(own) for _, own in train_data.groupby("symbol")]
        features, labels = zip(*parts, strict=True)
        training, validation, self._fitted = plain.pooled_parts_of(features, labels)
        network, losses = plain.train(plain.start_weights(), training, validation, EPOCHS)
        self.losses.append(losses[-1])
        return network


def features_and_labels(data: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    labels = plain.next_opens_rise(data["open"].to_numpy())[plain.LENGTH - 1 : -2]
    return data[FEATURES].to_numpy(), labels


def hold_while_likely(context: Any, share: float) -> None:
    likely, held = context.preds("lstm")[-1] >= 0.5, context.long_pos()
    if likely and not held:
        context.buy_shares = context.calc_target_shares(share)
    elif held and not likely:
        context.sell_all_shares()
