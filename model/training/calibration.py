"""Calibration on the validation part: the temperature that the logits are divided by."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Return the temperature T that minimises the log loss of sigmoid(logit / T) on labels 0/1, both (n,).

    Source: Guo et al., On calibration of modern neural networks, ICML 2017. Bounded to [0.05, 20]: where the logits
    say nothing about the labels the upper bound leaves probabilities near one half.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels, dtype=float)

    def loss(log_temperature: float) -> float:
        return log_loss(logits / np.exp(log_temperature), labels)

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def log_loss(logits: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Return the mean log loss of logits (n,) against labels (n,) in [0, 1], without overflow."""
    return float(np.mean(np.logaddexp(0.0, logits) - labels * logits))


PENALTY = 100.0  # in scikit-learn's terms 1 / C: for one or two thousand rows of scaled features
MOST_STEPS = 1_000


def logistic_probabilities(
    rows: NDArray[np.float32], labels: NDArray[np.float64], judged: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Learn labels (n,) from scaled feature rows (n, columns) and return the probabilities of "up" for other rows.

    On one thread: the same bits on every run.
    """
    with threadpool_limits(1):
        model = LogisticRegression(C=1 / PENALTY, max_iter=MOST_STEPS).fit(rows, labels)
        probabilities: NDArray[np.float64] = model.predict_proba(judged)[:, 1].astype(np.float64)
    return probabilities
