"""A walk-forward in PyBroker with a plain training function: a rival of the benchmark."""

import importlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.benchmarks import plain
from backtests.benchmarks.features import PandasTools, usual_features
from backtests.benchmarks.rounds import Round, Work
from model.bars.sample import sample_bars
from model.features.table import FEATURE_NAMES, LOOKBACK
from model.runtime import torch_threads

EPOCHS = 2
TRAIN_SHARE = 0.7
FEATURES = list(FEATURE_NAMES)
# How PyBroker cuts so many bars, less the first hundred that have no features: windows, and bars to
# train and to test on.
CUTS = {5_031: (4, 1_815, 776), 1_200: (2, 592, 252)}


def walk_pybroker(bars: int) -> Round:
    """Return features in pandas, training by the plain loop, and trades by PyBroker's engine."""

    def play(number: int) -> Work:
        pybroker = importlib.import_module("pybroker")  # an optional extra
        # What it prints would be part of its time.
        pybroker.disable_logging()
        pybroker.disable_progress_bar()
        pybroker.register_columns(FEATURES)
        frame = with_features(sample_bars().iloc[-bars:])
        strategy = pybroker.Strategy(frame, frame["date"].iloc[0], frame["date"].iloc[-1])
        learner = Learner()
        model = pybroker.model("lstm", learner.train, predict_fn=learner.predict)
        strategy.add_execution(hold_while_likely, ["bars"], models=model)
        with torch_threads(1):
            # lookahead=1: as in our purge, the label of the last training bar is known in time.
            strategy.walkforward(windows=CUTS[bars][0], train_size=TRAIN_SHARE, lookahead=1)
        return Work(1, learner.losses)

    return play


def with_features(bars: pd.DataFrame) -> pd.DataFrame:
    known = pd.concat([bars, usual_features(bars, PandasTools())], axis=1).iloc[LOOKBACK - 1 :]
    return known.reset_index().assign(symbol="bars")


class Learner:
    """Trains on a window's past and predicts its test bars."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._fitted = np.empty((0, len(FEATURES)))

    def train(
        self, symbol: str, train_data: pd.DataFrame, test_data: pd.DataFrame
    ) -> plain.PlainLSTM:
        features = train_data[FEATURES].to_numpy()
        labels = plain.next_opens_rise(train_data["open"].to_numpy())[plain.LENGTH - 1 : -2]
        training, validation, self._fitted = plain.parts_of(features, labels)
        network, losses = plain.train(plain.start_weights(), training, validation, EPOCHS)
        self.losses.append(losses[-1])
        return network

    def predict(self, network: plain.PlainLSTM, data: pd.DataFrame) -> NDArray[np.float64]:
        rows = plain.standardised(data[FEATURES].to_numpy(), self._fitted)
        return np.concatenate((np.full(plain.LENGTH - 1, np.nan), plain.predict(network, rows)))


def hold_while_likely(context: Any) -> None:
    likely, held = context.preds("lstm")[-1] >= 0.5, context.long_pos()
    if likely and not held:
        context.buy_shares = context.calc_target_shares(0.95)
    elif held and not likely:
        context.sell_all_shares()
