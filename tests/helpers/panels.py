"""Panels of decisions over a universe whose skill is known, and small universes of bars."""

import numpy as np
import pandas as pd

from backtests.evidence.panel import DECAY, Panel
from tests.helpers.makers import random_bars


def planted_panel(
    skill: float,
    *,
    seed: int = 1,
    dates: int = 400,
    names: int = 20,
    outcome: str = "relative",
    drift: float = 0.0,
    rival: float = 0.0,
) -> Panel:
    """Moves of 1 % with a common part, of which a forecast knows some of each name's own part.

    skill, rival: how much the strategy and "logistic" know, from none (0) to much (1).
    """
    draw = np.random.default_rng(seed)
    shape = (dates, names)
    known, other, own = (draw.normal(0, 1, shape) for _ in range(3))
    common = draw.normal(0, 1, (dates, 1))
    moves = 0.01 * (drift + common + skill * known + rival * other + own)
    above = moves > (np.median(moves, axis=1, keepdims=True) if outcome == "relative" else 0)
    scores = {
        "strategy": 0.5 + 0.1 * np.tanh(known),
        "logistic": 0.5 + 0.1 * np.tanh(other),
        "reversal": draw.normal(0, 1, shape),
    }
    later = {
        bars: moves if bars == 1 else moves + 0.01 * draw.normal(0, bars, shape) for bars in DECAY
    }
    held = {name: (score > np.median(score)).astype(float) for name, score in scores.items()}
    return Panel(
        dates=pd.date_range("2020-01-01", periods=dates, freq="D"),
        names=[f"n{number:02d}" for number in range(names)],
        folds=1 + np.arange(dates) * 4 // dates,
        scores=scores,
        probabilities=frozenset({"strategy", "logistic"}),
        labels=above.astype(float),
        moves={"open": moves, "close": moves},
        later=later,
        outcome=outcome,
        horizon=1,
        bars_per_year=252,
        held=held if outcome == "direction" else {},
    )


def random_universe(names: int = 4, bars: int = 400, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Random walks on the same dates, by name."""
    universe = {}
    for number in range(names):
        name = f"n{number}"
        universe[name] = random_bars(bars, seed=100 * seed + number)
        universe[name].attrs["instrument"] = name
    return universe
