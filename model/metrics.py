"""Figures that judge forecasts and equity: pure functions of arrays, each says what an undefined figure becomes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

Array = NDArray[np.float64]


def classification_scores(labels: Array, probabilities: Array) -> dict[str, float | None]:
    """Score probabilities of "up" against labels 0/1, both (n,); a figure that is undefined is None.

    Beside the accuracy stands the base rate, the accuracy of always saying the more frequent class: under drift
    accuracy alone says nothing. AUC, balanced accuracy and MCC need both classes.
    """
    labels, probabilities = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    if not len(labels):
        return dict.fromkeys(("windows", *_SCORES), None) | {"windows": 0.0}
    both = 0 < labels.mean() < 1
    scores = {
        name: float(score(labels, probabilities))
        for name, score in _SCORES.items()
        if both or name not in _NEED_BOTH
    }
    return {"windows": float(len(labels)), **dict.fromkeys(_SCORES), **scores}


def _base_rate(labels: Array, _: Array) -> float:
    return float(max(labels.mean(), 1 - labels.mean()))


def _decided(score: Any) -> Any:
    """Turn a score of decisions into one of probabilities, decided at one half."""
    return lambda labels, probabilities: score(labels, probabilities >= 0.5)


_SCORES: dict[str, Any] = {
    "up_share": lambda labels, _: labels.mean(),
    "auc": metrics.roc_auc_score,
    "log_loss": lambda labels, probabilities: metrics.log_loss(
        labels, probabilities, labels=[0.0, 1.0]
    ),
    "brier": lambda labels, probabilities: np.mean((probabilities - labels) ** 2),
    "accuracy": _decided(metrics.accuracy_score),
    "base_rate": _base_rate,
    "balanced_accuracy": _decided(metrics.balanced_accuracy_score),
    "mcc": _decided(metrics.matthews_corrcoef),
}
_NEED_BOTH = ("auc", "balanced_accuracy", "mcc")


def bar_returns(equity: Array) -> Array:
    """Return the simple return of each bar after the first: (n,) -> (n - 1,)."""
    equity = np.asarray(equity, dtype=float)
    return equity[1:] / equity[:-1] - 1


def total_return(equity: Array) -> float:
    """Return the last value over the first, minus 1; 0 for fewer than two values."""
    equity = np.asarray(equity, dtype=float)
    return float(equity[-1] / equity[0] - 1) if len(equity) > 1 else 0.0


def sharpe(returns: Array, bars_per_year: float) -> float | None:
    """Return the annualised Sharpe ratio at a risk-free rate of 0, flat bars included; None where it does not vary.

    Source: Sharpe (1994), with the sample deviation; annualised by the bars per year of these data.
    """
    if len(returns) < 2 or np.std(returns) < 1e-15:
        return None
    return float(np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(bars_per_year))


def drawdown(equity: Array) -> Array:
    """Return equity over its highest value so far, minus 1: (n,) values <= 0."""
    equity = np.asarray(equity, dtype=float)
    return equity / np.maximum.accumulate(equity) - 1


def max_drawdown(equity: Array) -> float:
    """Return the deepest drawdown, <= 0; 0 for an empty curve."""
    return float(drawdown(equity).min()) if len(equity) else 0.0
