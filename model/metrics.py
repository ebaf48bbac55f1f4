"""Figures that judge forecasts and accounts: pure functions of arrays.

An undefined figure (of no bars, of one class only, of returns that do not vary) is None and never
NaN. Nothing here needs scikit-learn, which only training loads.
"""

import math
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CERTAINTY = float(np.finfo(np.float64).eps)  # a log loss takes no probability closer to 0 or 1
CALIBRATION_GROUPS = 10


class CalibrationGroup(TypedDict):
    """Neighbouring probabilities: their mean, how often "up" was observed, and on how many bars."""

    probability: float
    frequency: float
    bars: int


def classification_scores(labels: Array, probabilities: Array) -> dict[str, float | None]:
    """Score probabilities of "up" against what came.

    Parameters
    ----------
    labels
        1 where the price rose, 0 where not: (n,).
    probabilities
        Of "up", from 0 to 1: (n,). One half counts as up, as it does in trading.

    Returns
    -------
    By name: windows (n), up_share, auc, log_loss, brier, accuracy, base_rate, balanced_accuracy and
    mcc. The base rate is the accuracy of always saying the more frequent class: under drift
    accuracy alone says nothing. AUC, balanced accuracy and MCC need both classes.

    Raises
    ------
    ValueError
        Where a probability is none.

    Examples
    --------
    >>> classification_scores(np.array([1.0, 0.0]), np.array([0.7, 0.4]))["accuracy"]
    1.0
    """
    labels, probabilities = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    # NaN compares with nothing, and is found too.
    faulty = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1)))
    if len(faulty):
        raise ValueError(
            f"`probabilities` must be numbers from 0 to 1, got {probabilities[faulty[0]]} "
            f"at position {faulty[0]}. Score only forecasts that were made."
        )
    # One half, whatever the thresholds: a score that followed them could not be compared.
    decided_up = probabilities >= 0.5
    up_share = float(labels.mean()) if len(labels) else None
    return {
        "windows": float(len(labels)),
        "up_share": up_share,
        "auc": auc(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
        "brier": brier(labels, probabilities),
        "accuracy": None if up_share is None else float(np.mean(labels == decided_up)),
        "base_rate": None if up_share is None else max(up_share, 1 - up_share),
        "balanced_accuracy": balanced_accuracy(labels, decided_up),
        "mcc": matthews_correlation(labels, decided_up),
    }


def auc(labels: Array, scores: Array) -> float | None:
    """Return the area under the ROC curve, from the order of the scores: (n,), (n,).

    It is the chance that a bar that rose had the higher score than one that did not; ties count
    half. Straight stretches of the curve are summed as one, in scikit-learn's order: the same bits.
    """
    up = labels > 0.5
    if up.all() or not up.any():
        return None
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    # A threshold lies behind the last of equal scores. (K,) counts at or above each.
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(up[order])[last]
    false_alarms = last + 1 - hits
    # A point between two of the same slope is none: scikit-learn drops it, and sums fewer terms.
    corner = np.ones(len(last), dtype=bool)
    corner[1:-1] = (np.diff(hits, 2) != 0) | (np.diff(false_alarms, 2) != 0)
    hit_rates = np.append(0.0, hits[corner] / hits[-1])
    false_alarm_rates = np.append(0.0, false_alarms[corner] / false_alarms[-1])
    return float(np.trapezoid(hit_rates, false_alarm_rates))


def auc_standard_error(labels: Array) -> float:
    """Return the standard error that an AUC of one half has on these labels, 0 or 1: (n,).

    It is exact for scores that have no ties and know nothing. Source: Mann and Whitney (1947).
    """
    ups = float(labels.sum())
    return math.sqrt((len(labels) + 1) / (12 * ups * (len(labels) - ups)))


def log_loss(labels: Array, probabilities: Array) -> float | None:
    """Return the mean of -ln(probability of what came).

    Saying one half always earns ln 2 = .693. It is finite for certain and wrong forecasts too.
    """
    if not len(labels):
        return None
    of_what_came = np.where(labels == 1, probabilities, 1 - probabilities)
    return float(np.mean(-np.log(np.clip(of_what_came, CERTAINTY, 1 - CERTAINTY))))


def log_loss_of_logits(logits: Array, labels: Array, weights: Array | None = None) -> float:
    """Return the mean log loss of logits (n,) against labels (n,) in [0, 1]: soft ones too.

    From logits it neither overflows nor rounds to certainty. weights: how much each counts, (n,).
    """
    # -ln sigmoid(z) of what came, as ln(1 + e^z) - y z: no exponential is left to overflow.
    return float(np.average(np.logaddexp(0.0, logits) - labels * logits, weights=weights))


def brier(labels: Array, probabilities: Array) -> float | None:
    """Return the mean squared distance of probability and outcome; always one half earns .25.

    Source: Brier (1950), for two classes counted once.
    """
    return float(np.mean((probabilities - labels) ** 2)) if len(labels) else None


def balanced_accuracy(labels: Array, decided_up: NDArray[np.bool_]) -> float | None:
    """Return the mean of the shares of the rises and of the others that were told right."""
    rose = labels == 1
    # With one class it would be the accuracy under another name.
    if rose.all() or not rose.any():
        return None
    return float((np.mean(decided_up[rose]) + np.mean(~decided_up[~rose])) / 2)


def matthews_correlation(labels: Array, decided_up: NDArray[np.bool_]) -> float | None:
    """Return the correlation of outcome and decision, 0 where all decisions are the same.

    Source: Matthews (1975), as a covariance of counts (Gorodkin 2004).
    """
    n, n_rose, n_decided = len(labels), int(np.sum(labels == 1)), int(np.sum(decided_up))
    if not 0 < n_rose < n:
        return None
    right = int(np.sum(labels == decided_up))
    by_chance = n_rose * n_decided + (n - n_rose) * (n - n_decided)
    variances = (n**2 - n_rose**2 - (n - n_rose) ** 2) * (
        n**2 - n_decided**2 - (n - n_decided) ** 2
    )
    return (right * n - by_chance) / math.sqrt(variances) if variances else 0.0


def hit_rate(labels: Array, directions: Array) -> float | None:
    """Return the share of the bars with a position wanted on which the price went its way.

    directions: above 0 for long, below 0 for short, 0 for none: (n,).
    """
    chosen = directions != 0
    if not chosen.any():
        return None
    return float(np.mean((directions[chosen] > 0) == (labels[chosen] == 1)))


def calibration(labels: Array, probabilities: Array) -> list[CalibrationGroup]:
    """Return up to ten groups of neighbouring probabilities, of equal size.

    Probabilities mean what they say where a group's mean is near its frequency.
    """
    order = np.argsort(probabilities, kind="stable")
    return [
        {
            "probability": float(probabilities[group].mean()),
            "frequency": float(labels[group].mean()),
            "bars": len(group),
        }
        for group in np.array_split(order, CALIBRATION_GROUPS)
        if len(group)
    ]


def bar_returns(equity: Array) -> Array:
    """Return the simple return of each bar after the first: (n,) -> (n - 1,)."""
    equity = np.asarray(equity, dtype=float)
    return equity[1:] / equity[:-1] - 1


def total_return(equity: Array) -> float:
    """Return the last value over the first, minus 1; 0 for fewer than two values."""
    equity = np.asarray(equity, dtype=float)
    return float(equity[-1] / equity[0] - 1) if len(equity) > 1 else 0.0


def sharpe(returns: Array, bars_per_year: float) -> float | None:
    """Return the annual Sharpe ratio at a risk-free rate of 0, flat bars included.

    None for returns that do not vary. With one bar per year it is the ratio per bar. Source: Sharpe
    (1994), with the sample deviation.
    """
    if len(returns) < 2 or np.std(returns) < 1e-15:  # of equal returns rounding is left
        return None
    return float(np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(bars_per_year))


def drawdown(equity: Array) -> Array:
    """Return equity over its highest value so far, minus 1: (n,) values <= 0."""
    equity = np.asarray(equity, dtype=float)
    return equity / np.maximum.accumulate(equity) - 1


def max_drawdown(equity: Array) -> float:
    """Return the deepest drawdown, <= 0; 0 for an empty curve."""
    return float(drawdown(equity).min()) if len(equity) else 0.0
