"""Strategies whose verdict is known beforehand, through all of Backtrader."""

from collections import Counter
from collections.abc import Callable

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from backtests.analyzers import StrategyEvidence
from strategy_plugin import EquityShare, FractionalCommission
from tests.helpers.makers import random_bars

SEEDS = 200  # of coins; in 95 % of them the verdict may neither be "edge" nor "worse"


class Canary(bt.Strategy):
    """Holds at each bar what a list says, decided at its close."""

    params = (("wanted", ()),)

    def next(self):
        wanted, held = self.p.wanted[len(self) - 1], np.sign(self.position.size)
        if wanted != held:
            self.close()
            if wanted:
                self.buy() if wanted > 0 else self.sell()


def word(bars: pd.DataFrame, wanted: np.ndarray, commission: float = 2e-4) -> str:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars))
    cerebro.addstrategy(Canary, wanted=tuple(wanted.tolist()))
    cerebro.addsizer(EquityShare, share=0.9)
    cerebro.addanalyzer(StrategyEvidence, _name="evidence")
    cerebro.broker.addcommissioninfo(FractionalCommission(commission=commission))
    cerebro.broker.setcash(100_000)
    [strategy] = cerebro.run()
    return str(strategy.analyzers.evidence.get_analysis()["verdict"]["word"])


def moves(bars: pd.DataFrame) -> np.ndarray:
    """What a position decided at each close earns, from the next open to the one after."""
    opens = bars["open"].to_numpy()
    return np.append(opens[2:] / opens[1:-1] - 1, [0.0, 0.0])


def right_in(share: float) -> Callable[[pd.DataFrame], np.ndarray]:
    def wanted(bars: pd.DataFrame) -> np.ndarray:
        right = np.random.default_rng(1).random(len(bars)) < share
        return np.where(right, 1, -1) * np.sign(moves(bars))

    return wanted


CANARIES = {
    "oracle": (right_in(1.0), 2e-4, "edge"),
    "oracle of three days in five": (right_in(0.6), 0.0, "edge"),
    "anti-oracle": (right_in(0.0), 2e-4, "worse"),
    "never": (lambda bars: np.zeros(len(bars)), 2e-4, "no edge"),
    "always long": (lambda bars: np.ones(len(bars)), 2e-4, "no edge"),
    "flips every bar": (lambda bars: np.arange(len(bars)) % 2 * 2 - 1, 5e-4, "worse"),
}


@pytest.mark.parametrize("name", CANARIES)
def test_a_canary_gets_its_word(name: str) -> None:
    wanted, commission, expected = CANARIES[name]
    # What it loses to costs, and to holding, shows on some more bars alone.
    bars = random_bars(5_000 if name == "flips every bar" else 1_200, seed=4)
    assert word(bars, wanted(bars), commission) == expected


def words_of_coins(seeds: int) -> Counter[str]:
    return Counter(
        word(
            random_bars(400, seed=seed),
            # Held for five bars in the mean, at no cost: neither skill nor its lack.
            np.repeat(np.random.default_rng(seed).integers(0, 2, 80), 5),
            commission=0.0,
        )
        for seed in range(seeds)
    )


def test_a_coin_gets_neither_edge_nor_worse() -> None:
    words = words_of_coins(20)
    assert words["edge"] + words["worse"] <= 3  # more come in one case of 6 million at 5 %


@pytest.mark.slow
def test_of_many_coins_hardly_any_gets_either() -> None:
    words = words_of_coins(SEEDS)
    assert words["edge"] + words["worse"] <= 0.05 * SEEDS
