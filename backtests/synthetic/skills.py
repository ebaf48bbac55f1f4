"""Decisions whose true alpha is known: what a verdict says of them can be right or wrong.

No bars and no training: moves whose volatility clusters and whose shocks have fat tails, and a
position taken with a known skill, or with none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from backtests.evidence.alpha import CHANCE, HOLD
from backtests.evidence.decisions import Decisions
from backtests.simulation.vectorised import Array
from model.metrics import auc

MOVE = 0.01  # the usual size of a move
STAYS, SPREAD = 0.97, 0.1  # of the logarithm of volatility, from one decision to the next
TAILS = 5  # degrees of freedom of a shock
DAYS = 252  # decisions a year
FOLD = 305  # decisions of a fold
TRUTH = 1_000_000  # decisions of which the true figures are taken
COST = 2e-4  # per side, where a cell pays any


class Moves(NamedTuple):
    """Moves, the mean of each given what was known before, and that knowledge: (n,) each.

    volatility: of each move, 1 at its usual.
    """

    moves: Array
    expected: Array
    known: Array
    volatility: Array


Position = Callable[[Moves, np.random.Generator], Array]


@dataclass(frozen=True)
class Cell:
    """A way to decide, and the market it decides on.

    position: directions of moves, known or not. skill: the correlation of a move with what was
    known of it before. forecasts: whether the decisions come with probabilities. drift: mean move.
    cost: per side, a fraction.
    """

    name: str
    position: Position
    skill: float = 0.0
    forecasts: bool = True
    drift: float = 0.0
    cost: float = 0.0


def _long_or_flat(moves: Moves, draw: np.random.Generator) -> Array:
    return (moves.known > 0).astype(float)


def _coin(moves: Moves, draw: np.random.Generator) -> Array:
    return draw.integers(0, 2, len(moves.moves)).astype(float)


DRIFT = 0.0003  # 7.5 % a year
CELLS = (
    Cell("coin", _coin),
    Cell("coin that pays 2 bp", _coin, drift=DRIFT, cost=COST),
    Cell("always long", lambda moves, draw: np.ones(len(moves.moves)), drift=DRIFT),
    Cell("always short", lambda moves, draw: -np.ones(len(moves.moves)), drift=DRIFT),
    # Holds while volatility is low: it knows the size of moves, and nothing of their direction.
    Cell(
        "volatility timer",
        lambda moves, draw: (moves.volatility < 1).astype(float),
        forecasts=False,
        drift=DRIFT,
    ),
    Cell("coin under drift", _coin, drift=DRIFT),
    Cell("skill .02", _long_or_flat, skill=0.02, drift=DRIFT),
    Cell("skill .05", _long_or_flat, skill=0.05, drift=DRIFT),
    Cell("skill .1", _long_or_flat, skill=0.1, drift=DRIFT),
    Cell("skill .1 that pays 2 bp", _long_or_flat, skill=0.1, drift=DRIFT, cost=COST),
)


class Truth(NamedTuple):
    """The true figures of a cell: per decision, fractions; auc None where nothing is forecast."""

    alpha: float
    gain: float
    timing: float
    auc: float | None


def moves_in(cell: Cell, n: int, draw: np.random.Generator) -> Moves:
    """Return n moves of a cell's market."""
    volatility = np.exp(lfilter([1], [1, -STAYS], draw.normal(0, SPREAD, n)))
    known = draw.standard_normal(n)
    shock = draw.standard_t(TAILS, n) / np.sqrt(TAILS / (TAILS - 2))
    expected = cell.drift + MOVE * volatility * cell.skill * known
    moves = expected + MOVE * volatility * np.sqrt(1 - cell.skill**2) * shock
    return Moves(moves, expected, known, volatility)


def decisions_in(cell: Cell, n: int, seed: int) -> Decisions:
    """Return n decisions of a cell; the same seed gives the same."""
    draw = np.random.default_rng(seed)
    moves = moves_in(cell, n, draw)
    # Of what knows nothing, a probability that says nothing.
    probability = ndtr(0.2 * moves.known) if cell.forecasts else np.full(n, np.nan)
    return Decisions(
        labels=(moves.moves > 0).astype(float),
        probability=probability,
        moves=moves.moves,
        strategy=cell.position(moves, draw),
        benchmarks={HOLD: np.ones(n)},
        forecasts={},
        folds=np.arange(n) // FOLD,
        ties=np.zeros(n, dtype=bool),
        # Prices that do not jump: an order fills where it was decided.
        fills={"open": moves.moves, "close": moves.moves},
        cost=cell.cost,
        bars_per_year=DAYS,
    )


def truth_of(cell: Cell, n: int = TRUTH, seed: int = 0) -> Truth:
    """Return the true figures of a cell, from so many decisions that chance hardly matters.

    What positions earn is taken from the means of the moves, without their shocks.
    """
    draw = np.random.default_rng(seed)
    moves = moves_in(cell, n, draw)
    held = cell.position(moves, draw)
    cost = cell.cost * float(np.abs(np.diff(held, prepend=0.0)).mean())
    earned, market = float((held * moves.expected).mean()), float(moves.expected.mean())
    beta = float(np.cov(held * moves.moves, moves.moves, bias=True)[0, 1] / moves.moves.var())
    labels = (moves.moves > 0).astype(float)
    # Without skill an AUC is one half, whatever a sample says.
    area = auc(labels, moves.known) if cell.skill else CHANCE
    return Truth(
        alpha=earned - cost - beta * market,
        gain=earned - cost - market,
        timing=float(np.cov(held, moves.expected, bias=True)[0, 1]),
        auc=area if cell.forecasts else None,
    )
