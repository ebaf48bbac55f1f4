"""A live bar's way through Backtrader, and the network's forward alone, bar by bar in turn.

Sides of the benchmark.
"""

import time
from itertools import count

import backtrader as bt
import numpy as np
import torch

from backtests.benchmarks.engine import bars_of
from backtests.benchmarks.plain import LENGTH
from backtests.benchmarks.rounds import Sample, Samples, Size
from backtests.benchmarks.trading import (
    TRADING,
    WINDOW,
    calibrated,
    eager,
    feed_of,
    model,
    model_file,
    run,
)
from backtests.simulation.broker import WalkForwardStrategy
from model.features.table import FeatureEngineer
from model.runtime import torch_threads

WARM_UP = 20  # bars that are not counted


class LiveFeed(bt.feeds.PandasData):  # type: ignore[misc]
    """Bars as they come in live.

    Before each, the rival has its turn on the window of the bar before.
    """

    params = (("duel", None),)

    def islive(self) -> bool:
        return True

    def start(self) -> None:
        super().start()
        self.put_notification(self.LIVE)

    def _load(self) -> bool:
        self.p.duel.rival()
        self.p.duel.begin()
        return bool(super()._load())


class LiveStrategy(WalkForwardStrategy):
    """Says when it has decided."""

    params = (("duel", None),)  # type: ignore[assignment]  # Backtrader adds the parent's

    def next(self) -> None:
        super().next()
        self.p.duel.decided(self.traded[0].decision.reading.probability)


class LiveDuel:
    """A bar's way from its arrival to the decision, and the network's forward alone, in turn."""

    def __init__(self, bars: int) -> None:
        self.path, self.checkpoint, self.network = model_file(), model(), eager(model())
        self.sample = bars_of(0, bars)
        # Made beforehand: the rival's forward alone is measured, without features.
        rows = self.checkpoint.scaler.transform(FeatureEngineer().transform(self.sample).to_numpy())
        self.windows = [
            torch.from_numpy(rows[start : start + LENGTH])[None]
            for start in range(len(rows) - LENGTH + 1)
        ]
        self.ours: list[Sample] = []
        self.theirs: list[Sample] = []
        # Negative while the window fills: the rival has nothing to do before.
        self._turns = count(-WINDOW)  # the first window is whole after so many bars
        self._begun = (0.0, 0.0)

    def play(self) -> list[Samples]:
        with torch_threads(1):
            run(
                feed_of(self.sample, LiveFeed, duel=self),
                LiveStrategy,
                checkpoint=self.path,
                duel=self,
                **TRADING,
            )
        return [Samples(side[WARM_UP:]) for side in (self.ours, self.theirs)]

    def begin(self) -> None:
        self._begun = time.process_time(), time.perf_counter()

    def rival(self) -> None:
        turn = next(self._turns)
        if turn > 0:
            with torch.inference_mode():
                self.begin()
                logit = self.network(self.windows[turn - 1])
                took = self._taken()
            self.theirs.append(Sample(1, *took, output=[calibrated(float(logit), self.checkpoint)]))

    def decided(self, probability: float) -> None:
        if not np.isnan(probability):
            self.ours.append(Sample(1, *self._taken(), output=[probability]))

    def _taken(self) -> tuple[float, float]:
        cpu, wall = self._begun
        return time.process_time() - cpu, time.perf_counter() - wall


def live(size: Size) -> list[Samples]:
    return LiveDuel(size.ours).play()
