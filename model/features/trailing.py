"""Trailing windows: what the formulas see of the bars, computed once for all of them.

First come base series, one value per bar, each a function of its bar and a stated few before it.
Then come sums, maxima and deviations over windows of them. The bars at a chunk's start that lack
their predecessors hold a filler, which no window reaches.
"""

from functools import cached_property
from math import pi, sqrt
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]
Scalar = TypeVar("Scalar", bound=np.generic)

LOOKBACK = 101  # bars behind one row, the current one included
DAY = 86_400 * 10**9  # nanoseconds

DEAD_ZONE = 1e-9  # relative: a smaller move has no sign, so that rounding cannot break ties
NO_MOVEMENT = 1e-24  # a sum of squares up to this is rounding
CONSTANT = 1e-20  # a centred sum of squares up to this share of the raw one is rounding
TINY = 1e-12  # a denominator up to this is none

RETURN_BARS = (2, 5, 10, 20, 50, 100)  # of the returns over several bars
VOLATILITY_BARS = (5, 10, 20, 50, 100)
EXTREMES = ("high", "close", "-low", "-close")  # of which windows have maxima

# The series that windows are centred on, by row; they lead the others, so that a window takes the
# first few of them.
CENTRED = {
    "time": 0,
    "log_close": 1,
    "volume": 2,
    "log_typical": 3,
    "returns": 4,
    "moves": 5,
    "returns_1": 6,
    "moves_1": 7,
    "returns_5": 8,
}
# The products of two centred series that the formulas ask for, by bars of the window.
Pair = tuple[str, str]
PRODUCTS: dict[int, tuple[Pair, ...]] = {
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
# By 4 (a <= b) + 2 (b <= c) + (a <= c) of three closes a, b, c; two combinations cannot be.
PATTERN_WEIGHTS = np.array([1.0, np.nan, 64.0, 64.0**2, 64.0**3, 64.0**4, np.nan, 64.0**5])


class Fraction(NamedTuple):
    """A value per row whose division is still to be done, together with those of all features.

    It is 0 where |denominator| <= floor. With a floor of 0 that is an exact 0: prices and volumes
    carry no rounding.
    """

    numerator: Array
    denominator: Array
    floor: float = 0.0

    @property
    def value(self) -> Array:
        return divided(self.numerator, self.denominator, self.floor)


class TrailingWindows:
    """The trailing LOOKBACK bars of each row of a chunk, and nothing else.

    values: (rows + 100, 5), open to volume. timestamps: (rows + 100,), in nanoseconds. Whatever a
    method returns has one value per row, (rows,), where it does not say otherwise.
    """

    def __init__(self, values: Array, timestamps: Times) -> None:
        columns = np.ascontiguousarray(values.T)  # (5, rows + 100)
        series = base_series(columns, timestamps)
        self.rows = len(values) - LOOKBACK + 1
        self.prices = columns[:4]
        self.open, self.high, self.low, self.close, self.volume = columns[:, LOOKBACK - 1 :]
        self._timestamps = timestamps[LOOKBACK - 1 :]
        self._ones = np.ones(self.rows)
        self._series = np.concatenate(list(series.values())).reshape(len(series), -1)
        self._row = {name: row for row, name in enumerate(series)}
        # Without a copy, and in a fifth of the time of numpy's own view: (series, rows, LOOKBACK).
        per_series, per_bar = self._series.strides
        shape, strides = (len(series), self.rows, LOOKBACK), (per_series, per_bar, per_bar)
        self._windows = np.ndarray(shape, np.float64, self._series, strides=strides)
        extremes = np.concatenate((columns[1:4:2], -columns[2:4]))
        self._sum_levels = doublings(self._series, LOOKBACK - 1, np.add)
        self._extreme_levels = doublings(extremes, LOOKBACK - 1, np.maximum)
        # Computed once where several formulas ask for the same.
        self._sums: dict[int, Array] = {}
        self._extremes: dict[int, dict[str, Array]] = {}
        self._centred: dict[int, CentredWindows] = {}
        self._walks: dict[tuple[int, int], Array] = {}

    def now(self, name: str, earlier: int = 0) -> Array:
        """Return a series at the rows, and at the `earlier` bars before: (rows + earlier,)."""
        return self._series[self._row[name], LOOKBACK - 1 - earlier :]

    def window(self, name: str, bars: int) -> Array:
        """Return each row's last values, oldest first: (rows, bars)."""
        window: Array = self._windows[self._row[name], :, LOOKBACK - bars :]
        return window

    def sum(self, name: str, bars: int) -> Array:
        if bars not in self._sums:
            self._sums[bars] = window_sums(self._sum_levels, bars, self.rows)
        sums: Array = self._sums[bars][self._row[name]]
        return sums

    def mean(self, name: str, bars: int) -> Array:
        return self.sum(name, bars) / bars

    def sums_before(self, name: str, bars: int, earlier: int) -> Array:
        """Return window sums at the rows, and at the `earlier` bars before: (rows + earlier,).

        They serve windows of windows, such as a moving average of a moving average.
        """
        row = self._row[name]
        return window_sums([level[row] for level in self._sum_levels], bars, self.rows + earlier)

    def extreme(self, price: str, bars: int) -> Array:
        """Return the maximum of one of EXTREMES over the last bars.

        The minimum of a price is the maximum of its negative, negated.
        """
        if bars not in self._extremes:
            maxima = window_maxima(self._extreme_levels, bars, self.rows)
            self._extremes[bars] = dict(zip(EXTREMES, maxima, strict=True))
        return self._extremes[bars][price]

    def centred(self, bars: int) -> "CentredWindows":
        """Return the deviations from the windows' means.

        bars: one of the keys of PRODUCTS, which says what is computed of them.
        """
        if bars not in self._centred:
            pairs = PRODUCTS[bars]
            depth = 1 + max(CENTRED[name] for pair in pairs for name in pair)
            windows = self._windows[:depth, :, LOOKBACK - bars :]
            self._centred[bars] = CentredWindows(windows, pairs)
        return self._centred[bars]

    def as_fraction(self, value: Array) -> Fraction:
        """Wrap a plain value as a Fraction with denominator 1."""
        return Fraction(value, self._ones)

    def in_volatility(self, value: Array, volatility_bars: int, bars: int = 1) -> Fraction:
        """Divide by the volatility of a random walk of `bars` bars.

        It grows with their square root, so that moves over few and over many bars compare.
        """
        key = volatility_bars, bars
        if key not in self._walks:
            self._walks[key] = self.volatility[volatility_bars] * sqrt(bars)
        return Fraction(value, self._walks[key], TINY)

    @cached_property
    def volatility(self) -> dict[int, Array]:
        """The root mean squares of the returns, by VOLATILITY_BARS.

        The mean return is left out: over so few bars it is noise, and near zero.
        """
        sums = np.concatenate([self.sum("squares", bars) for bars in VOLATILITY_BARS])
        bars = np.array(VOLATILITY_BARS)[:, None]
        roots = root_mean(sums.reshape(len(VOLATILITY_BARS), -1), bars)
        return dict(zip(VOLATILITY_BARS, roots, strict=True))

    @cached_property
    def log_changes(self) -> dict[int, Array]:
        """The logarithms of close over the close some bars ago, by RETURN_BARS."""
        starts = [LOOKBACK - 1 - bars for bars in RETURN_BARS]
        earlier = np.concatenate([self.prices[3, start : start + self.rows] for start in starts])
        changes = np.log(self.close / earlier.reshape(len(RETURN_BARS), -1))
        return dict(zip(RETURN_BARS, changes, strict=True))

    @cached_property
    def calendar(self) -> Array:
        """Sines and cosines of how much of the day, week, month and year is over: (2, 4, rows)."""
        nanoseconds = self._timestamps.astype(np.int64)
        weekday = (nanoseconds // DAY + 3) % 7  # 1970-01-01 was a Thursday
        month = self._timestamps.astype("datetime64[M]")
        first, end = month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]")
        month_share = (self._timestamps.astype("datetime64[D]") - first) / (end - first)
        year_share = (month.astype(np.int64) % 12 + month_share) / 12
        shares = np.concatenate((nanoseconds % DAY / DAY, weekday / 7, month_share, year_share))
        angles = 2 * pi * shares.reshape(4, -1)
        return np.concatenate((np.sin(angles), np.cos(angles))).reshape(2, 4, -1)


class CentredWindows:
    """The last bars of the leading series less their mean, and the sums of the products asked for.

    windows: (series, rows, bars), of the first series of CENTRED.
    """

    def __init__(self, windows: Array, pairs: tuple[Pair, ...]) -> None:
        self._bars, self._pairs = windows.shape[-1], pairs
        # Less the first value to begin with, so that a level (ln C = 30) costs no digits.
        self._values = np.empty(windows.shape)  # contiguous
        np.subtract(windows, windows[..., :1], out=self._values)
        means = np.einsum("sib->si", self._values) / self._bars
        self._values -= means[..., None]
        self._means = windows[..., 0] + means
        self._squares = np.einsum("sib,sib->si", self._values, self._values)
        self._deviations = np.sqrt(self._squares / self._bars)
        self._lefts = [CENTRED[left] for left, _ in pairs]
        self._rights = [CENTRED[right] for _, right in pairs]
        sums = np.einsum("sib,sib->si", self._values[self._lefts], self._values[self._rights])
        self.products = dict(zip(pairs, sums, strict=True))

    def last(self, name: str) -> Array:
        last: Array = self._values[CENTRED[name], :, -1]
        return last

    def deviation(self, name: str) -> Array:
        deviation: Array = self._deviations[CENTRED[name]]
        return deviation

    def slope(self, name: str) -> Array:
        """Return the slope of the least-squares line on time: the move per bar."""
        slope: Array = self.products["time", name] / self._squares[0]
        return slope

    def trend(self, name: str, unit: Array | float = 1.0) -> Fraction:
        """Return R^2 of the least-squares line on time, with the sign of its slope.

        unit: of the series; a movement that is rounding in this unit has no trend.
        """
        product, squares = self.products["time", name], self._squares[CENTRED[name]]
        moves = squares > NO_MOVEMENT * unit * unit
        return Fraction(product * np.abs(product), np.where(moves, self._squares[0] * squares, 0.0))

    def skewness(self, name: str) -> Array:
        row = CENTRED[name]
        known = self._varies[row] & (self._squares[row] > NO_MOVEMENT)
        values, deviation = self._values[row], self._deviations[row]
        third = np.einsum("ib,ib,ib->i", values, values, values) / self._bars
        return np.where(known, third / (deviation * deviation * deviation), 0.0)

    @cached_property
    def correlations(self) -> dict[Pair, Fraction]:
        """The correlations of the pairs, 0 where a side is constant."""
        deviations = np.where(self._varies, self._deviations, 0.0)
        scales = self._bars * deviations[self._lefts] * deviations[self._rights]
        fractions = map(Fraction, self.products.values(), scales)
        return dict(zip(self._pairs, fractions, strict=True))

    @cached_property
    def _varies(self) -> npt.NDArray[np.bool_]:
        """Where a series is more than a constant with rounding errors: (series, rows)."""
        raw = self._squares + self._bars * self._means**2
        varies: npt.NDArray[np.bool_] = self._squares > CONSTANT * raw
        return varies


def base_series(columns: Array, timestamps: Times) -> dict[str, Array]:
    """Return the series by name, those of CENTRED first: columns (5, bars), each series (bars,)."""
    _, high, low, close, volume = columns
    before = lag(columns, 1)
    typical = (high + low + close) / 3
    logs = log_series(columns, before, typical)
    returns, moves = logs["returns"], np.abs(logs["returns"])
    moves_1 = lag(moves, 1)
    squares, signs = returns * returns, sign(returns)
    nanoseconds = timestamps.astype(np.int64)
    # Abdi and Ranaldo (2017): with e the log midrange, 4 (ln C[1] - e[1]) (ln C[1] - e).
    close_less_middle = (logs["over_high"] + logs["over_low"]) / 2
    close_before_less_middle = -(logs["high_change"] + logs["low_change"]) / 2
    return {
        "time": np.arange(len(close), dtype=np.float64),
        "log_close": logs["log_close"],
        "volume": volume,
        "log_typical": logs["log_typical"],
        "returns": returns,
        "moves": moves,
        "returns_1": lag(returns, 1),
        "moves_1": moves_1,
        "returns_5": lag(returns, 5),
        "high": high,
        "low": low,
        "value": close * volume,
        "interval": (nanoseconds - lag(nanoseconds, 1)).astype(np.float64),
        "pattern": ordinal_patterns(close),
        "squares": squares,
        "signs": signs,
        "signed_squares": signs * squares,
        "signed_volume": signs * volume,
        "rises": np.maximum(returns, 0.0),
        "falls": np.maximum(-returns, 0.0),
        "bipower": moves * moves_1,
        **{name: logs[name] for name in ("body", "gap", "range", "high_change", "low_change")},
        "body_squares": logs["body"] ** 2,
        "gap_squares": logs["gap"] ** 2,
        "range_squares": logs["range"] ** 2,
        "five_bar_squares": logs["five_bar_returns"] ** 2,
        "wick_balance": logs["lower_wick"] - logs["upper_wick"],
        "spread": 4 * lag(close_less_middle, 1) * close_before_less_middle,
        **flow_series(columns, before, typical),
    }


def log_series(columns: Array, before: Array, typical: Array) -> dict[str, Array]:
    """Return the logarithms that the series are made of.

    They are taken in one call over contiguous memory: numpy may take another kernel elsewhere, with
    other bits.
    """
    open_, high, low, close, _ = columns
    arguments = {
        "log_close": close,
        "log_typical": typical,
        "returns": close / before[3],
        "five_bar_returns": close / lag(close, 5),
        "body": close / open_,
        "gap": open_ / before[3],
        "high_change": high / before[3],
        "low_change": low / before[3],
        "range": high / low,
        "lower_wick": np.minimum(open_, close) / low,
        "upper_wick": high / np.maximum(open_, close),
        "over_high": close / high,
        "over_low": close / low,
    }
    logs = np.log(np.concatenate(list(arguments.values()))).reshape(len(arguments), -1)
    return dict(zip(arguments, logs, strict=True))


def flow_series(columns: Array, before: Array, typical: Array) -> dict[str, Array]:
    """Return the volume that goes with rises or falls, and the steps of the highs and lows."""
    _, high, low, close, volume = columns
    height = high - low
    place = np.where(height == 0.0, 0.0, (2 * close - high - low) / height)  # of the close, -1 to 1
    flow = typical * volume
    flow_signs = sign(typical - lag(typical, 1), DEAD_ZONE * typical)
    # Wilder's directional movements: the larger of both steps counts, where it is one at all.
    zone = DEAD_ZONE * close
    rise, fall = high - before[1], before[2] - low
    return {
        "accumulation": place * volume,
        "signed_flow": flow_signs * flow,
        "moving_flow": np.abs(flow_signs) * flow,
        "up_movement": np.where((rise - fall > zone) & (rise > zone), rise, 0.0) / close,
        "down_movement": np.where((fall - rise > zone) & (fall > zone), fall, 0.0) / close,
        "stairs": sign(rise, zone) - sign(fall, zone),
    }


def ordinal_patterns(close: Array) -> Array:
    """Return 64 ** (number of each bar's order-3 pattern): (bars,).

    One sum of at most 63 of them counts all six patterns, in base 64. Ties rank by time: an equal
    later close is the higher one.
    """
    first, second = lag(close, 2), lag(close, 1)
    number = 4 * (first <= second) + 2 * (second <= close) + (first <= close)
    return np.take(PATTERN_WEIGHTS, number)


def lag(series: npt.NDArray[Scalar], bars: int) -> npt.NDArray[Scalar]:
    """Return the series some bars ago.

    The first values, without that past, stand for their own: fillers that no window reaches.
    """
    return np.concatenate((series[..., :bars], series[..., :-bars]), axis=-1)


def sign(difference: Array, zone: Array | float = DEAD_ZONE) -> Array:
    """Return -1, 0 or 1, 0 inside the dead zone.

    zone: how large a difference is rounding; of prices it is DEAD_ZONE times the price.
    """
    return np.sign(difference) * (np.abs(difference) > zone)


def doublings(series: Array, bars: int, combine: np.ufunc) -> list[Array]:
    """Return the sums, or maxima, of every 1, 2, 4, ... consecutive values.

    They go as far as a window of `bars` needs. A window is made of few of them, whichever bar the
    history starts at: no running sum whose bits would depend on the past.
    """
    levels = [series]
    while 1 << len(levels) <= bars:
        half = 1 << len(levels) - 1
        levels.append(combine(levels[-1][..., :-half], levels[-1][..., half:]))
    return levels


def window_sums(levels: list[Array], bars: int, count: int) -> Array:
    """Return the sums of the `bars` values up to each of the last `count` bars.

    levels: the doublings of the series by addition. A window of 50 = 32 + 16 + 2 has three parts.
    """
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


def window_maxima(levels: list[Array], bars: int, count: int) -> Array:
    """Return the maxima of the `bars` values up to each of the last `count` bars.

    levels: the doublings of the series by maximum. Two parts, which may overlap, cover a window.
    """
    power = bars.bit_length() - 1
    start = levels[0].shape[-1] - count - bars + 1
    second = start + bars - (1 << power)
    level = levels[power]
    maxima: Array = np.maximum(
        level[..., start : start + count], level[..., second : second + count]
    )
    return maxima


def divided(numerator: Array, denominator: Array, floor: Array | float) -> Array:
    """Return a / b, 0 where |b| <= floor."""
    return np.where(np.abs(denominator) > floor, numerator / denominator, 0.0)


def quotient(numerator: Array, denominator: Array) -> Fraction:
    """Return a / b, 0 where |b| <= 1e-12: of sums and roots, which carry rounding."""
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
