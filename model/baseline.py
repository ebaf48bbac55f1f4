"""The cheap baseline beside every training: logistic regression on the newest feature row, without memory."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

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
