"""Suspicions: what looks wrong in sound bars and is said, not repaired.

Splits, mixed units, halts, wild wicks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import PRICES, Findings, Floats, count, day, figure
from model.bars.intervals import unchanged_stretches

SPLIT_RATIOS = np.array(
    [1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100, 200, 250, 500, 1000],
    dtype=np.float64,
)
SPLIT_TOLERANCE = 0.06  # a day's own move beside the split
STAYING = 0.25  # log distance of the day's close from its open within which a split stays
FLAT_BARS = 20
UNIT_FACTOR = 8.0  # a bar so many times its neighbours is in another unit, or a misprint
NEIGHBOURS = 21
RETURNED = 2.0  # a close within this factor of the one before a misplaced bar has come back
JUMP_FACTOR = 4.0  # a close so many times the one before it, and no split, is said
WICK_FACTOR = 5.0  # a high or low so many times beyond open and close is a misprint
# A price so far off both its neighbours, and so many usual ranges of a bar, comes back at once
SPIKE_FACTOR = 1.5
SPIKE_RANGES = 20


class StockSplit(NamedTuple):
    """A fall or rise from one close to the next open as a split makes it.

    `ratio` new shares for one old.
    """

    position: int
    ratio: float


class Passing(NamedTuple):
    """Bars whose prices leave the market's level and come back.

    They are in other units, or spike in a single bar.
    """

    units: NDArray[np.intp]
    spikes: NDArray[np.intp]

    def lasting(self, n_bars: int) -> NDArray[np.intp]:
        """Return all other bars."""
        return np.delete(np.arange(n_bars), np.concatenate((self.units, self.spikes)))


def suspect(bars: pd.DataFrame, findings: Findings) -> None:
    """Add a note for everything that looks wrong; refuse a price that never changes."""
    if len(bars) > 1 and (bars["close"] == bars["close"].iloc[0]).all():
        findings.refuse(
            f"close never changes ({figure(bars['close'].iloc[0])} on all "
            f"{count(len(bars), 'bar')}): one class, "
            "nothing to learn. Is it the right column?"
        )
    passing = Passing(_isolated(bars["close"].to_numpy()), spikes(bars))
    splits = _splits(bars, passing)
    notes = (
        _flat_note(bars),
        _unit_note(bars, passing.units),
        _split_note(bars, splits),
        _jump_note(bars, passing, splits),
        _spike_note(bars, passing),
    )
    for note in filter(None, notes):
        findings.note(note)


def opens_and_closes_swapped(rows: pd.DataFrame) -> bool:
    """Return whether a bar's open is nearer to the open before than to the close before.

    The two columns are swapped.
    """
    open, close = rows["open"].to_numpy(), rows["close"].to_numpy()
    # Medians below: a few overnight gaps must not decide which column is which.
    as_named, swapped = np.abs(open[1:] - close[:-1]), np.abs(close[1:] - open[:-1])
    return bool(len(rows) > 2 and np.nanmedian(swapped) < np.nanmedian(as_named))


def highs_and_lows_elsewhere(rows: pd.DataFrame) -> bool:
    """Return whether in most rows another price lies above the high, or below the low."""
    prices = rows[list(PRICES)]
    return bool(
        ((prices.max(axis=1) > prices["high"]) | (prices.min(axis=1) < prices["low"])).mean() > 0.5
    )


def flat_stretches(bars: pd.DataFrame, shortest: int = FLAT_BARS) -> list[tuple[int, int]]:
    """Return stretches [first, stop) in which nothing moves.

    Open, high, low and close are all equal and unchanged.
    """
    values = bars[["open", "high", "low", "close"]].to_numpy()
    flat = values.max(axis=1) == values.min(axis=1)
    return unchanged_stretches(bars["close"].to_numpy(), flat, shortest)


def _flat_note(bars: pd.DataFrame) -> str | None:
    stretches = flat_stretches(bars)
    if not stretches:
        return None
    first, stop = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
    others = f", the longest of {len(stretches)} constant stretches" if len(stretches) > 1 else ""
    return (
        f"price unchanged for {stop - first} bars from {day(bars.index[first])} to "
        f"{day(bars.index[stop - 1])}{others}: "
        "halted, or filled forward? Remove filled bars; they are no trades."
    )


def misplaced_units(close: Floats) -> NDArray[np.intp]:
    """Return the bars whose close is far off the median of the 21 bars around.

    Many times it, or a small part of it.
    """
    around = pd.Series(close).rolling(NEIGHBOURS, center=True, min_periods=2).median().to_numpy()
    ratio = close / around
    return np.flatnonzero((ratio > UNIT_FACTOR) | (ratio < 1 / UNIT_FACTOR))


def _unit_note(bars: pd.DataFrame, wrong: NDArray[np.intp]) -> str | None:
    close = bars["close"].to_numpy()
    if not len(wrong):
        return None
    first = wrong[0]
    # Without the misplaced bars, which would spoil the level they are measured against.
    around = float(np.median(np.delete(close, wrong)[max(0, first - 10) : first + 10]))
    ratio = close[first] / around
    times = f"{ratio:.3g}x" if ratio > 1 else f"1/{1 / ratio:.3g} of"
    return (
        f"{count(len(wrong), 'bar')} about {times} their neighbours (first "
        f"{day(bars.index[first])}): "
        "units mixed up (pence and pounds), or a misprint?"
    )


def _isolated(close: Floats) -> NDArray[np.intp]:
    """Return the misplaced bars after which the price returns.

    Where it stays there, it is a split or a real move.
    """
    wrong = misplaced_units(close)
    if not len(wrong):
        return wrong
    left = np.setdiff1d(np.arange(len(close)), wrong)
    before, after = np.searchsorted(left, wrong) - 1, np.searchsorted(left, wrong)
    # At an end of the file there is no other side to return to: such a bar is not isolated.
    inside = (before >= 0) & (after < len(left))
    level = np.full(len(wrong), np.inf)
    level[inside] = close[left[before[inside]]] / close[left[after[inside]]]
    return wrong[(level < RETURNED) & (level > 1 / RETURNED)]


def find_splits(bars: pd.DataFrame) -> list[StockSplit]:
    """Return the jumps from close to open that are near a whole ratio, and that stay.

    The price stays where the close of that bar is near its open.
    """
    return _splits(bars, Passing(_isolated(bars["close"].to_numpy()), spikes(bars)))


def _splits(bars: pd.DataFrame, passing: Passing) -> list[StockSplit]:
    # Without the passing bars: a misprint's way out and back would look like two splits.
    keep = passing.lasting(len(bars))
    opens, closes = bars["open"].to_numpy()[keep], bars["close"].to_numpy()[keep]
    jump = closes[:-1] / opens[1:]
    size = np.maximum(jump, 1 / jump)
    held = np.abs(np.log(closes[:-1] / closes[1:] / jump)) < STAYING
    large = np.flatnonzero((size > SPLIT_RATIOS[0] * (1 - SPLIT_TOLERANCE)) & held)
    nearest = SPLIT_RATIOS[np.abs(np.log(size[large, None] / SPLIT_RATIOS)).argmin(axis=1)]
    near = np.abs(size[large] / nearest - 1) < SPLIT_TOLERANCE
    ratios = np.where(jump[large] > 1, nearest, 1 / nearest)
    return [
        StockSplit(int(position), float(ratio))
        for position, ratio in zip(keep[large[near] + 1], ratios[near], strict=True)
    ]


def _split_note(bars: pd.DataFrame, splits: Sequence[StockSplit]) -> str | None:
    if not splits:
        return None
    at, ratio = splits[0]
    change = bars["close"].iloc[at] / bars["close"].iloc[at - 1] - 1
    kind = f"{ratio:g}:1 split" if ratio > 1 else f"1:{1 / ratio:g} reverse split"
    others = f" ({len(splits) - 1} more like it)" if len(splits) > 1 else ""
    move = f"{'falls' if change < 0 else 'rises'} {abs(change):.1%}"
    return (
        f"close {move} from {day(bars.index[at - 1])} to {day(bars.index[at])}: "
        f"an unadjusted {kind}?{others} Adjust the data first; the model and the returns take it "
        "for a real move."
    )


def _jump_note(bars: pd.DataFrame, passing: Passing, splits: Sequence[StockSplit]) -> str | None:
    """Say a move to another level that no whole ratio explains.

    The next open, or the close, is many times the close before.
    """
    lasting = passing.lasting(len(bars))
    closes = bars["close"].to_numpy()[lasting]
    known = [split.position for split in splits]
    far = np.flatnonzero(
        np.maximum(closes[1:] / closes[:-1], closes[:-1] / closes[1:]) > JUMP_FACTOR
    )
    # A jump that is said as a split is not said again.
    far = far[~np.isin(lasting[far + 1], known)]
    if not len(far):
        return None
    before, after = closes[far[0]], closes[far[0] + 1]
    dates = " to ".join(day(bars.index[lasting[position]]) for position in (far[0], far[0] + 1))
    others = f" ({len(far) - 1} more like it)" if len(far) > 1 else ""
    return (
        f"close goes from {figure(before)} to {figure(after)}, {dates}, and stays there{others}: "
        "another unit, another "
        "instrument, or a real move? The model and the returns take it for a real move."
    )


def spikes(bars: pd.DataFrame) -> NDArray[np.intp]:
    """Return the bars with a price far above, or far below, the closes on both sides.

    Such a price goes and comes back within one bar.
    """
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    # Medians of five, so that one misprint is not taken for its neighbours' level.
    before = pd.Series(close).rolling(5, min_periods=1).median().shift(1).to_numpy()
    after = pd.Series(close[::-1]).rolling(5, min_periods=1).median().shift(1).to_numpy()[::-1]
    with np.errstate(over="ignore"):
        far = max(SPIKE_FACTOR, np.exp(SPIKE_RANGES * np.median(np.log(high) - np.log(low))))
        return np.flatnonzero(
            (high / far > np.maximum(before, after)) | (low * far < np.minimum(before, after))
        )


def _spike_note(bars: pd.DataFrame, passing: Passing) -> str | None:
    body = bars[["open", "close"]].to_numpy()
    high, low = bars["high"].to_numpy(), bars["low"].to_numpy()
    wicks = np.flatnonzero(
        (high / WICK_FACTOR > body.max(axis=1)) | (low * WICK_FACTOR < body.min(axis=1))
    )
    wild = np.setdiff1d(np.union1d(wicks, passing.spikes), passing.units)
    if not len(wild):
        return None
    first = bars.iloc[wild[0]]
    return (
        f"{count(len(wild), 'bar')} with a price far off its neighbours that comes back at once "
        f"(first {day(first.name)}: open "
        f"{figure(first['open'])}, high {figure(first['high'])}, low {figure(first['low'])}, close "
        f"{figure(first['close'])}): "
        "a misprint?"
    )
