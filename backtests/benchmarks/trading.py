"""Backtests and sweeps in Backtrader, our way and as they are usually written.

Sides of the benchmark.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from backtests.benchmarks.engine import bars_of
from backtests.benchmarks.features import PandasTools, TalibTools, Tools, usual_features
from backtests.benchmarks.plain import LENGTH, PlainLSTM
from backtests.benchmarks.pybroker import SHARE
from backtests.benchmarks.rounds import Round, Work, scratch
from backtests.simulation.broker import WalkForwardStrategy, simulate
from backtests.synthetic.markets import market
from model.bars.faults import COLUMNS
from model.bars.universe import Universe
from model.checkpoint.checkpoint import Checkpoint
from model.features.table import LOOKBACK, FeatureEngineer
from model.networks.bilstm import BiLSTMClassifier, NetworkConfig
from model.runtime import torch_threads
from model.training.config import TrainConfig
from model.training.fitting import fit
from strategy_plugin.sizers import EquityShare
from strategy_plugin.strategy import BiLSTMStrategy

RUNS = 50
SMALL = NetworkConfig(hidden=4, layers=1)
TRADING: dict[str, Any] = {"enter": 0.5, "exit": 0.5}
Row = Callable[[bt.Strategy], NDArray[np.float64]]


@cache
def model_file() -> str:
    """Return the path of a network of the usual size, trained for an epoch.

    How good it is does not matter.
    """
    path = scratch() / "model.ckpt"
    if not path.exists():
        fit(market("echo", 600).bars, TrainConfig(max_epochs=1)).save(path)
    return str(path)


@cache
def model() -> Checkpoint:
    return Checkpoint.load(model_file())


@cache
def small_model_file() -> str:
    """Return the path of a network too small to hide what features, strategy and host cost."""
    path = scratch() / "small.ckpt"
    # Random weights: what they forecast does not matter here, only what it costs.
    torch.manual_seed(0)
    member = replace(
        model().members[0], network=SMALL, weights=BiLSTMClassifier(SMALL).state_dict()
    )
    replace(model(), members=(member,), golden=None).save(path)
    return str(path)


def trade_together(universe: Universe, folder: str) -> None:
    """Trade several instruments in one account by a folder of models for all of them."""
    cerebro = bt.Cerebro(stdstats=False)
    for name, bars in universe.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=bars), name=name)
    cerebro.addstrategy(BiLSTMStrategy, checkpoint=folder, **TRADING)
    cerebro.addsizer(EquityShare, share=SHARE)
    cerebro.broker.setcash(100_000)
    cerebro.run()


def backtest_ours(bars: int, precision: str = "fp32") -> Round:
    """Return a backtest over all bars at once, the network's arithmetic in a precision."""
    path = model_file()

    def play(number: int) -> Work:
        strategy = run(
            feed_of(bars_of(number, bars)),
            WalkForwardStrategy,
            checkpoint=path,
            precision=precision,
            **TRADING,
        )
        found = [strategy.probabilities.get(position, np.nan) for position in range(bars)]
        return Work(bars - LOOKBACK + 1, found)

    return play


def backtest_small(bars: int) -> Round:
    """Return the same with a small model."""
    path = small_model_file()

    def play(number: int) -> Work:
        return Work(bars, simulate(bars_of(number, bars), path).probability.tolist()[:1_000])

    return play


def backtest_pandas(bars: int) -> Round:
    """Return a strategy that computes its features at each bar with pandas."""
    return usual_backtest(bars, lambda sample: row_of(PandasTools()))


def backtest_talib(bars: int) -> Round:
    """Return a strategy that computes its features at each bar with TA-Lib."""
    return usual_backtest(bars, lambda sample: row_of(TalibTools()))


def backtest_precomputed(bars: int) -> Round:
    """Return a strategy that looks its features up and asks the network at each bar."""

    def rows_of(sample: pd.DataFrame) -> Row:
        features = FeatureEngineer().transform(sample).to_numpy()
        return lambda strategy: features[len(strategy.data) - LOOKBACK]

    return usual_backtest(bars, rows_of)


def usual_backtest(bars: int, rows_of: Callable[[pd.DataFrame], Row]) -> Round:
    decide = forward_of(model())

    def play(number: int) -> Work:
        sample = bars_of(number, bars)
        with np.errstate(all="ignore"), torch_threads(1):
            strategy = run(feed_of(sample), UsualStrategy, row=rows_of(sample), decide=decide)
        return Work(bars - LOOKBACK + 1, strategy.probabilities)

    return play


def row_of(tools: Tools) -> Row:
    """Return what makes the newest row of features from the last bars, as a frame."""

    def row(strategy: bt.Strategy) -> NDArray[np.float64]:
        columns = {name: getattr(strategy.data, name).get(size=LOOKBACK) for name in COLUMNS}
        index = pd.DatetimeIndex(
            [bt.num2date(stamp) for stamp in strategy.data.datetime.get(size=LOOKBACK)]
        )
        newest: NDArray[np.float64] = usual_features(
            pd.DataFrame(columns, index=index), tools
        ).to_numpy()[-1]
        return newest

    return row


def forward_of(checkpoint: Checkpoint) -> Callable[[NDArray[np.float64]], float]:
    """Return the way from a window of raw feature rows to a probability: one forward of torch's."""
    network = eager(checkpoint)

    def decide(window: NDArray[np.float64]) -> float:
        with torch.inference_mode():
            logit = float(network(torch.from_numpy(checkpoint.scaler.transform(window))[None]))
        return calibrated(logit, checkpoint)

    return decide


def eager(checkpoint: Checkpoint) -> PlainLSTM:
    member = checkpoint.members[0]
    network = PlainLSTM(**vars(member.network)).eval()
    network.load_state_dict(member.weights)
    return network


def calibrated(logit: float, checkpoint: Checkpoint) -> float:
    return float(1 / (1 + np.exp(-logit / checkpoint.members[0].temperature)))


class UsualStrategy(bt.Strategy):  # type: ignore[misc]
    """Asks a network at each bar and is long where a rise is likelier."""

    params = (("row", None), ("decide", None))

    def __init__(self) -> None:
        self.rows: deque[NDArray[np.float64]] = deque(maxlen=LENGTH)
        self.probabilities: list[float] = []

    def next(self) -> None:
        # Of fewer bars there is no row, and the window begins with the first.
        if len(self.data) >= LOOKBACK:
            self.rows.append(self.p.row(self))
        whole = len(self.rows) == LENGTH
        probability = self.p.decide(np.array(self.rows)) if whole else np.nan
        self.probabilities.append(probability)
        # An order only where the side changes, as the plugin sends them.
        if (probability >= 0.5) != (self.position.size > 0):
            self.order_target_percent(target=0.95 if probability >= 0.5 else 0.0)


def batch_mode(bars: int) -> Round:
    """Return our strategy where Backtrader computes all bars beforehand."""
    return our_run(bars, resampled=False)


def next_mode(bars: int) -> Round:
    """Return our strategy where a resampled feed has Backtrader go bar by bar."""
    return our_run(bars, resampled=True)


def our_run(bars: int, resampled: bool) -> Round:
    path = model_file()

    def play(number: int) -> Work:
        feed = feed_of(bars_of(number, bars))
        strategy = run(feed, WalkForwardStrategy, resampled, checkpoint=path, **TRADING)
        return Work(
            bars, [strategy.probabilities.get(position, np.nan) for position in range(WINDOW, bars)]
        )

    return play


WINDOW = LOOKBACK + LENGTH - 2  # bars before the first decision


def feed_of(
    sample: pd.DataFrame, kind: type[bt.feeds.PandasData] = bt.feeds.PandasData, **params: Any
) -> bt.feeds.PandasData:
    return kind(
        dataname=sample, timeframe=bt.TimeFrame.Minutes, compression=60, openinterest=None, **params
    )


def run(
    feed: bt.feeds.PandasData, strategy: type[bt.Strategy], resampled: bool = False, **params: Any
) -> Any:
    """Run one strategy over a feed, and over days made from it where that is asked for."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(feed)
    if resampled:
        # Such a feed keeps Backtrader from computing all bars beforehand.
        cerebro.resampledata(feed, timeframe=bt.TimeFrame.Days)
    cerebro.addstrategy(strategy, **params)
    return cerebro.run()[0]


def sweep_ours(bars: int) -> Round:
    """Return a sweep of as many thresholds of our strategy."""
    levels = np.linspace(
        0.77, 0.85, RUNS
    ).tolist()  # about as many orders as the crossings send: to Backtrader they are dear
    path = model_file()
    return sweep(bars, WalkForwardStrategy, checkpoint=path, enter=levels, exit=0.5)


def sweep_averages(bars: int) -> Round:
    """Return a sweep of as many crossings of two moving averages."""
    return sweep(bars, bt.strategies.MA_CrossOver, fast=range(5, 5 + RUNS), slow=100)


def sweep(bars: int, strategy: type[bt.Strategy], **params: Any) -> Round:
    def play(number: int) -> Work:
        # One process: what is compared is work, not cores.
        cerebro = bt.Cerebro(stdstats=False, maxcpus=1)
        cerebro.adddata(feed_of(bars_of(number, bars)))
        cerebro.optstrategy(strategy, **params)
        return Work(len(cerebro.run()))

    return play
