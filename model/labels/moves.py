"""Labels: whether a position opened at a bar wins, how surely, and when that is known."""

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model.settings import Rule, one_of, require, whole

MOVES = ("open", "close")
FEWEST_COMPARED = 2  # instruments of a day: each needs another one to be compared with
TIED = 1e-12  # of log moves: prices of other sizes round equal moves otherwise
NORMAL_MAD = 1.4826  # makes the median absolute deviation of a normal law its standard deviation
VOLATILITY_BARS = 20
RULES = {
    "label": one_of(*MOVES),
    "horizon": Rule("a whole number of bars from 1", whole(1).holds),
}


def make_labels(bars: pd.DataFrame, label: str = "open", horizon: int = 1) -> pd.Series:
    """Return whether a position opened at each bar's open wins.

    Parameters
    ----------
    bars
        Columns open and close: (n,).
    label
        "open": open[k + horizon] > open[k]. "close": close[k + horizon - 1] > close[k - 1].
    horizon
        Bars for which the position is held, from 1.

    Returns
    -------
    1.0 where it wins, 0.0 where not, ties included, NaN where that is not known: (n,), on the index
    of the bars. The index is the entry bar's; the decision falls at the close before, so
    `labels.shift(-1)` stands at the decision.

    Raises
    ------
    ValueError
        For a label or horizon that does not exist.

    Examples
    --------
    >>> bars = pd.DataFrame({"open": [10.0, 11.0, 11.0], "close": [11.0, 11.0, 10.0]})
    >>> make_labels(bars).tolist()
    [1.0, 0.0, nan]
    """
    check_label(label, horizon)
    before, after = label_prices(bars, label, horizon)
    # Beyond the last bar, and before the first, there are no prices to compare.
    known = np.isfinite(before) & np.isfinite(after)
    return pd.Series(np.where(known, after > before, np.nan), index=bars.index, name="label")


def soft_targets(
    bars: pd.DataFrame, label: str = "open", horizon: int = 1, softness: float = 1.0
) -> pd.Series:
    """Return Phi(move / (softness * volatility)) where `make_labels` has 0 or 1, on its index.

    A large rise says more for "up" than a tick does: for normal moves the size carries a third of
    what can be known about their mean, and 0 or 1 throws it away. The volatility is that of the 20
    bars before the position is opened, for the horizon. A softness of 0 gives the labels
    themselves, as does a volatility of 0.
    """
    labels = make_labels(bars, label, horizon)
    before, after = label_prices(bars, label, horizon)
    # A walk of h bars spreads with the root of h.
    scale = softness * np.sqrt(horizon) * recent_volatility(bars)
    targets = softened(labels.to_numpy(), np.log(after / before), scale)
    return pd.Series(targets, labels.index, name=labels.name)


def relative_labels(moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return whether each instrument's move is above the median move of the others of its day.

    Of the others, without itself: of an odd number of instruments the one in the middle would else
    always be "not above", and the share of ones .33 of 3 and .48 of 21.

    moves: (days, instruments), NaN for those that are not compared. Returns 1.0 above, 0.0 below,
    NaN where the two are equal, or where a day has but one: (days, instruments).
    """
    medians = medians_of_others(moves)
    labels = np.where(moves > medians, 1.0, 0.0)
    labels[~(np.abs(moves - medians) > TIED)] = np.nan  # where there is no median, too
    return labels


def relative_targets(moves: NDArray[np.float64], softness: float = 1.0) -> NDArray[np.float64]:
    """Return Phi((move - median) / (softness * 1.4826 * MAD)) where `relative_labels` has 0 or 1.

    The median is that of the others; MAD is the median absolute deviation of the day's moves. As
    with `soft_targets`, a softness or a MAD of 0 gives the labels themselves.

    moves: (days, instruments), NaN for those that are not compared; so is the result.
    """
    labels, distances = relative_labels(moves), moves - medians_of_others(moves)
    deviations = _row_medians(np.abs(moves - _row_medians(moves)[:, None]))
    # The day's own spread: on a wild day a lead of 1 % says little, on a calm one much.
    return softened(labels, distances, softness * NORMAL_MAD * deviations[:, None])


def softened(
    labels: NDArray[np.float64], moves: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Phi(move / scale) where there is a label and a scale above 0, else the label."""
    # Here, as the settings know labels, and a command's help need not wait for scipy.
    from scipy.special import ndtr

    with np.errstate(divide="ignore", invalid="ignore"):
        targets = ndtr(moves / scale)
    return np.where(np.isnan(labels) | ~(scale > 0), labels, targets)


def medians_of_others(moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of the row without the value itself, for each value of each row: (d, k).

    NaN values are left out of every median and have none; nor has the only value of a row.
    """
    order = np.argsort(moves, axis=1)  # NaN values last
    ranks = np.argsort(order, axis=1)
    ranked = np.take_along_axis(moves, order, axis=1)
    others = np.isfinite(moves).sum(axis=1, keepdims=True) - 1  # (d, 1)
    # The middle of the others; of an even number the mean of the two in the middle. A value at or
    # before a place moves what stands there one on.
    low, high = (
        np.take_along_axis(ranked, np.clip(place + (ranks <= place), 0, moves.shape[1] - 1), axis=1)
        for place in ((others - 1) // 2, others // 2)
    )
    return np.where(np.isfinite(moves) & (others > 0), low + (high - low) / 2, np.nan)


def _row_medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each row, NaN values left out; NaN of a row without any: (d,)."""
    ranked = np.sort(values, axis=1)
    counts = np.isfinite(values).sum(axis=1)
    rows, last = np.arange(len(values)), values.shape[1] - 1
    low, high = (
        ranked[rows, np.clip(place, 0, last)] for place in ((counts - 1) // 2, counts // 2)
    )
    return np.where(counts > 0, low + (high - low) / 2, np.nan)


def known_after(label: str, horizon: int) -> int:
    """Return how many bars after its decision a label is known; that of a trade at the latest."""
    return horizon if label == "close" else horizon + 1


def check_label(label: str, horizon: int) -> None:
    require({"label": label, "horizon": horizon}, RULES)


def label_prices(
    bars: pd.DataFrame, label: str, horizon: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the prices before and after the move of each bar's label: (n,), (n,).

    NaN where not known.
    """
    if label == "open":
        prices = bars["open"]
        return prices.to_numpy(), prices.shift(-horizon).to_numpy()
    prices = bars["close"]
    return prices.shift(1).to_numpy(), prices.shift(1 - horizon).to_numpy()


def recent_volatility(bars: pd.DataFrame) -> NDArray[np.float64]:
    """Return the root mean square of the 20 log returns known before each bar opens: (n,).

    NaN for the first 21 bars.
    """
    moves = np.diff(np.log(bars["close"].to_numpy()))  # move j ends at bar j + 1
    volatility = np.full(len(bars), np.nan)
    if len(moves) > VOLATILITY_BARS:
        mean_squares = (sliding_window_view(moves, VOLATILITY_BARS) ** 2).mean(axis=1)
        volatility[VOLATILITY_BARS + 1 :] = np.sqrt(mean_squares[:-1])
    return volatility
