"""The base series behind the features: everything that is summed over windows, once per bar.

Each value is a function of its bar and a stated few before it; the bars of a chunk's start that lack them hold a
filler, which no window reaches.
"""

from functools import cached_property
from math import erf, pi, sqrt
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

DAY = 86_400 * 10**9  # nanoseconds
DEAD_ZONE = 1e-9  # relative: a smaller move has no sign, so that rounding cannot break ties

Array = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.datetime64]
Scalar = TypeVar("Scalar", bound=np.generic)

# The series that are centred over windows; they lead the others, so that a window takes the first few of them.
CENTRED = {
    name: place
    for place, name in enumerate(
        (
            "time",
            "log_close",
            "volume",
            "log_typical",
            "returns",
            "moves",
            "returns_1",
            "moves_1",
            "returns_5",
        )
    )
}


def base_series(columns: Array, stamps: Stamps) -> dict[str, Array]:
    """Return the series by name, the centred ones first."""
    _, high, low, close, volume = columns
    before = lag(columns, 1)
    typical = (high + low + close) / 3
    logs = log_series(columns, before, typical)
    returns = logs["returns"]
    moves = np.abs(returns)
    return {
        "time": np.arange(len(close), dtype=np.float64),
        "log_close": logs["log_close"],
        "volume": volume,
        "log_typical": logs["log_typical"],
        "returns": returns,
        "moves": moves,
        "returns_1": lag(returns, 1),
        "moves_1": lag(moves, 1),
        "returns_5": lag(returns, 5),
        "high": high,
        "low": low,
        "value": close * volume,
        "interval": intervals(stamps),
        "pattern": ordinal_patterns(close),
        **return_series(returns, moves, volume),
        **bar_series(logs),
        **flow_series(columns, typical),
        **step_series(columns, before),
    }


def return_series(returns: Array, moves: Array, volume: Array) -> dict[str, Array]:
    squares, signs = returns * returns, sign(returns)
    return {
        "squares": squares,
        "signs": signs,
        "signed_squares": signs * squares,
        "signed_volume": signs * volume,
        "rises": np.maximum(returns, 0.0),
        "falls": np.maximum(-returns, 0.0),
        "bipower": moves * lag(moves, 1),
    }


def bar_series(logs: dict[str, Array]) -> dict[str, Array]:
    """Return what the logarithms of a bar's own prices, and of its gap to the close before, add up to."""
    kept = {name: logs[name] for name in ("body", "gap", "range", "high_change", "low_change")}
    return kept | {
        "body_squares": logs["body"] ** 2,
        "gap_squares": logs["gap"] ** 2,
        "range_squares": logs["range"] ** 2,
        "five_bar_squares": logs["five_bar_returns"] ** 2,
        "wick_balance": logs["lower_wick"] - logs["upper_wick"],
        "spread": spread_products(logs),
    }


def log_series(columns: Array, before: Array, typical: Array) -> dict[str, Array]:
    """Return the logarithms, in one call over contiguous memory (elsewhere numpy may use another kernel)."""
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
    return dict(zip(arguments, logs))


def spread_products(logs: dict[str, Array]) -> Array:
    """Return 4 (ln C[1] - e[1]) (ln C[1] - e), e the log midrange (Abdi and Ranaldo 2017)."""
    own = (logs["over_high"] + logs["over_low"]) / 2  # ln C - e
    across = -(logs["high_change"] + logs["low_change"]) / 2  # ln C[1] - e
    return 4 * lag(own, 1) * across


def flow_series(columns: Array, typical: Array) -> dict[str, Array]:
    """Return the volume that the place of the close, or the sign of the typical price's change, turns to flow."""
    _, high, low, close, volume = columns
    flow = typical * volume
    signs = sign(typical - lag(typical, 1), DEAD_ZONE * typical)
    return {
        "accumulation": ratio(2 * close - high - low, high - low) * volume,
        "signed_flow": signs * flow,
        "moving_flow": np.abs(signs) * flow,
    }


def step_series(columns: Array, before: Array) -> dict[str, Array]:
    """Return Wilder's directional movements relative to the close, and the steps of the highs and lows."""
    close = columns[3]
    zone = DEAD_ZONE * close
    rise, fall = columns[1] - before[1], before[2] - columns[2]
    return {
        "up_movement": np.where((rise - fall > zone) & (rise > zone), rise, 0.0) / close,
        "down_movement": np.where((fall - rise > zone) & (fall > zone), fall, 0.0) / close,
        "stairs": sign(rise, zone) - sign(fall, zone),
    }


def intervals(stamps: Stamps) -> Array:
    """Return the nanoseconds since the previous bar."""
    clock = stamps.astype(np.int64)
    return (clock - lag(clock, 1)).astype(np.float64)


def ordinal_patterns(close: Array) -> Array:
    """Return for each bar 64 ** (number of its order-3 pattern): one sum of at most 63 of them then counts all six
    patterns in base 64. Ties rank by time, so an equal later close is the higher one."""
    first, second = lag(close, 2), lag(close, 1)
    return np.take(
        PATTERN_WEIGHTS, 4 * (first <= second) + 2 * (second <= close) + (first <= close)
    )


PATTERN_WEIGHTS = np.array(
    [64.0**0, np.nan, 64.0**1, 64.0**2, 64.0**3, 64.0**4, np.nan, 64.0**5]
)  # two are impossible


def calendar_waves(stamps: Stamps) -> Array:
    """Return sines, then cosines, of the shares of the day, week, month and year that are over: (8, bars)."""
    angles = 2 * pi * calendar_phases(stamps)
    return np.concatenate((np.sin(angles), np.cos(angles)))


def calendar_phases(stamps: Stamps) -> Array:
    """Return how much of the day, week, month and year is over: (4, bars)."""
    clock = stamps.astype(np.int64)
    month = stamps.astype("datetime64[M]")
    first = month.astype("datetime64[D]")
    month_share = (stamps.astype("datetime64[D]") - first) / (
        (month + 1).astype("datetime64[D]") - first
    )
    weekday = (clock // DAY + 3) % 7  # 1970-01-01 was a Thursday
    year_share = (month.astype(np.int64) % 12 + month_share) / 12
    return np.concatenate((clock % DAY / DAY, weekday / 7, month_share, year_share)).reshape(4, -1)


def lag(series: npt.NDArray[Scalar], bars: int) -> npt.NDArray[Scalar]:
    """Return the series `bars` bars ago; the first ones, without that past, stand for their own."""
    return np.concatenate((series[..., :bars], series[..., :-bars]), axis=-1)


def sign(difference: Array, zone: Array | float = DEAD_ZONE) -> Array:
    """Return -1, 0 or 1, 0 inside the dead zone."""
    return np.sign(difference) * (np.abs(difference) > zone)


def ratio(numerator: Array, denominator: Array) -> Array:
    """Return a / b, 0 where b is exactly 0: prices and volumes carry no rounding."""
    return np.where(denominator == 0.0, 0.0, numerator / denominator)


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
