"""Training targets: how sure a label is, told by the size of its move."""

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import ndtr

from model.labels import label_prices, make_labels

VOLATILITY_BARS = 20


def soft_targets(
    bars: pd.DataFrame, label: str = "open", horizon: int = 1, softness: float = 1.0
) -> pd.Series:
    """Return Phi(move / (softness * volatility)) where `make_labels` has 0 or 1, on the same index.

    A large rise says more for "up" than a tick does: for normal moves the size carries a third of what can be known
    about their mean, and 0 or 1 throws it away. volatility: of the 20 bars before the position is opened, for the horizon.
    softness 0 gives the labels themselves, as does a volatility of 0.
    """
    labels = make_labels(bars, label, horizon)
    before, after = label_prices(bars, label, horizon)
    spread = softness * np.sqrt(horizon) * recent_volatility(bars)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = ndtr(np.log(after / before) / spread)
    return labels.where(labels.isna() | ~(spread > 0), chance)


def recent_volatility(bars: pd.DataFrame) -> NDArray[np.float64]:
    """Return the root mean square of the 20 log returns known before each bar opens: (n,), NaN for the first 21."""
    moves = np.diff(np.log(bars["close"].to_numpy()))  # move j ends at bar j + 1
    volatility = np.full(len(bars), np.nan)
    if len(moves) > VOLATILITY_BARS:
        mean_squares = (sliding_window_view(moves, VOLATILITY_BARS) ** 2).mean(axis=1)
        volatility[VOLATILITY_BARS + 1 :] = np.sqrt(mean_squares[:-1])
    return volatility
