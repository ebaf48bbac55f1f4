"""Suspicions: what looks wrong in sound bars and is said, not repaired.

Halts and filled gaps, mixed units, stock splits, jumps to another level, misprints of one bar. None
of them breaks a rule, each may be real, and all of them spoil what a network learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import (
    BAR_RULES,
    NOT_THERE,
    PRICES,
    BarRule,
    Findings,
    Floats,
    count,
    price_text,
)
from model.bars.headerless import price_like
from model.bars.intervals import DAY, bar_interval, day, unchanged_stretches
from model.bars.names import IGNORED
from model.errors import Setting

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
# A price so far off both its neighbours, and so many usual ranges of a bar, comes back at once.
SPIKE_FACTOR = 1.5
SPIKE_RANGES = 20
SPIKE_NEIGHBOURS = 5  # bars on either side

FIXED_POINT, FIXED_POINT_STEP = 1e8, 10_000
FEWEST_STILL, MOST_STILL = 3, 0.2  # bars of a weekend without a move; share of such bars elsewhere
FEWEST_VOLUMES = 5
FEWEST_NIGHTLY, HARDLY_TRADED = 0.05, 0.95  # of all bars, and of those at one time of day
FEWEST_OPENS, MOST_COPIED = 10, 0.95
OUTSIDE = (("open", "close", "high"), ("open", "close", "low"))  # what rules of a range show
DAILY = 0.8 * DAY
COPIED_OPENS = (
    "Each open is the close of the bar before, as BitMEX writes it, and no trade of its own bar. "
    "Export bars with opens of their own; or set high to the highest and low to the lowest of the "
    "four prices in a frame, and pass that to read_bars."
)

Positions = NDArray[np.intp]


class StockSplit(NamedTuple):
    """A fall or rise from one close to the next open, as a split makes it.

    position: the first bar after it. ratio: new shares for one old, below 1 in a reverse split.
    """

    position: int
    ratio: float


class _Passing(NamedTuple):
    """Bars that leave the level of prices and come back: in other units, or in a single bar."""

    in_other_units: Positions
    spikes: Positions

    def others(self, n_bars: int) -> Positions:
        return np.delete(np.arange(n_bars), np.concatenate((self.in_other_units, self.spikes)))


def suspect(bars: pd.DataFrame, findings: Findings) -> None:
    """Add a note for everything that looks wrong; refuse a price that never changes."""
    close = bars["close"]
    if len(bars) > 1 and (close == close.iloc[0]).all():
        findings.refuse(
            f"close never changes ({price_text(close.iloc[0])} on all {count(len(bars), 'bar')}): "
            "one class, nothing to learn. Is it the right column?"
        )
    passing = _passing(bars)
    splits = _splits(bars, passing)
    for note in (
        _fixed_point_note(bars),
        _weekend_note(bars),
        _flat_note(bars) or _night_note(bars),
        _unit_note(bars, passing.in_other_units),
        _split_note(bars, splits),
        _jump_note(bars, passing, splits),
        _spike_note(bars, passing),
    ):
        if note:
            findings.note(note)


def opens_and_closes_swapped(rows: pd.DataFrame) -> bool:
    """Return whether the columns of opens and closes stand in each other's place.

    A bar's open is near the close before; where it is nearer to the open before, it is the close.
    """
    open, close = rows["open"].to_numpy(), rows["close"].to_numpy()
    # Medians below: a few overnight gaps must not decide which column is which.
    as_named, swapped = np.abs(open[1:] - close[:-1]), np.abs(close[1:] - open[:-1])
    return bool(len(rows) > 2 and np.nanmedian(swapped) < np.nanmedian(as_named))


def judge_volume(rows: pd.DataFrame, name: str | None, findings: Findings) -> None:
    """Refuse a volume that is a price: between low and high in every row, or moving as the close.

    name: that of its column.
    """
    rows = rows[rows["volume"] > 0].dropna(subset=["low", "high", "close"])
    if name is None or len(rows) < FEWEST_VOLUMES:
        return
    low, high, close, volume = (
        rows[column].to_numpy() for column in ("low", "high", "close", "volume")
    )
    what = price_like(volume, low, high, close)
    if what:
        findings.fault(
            f"column {name!r} {what}: it is a price, such as an average or adjusted one, and no "
            "volume. Map the volume, or leave this column out: ",
            Setting("columns", {name: IGNORED}),
            ".",
        )


def rules_of(rows: pd.DataFrame) -> list[BarRule]:
    """Return the rules of bars, with the true reason where opens break them by custom.

    BitMEX and others write the close before as the open, which may lie outside of its own bar.
    Prices that are missing are no matter of these rules.
    """
    rules = [rule for rule in BAR_RULES if rule is not NOT_THERE]
    open, close = rows["open"].to_numpy(), rows["close"].to_numpy()
    copied = max(_share_equal(open[1:], close[:-1]), _share_equal(open[:-1], close[1:]))
    inside = (close <= rows["high"].to_numpy()) & (close >= rows["low"].to_numpy())
    if len(rows) < FEWEST_OPENS or copied < MOST_COPIED or not inside.all():
        return rules
    return [
        rule._replace(remedy=(COPIED_OPENS,)) if rule.shown in OUTSIDE else rule for rule in rules
    ]


def _share_equal(left: Floats, right: Floats) -> float:
    return float((left == right).mean()) if len(left) else 0.0


def flat_stretches(bars: pd.DataFrame, shortest: int = FLAT_BARS) -> list[tuple[int, int]]:
    """Return stretches [first, stop) of bars with one and the same price for everything."""
    values = bars[list(PRICES)].to_numpy()
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


def _fixed_point_note(bars: pd.DataFrame) -> str | None:
    prices = bars[list(PRICES)].to_numpy()
    if prices.min() < FIXED_POINT or (prices % FIXED_POINT_STEP != 0).any():
        return None
    return (
        f"prices such as {price_text(prices[0, 3])} are all whole, above a hundred million and "
        f"multiples of {FIXED_POINT_STEP:,}: fixed-point numbers? In 1e-9, as Databento writes "
        f"them, this is {prices[0, 3] / 1e9:.10g}, in 1e-8 {prices[0, 3] / 1e8:.10g}. Divide the "
        "four columns then, and pass the frame to read_bars."
    )


def _weekend_note(bars: pd.DataFrame) -> str | None:
    """Name bars on Saturdays or Sundays that nobody traded, as some exporters fill them in."""
    index = pd.DatetimeIndex(bars.index)
    still = (bars["high"] == bars["low"]) & (bars["volume"] == 0)
    named, dead = [], np.zeros(len(bars), dtype=bool)
    for number, name in ((5, "Saturdays"), (6, "Sundays")):
        on = (index.day_of_week == number) & still.to_numpy()
        if on.sum() >= FEWEST_STILL and on.sum() > 0.5 * (index.day_of_week == number).sum():
            named.append(name)
            dead |= on
    # In a market that often stands still on other days too, they are nothing of their own.
    if not named or still.to_numpy()[~dead].mean() > MOST_STILL:
        return None
    daily = bool(bar_interval(index) >= DAILY)
    what = f"{dead.sum()} {' and '.join(named)}"
    return (
        f"{what if daily else f'{dead.sum():,} bars on ' + ' and '.join(named)} without volume or "
        f"movement (first {day(index[dead][0])}): filled in by the exporter? Remove them; they "
        "are no trades."
    )


def _night_note(bars: pd.DataFrame) -> str | None:
    """Name times of day at which hardly a bar was ever traded, as where nights are filled in."""
    still = ((bars["high"] == bars["low"]) & (bars["volume"] == 0)).to_numpy()
    index = pd.DatetimeIndex(bars.index)
    at_time = pd.Series(still).groupby(np.asarray(index.hour * 60 + index.minute))
    dead = still & (at_time.transform("mean") > HARDLY_TRADED).to_numpy()
    # Daily bars have one time, and are no matter of nights.
    if len(at_time) == 1 or not FEWEST_NIGHTLY <= dead.mean() < 1:
        return None
    if still[~dead].mean() > MOST_STILL:
        return None
    return (
        f"{dead.mean():.0%} of the bars stand at times of day at which there is no volume or "
        f"movement (first {day(bars.index[dead][0])}): nights that an exporter filled in? Remove "
        "them; they are no trades."
    )


def _passing(bars: pd.DataFrame) -> _Passing:
    """Return the bars that leave the level of prices and come back.

    Splits and jumps are looked for without them: both ways out of a misprint look like one.
    """
    # The bars whose close is many times the median of the bars around, or a small part of it.
    close = bars["close"].to_numpy()
    around = pd.Series(close).rolling(NEIGHBOURS, center=True, min_periods=2).median().to_numpy()
    ratio = close / around
    wrong = np.flatnonzero((ratio > UNIT_FACTOR) | (ratio < 1 / UNIT_FACTOR))
    # Where the price stays there it is a split or a real move: the closes of the sound bars on both
    # sides of a wrong one tell.
    sound = np.delete(np.arange(len(close)), wrong)
    after = np.searchsorted(sound, wrong)
    inside = (after > 0) & (after < len(sound))
    change = np.full(len(wrong), np.inf)
    change[inside] = close[sound[after[inside] - 1]] / close[sound[after[inside]]]
    returned = (change < RETURNED) & (change > 1 / RETURNED)
    return _Passing(wrong[returned], _spikes(bars))


def _spikes(bars: pd.DataFrame) -> Positions:
    """Return the bars with a price far above, or far below, the closes on both sides.

    Far is a factor that the instrument's usual bar, from low to high, sets: of a wild one more is
    usual than of a calm one.
    """
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    before, after = (
        pd.Series(closes).rolling(SPIKE_NEIGHBOURS, min_periods=1).median().shift(1).to_numpy()
        for closes in (close, close[::-1])
    )
    levels = np.stack((before, after[::-1]))
    with np.errstate(over="ignore"):
        far = max(SPIKE_FACTOR, np.exp(SPIKE_RANGES * np.median(np.log(high) - np.log(low))))
        above, below = high / far > levels.max(axis=0), low * far < levels.min(axis=0)
    return np.flatnonzero(above | below)


def _unit_note(bars: pd.DataFrame, wrong: Positions) -> str | None:
    if not len(wrong):
        return None
    first, close = wrong[0], bars["close"].to_numpy()
    around = float(np.median(np.delete(close, wrong)[max(0, first - 10) : first + 10]))
    ratio = close[first] / around
    times = f"{ratio:.3g}x" if ratio > 1 else f"1/{1 / ratio:.3g} of"
    return (
        f"{count(len(wrong), 'bar')} about {times} their neighbours (first "
        f"{day(bars.index[first])}): units mixed up (pence and pounds), or a misprint?"
    )


def find_splits(bars: pd.DataFrame) -> list[StockSplit]:
    return _splits(bars, _passing(bars))


def _splits(bars: pd.DataFrame, passing: _Passing) -> list[StockSplit]:
    kept = passing.others(len(bars))
    opens, closes = bars["open"].to_numpy()[kept], bars["close"].to_numpy()[kept]
    jump = closes[:-1] / opens[1:]
    size = np.maximum(jump, 1 / jump)
    # The price stays where the close of the first bar after the jump is near its open.
    stays = np.abs(np.log(closes[:-1] / closes[1:] / jump)) < STAYING
    large = np.flatnonzero((size > SPLIT_RATIOS[0] * (1 - SPLIT_TOLERANCE)) & stays)
    nearest = SPLIT_RATIOS[np.abs(np.log(size[large, None] / SPLIT_RATIOS)).argmin(axis=1)]
    near = np.abs(size[large] / nearest - 1) < SPLIT_TOLERANCE
    ratios = np.where(jump[large] > 1, nearest, 1 / nearest)
    return [
        StockSplit(int(position), float(ratio))
        for position, ratio in zip(kept[large[near] + 1], ratios[near], strict=True)
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


def _jump_note(bars: pd.DataFrame, passing: _Passing, splits: Sequence[StockSplit]) -> str | None:
    kept = passing.others(len(bars))
    close = bars["close"].to_numpy()[kept]
    size = np.maximum(close[1:] / close[:-1], close[:-1] / close[1:])
    far = np.flatnonzero(size > JUMP_FACTOR)
    far = far[~np.isin(kept[far + 1], [split.position for split in splits])]
    if not len(far):
        return None
    before, after = far[0], far[0] + 1
    others = f" ({len(far) - 1} more like it)" if len(far) > 1 else ""
    return (
        f"close goes from {price_text(close[before])} to {price_text(close[after])}, "
        f"{day(bars.index[kept[before]])} to {day(bars.index[kept[after]])}, and stays "
        f"there{others}: another unit, another instrument, or a real move? The model and the "
        "returns take it for a real move."
    )


def _spike_note(bars: pd.DataFrame, passing: _Passing) -> str | None:
    body = bars[["open", "close"]].to_numpy()
    high, low = bars["high"].to_numpy(), bars["low"].to_numpy()
    above, below = high / WICK_FACTOR > body.max(axis=1), low * WICK_FACTOR < body.min(axis=1)
    wild = np.union1d(np.flatnonzero(above | below), passing.spikes)
    wild = np.setdiff1d(wild, passing.in_other_units)
    if not len(wild):
        return None
    first = bars.iloc[wild[0]]
    prices = ", ".join(f"{name} {price_text(first[name])}" for name in PRICES)
    return (
        f"{count(len(wild), 'bar')} with a price far off its neighbours that comes back at once "
        f"(first {day(bars.index[wild[0]])}: {prices}): a misprint?"
    )
