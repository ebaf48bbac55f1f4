"""The 86 features as they are usually written, with pandas' rolling windows or with TA-Lib.

A rival of the benchmark: formulas over whole columns, on two sets of tools with the same methods.
"""

import importlib
from functools import partial
from math import log, pi, sqrt
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy.special import erf

from model.features.table import FEATURE_NAMES

Column: TypeAlias = Any  # a Series or an array, whichever the tools work on
Columns = dict[str, Column]


class PandasTools:
    """Rolling windows over Series."""

    def take(self, values: Column) -> Column:
        return pd.Series(values)

    def lag(self, x: Column, bars: int) -> Column:
        return x.shift(bars)

    def sum(self, x: Column, bars: int) -> Column:
        return x.rolling(bars).sum()

    def mean(self, x: Column, bars: int) -> Column:
        return x.rolling(bars).mean()

    def std(self, x: Column, bars: int) -> Column:
        return x.rolling(bars).std(ddof=0)

    def highest(self, x: Column, bars: int) -> Column:
        return x.rolling(bars).max()

    def lowest(self, x: Column, bars: int) -> Column:
        return x.rolling(bars).min()

    def since_highest(self, x: Column, bars: int) -> Column:
        return x.rolling(bars).apply(lambda window: bars - 1 - window.argmax(), raw=True)

    def median(self, x: Column, bars: int) -> Column:
        return x.rolling(bars).median()

    def correlation(self, x: Column, y: Column, bars: int) -> Column:
        return x.rolling(bars).corr(y)

    def skewness(self, x: Column, bars: int) -> Column:
        """Return the population's skewness; pandas has the sample's."""
        return x.rolling(bars).skew() * (bars - 2) / sqrt(bars * (bars - 1))

    def line(self, x: Column, bars: int) -> tuple[Column, Column]:
        """Return slope and end of the least-squares line on time.

        Linearly weighted means, as they are usually had.
        """
        times = self.take(np.arange(len(x), dtype=float))
        covariance = (x * times).rolling(bars).mean() - x.rolling(bars).mean() * times.rolling(
            bars
        ).mean()
        # (n^2 - 1) / 12 is the variance of n equally spaced times.
        slope = covariance / ((bars**2 - 1) / 12)
        return slope, x.rolling(bars).mean() + slope * (bars - 1) / 2


class TalibTools:
    """TA-Lib's functions over arrays."""

    def __init__(self) -> None:
        self._talib = importlib.import_module("talib")  # an optional extra

    def take(self, values: Column) -> Column:
        return np.ascontiguousarray(values, dtype=float)

    def lag(self, x: Column, bars: int) -> Column:
        return np.concatenate((np.full(bars, np.nan), x[:-bars]))

    def sum(self, x: Column, bars: int) -> Column:
        return self._talib.SUM(x, bars)

    def mean(self, x: Column, bars: int) -> Column:
        return self._talib.SMA(x, bars)

    def std(self, x: Column, bars: int) -> Column:
        return self._talib.STDDEV(x, bars)

    def highest(self, x: Column, bars: int) -> Column:
        return self._talib.MAX(x, bars)

    def lowest(self, x: Column, bars: int) -> Column:
        return self._talib.MIN(x, bars)

    def since_highest(self, x: Column, bars: int) -> Column:
        # TA-Lib says where the highest stands, ours how long ago it was.
        return np.arange(len(x)) - self._talib.MAXINDEX(x, bars)

    def median(self, x: Column, bars: int) -> Column:
        """Return the median, which TA-Lib lacks."""
        windows = np.lib.stride_tricks.sliding_window_view(x, bars)
        return np.concatenate((np.full(bars - 1, np.nan), np.median(windows, axis=1)))

    def correlation(self, x: Column, y: Column, bars: int) -> Column:
        return self._talib.CORREL(x, y, bars)

    def skewness(self, x: Column, bars: int) -> Column:
        mean, square, cube = (self.mean(x**power, bars) for power in (1, 2, 3))
        # Of raw moments, as TA-Lib has no skewness: E(x - m)^3 / s^3.
        return (cube - 3 * mean * square + 2 * mean**3) / (square - mean**2) ** 1.5

    def line(self, x: Column, bars: int) -> tuple[Column, Column]:
        return self._talib.LINEARREG_SLOPE(x, bars), self._talib.LINEARREG(x, bars)


Tools = PandasTools | TalibTools


def usual_features(bars: pd.DataFrame, tools: Tools) -> pd.DataFrame:
    """Return the 86 columns of all bars; what a window does not define is 0."""
    market = Market(bars, tools)
    found = {name: column for group in GROUPS for name, column in group(market).items()}
    table = np.column_stack([found[name] for name in FEATURE_NAMES])
    # As ours, where a quotient is not defined.
    table[~np.isfinite(table)] = 0.0
    return pd.DataFrame(table, index=bars.index, columns=list(FEATURE_NAMES))


class Market:
    """The columns that several groups start from.

    r: log returns; sn(n): their root mean square over n bars.
    """

    def __init__(self, bars: pd.DataFrame, tools: Tools) -> None:
        self.tools, self.timestamps = tools, pd.DatetimeIndex(bars.index)
        self.open, self.high, self.low, self.close, self.volume = (
            tools.take(bars[name].to_numpy()) for name in ("open", "high", "low", "close", "volume")
        )
        self.before = tools.lag(self.close, 1)
        self.log_close = np.log(self.close)
        self.r = self.log_close - tools.lag(self.log_close, 1)
        self.moves, self.signs = np.abs(self.r), sign(self.r)
        self.gap, self.body = np.log(self.open / self.before), np.log(self.close / self.open)
        self.range, self.typical = (
            np.log(self.high / self.low),
            (self.high + self.low + self.close) / 3,
        )
        self.sn = {bars: np.sqrt(tools.mean(self.r**2, bars)) for bars in (5, 10, 20, 50, 100)}

    def scaled(self, x: Column, volatility_bars: int, bars: int = 1) -> Column:
        return x / (self.sn[volatility_bars] * sqrt(bars))

    def change(self, bars: int) -> Column:
        return self.log_close - self.tools.lag(self.log_close, bars)

    def share(self, x: Column, whole: Column, bars: int) -> Column:
        return self.tools.sum(x, bars) / self.tools.sum(whole, bars)

    def signed_r2(self, x: Column, bars: int) -> Column:
        slope, _ = self.tools.line(x, bars)
        return np.sign(slope) * slope**2 * (bars**2 - 1) / 12 / self.tools.std(x, bars) ** 2


def sign(x: Column, zone: Column = 1e-9) -> Column:
    return np.sign(x) * (np.abs(x) > zone)


def relative(a: Column, b: Column) -> Column:
    """Return the difference over the sum, from -1 to 1."""
    return (a - b) / (a + b)


def bar_group(m: Market) -> Columns:
    prices = {"open": m.open, "high": m.high, "low": m.low}
    found = {
        f"bar_{name}_z": np.clip(m.scaled(np.log(price / m.before), 20), -10, 10)
        for name, price in prices.items()
    }
    return found | {
        "bar_close_z": m.scaled(m.r, 20),
        "bar_volume_rel": relative(m.volume, m.tools.mean(m.volume, 20)),
    }


def return_group(m: Market) -> Columns:
    spans = {2: 20, 5: 20, 10: 20, 20: 20, 50: 50, 100: 100}
    found = {
        f"ret_z_{bars}": m.scaled(m.change(bars), volatility, bars)
        for bars, volatility in spans.items()
    }
    for name, x in (("intraday", m.body), ("overnight", m.gap)):
        found[f"{name}_t_10"] = m.tools.sum(x, 10) / np.sqrt(10 * m.tools.sum(x**2, 10))
    return found


def trend_group(m: Market) -> Columns:
    mean, total = partial(m.tools.mean, m.log_close), m.tools.sum
    macd = mean(12) - mean(26)
    rise, fall = m.high - m.tools.lag(m.high, 1), m.tools.lag(m.low, 1) - m.low
    up, down = (
        np.where((a > b) & (a > 0), a, 0.0) / m.close for a, b in ((rise, fall), (fall, rise))
    )
    found = {
        "ma_dist_5": m.scaled(m.log_close - mean(5), 20, 5),
        "ma_dist_50": m.scaled(m.log_close - mean(50), 50, 50),
        "macd_12_26": m.scaled(macd, 50, 26),
        "macd_hist_9": m.scaled(macd - m.tools.mean(macd, 9), 50, 26),
        "di_diff_14": relative(total(m.tools.take(up), 14), total(m.tools.take(down), 14)),
        "aroon_osc_25": (m.tools.since_highest(-m.low, 26) - m.tools.since_highest(m.high, 26))
        / 25,
    }
    found |= {f"trend_r2_{bars}": m.signed_r2(m.log_close, bars) for bars in (10, 50, 100)}
    return found | {
        f"eff_ratio_{bars}": np.abs(m.change(bars)) / total(m.moves, bars) for bars in (20, 50)
    }


def momentum_group(m: Market) -> Columns:
    rises, falls = np.maximum(m.r, 0.0), np.maximum(-m.r, 0.0)
    found = {
        f"rsi_{bars}": relative(m.tools.sum(rises, bars), m.tools.sum(falls, bars))
        for bars in (7, 14)
    }
    for name, bars in (("stoch_14", 14), ("donchian_100", 100)):
        highest, lowest = m.tools.highest(m.high, bars), m.tools.lowest(m.low, bars)
        found[name] = (2 * m.close - highest - lowest) / (highest - lowest)
    return found | {
        "updown_10": m.tools.mean(m.signs, 10),
        "streak": streak(np.asarray(m.signs)),
        "drawdown_50": m.scaled(np.log(m.close / m.tools.highest(m.close, 50)), 50, 50),
        "runup_50": m.scaled(np.log(m.close / m.tools.lowest(m.close, 50)), 50, 50),
    }


def streak(signs: Column) -> Column:
    places = np.arange(len(signs))
    begun = np.maximum.accumulate(np.where(np.append(True, signs[1:] != signs[:-1]), places, 0))
    return signs * np.log1p(np.minimum(places - begun + 1, 20))


def volatility_group(m: Market) -> Columns:
    mean, total, squares = m.tools.mean, m.tools.sum, m.r**2
    ten, night, day = total(squares, 10), total(m.gap**2, 20), total(m.body**2, 20)
    bipower = pi / 2 * 20 / 19 * total(m.moves * m.tools.lag(m.moves, 1), 19)
    found = {
        f"vol_ratio_{short}_{long}": relative(m.sn[short], m.sn[long])
        for short, long in ((5, 20), (10, 50), (20, 100))
    }
    found |= {
        f"bandwidth_{bars}": m.scaled(m.tools.std(m.log_close, bars), bars, bars)
        for bars in (20, 50)
    }
    return found | {
        "vol_mom_10": relative(ten, m.tools.lag(ten, 10)),
        "range_rel_20": relative(m.range, mean(m.range, 20)),
        "park_cc_20": relative(np.sqrt(mean(m.range**2, 20) / (4 * log(2))), m.sn[20]),
        "overnight_share_20": night / (night + day),
        "semivar_50": m.share(m.signs * squares, squares, 50),
        "absret_cv_50": m.tools.std(m.moves, 50) / mean(m.moves, 50),
        "jump_20": np.clip(1 - bipower / total(squares, 20), -1, 1),
    }


def volume_group(m: Market) -> Columns:
    mean, correlation, volume = m.tools.mean, m.tools.correlation, m.volume
    typical, flow = np.log(m.typical), m.typical * volume
    signs = sign(m.typical - m.tools.lag(m.typical, 1), 1e-9 * m.typical)
    place = (2 * m.close - m.high - m.low) / (m.high - m.low)
    poor = {bars: m.share(m.moves, m.close * volume, bars) for bars in (5, 50)}
    pairs = ((5, 20), (20, 100))
    found = {
        f"volu_ratio_{short}_{long}": relative(mean(volume, short), mean(volume, long))
        for short, long in pairs
    }
    for bars in (20, 50):
        spread = m.share(volume * typical, volume, bars) - mean(typical, bars)
        found[f"vwap_spread_{bars}"] = m.scaled(spread, bars, bars)
    return found | {
        "obv_30": m.share(m.signs * volume, volume, 30),
        "cmf_20": m.share(place * volume, volume, 20),
        "mfi_14": m.share(signs * flow, np.abs(signs) * flow, 14),
        "ret_volu_corr_20": correlation(m.r, volume, 20),
        "absret_volu_corr_20": correlation(m.moves, volume, 20),
        "amihud_rel_5_50": relative(poor[5], poor[50]),
        "volu_trend_20": m.signed_r2(volume, 20),
        "volu_cv_50": m.tools.std(volume, 50) / mean(volume, 50),
        # The share of buyers in bulk: the normal distribution at the move in deviations.
        "vpin_50": m.share(
            m.tools.take(np.abs(erf(np.asarray(m.scaled(m.r, 20)) / sqrt(2)))) * volume, volume, 50
        ),
    }


def candle_group(m: Market) -> Columns:
    lag, width = m.tools.lag, m.high - m.low
    top, bottom = np.maximum(m.open, m.close), np.minimum(m.open, m.close)
    wicks = np.log(bottom / m.low) - np.log(m.high / top)
    high, low, body, zone = lag(m.high, 1), lag(m.low, 1), m.close - m.open, 1e-9 * m.close
    union = np.maximum(m.high, high) - np.minimum(m.low, low)
    swallows = (sign(body, zone) * sign(lag(body, 1), zone) < 0) & (
        np.abs(body) - np.abs(lag(body, 1)) > zone
    )
    steps = sign(m.high - high, zone) + sign(m.low - low, zone)
    return {
        "body_share": body / width,
        "upper_wick": (m.high - top) / width,
        "lower_wick": (bottom - m.low) / width,
        "body_mean_5": m.share(m.body, m.range, 5),
        "wick_imb_5": m.share(wicks, m.range, 5),
        "wick_imb_20": m.share(wicks, m.range, 20),
        "bar_overlap": (np.minimum(m.high, high) - np.maximum(m.low, low)) / union,
        "bar_shift": (m.high + m.low - high - low) / (2 * union),
        "engulf": np.where(swallows, np.sign(body), 0.0),
        "stair_5": m.tools.sum(steps, 5) / 10,
    }


def calendar_group(m: Market) -> Columns:
    timestamps = m.timestamps
    month = (timestamps.day - 1) / timestamps.days_in_month
    phases = {
        "tod": (timestamps - timestamps.normalize()) / pd.Timedelta(days=1),
        "dow": timestamps.day_of_week / 7,
        "dom": month,
        "moy": (timestamps.month - 1 + month) / 12,
    }
    found = {f"{name}_sin": np.sin(2 * pi * phase) for name, phase in phases.items()}
    found |= {f"{name}_cos": np.cos(2 * pi * phase) for name, phase in phases.items()}
    seconds = m.tools.take(np.append(np.nan, np.diff(timestamps.asi8)).astype(float))
    return found | {"bar_gap": np.clip(np.log(seconds / m.tools.median(seconds, 50)), -5, 5)}


def statistical_group(m: Market) -> Columns:
    lag, correlation = m.tools.lag, partial(m.tools.correlation, m.r)
    middle = (np.log(m.high) + np.log(m.low)) / 2
    spread = 4 * lag(m.log_close - middle, 1) * (lag(m.log_close, 1) - middle)
    skewness = m.tools.skewness(m.r, 20)
    _, end = m.tools.line(m.log_close, 20)
    return {
        "acf1_20": correlation(lag(m.r, 1), 20),
        "acf1_50": correlation(lag(m.r, 1), 50),
        "acf5_50": correlation(lag(m.r, 5), 50),
        "acf1_abs_50": m.tools.correlation(m.moves, lag(m.moves, 1), 50),
        "lever_corr_50": m.tools.correlation(m.moves, lag(m.r, 1), 50),
        "var_ratio_5_95": relative(
            m.tools.mean(m.change(5) ** 2, 95) / 5, m.tools.mean(m.r**2, 95)
        ),
        "skew_20": np.sign(skewness) * np.log1p(np.abs(skewness)),
        "spread_ar_20": np.clip(
            m.scaled(np.sqrt(np.maximum(m.tools.mean(spread, 20), 0)), 20), 0, 10
        ),
        "perm_entropy_50": entropy(m),
        "resid_20": m.scaled(m.log_close - end, 20, 20),
    }


def entropy(m: Market) -> Column:
    """Return the entropy of the order-3 patterns of the closes.

    Each pattern is counted over the last 48 triples.
    """
    first, second, third = (
        np.asarray(m.tools.lag(m.close, 2)),
        np.asarray(m.before),
        np.asarray(m.close),
    )
    patterns = 4 * (first <= second) + 2 * (second <= third) + (first <= third)
    shares = [
        np.asarray(m.tools.mean(m.tools.take((patterns == pattern).astype(float)), 48))
        for pattern in (0, 2, 3, 4, 5, 7)
    ]
    return -sum(share * np.log(np.where(share > 1e-9, share, 1.0)) for share in shares) / log(6)


GROUPS = (
    bar_group,
    return_group,
    trend_group,
    momentum_group,
    volatility_group,
    volume_group,
    candle_group,
    calendar_group,
    statistical_group,
)
