"""Trailing windows over one chunk of bars: window sums by doubling, extremes, and centred moments.

A row's bits may not depend on the rows computed beside it, so every sum has one order of additions: a fixed tree of
elementwise ones over time, or numpy's over the last axis of a contiguous block, one window at a time. (einsum keeps that
order, multiplies on the way and takes a third of reduce's time; a BLAS may take another order at another address.)
"""

from functools import cached_property
from math import erf, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.series import CENTRED, Array, Stamps, base_series, calendar_waves

LOOKBACK = 101  # bars behind one row, the current one included
NO_MOVEMENT = 1e-24  # a sum of squares up to this is rounding
CONSTANT = 1e-20  # a centred sum of squares up to this share of the raw one is rounding
TINY = 1e-12  # a denominator up to this is none

EDGES = ("high", "close", "-low", "-close")  # whose maxima are taken
SPANS = (2, 5, 10, 20, 50, 100)  # bars of the returns that are taken whole
VOLATILITIES = (5, 10, 20, 50, 100)  # bars that a volatility is taken over

# The products of two centred series that the formulas ask for, by window length.
CROSSES: dict[int, tuple[tuple[str, str], ...]] = {
    10: (("time", "log_close"),),
    20: (
        ("time", "log_close"),
        ("time", "volume"),
        ("log_typical", "volume"),
        ("returns", "volume"),
        ("moves", "volume"),
        ("returns", "returns_1"),
    ),
    50: (
        ("time", "log_close"),
        ("log_typical", "volume"),
        ("returns", "returns_1"),
        ("returns", "returns_5"),
        ("moves", "moves_1"),
        ("moves", "returns_1"),
    ),
    100: (("time", "log_close"),),
}


class Fraction(NamedTuple):
    """A value whose division is still to be done, together with all others: 0 where |denominator| is no more than the floor.

    With a floor of 0 that is an exact 0: prices and volumes carry no rounding.
    """

    numerator: Array
    denominator: Array
    floor: float = 0.0

    @property
    def value(self) -> Array:
        return divided(self.numerator, self.denominator, self.floor)


class Trail:
    """What the formulas see: for each of the chunk's rows, the trailing LOOKBACK bars and nothing else."""

    def __init__(self, values: Array, stamps: Stamps) -> None:
        columns = np.ascontiguousarray(values.T)  # (5, rows + 100)
        series = base_series(columns, stamps)
        self.rows = len(values) - LOOKBACK + 1
        self.ones = np.ones(self.rows)
        self.stamps = stamps[LOOKBACK - 1 :]
        self.open, self.high, self.low, self.close, self.volume = columns[:, LOOKBACK - 1 :]
        self.prices = columns[:4]
        self.place = {name: row for row, name in enumerate(series)}
        self.series = np.concatenate(list(series.values())).reshape(len(series), -1)
        self.levels = doublings(self.series, LOOKBACK - 1, np.add)
        self.peaks = doublings(
            np.concatenate((columns[1:4:2], -columns[2:4])), LOOKBACK - 1, np.maximum
        )
        self.windows = trailing_view(self.series, self.rows)
        self._sums: dict[int, Array] = {}
        self._centred: dict[int, Centred] = {}
        self._scale: dict[tuple[int, int], Array] = {}
        self._edges: dict[int, dict[str, Array]] = {}

    def now(self, name: str, ago: int = 0) -> Array:
        """Return the series at each row's bar, or `ago` bars before it."""
        start = LOOKBACK - 1 - ago
        return self.series[self.place[name], start : start + self.rows]

    def window(self, name: str, bars: int) -> Array:
        """Return each row's last `bars` values, oldest first: (rows, bars)."""
        window: Array = self.windows[self.place[name], :, LOOKBACK - bars :]
        return window

    def sum(self, name: str, bars: int) -> Array:
        if bars not in self._sums:
            self._sums[bars] = window_sums(self.levels, bars, self.rows)
        sums: Array = self._sums[bars][self.place[name]]
        return sums

    def mean(self, name: str, bars: int) -> Array:
        return self.sum(name, bars) / bars

    def sums_before(self, name: str, bars: int, earlier: int) -> Array:
        """Return the window sums at the rows and at the `earlier` bars before the first row: (rows + earlier,)."""
        place = self.place[name]
        return window_sums([level[place] for level in self.levels], bars, self.rows + earlier)

    @cached_property
    def volatility(self) -> dict[int, Array]:
        """The root mean squares of the returns by bars, S in the definitions."""
        sums = np.concatenate([self.sum("squares", bars) for bars in VOLATILITIES]).reshape(
            len(VOLATILITIES), -1
        )
        return dict(zip(VOLATILITIES, root_mean(sums, np.array(VOLATILITIES)[:, None])))

    def centred(self, bars: int) -> "Centred":
        """Return the deviations from the window's mean, with their sums of products."""
        if bars not in self._centred:
            depth = 1 + max(CENTRED[name] for pair in CROSSES[bars] for name in pair)
            self._centred[bars] = Centred(self.windows[:depth, :, LOOKBACK - bars :], CROSSES[bars])
        return self._centred[bars]

    def whole(self, value: Array) -> Fraction:
        """Return what is no fraction as one."""
        return Fraction(value, self.ones)

    def in_volatility(self, value: Array, volatility_bars: int, bars: int = 1) -> Fraction:
        """Divide by the volatility of a walk of `bars` bars."""
        key = volatility_bars, bars
        if key not in self._scale:
            self._scale[key] = self.volatility[volatility_bars] * sqrt(bars)
        return Fraction(value, self._scale[key], TINY)

    def edge(self, price: str, bars: int) -> Array:
        """Return the greatest of one of EDGES over the last `bars` bars."""
        if bars not in self._edges:
            self._edges[bars] = dict(zip(EDGES, window_max(self.peaks, bars, self.rows)))
        return self._edges[bars][price]

    @cached_property
    def average_gaps(self) -> Array:
        """mean(ln C, 12) - mean(ln C, 26) at the rows and at the 8 bars before the first: (rows + 8,)."""
        return self.sums_before("log_close", 12, 8) / 12 - self.sums_before("log_close", 26, 8) / 26

    @cached_property
    def calendar(self) -> Array:
        return calendar_waves(self.stamps)

    @cached_property
    def log_changes(self) -> dict[int, Array]:
        """ln(C / C[bars]) by bars."""
        starts = [LOOKBACK - 1 - bars for bars in SPANS]
        earlier = np.concatenate([self.prices[3, start : start + self.rows] for start in starts])
        return dict(zip(SPANS, np.log(self.close / earlier.reshape(len(SPANS), -1))))


class Centred:
    """The last `bars` values of the leading series less their mean, and the sums of the products asked for."""

    def __init__(self, windows: Array, crosses: tuple[tuple[str, str], ...]) -> None:
        self.bars = windows.shape[-1]
        self.crosses = crosses
        self.values = np.empty(windows.shape)  # (depth, rows, bars), contiguous
        np.subtract(
            windows, windows[..., :1], out=self.values
        )  # so that a level (ln C = 30) costs no digits
        means = np.einsum("sib->si", self.values) / self.bars
        self.means = windows[..., 0] + means
        self.values -= means[..., None]
        self.squares = np.einsum("sib,sib->si", self.values, self.values)
        self.deviations = np.sqrt(self.squares / self.bars)
        lefts, rights = self._sides
        self.products = dict(
            zip(crosses, np.einsum("sib,sib->si", self.values[lefts], self.values[rights]))
        )

    @property
    def _sides(self) -> tuple[list[int], list[int]]:
        return [CENTRED[left] for left, _ in self.crosses], [
            CENTRED[right] for _, right in self.crosses
        ]

    @cached_property
    def varies(self) -> npt.NDArray[np.bool_]:
        """Where each series is more than a constant with rounding errors."""
        known: npt.NDArray[np.bool_] = self.squares > CONSTANT * (
            self.squares + self.bars * self.means**2
        )
        return known

    @cached_property
    def correlations(self) -> dict[tuple[str, str], Fraction]:
        """The correlations of the products asked for, 0 where a side is constant."""
        lefts, rights = self._sides
        spreads = np.where(self.varies, self.deviations, 0.0)
        scales = self.bars * spreads[lefts] * spreads[rights]
        return {
            pair: Fraction(self.products[pair], scale) for pair, scale in zip(self.crosses, scales)
        }

    def trend(self, name: str, unit: Array | float = 1.0) -> Fraction:
        """Return the R^2 of the least-squares line on time, with the sign of its slope; `unit` scales the series."""
        product, squares = self.products["time", name], self.squares[CENTRED[name]]
        moves = squares > NO_MOVEMENT * unit * unit
        return Fraction(product * np.abs(product), np.where(moves, self.squares[0] * squares, 0.0))

    def last(self, name: str) -> Array:
        last: Array = self.values[CENTRED[name], :, -1]
        return last

    def deviation(self, name: str) -> Array:
        deviation: Array = self.deviations[CENTRED[name]]
        return deviation

    def slope(self, name: str) -> Array:
        """Return the slope of the least-squares line on time."""
        slope: Array = self.products["time", name] / self.squares[0]
        return slope

    def skewness(self, name: str) -> Array:
        place = CENTRED[name]
        known = self.varies[place] & (self.squares[place] > NO_MOVEMENT)
        values, deviation = self.values[place], self.deviations[place]
        third = np.einsum("ib,ib,ib->i", values, values, values) / self.bars
        return np.where(known, third / (deviation * deviation * deviation), 0.0)


def trailing_view(series: Array, rows: int) -> Array:
    """Return the windows (series, rows, LOOKBACK), oldest bar first, without copying.

    It takes a fifth of the time of numpy's own view.
    """
    per_series, per_bar = series.strides
    shape = (len(series), rows, LOOKBACK)
    return np.ndarray(shape, np.float64, series, strides=(per_series, per_bar, per_bar))


def doublings(series: Array, bars: int, combine: np.ufunc) -> list[Array]:
    """Return the sums, or maxima, of every 1, 2, 4, ... consecutive values, as far as a window of `bars` needs."""
    levels = [series]
    while 1 << len(levels) <= bars:
        half = 1 << len(levels) - 1
        levels.append(combine(levels[-1][..., :-half], levels[-1][..., half:]))
    return levels


def window_sums(levels: list[Array], bars: int, count: int) -> Array:
    """Return the sums of the `bars` values up to each of the last `count` bars."""
    start = levels[0].shape[-1] - count - bars + 1
    parts = []
    for power, level in enumerate(levels):
        if bars >> power & 1:
            parts.append(level[..., start : start + count])
            start += 1 << power
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def window_max(levels: list[Array], bars: int, count: int) -> Array:
    """Return the maxima of the `bars` values up to each of the last `count` bars."""
    power = bars.bit_length() - 1
    start = levels[0].shape[-1] - count - bars + 1
    end = start + bars - (1 << power)  # where the second, overlapping, half starts
    maxima: Array = np.maximum(
        levels[power][..., start : start + count], levels[power][..., end : end + count]
    )
    return maxima


def total(block: Array) -> Array:
    """Return the sum over the last axis of a contiguous block."""
    sums: Array = np.add.reduce(block, axis=-1)
    return sums


def divided(numerator: Array, denominator: Array, floor: Array | float) -> Array:
    """Return a / b, 0 where |b| is no more than the floor."""
    return np.where(np.abs(denominator) > floor, numerator / denominator, 0.0)


def quotient(numerator: Array, denominator: Array) -> Fraction:
    """Return a / b, 0 where |b| <= 1e-12: q in the definitions."""
    return Fraction(numerator, denominator, TINY)


def relative(left: Array, right: Array) -> Fraction:
    """Return (a - b) / (a + b) of two non-negative values, 0 where both are 0."""
    return Fraction(left - right, left + right)


def movement(squares: Array) -> Array:
    """Return a sum of squares, 0 where it is rounding alone."""
    return np.where(squares > NO_MOVEMENT, squares, 0.0)


def root_mean(squares: Array, bars: int | npt.NDArray[np.int64]) -> Array:
    root: Array = np.sqrt(movement(squares) / bars)
    return root


def bulk_share(score: Array) -> Array:
    """Return |2 Phi(z) - 1|, the share of a bar's volume on one side (Easley, Lopez de Prado and O'Hara 2012)."""
    return np.array([abs(erf(value)) for value in (score / sqrt(2)).tolist()])
