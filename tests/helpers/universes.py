"""Universes for tests: random walks by name, of which no two have the same dates.

And the settings of a short training on them.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from model.training.config import TrainConfig
from tests.helpers import small_network  # noqa: F401  makes the architecture known
from tests.helpers.makers import COLUMNS, random_bars

NAMES = [f"n{number:02}" for number in range(12)]
SHORT = TrainConfig(
    architecture="small", max_epochs=1, batch_size=32, sequence_length=10, fewest_instruments=4
)
RELATIVE = replace(SHORT, outcome="relative")
ALONE = replace(SHORT, fewest_instruments=1)


def random_universe(names: list[str] = NAMES, count: int = 300) -> dict[str, pd.DataFrame]:
    """Walks over the same days, each of its own."""
    return {name: random_bars(count, seed=number) for number, name in enumerate(names)}


def unbalanced_universe() -> dict[str, pd.DataFrame]:
    """Walks of which some begin late, end early, miss bars, halt, or rest on weekends."""
    universe = random_universe()
    index = universe["n00"].index
    universe["n03"] = universe["n03"].iloc[80:]
    universe["n04"] = universe["n04"].iloc[:235]
    universe["n05"] = universe["n05"].drop(index[[150, 151, 200]])
    # Over both borders: what is decided before has an outcome long after.
    universe["n06"] = universe["n06"].drop(index[225:258])
    universe["n07"] = universe["n07"].drop(index[262:268])
    for name in ("n08", "n09"):
        universe[name] = universe[name][index.day_of_week < 5]
    return universe


def reverting_universe(
    count: int = 900, names: int = 8, seed: int = 1, common: float = 0.02
) -> dict[str, pd.DataFrame]:
    """Instruments whose own moves turn back, under a move that all have in common."""
    draw = np.random.default_rng(seed)
    shared, own = draw.normal(0, common, count), draw.normal(0, 0.01, (names, count))
    for bar in range(1, count):
        own[:, bar] -= 0.5 * own[:, bar - 1]
    universe = {}
    for number in range(names):
        moves = shared + own[number]
        close = 100 * np.exp(np.cumsum(moves))
        open = np.r_[100.0, close[:-1]] * np.exp(draw.normal(0, 1e-4, count))
        high, low = np.maximum(open, close) * 1.001, np.minimum(open, close) * 0.999
        values = np.column_stack((open, high, low, close, draw.integers(1_000, 9_000, count)))
        dates = pd.date_range("2020-01-01", periods=count, name="date", unit="ns")
        universe[f"r{number:02}"] = pd.DataFrame(values, dates, columns=COLUMNS)
    return universe
