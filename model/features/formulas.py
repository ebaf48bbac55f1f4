"""The formulas behind the feature table: each a few lines on a Trail, one fraction per row."""

from math import e, log, pi, sqrt

import numpy as np

from model.features.trailing import (
    DEAD_ZONE,
    Array,
    Fraction,
    Trail,
    bulk_share,
    doublings,
    movement,
    quotient,
    relative,
    root_mean,
    sign,
    total,
    window_sums,
)

ENTROPY_TERMS = np.array(
    [0.0] + [-k / 48 * log(k / 48) / log(6) for k in range(1, 49)]
)  # of k among 48 triples


# --- bar and returns ---------------------------------------------------------------------------------------------


def price_z(w: Trail, change: str) -> Fraction:
    """Place a price of this bar against the previous close, in units of recent volatility."""
    return w.in_volatility(w.now(change), 20)


def close_z(w: Trail) -> Fraction:
    return w.in_volatility(w.now("returns"), 20)


def volume_rel(w: Trail) -> Fraction:
    return relative(w.volume, w.mean("volume", 20))


def ret_z(w: Trail, bars: int, volatility_bars: int) -> Fraction:
    return w.in_volatility(w.log_changes[bars], volatility_bars, bars)


def drift_t(w: Trail, name: str) -> Fraction:
    return quotient(w.sum(name, 10), np.sqrt(10 * movement(w.sum(f"{name}_squares", 10))))


# --- trend -------------------------------------------------------------------------------------------------------


def ma_dist_5(w: Trail) -> Fraction:
    return w.in_volatility(w.now("log_close") - w.mean("log_close", 5), 20, 5)


def ma_dist_50(w: Trail) -> Fraction:
    return w.in_volatility(w.centred(50).last("log_close"), 50, 50)


def macd(w: Trail) -> Fraction:
    return w.in_volatility(w.average_gaps[8:], 50, 26)


def macd_hist(w: Trail) -> Fraction:
    smooth = window_sums(doublings(w.average_gaps, 9, np.add), 9, w.rows) / 9
    return w.in_volatility(w.average_gaps[8:] - smooth, 50, 26)


def eff_ratio(w: Trail, bars: int) -> Fraction:
    return quotient(np.abs(w.log_changes[bars]), w.sum("moves", bars))


def di_diff(w: Trail) -> Fraction:
    return balance(w.sum("up_movement", 14), w.sum("down_movement", 14))


def balance(up: Array, down: Array) -> Fraction:
    return quotient(up - down, up + down)


def aroon_osc(w: Trail) -> Fraction:
    since_high = w.window("high", 26)[:, ::-1].argmax(
        axis=1
    )  # the first of equals is the most recent
    since_low = w.window("low", 26)[:, ::-1].argmin(axis=1)
    return w.whole((since_low - since_high) / 25)


# --- momentum ----------------------------------------------------------------------------------------------------


def rsi(w: Trail, bars: int) -> Fraction:
    return balance(w.sum("rises", bars), w.sum("falls", bars))


def stochastic(w: Trail, bars: int) -> Fraction:
    highest, lowest = w.edge("high", bars), -w.edge("-low", bars)
    return Fraction(2 * w.close - highest - lowest, highest - lowest)


def streak(w: Trail) -> Fraction:
    signs = w.window("signs", 20)[:, ::-1]
    alike = np.logical_and.accumulate(signs == signs[:, :1], axis=1)
    lengths = np.take(STREAK_LENGTHS, np.count_nonzero(alike, axis=1))
    return w.whole(signs[:, 0] * lengths)


STREAK_LENGTHS = np.log1p(np.arange(21.0))


def drawdown(w: Trail) -> Fraction:
    return w.in_volatility(np.log(w.close / w.edge("close", 50)), 50, 50)


def runup(w: Trail) -> Fraction:
    return w.in_volatility(np.log(w.close / -w.edge("-close", 50)), 50, 50)


# --- volatility --------------------------------------------------------------------------------------------------


def vol_ratio(w: Trail, short: int, long: int) -> Fraction:
    return relative(w.volatility[short], w.volatility[long])


def vol_momentum(w: Trail) -> Fraction:
    sums = movement(w.sums_before("squares", 10, 10))
    return relative(sums[10:], sums[:-10])


def range_rel(w: Trail) -> Fraction:
    return relative(w.now("range"), w.mean("range", 20))


def parkinson(w: Trail) -> Fraction:
    """Compare the volatility seen in the ranges (Parkinson 1980) with the one from close to close."""
    return relative(root_mean(w.sum("range_squares", 20), 20) / sqrt(4 * log(2)), w.volatility[20])


def overnight_share(w: Trail) -> Fraction:
    night, day = w.sum("gap_squares", 20), w.sum("body_squares", 20)
    return Fraction(night, movement(night + day))


def semivariance(w: Trail) -> Fraction:
    return Fraction(w.sum("signed_squares", 50), movement(w.sum("squares", 50)))


def absret_cv(w: Trail) -> Fraction:
    return quotient(w.centred(50).deviation("moves"), w.mean("moves", 50))


def jump(w: Trail) -> Fraction:
    """Return the share of the variance that bipower variation (Barndorff-Nielsen and Shephard 2004) leaves."""
    realised = w.sum("squares", 20)
    smooth = pi / 2 * (20 / 19) * w.sum("bipower", 19)
    return Fraction(realised - smooth, movement(realised))


def bandwidth(w: Trail, bars: int) -> Fraction:
    return w.in_volatility(w.centred(bars).deviation("log_close"), bars, bars)


# --- volume ------------------------------------------------------------------------------------------------------


def volu_ratio(w: Trail, short: int, long: int) -> Fraction:
    return relative(w.mean("volume", short), w.mean("volume", long))


def flow_share(w: Trail, name: str, bars: int, whole: str = "volume") -> Fraction:
    return Fraction(w.sum(name, bars), w.sum(whole, bars))


def vwap_spread(w: Trail, bars: int) -> Fraction:
    """Return the volume-weighted less the plain mean of ln TP: sum(V (ln TP - mean)) / sum(V)."""
    spread = Fraction(w.centred(bars).products["log_typical", "volume"], w.sum("volume", bars))
    return w.in_volatility(spread.value, bars, bars)


def amihud_rel(w: Trail) -> Fraction:
    return relative(
        flow_share(w, "moves", 5, "value").value, flow_share(w, "moves", 50, "value").value
    )


def volu_trend(w: Trail) -> Fraction:
    return w.centred(20).trend("volume", w.mean("volume", 20))


def volu_cv(w: Trail) -> Fraction:
    return Fraction(w.centred(50).deviation("volume"), w.mean("volume", 50))


def vpin(w: Trail) -> Fraction:
    volatility = root_mean(w.sums_before("squares", 20, 49), 20)
    sided = bulk_share(quotient(w.series[w.place["returns"], -w.rows - 49 :], volatility).value)
    flow = sided * w.series[w.place["volume"], -w.rows - 49 :]
    return Fraction(window_sums(doublings(flow, 50, np.add), 50, w.rows), w.sum("volume", 50))


# --- candle ------------------------------------------------------------------------------------------------------


def body_share(w: Trail) -> Fraction:
    return Fraction(w.close - w.open, w.high - w.low)


def upper_wick(w: Trail) -> Fraction:
    return Fraction(w.high - np.maximum(w.open, w.close), w.high - w.low)


def lower_wick(w: Trail) -> Fraction:
    return Fraction(np.minimum(w.open, w.close) - w.low, w.high - w.low)


def bar_overlap(w: Trail) -> Fraction:
    _, high, low, _ = w.prices[:, -w.rows - 1 : -1]
    both = np.maximum(w.high, high) - np.minimum(w.low, low)
    common = np.minimum(w.high, high) - np.maximum(w.low, low)
    alike = both == 0.0
    return Fraction(np.where(alike, 1.0, common), np.where(alike, 1.0, both))


def bar_shift(w: Trail) -> Fraction:
    _, high, low, _ = w.prices[:, -w.rows - 1 : -1]
    both = np.maximum(w.high, high) - np.minimum(w.low, low)
    return Fraction((w.high + w.low) - (high + low), 2 * both)


def engulf(w: Trail) -> Fraction:
    open_, _, _, close = w.prices[:, -w.rows - 1 : -1]
    zone = DEAD_ZONE * w.close
    body, previous = w.close - w.open, close - open_
    direction = sign(body, zone)
    swallows = (direction * sign(previous, zone) < 0) & (np.abs(body) - np.abs(previous) > zone)
    return w.whole(np.where(swallows, direction, 0.0))


def stair(w: Trail) -> Fraction:
    return w.whole(w.sum("stairs", 5) / 10)


# --- calendar and statistical -----------------------------------------------------------------------------------


def bar_gap(w: Trail) -> Fraction:
    ordered = np.partition(w.window("interval", 50), (24, 25), axis=1)
    relative_gap = w.now("interval") / ((ordered[:, 24] + ordered[:, 25]) / 2)
    return w.whole(np.log(np.minimum(np.maximum(relative_gap, e**-6), e**6)))


def variance_ratio(w: Trail) -> Fraction:
    return relative(
        movement(w.sum("five_bar_squares", 95)) / 95 / 5, movement(w.sum("squares", 95)) / 95
    )


def skewness(w: Trail) -> Fraction:
    value = w.centred(20).skewness("returns")
    return w.whole(np.sign(value) * np.log1p(np.abs(value)))


def spread(w: Trail) -> Fraction:
    estimate = np.sqrt(np.maximum(w.mean("spread", 20), 0.0))
    return w.in_volatility(estimate, 20)


def pattern_entropy(w: Trail) -> Fraction:
    counts = w.sum("pattern", 48).astype(np.int64)[:, None] >> PATTERN_SHIFTS & 63
    return w.whole(np.maximum(total(np.take(ENTROPY_TERMS, counts)), 0.0))


PATTERN_SHIFTS = np.arange(0, 36, 6)


def resid(w: Trail) -> Fraction:
    """Return the last log close less the end of the least-squares line, which lies 9.5 bars after its middle."""
    centred = w.centred(20)
    return w.in_volatility(centred.last("log_close") - 9.5 * centred.slope("log_close"), 20, 20)
