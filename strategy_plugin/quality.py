"""How good probabilities turned out: pure functions of labels and probabilities; an undefined figure is None."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BINS = 10


def auc(labels: Array, probabilities: Array) -> float | None:
    """Return the chance that a bar that rose had the higher probability than one that did not; ties count half."""
    rose = labels == 1
    pairs = int(rose.sum()) * int((~rose).sum())
    if not pairs:
        return None
    _, place, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[
        place
    ]  # equal probabilities share their mean rank
    return float((ranks[rose].sum() - rose.sum() * (rose.sum() + 1) / 2) / pairs)


def brier(labels: Array, probabilities: Array) -> float | None:
    """Return the mean squared distance of probability and outcome."""
    return float(np.mean((probabilities - labels) ** 2)) if len(labels) else None


def hit_rate(labels: Array, directions: Array) -> float | None:
    """Return the share of the bars with a position wanted on which the market went its way."""
    chosen = directions != 0
    return (
        float(np.mean((directions[chosen] > 0) == (labels[chosen] == 1))) if chosen.any() else None
    )


def calibration(labels: Array, probabilities: Array) -> list[dict[str, float]]:
    """Return up to ten groups of neighbouring probabilities of equal size: their mean, how often up came true, how many."""
    order = np.argsort(probabilities, kind="stable")
    groups = [group for group in np.array_split(order, BINS) if len(group)]
    return [
        {
            "probability": float(probabilities[group].mean()),
            "frequency": float(labels[group].mean()),
            "bars": len(group),
        }
        for group in groups
    ]
