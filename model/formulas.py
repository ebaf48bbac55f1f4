"""The formulas behind the feature table: each a few lines on a Trail, one value per row."""
from math import e, log, pi, sqrt

import numpy as np

from model.series import DEAD_ZONE, Array, ratio, sign
from model.windowing import (NO_MOVEMENT, Trail, bulk_share, clip, doublings, movement, quotient, relative, root_mean,
                             total, window_sums)

ENTROPY_TERMS = np.array([0.0] + [-k / 48 * log(k / 48) / log(6) for k in range(1, 49)])  # of k among 48 triples


# --- bar and returns ---------------------------------------------------------------------------------------------

def price_z(w: Trail, change: str) -> Array:
    """Place a price of this bar against the previous close, in units of recent volatility."""
    return clip(w.in_volatility(w.now(change), 20), 10.0)


def close_z(w: Trail) -> Array:
    return w.in_volatility(w.now("returns"), 20)


def volume_rel(w: Trail) -> Array:
    return relative(w.volume, w.mean("volume", 20))


def ret_z(w: Trail, bars: int, volatility_bars: int) -> Array:
    return w.in_volatility(w.log_changes[bars], volatility_bars, bars)


def drift_t(w: Trail, name: str) -> Array:
    return quotient(w.sum(name, 10), np.sqrt(10 * movement(w.sum(f"{name}_squares", 10))))


# --- trend -------------------------------------------------------------------------------------------------------

def ma_dist_5(w: Trail) -> Array:
    return w.in_volatility(w.now("log_close") - w.mean("log_close", 5), 20, 5)


def ma_dist_50(w: Trail) -> Array:
    return w.in_volatility(w.centred(50).last("log_close"), 50, 50)


def macd(w: Trail) -> Array:
    return w.in_volatility(w.average_gaps[8:], 50, 26)


def macd_hist(w: Trail) -> Array:
    smooth = window_sums(doublings(w.average_gaps, 9, np.add), 9, w.rows) / 9
    return w.in_volatility(w.average_gaps[8:] - smooth, 50, 26)


def trend_r2(w: Trail, name: str, bars: int, unit: Array | float = 1.0) -> Array:
    """Return the R^2 of the least-squares line, with the sign of its slope; `unit` scales the series."""
    correlation = w.centred(bars).trend(name)
    moves = w.centred(bars).deviation(name) > sqrt(NO_MOVEMENT / bars) * unit
    return np.where(moves, correlation * np.abs(correlation), 0.0)


def eff_ratio(w: Trail, bars: int) -> Array:
    return quotient(np.abs(w.log_changes[bars]), w.sum("moves", bars))


def di_diff(w: Trail) -> Array:
    return balance(w.sum("up_movement", 14), w.sum("down_movement", 14))


def balance(up: Array, down: Array) -> Array:
    return quotient(up - down, up + down)


def aroon_osc(w: Trail) -> Array:
    since_high = w.window("high", 26)[:, ::-1].argmax(axis=1)  # the first of equals is the most recent
    since_low = w.window("low", 26)[:, ::-1].argmin(axis=1)
    oscillator: Array = (since_low - since_high) / 25
    return oscillator


# --- momentum ----------------------------------------------------------------------------------------------------

def rsi(w: Trail, bars: int) -> Array:
    return balance(w.sum("rises", bars), w.sum("falls", bars))


def stochastic(w: Trail, bars: int) -> Array:
    highest, lowest = w.edge("high", bars), -w.edge("-low", bars)
    return ratio(2 * w.close - highest - lowest, highest - lowest)


def streak(w: Trail) -> Array:
    signs = w.window("signs", 20)[:, ::-1]
    alike = np.logical_and.accumulate(signs == signs[:, :1], axis=1)
    lengths = np.take(STREAK_LENGTHS, np.count_nonzero(alike, axis=1))
    signed: Array = signs[:, 0] * lengths
    return signed


STREAK_LENGTHS = np.log1p(np.arange(21.0))


def drawdown(w: Trail) -> Array:
    return w.in_volatility(np.log(w.close / w.edge("close", 50)), 50, 50)


def runup(w: Trail) -> Array:
    return w.in_volatility(np.log(w.close / -w.edge("-close", 50)), 50, 50)


# --- volatility --------------------------------------------------------------------------------------------------

def vol_ratio(w: Trail, short: int, long: int) -> Array:
    return relative(w.volatility(short), w.volatility(long))


def vol_momentum(w: Trail) -> Array:
    sums = movement(w.sums_before("squares", 10, 10))
    return relative(sums[10:], sums[:-10])


def range_rel(w: Trail) -> Array:
    return relative(w.now("range"), w.mean("range", 20))


def parkinson(w: Trail) -> Array:
    """Compare the volatility seen in the ranges (Parkinson 1980) with the one from close to close."""
    return relative(root_mean(w.sum("range_squares", 20), 20) / sqrt(4 * log(2)), w.volatility(20))


def overnight_share(w: Trail) -> Array:
    night, day = w.sum("gap_squares", 20), w.sum("body_squares", 20)
    return ratio(night, movement(night + day))


def semivariance(w: Trail) -> Array:
    return ratio(w.sum("signed_squares", 50), movement(w.sum("squares", 50)))


def absret_cv(w: Trail) -> Array:
    return quotient(w.centred(50).deviation("moves"), w.mean("moves", 50))


def jump(w: Trail) -> Array:
    """Return the share of the variance that bipower variation (Barndorff-Nielsen and Shephard 2004) leaves."""
    realised = w.sum("squares", 20)
    smooth = pi / 2 * (20 / 19) * w.sum("bipower", 19)
    return np.where(realised > NO_MOVEMENT, clip(1 - smooth / realised, 1.0), 0.0)


def bandwidth(w: Trail, bars: int) -> Array:
    return w.in_volatility(w.centred(bars).deviation("log_close"), bars, bars)


# --- volume ------------------------------------------------------------------------------------------------------

def volu_ratio(w: Trail, short: int, long: int) -> Array:
    return relative(w.mean("volume", short), w.mean("volume", long))


def flow_share(w: Trail, name: str, bars: int, whole: str = "volume") -> Array:
    return ratio(w.sum(name, bars), w.sum(whole, bars))


def vwap_spread(w: Trail, bars: int) -> Array:
    """Return the volume-weighted less the plain mean of ln TP: sum(V (ln TP - mean)) / sum(V)."""
    return w.in_volatility(ratio(w.centred(bars).products["log_typical", "volume"], w.sum("volume", bars)), bars, bars)


def amihud_rel(w: Trail) -> Array:
    return relative(flow_share(w, "moves", 5, "value"), flow_share(w, "moves", 50, "value"))


def volu_trend(w: Trail) -> Array:
    return trend_r2(w, "volume", 20, w.mean("volume", 20))


def volu_cv(w: Trail) -> Array:
    return ratio(w.centred(50).deviation("volume"), w.mean("volume", 50))


def vpin(w: Trail) -> Array:
    volatility = root_mean(w.sums_before("squares", 20, 49), 20)
    sided = bulk_share(quotient(w.series[w.place["returns"], -w.rows - 49:], volatility))
    flow = sided * w.series[w.place["volume"], -w.rows - 49:]
    return ratio(window_sums(doublings(flow, 50, np.add), 50, w.rows), w.sum("volume", 50))


# --- candle ------------------------------------------------------------------------------------------------------

def body_share(w: Trail) -> Array:
    return ratio(w.close - w.open, w.high - w.low)


def upper_wick(w: Trail) -> Array:
    return ratio(w.high - np.maximum(w.open, w.close), w.high - w.low)


def lower_wick(w: Trail) -> Array:
    return ratio(np.minimum(w.open, w.close) - w.low, w.high - w.low)


def bar_overlap(w: Trail) -> Array:
    _, high, low, _ = w.prices[:, -w.rows - 1:-1]
    both = np.maximum(w.high, high) - np.minimum(w.low, low)
    common = np.minimum(w.high, high) - np.maximum(w.low, low)
    return np.where(both == 0.0, 1.0, common / both)


def bar_shift(w: Trail) -> Array:
    _, high, low, _ = w.prices[:, -w.rows - 1:-1]
    both = np.maximum(w.high, high) - np.minimum(w.low, low)
    return ratio((w.high + w.low) - (high + low), 2 * both)


def engulf(w: Trail) -> Array:
    open_, _, _, close = w.prices[:, -w.rows - 1:-1]
    zone = DEAD_ZONE * w.close
    body, previous = w.close - w.open, close - open_
    direction = sign(body, zone)
    swallows = (direction * sign(previous, zone) < 0) & (np.abs(body) - np.abs(previous) > zone)
    return np.where(swallows, direction, 0.0)


def stair(w: Trail) -> Array:
    return w.sum("stairs", 5) / 10


# --- calendar and statistical -----------------------------------------------------------------------------------

def bar_gap(w: Trail) -> Array:
    ordered = np.partition(w.window("interval", 50), (24, 25), axis=1)
    relative_gap = w.now("interval") / ((ordered[:, 24] + ordered[:, 25]) / 2)
    return clip(np.log(np.clip(relative_gap, e**-6, e**6)), 5.0)


def variance_ratio(w: Trail) -> Array:
    return relative(movement(w.sum("five_bar_squares", 95)) / 95 / 5, movement(w.sum("squares", 95)) / 95)


def skewness(w: Trail) -> Array:
    value = w.centred(20).skewness("returns")
    return np.sign(value) * np.log1p(np.abs(value))


def spread(w: Trail) -> Array:
    estimate = np.sqrt(np.maximum(w.mean("spread", 20), 0.0))
    return np.minimum(w.in_volatility(estimate, 20), 10.0)


def pattern_entropy(w: Trail) -> Array:
    counts = w.sum("pattern", 48).astype(np.int64)[:, None] >> PATTERN_SHIFTS & 63
    return np.maximum(total(np.take(ENTROPY_TERMS, counts)), 0.0)


PATTERN_SHIFTS = np.arange(0, 36, 6)


def resid(w: Trail) -> Array:
    """Return the last log close less the end of the least-squares line, which lies 9.5 bars after its middle."""
    centred = w.centred(20)
    return w.in_volatility(centred.last("log_close") - 9.5 * centred.slope("log_close"), 20, 20)
