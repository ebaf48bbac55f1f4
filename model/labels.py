"""Labels: whether a position opened at a bar wins, and when that is known."""

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import ndtr

LABELS = ("open", "close")


def make_labels(bars: pd.DataFrame, label: str = "open", horizon: int = 1) -> pd.Series:
    """Return 1.0 where a position opened at the bar's open wins, 0.0 where not, NaN where that is not known.

    label "open": open[k + horizon] > open[k]; "close": close[k + horizon - 1] > close[k - 1]. Ties are "not up".
    The index is the entry bar's; the decision falls at the close before, so `labels.shift(-1)` stands at the decision.
    """
    check_label(label, horizon)
    before, after = label_prices(bars, label, horizon)
    known = np.isfinite(before) & np.isfinite(after)
    return pd.Series(np.where(known, after > before, np.nan), index=bars.index, name="label")


def tied_share(bars: pd.DataFrame, label: str = "open", horizon: int = 1) -> float:
    """Return the share of known labels whose two prices are equal; they count as "not up"."""
    before, after = label_prices(bars, label, horizon)
    known = np.isfinite(before) & np.isfinite(after)
    return float(np.mean(before[known] == after[known])) if known.any() else 0.0


def check_label(label: str, horizon: int) -> None:
    """Refuse a label or horizon that does not exist with a ValueError."""
    if label not in LABELS:
        raise ValueError(f"`label` must be one of {', '.join(LABELS)}, got {label!r}.")
    if not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1:
        raise ValueError(f"`horizon` must be a whole number of bars from 1, got {horizon!r}.")


def known_after(label: str, horizon: int) -> int:
    """Return how many bars after its decision bar a label is known."""
    return horizon + 1 if label == "open" else horizon


def label_prices(
    bars: pd.DataFrame, label: str, horizon: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the prices before and after the move that each bar's label is about, NaN where not known: (n,), (n,)."""
    if label == "open":
        prices = bars["open"]
        return prices.to_numpy(), prices.shift(-horizon).to_numpy()
    prices = bars["close"]
    return prices.shift(1).to_numpy(), prices.shift(1 - horizon).to_numpy()


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
