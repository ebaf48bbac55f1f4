"""Calibration on the validation part, and logistic regression as a yardstick.

A network that forecasts no better than logistic regression on the last row has learnt nothing from
sequences.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from model.metrics import log_loss_of_logits

# Temperatures: beyond them it is the noise of few windows that decides.
LOWEST, HIGHEST = 0.05, 20.0
PENALTY = 100.0  # in scikit-learn's terms 1 / C: for one or two thousand rows of scaled features
MOST_STEPS = 2_000  # of the solver, which as a rule settles long before


def fit_temperature(
    logits: NDArray[np.float64],
    labels: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the temperature T for which sigmoid(logit / T) has the least log loss.

    logits: (n,). labels: 0 or 1, (n,). weights: how much each counts, (n,). Where the logits say
    nothing about the labels, the upper bound of 20 leaves probabilities near one half; the lower
    one is 0.05.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels, dtype=float)

    # In logarithms T and 1 / T are equally far from 1, and the search is even-handed.
    def loss(log_temperature: float) -> float:
        return log_loss_of_logits(logits / np.exp(log_temperature), labels, weights)

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def fit_logistic(
    rows: NDArray[np.float32], labels: NDArray[np.float64], penalty: float = PENALTY
) -> LogisticRegression:
    """Fit logistic regression of labels, 0 or 1 (n,), on scaled feature rows (n, 86)."""
    # Several threads sum in an order of their own: one gives the same bits on every run.
    with threadpool_limits(1):
        return LogisticRegression(C=1 / penalty, max_iter=MOST_STEPS).fit(rows, labels)
