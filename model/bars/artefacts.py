"""Artefacts: bars that nobody could have traded, and that fake an edge.

Smoothed candles, rows filled forward or interpolated, opens that are older than the decision, rows
that hold part of the next bar: on a random walk each of them gives a forecast that looks right. The
tests here look at the bars alone. What is so by identity is refused or has to be accepted by name;
what is only unlikely is said. Thresholds lie well beyond what 150 US stocks, indices, currencies
and simulated walks show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd

from model.bars.faults import PRICES, Findings, Floats, Mask, count
from model.bars.intervals import day
from model.errors import Part, Setting

REPEATS = "repeats"  # which a setting of its own accepts

FEWEST = 100  # bars of which anything is said
MOST_REPEATED = 0.01  # share of rows from which they are refused
FEWEST_REPEATED = 2
HALFWAY, MOST_TIED = 0.005, 0.15
MEAN_OPENS = 0.5  # of the bars whose open tells
TELLING = 0.1
GAP, GAP_BY_IDENTITY = 0.2, 0.6  # rank correlation
WICK = 0.15
ERRORS = 4.5  # standard errors of a rank correlation that a flag lies beyond, too
BLOCK, PRIME = 20, np.uint64(1_000_003)  # rows in a row that chance does not repeat
BARE, FLAT, ONE_SIZE, NEARLY_ALL, CROWDED = 0.5, 0.95, 0.3, 0.8, 0.01
STEPS_OF_SIZE = 5  # of a fine tick: the usual size is at least so many of the smallest moves
SMOOTH = 0.3
VOLUME_AHEAD, VOLUME_FITS = 0.05, 0.1
CLOCK_GAP, CLOCK_T = 2e-4, 6.0
CLOCK_GROUPS, CLOCK_FEWEST = 400, 30  # times of day that are told apart, and bars of each
MOST_RANKED = 200_000  # pairs
SHORT_STEP = 0.02  # of the usual step
NEAR = 1e-7  # relative: two prices so near are one


class FlagRecord(TypedDict):
    """A sign that bars are not what was traded, as bars, checkpoints and results keep it.

    name: by which it is accepted. sentence: what was found, and what to do. identity: whether the
    bars are so by identity, and not only more than chance would have it.
    """

    name: str
    sentence: str
    identity: bool
    accepted: bool


class _Finding(NamedTuple):
    """What a test found, with counts, and what to do; and whether it is so by identity."""

    sentence: str
    identity: bool = False


@dataclass(frozen=True, eq=False)
class _Bars:
    """The columns of bars and what all tests take from them: (n,) each."""

    index: pd.DatetimeIndex
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, bars: pd.DataFrame) -> _Bars:
        columns = (bars[name].to_numpy(dtype=np.float64) for name in (*PRICES, "volume"))
        return cls(pd.DatetimeIndex(bars.index), *columns)

    @property
    def body(self) -> Floats:
        return np.log(self.close / self.open)

    @property
    def gap(self) -> Floats:
        """From the close before to the open, (n - 1,)."""
        return np.log(self.open[1:] / self.close[:-1])


def flags_of(bars: pd.DataFrame) -> list[FlagRecord]:
    """Return what the bars say against themselves, as `read_bars` found it, or anew."""
    known: list[FlagRecord] | None = bars.attrs.get("flags")
    return find_artefacts(bars) if known is None else known


def flags_of_all(universe: Mapping[str, pd.DataFrame]) -> list[FlagRecord]:
    """Return what the bars of all instruments say against themselves; of several with the name."""
    if len(universe) == 1:
        return [flag for bars in universe.values() for flag in flags_of(bars)]
    return named_flags((name, flags_of(bars)) for name, bars in universe.items())


def named_flags(flags: Iterable[tuple[str, Sequence[FlagRecord]]]) -> list[FlagRecord]:
    """Return the flags of several instruments as one list, each with the instrument's name."""
    return [
        FlagRecord(**flag | {"sentence": f"{name}: {flag['sentence']}"})
        for name, own in flags
        for flag in own
    ]


def repeated_rows(bars: pd.DataFrame) -> Mask:
    """Return which bars repeat others: (n,).

    A row with all five values of the row before (four where volume never changes) and a range, one
    without a volume that has the prices of a traded one beside, before or after it, one of twenty
    in a row that repeat twenty earlier ones, or one whose open, high and close lie halfway between
    its neighbours'.
    """
    columns = _Bars.of(bars)
    return _copied(columns) | _pages(columns) | _halfway(columns)


def _copied(bars: _Bars) -> Mask:
    prices = np.stack((bars.open, bars.high, bars.low, bars.close))
    same = np.r_[False, (prices[:, 1:] == prices[:, :-1]).all(axis=0)]
    copied = same & np.r_[False, bars.volume[1:] == bars.volume[:-1]]
    # Where prices alone are filled in, forward or back, one of the equal rows has the volume.
    stretch = np.cumsum(~same)
    copied |= (bars.volume == 0) & np.isin(stretch, stretch[bars.volume > 0])
    copied &= bars.high > bars.low
    return copied if copied.sum() >= FEWEST_REPEATED else np.zeros_like(copied)


def _pages(bars: _Bars) -> Mask:
    """Return which bars stand in a row of many that all repeat an earlier row of bars."""
    found = np.zeros(len(bars.open), dtype=bool)
    number = len(found) - BLOCK + 1
    if number < 1:
        return found
    values = np.stack((bars.open, bars.high, bars.low, bars.close, bars.volume), axis=1)
    rows = pd.util.hash_pandas_object(pd.DataFrame(values), index=False).to_numpy()
    pages, moved = np.zeros(number, dtype=np.uint64), np.ones(number, dtype=bool)
    for at in range(BLOCK):
        pages *= PRIME
        pages += rows[at : at + number]
        moved &= (bars.high > bars.low)[at : at + number]
    again = pd.Series(pages).duplicated().to_numpy() & moved
    for at in range(BLOCK):
        found[at : at + number] |= again
    return found


def _halfway(bars: _Bars) -> Mask:
    none = np.zeros(len(bars.open), dtype=bool)
    # Where moves have few sizes, as on a coarse tick or in Renko bars, many are alike by chance.
    if len(none) < FEWEST or _commonest(np.abs(np.diff(bars.close)), bars) > MOST_TIED:
        return none
    halfway = ~none[1:-1]
    for prices in (bars.open, bars.high, bars.close):
        middle = (prices[:-2] + prices[2:]) / 2
        halfway &= np.abs(prices[1:-1] - middle) <= NEAR * prices[1:-1]
    # A price that stands still lies between its neighbours as well.
    halfway &= bars.close[2:] != bars.close[:-2]
    if halfway.mean() < HALFWAY:
        return none
    none[1:-1] = halfway
    return none


def find_artefacts(bars: pd.DataFrame) -> list[FlagRecord]:
    """Return what the bars alone say against them; nothing of fewer than 100 bars.

    Parameters
    ----------
    bars
        Sound bars in time order: (n, 5).

    Returns
    -------
    list of FlagRecord
        None of them accepted.
    """
    if len(bars) < FEWEST:
        return []
    columns = _Bars.of(bars)
    copied, pages, halfway = _copied(columns), _pages(columns), _halfway(columns)
    # Of rows that are made up the other tests would tell again, in words that lead astray.
    traded = _Bars.of(bars[~(copied | pages | halfway)])
    pages &= ~copied
    found = {REPEATS: _repeats(columns.index, copied, pages, halfway & ~copied & ~pages)}
    with np.errstate(all="ignore"):
        found |= {name: test(traded) for name, test in TESTS.items()}
    return [
        FlagRecord(name=name, sentence=finding.sentence, identity=finding.identity, accepted=False)
        for name, finding in found.items()
        if finding
    ]


def _repeats(index: pd.DatetimeIndex, copied: Mask, pages: Mask, halfway: Mask) -> _Finding | None:
    parts = [
        f"{count(int(rows.sum()), 'bar')} {words.format(day(index[int(rows.argmax())]))}"
        for rows, words in (
            (
                copied,
                "repeat the one before in all values, or a traded one beside in all prices (first "
                "{}): filled forward?",
            ),
            (
                pages,
                f"repeat {BLOCK} or more earlier ones in a row (first {{}}): a page of a download "
                "twice?",
            ),
            (
                halfway,
                "lie halfway between the bars beside (first {}): interpolated, and so holding the "
                "next bar?",
            ),
        )
        if rows.any()
    ]
    if not parts:
        return None
    return _Finding(f"{' '.join(parts)} Nobody could trade at their opens.", identity=True)


def _heikin_ashi(bars: _Bars) -> _Finding | None:
    expected = (bars.open[:-1] + bars.close[:-1]) / 2
    # Files round: half a step of the last decimal that is written, with a little for the average.
    near = np.maximum(NEAR * bars.open[1:], 0.51 * _step(bars))
    telling = np.abs(expected - bars.close[:-1]) > 2 * near
    if telling.mean() < TELLING:
        return None
    share = float(np.mean(np.abs(bars.open[1:] - expected)[telling] <= near[telling]))
    if share < MEAN_OPENS:
        return None
    return _Finding(
        f"{share:.0%} of the opens are the mean of open and close before: Heikin-Ashi candles, of "
        "which no price was ever traded. Export plain bars.",
        identity=True,
    )


def _step(bars: _Bars) -> float:
    """Return the unit of the last decimal that prices are written with, from 1 to 1e-8."""
    sample = bars.close[:: max(1, len(bars.close) // 500)]
    for decimals in range(9):
        step = 10.0**-decimals
        if np.all(np.abs(sample - np.round(sample, decimals)) <= 1e-9 * sample):
            return step
    return 0.0


def _gaps(bars: _Bars) -> _Finding | None:
    gap, body = bars.gap, bars.body
    before, after = _correlation(gap, body[:-1]), _correlation(gap, body[1:])
    largest = before if abs(before) >= abs(after) else after
    if abs(largest) < _threshold(GAP, len(gap)):
        return None
    side = "before" if largest == before else "after"
    identity = abs(largest) >= _threshold(GAP_BY_IDENTITY, len(gap))
    return _Finding(
        f"the gap from close to open goes with the bar {side} it (rank correlation "
        f"{largest:+.2f}): opens that are older than the close before, bars off by some minutes, "
        "or quotes that bounce between bid and ask? An order at such an open would not fill. "
        "Compare some opens with another source.",
        identity,
    )


def _wicks(bars: _Bars) -> _Finding | None:
    top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    lean = np.log(bars.high / top) - np.log(bottom / bars.low)
    found = _correlation(lean[:-1], bars.body[1:])
    if abs(found) < _threshold(WICK, len(lean)):
        return None
    return _Finding(
        f"the longer wick tells the next bar's direction (rank correlation {found:+.2f}): do high "
        "and low reach into the next bar?",
    )


def _bare(bars: _Bars) -> _Finding | None:
    moved = bars.high > bars.low
    flat = 1 - float(np.mean(moved))
    if flat >= FLAT:
        return _Finding(
            f"{flat:.0%} of the bars have one price for all four: closes, net asset values or "
            "quotes alone? No order fills at an open that is the close. Use bars of trades.",
        )
    none = (bars.high == np.maximum(bars.open, bars.close)) & (
        bars.low == np.minimum(bars.open, bars.close)
    )
    share = float(np.mean(none[moved]))
    if share < BARE:
        return None
    return _Finding(
        f"{share:.0%} of the bars have no wicks: one price a bar, an average or a settlement? Use "
        "bars of trades.",
    )


def _one_size(bars: _Bars) -> _Finding | None:
    moves = np.abs(np.diff(bars.close))
    smallest = float(moves[moves > 0].min(initial=np.inf))
    for words, sizes in (
        ("from open to close", np.abs(bars.close - bars.open)),
        ("from low to high", bars.high - bars.low),
    ):
        share, usual = _commonest(sizes, bars), float(np.median(sizes))
        # On a coarse tick one and two of them are common sizes; nearly all bars have one in Renko.
        fine = usual >= STEPS_OF_SIZE * smallest
        if share >= (ONE_SIZE if fine else NEARLY_ALL) and usual > 0:
            return _Finding(
                f"{share:.0%} of the bars have one size {words}: Renko or range bars, which end "
                "with a move and not with a time? Use bars of equal time.",
            )
    return None


def _commonest(sizes: Floats, bars: _Bars) -> float:
    """Return how many of the sizes, as a share, are the commonest one."""
    # Differences of rounded prices differ in their last digits.
    rounded = np.round(sizes / (NEAR * float(np.median(bars.close))))
    return float(np.unique(rounded, return_counts=True)[1].max() / len(sizes))


def _smoothed(bars: _Bars) -> _Finding | None:
    moves = np.diff(np.log(bars.close))
    found = _correlation(moves[:-1], moves[1:])
    if found < _threshold(SMOOTH, len(moves)):
        return None
    return _Finding(
        f"each move goes on in the next (rank correlation {found:+.2f}): averages, medians or "
        "filtered prices, which hold bars to come? Use prices as they were traded.",
    )


def _volume_ahead(bars: _Bars) -> _Finding | None:
    if np.ptp(bars.volume) == 0:
        return None
    size = np.log(bars.high / bars.low)
    own, ahead = _correlation(bars.volume, size), _correlation(bars.volume[:-1], size[1:])
    least = _threshold(VOLUME_AHEAD, len(size))
    if ahead < VOLUME_FITS or ahead - own < least:
        return None
    return _Finding(
        f"the volume fits the next bar's range (rank correlation {ahead:.2f}) better than its own "
        f"({own:.2f}): is the column one row early?",
    )


def _clock(bars: _Bars) -> _Finding | None:
    """Look for a gap that comes at one time of day, or on the first bar of a month."""
    index = bars.index[1:]
    minutes = (index.hour * 60 + index.minute).to_numpy()
    labels, groups = np.unique(minutes, return_inverse=True)
    names = [f"at {minute // 60:02d}:{minute % 60:02d}" for minute in labels.tolist()]
    if len(labels) == 1:
        first = np.r_[False, index.month.to_numpy()[1:] != index.month.to_numpy()[:-1]]
        groups, names = first.astype(int), ["", "on the first bar of a month"]
    if len(names) > CLOCK_GROUPS:
        return None
    gap = bars.gap - bars.gap.mean()
    number = np.bincount(groups, minlength=len(names))
    mean = np.bincount(groups, gap, len(names)) / number
    square = np.bincount(groups, gap**2, len(names)) / number
    error = np.sqrt(np.maximum(square - mean**2, 0) / number)
    # The gap over a night is longer and has a drift of its own: what is looked for is surer.
    strange = (number >= CLOCK_FEWEST) & (np.abs(mean) >= CLOCK_GAP)
    strange &= np.abs(mean) >= CLOCK_T * error
    if len(labels) == 1:
        strange[0] = False
    if not strange.any():
        return None
    worst = int(np.argmax(np.where(strange, np.abs(mean) / error, 0)))
    return _Finding(
        f"opens {names[worst]} lie {1e4 * mean[worst]:+.1f} bp off the close before in the mean, "
        f"on {number[worst]} bars: a spread that widens then, or a payment that is not adjusted "
        "for? An order there would not earn it.",
    )


def _crowded(bars: _Bars) -> _Finding | None:
    steps = np.diff(bars.index.asi8)
    short = steps < SHORT_STEP * np.median(steps)
    if short.mean() < CROWDED:
        return None
    return _Finding(
        f"{count(int(short.sum()), 'bar')} follow the one before within {SHORT_STEP:.0%} of the "
        f"usual time (first {day(bars.index[1:][short][0])}): copies of it? Keep one of each.",
    )


# By the name with which each is accepted.
TESTS: dict[str, Callable[[_Bars], _Finding | None]] = {
    "heikin-ashi": _heikin_ashi,
    "gaps": _gaps,
    "wicks": _wicks,
    "no-wicks": _bare,
    "one-size": _one_size,
    "smoothed": _smoothed,
    "volume-ahead": _volume_ahead,
    "clock": _clock,
    "crowded": _crowded,
}


def _threshold(usual: float, n: int) -> float:
    # Of few bars a rank correlation is large by chance.
    return max(usual, ERRORS / float(np.sqrt(n)))


def _correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation; 0 where one of them does not vary."""
    # A correlation is known well enough from so many pairs, and sorting is what takes the time.
    every = -(-len(one) // MOST_RANKED)
    one, other = one[::every], other[::every]
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(pd.Series(one).rank(), pd.Series(other).rank())[0, 1])


def drop_repeats(bars: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Return the bars without those that repeat others, with a note and a count."""
    repeated = repeated_rows(bars)
    if not repeated.any():
        return bars
    first = day(bars.index[int(repeated.argmax())])
    findings.note(
        f"dropped {count(int(repeated.sum()), 'bar')} that repeat others or lie halfway between "
        f"them (first {first})."
    )
    return bars[~repeated]


def judge_artefacts(
    bars: pd.DataFrame,
    findings: Findings,
    *,
    accept: Sequence[str],
    repeats: str | None,
) -> list[FlagRecord]:
    """Note what the bars say against themselves, and refuse what is so by identity.

    accept: the names of what is let through all the same. Returns what is to be kept.
    """
    flags = find_artefacts(bars)
    for flag in flags:
        of_rows = flag["name"] == REPEATS
        flag["accepted"] = repeats == "keep" if of_rows else flag["name"] in accept
        refused = flag["identity"] and not flag["accepted"]
        if of_rows and repeated_rows(bars).mean() < MOST_REPEATED:
            refused = False
        if refused:
            findings.fault(flag["sentence"], *_ways_on(flag["name"]))
        else:
            kept = of_rows and flag["accepted"]
            ending = " They are used, and never traded at their opens." if kept else ""
            findings.note(flag["sentence"] + ending)
    return flags


def _ways_on(name: str) -> tuple[Part, ...]:
    if name == REPEATS:
        drop, keep = Setting("repeats", "drop"), Setting("repeats", "keep")
        return (" ", drop, " leaves them out, ", keep, " uses them all the same.")
    return (" ", Setting("accept", name), " uses the bars all the same.")
