"""The base series behind the features: everything that is summed over windows, once per bar.

Each value is a function of its bar and a stated few before it; the bars of a chunk's start that lack them hold a
filler, which no window reaches.
"""

from math import pi
from typing import TypeVar

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
