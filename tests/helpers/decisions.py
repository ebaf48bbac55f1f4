"""Decisions whose skill is known."""

import numpy as np
import pandas as pd

from backtests.evidence.decisions import Decisions
from backtests.simulation.vectorised import directions


def planted_decisions(
    skill: float,
    *,
    seed: int = 1,
    n: int = 2_000,
    drift: float = 0.0,
    cost: float = 1e-4,
    timestamps: pd.DatetimeIndex | None = None,
) -> Decisions:
    """Noise of 1 % a bar of which the probability knows a part, from none (0) to much (1)."""
    draw = np.random.default_rng(seed)
    known = draw.normal(0, 1, n)
    moves = 0.01 * (drift + skill * known + draw.normal(0, 1, n))
    probability = 0.5 + 0.1 * np.tanh(known)
    return Decisions(
        labels=(moves > 0).astype(float),
        probability=probability,
        moves=moves,
        strategy=directions(probability, enter=0.5, exit=0.5, allow_short=True),
        benchmarks={"buy-and-hold": np.ones(n), "last return": np.sign(np.roll(moves, 1))},
        forecasts={"logistic": np.full(n, 0.51)},
        folds=np.arange(n) * 4 // n,
        ties=np.zeros(n, dtype=bool),
        # Prices that do not jump: an order fills where it was decided.
        fills={"open": moves, "close": moves},
        cost=cost,
        bars_per_year=252,
        decided_at=pd.DatetimeIndex([]) if timestamps is None else timestamps,
    )
