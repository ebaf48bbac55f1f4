"""The formulas of the 86 features: a function per group, from windows to fractions by name.

A fraction holds a numerator and a denominator per row; the table divides all of them at once. `w`
are the trailing windows. Prices enter as logarithms or ratios, volumes as ratios, so that neither
the price level nor the unit of volume shows in a feature.
"""

from math import e, erf, log, pi, sqrt

import numpy as np

from model.features.trailing import (
    DEAD_ZONE,
    Array,
    Fraction,
    TrailingWindows,
    doublings,
    movement,
    quotient,
    relative,
    root_mean,
    sign,
    window_sums,
)

Fractions = dict[str, Fraction]

STREAK_LENGTHS = np.log1p(np.arange(21.0))
PATTERN_SHIFTS = np.arange(0, 36, 6)  # bits of the six counts in a sum of ordinal patterns
# The share of entropy of a pattern that occurs k times among 48, in units of the most possible.
ENTROPY_TERMS = np.array([0.0] + [-k / 48 * log(k / 48) / log(6) for k in range(1, 49)])


def bar_features(w: TrailingWindows) -> Fractions:
    """The bar itself: its prices against the close before, and its volume.

    Prices are in units of the volatility of 20 bars, the volume against its mean of 20 bars.
    """
    return {
        "bar_open_z": w.in_volatility(w.now("gap"), 20),
        "bar_high_z": w.in_volatility(w.now("high_change"), 20),
        "bar_low_z": w.in_volatility(w.now("low_change"), 20),
        "bar_close_z": w.in_volatility(w.now("returns"), 20),
        "bar_volume_rel": relative(w.volume, w.mean("volume", 20)),
    }


def return_features(w: TrailingWindows) -> Fractions:
    """Returns over several bars, and the drifts within the bars and between them."""

    def drift(name: str) -> Fraction:
        # The t-statistic of a mean of zero, with the mean square for the variance.
        return quotient(w.sum(name, 10), np.sqrt(10 * movement(w.sum(f"{name}_squares", 10))))

    return {
        "ret_z_2": w.in_volatility(w.log_changes[2], 20, 2),
        "ret_z_5": w.in_volatility(w.log_changes[5], 20, 5),
        "ret_z_10": w.in_volatility(w.log_changes[10], 20, 10),
        "ret_z_20": w.in_volatility(w.log_changes[20], 20, 20),
        "ret_z_50": w.in_volatility(w.log_changes[50], 50, 50),
        "ret_z_100": w.in_volatility(w.log_changes[100], 100, 100),
        "intraday_t_10": drift("body"),
        "overnight_t_10": drift("gap"),
    }


def trend_features(w: TrailingWindows) -> Fractions:
    """Distances from moving averages, fits of a line, and how straight the price went.

    MACD by plain means: an exponential average would depend on where the history starts.
    """
    # Of the averages of 12 and 26 bars, at the rows and at the 8 bars before, for the signal line.
    gaps = w.sums_before("log_close", 12, 8) / 12 - w.sums_before("log_close", 26, 8) / 26
    signal = window_sums(doublings(gaps, 9, np.add), 9, w.rows) / 9
    # Reversed, so that the first of equal extremes is the most recent one.
    since_high = w.window("high", 26)[:, ::-1].argmax(axis=1)
    since_low = w.window("low", 26)[:, ::-1].argmin(axis=1)
    return {
        "ma_dist_5": w.in_volatility(w.now("log_close") - w.mean("log_close", 5), 20, 5),
        "ma_dist_50": w.in_volatility(w.centred(50).last("log_close"), 50, 50),
        "macd_12_26": w.in_volatility(gaps[8:], 50, 26),
        "macd_hist_9": w.in_volatility(gaps[8:] - signal, 50, 26),
        "trend_r2_10": w.centred(10).trend("log_close"),
        "trend_r2_50": w.centred(50).trend("log_close"),
        "trend_r2_100": w.centred(100).trend("log_close"),
        "eff_ratio_20": quotient(np.abs(w.log_changes[20]), w.sum("moves", 20)),
        "eff_ratio_50": quotient(np.abs(w.log_changes[50]), w.sum("moves", 50)),
        "di_diff_14": balance(w.sum("up_movement", 14), w.sum("down_movement", 14)),
        "aroon_osc_25": w.as_fraction((since_low - since_high) / 25),
    }


def momentum_features(w: TrailingWindows) -> Fractions:
    """Rises against falls, the close within the range of the window, runs, and extremes."""

    def stochastic(bars: int) -> Fraction:
        highest, lowest = w.extreme("high", bars), -w.extreme("-low", bars)
        return Fraction(2 * w.close - highest - lowest, highest - lowest)

    signs = w.window("signs", 20)[:, ::-1]
    alike = np.logical_and.accumulate(signs == signs[:, :1], axis=1)
    streak_lengths = np.take(STREAK_LENGTHS, np.count_nonzero(alike, axis=1))
    return {
        "rsi_7": balance(w.sum("rises", 7), w.sum("falls", 7)),
        "rsi_14": balance(w.sum("rises", 14), w.sum("falls", 14)),
        "stoch_14": stochastic(14),
        "donchian_100": stochastic(100),
        "updown_10": w.as_fraction(w.mean("signs", 10)),
        "streak": w.as_fraction(signs[:, 0] * streak_lengths),
        "drawdown_50": w.in_volatility(np.log(w.close / w.extreme("close", 50)), 50, 50),
        "runup_50": w.in_volatility(np.log(w.close / -w.extreme("-close", 50)), 50, 50),
    }


def volatility_features(w: TrailingWindows) -> Fractions:
    """Volatilities against each other, and what they are made of.

    Night or day, falls or rises, ranges or closes, jumps or steady moves.
    """
    ten_bars = movement(w.sums_before("squares", 10, 10))
    # Parkinson (1980): the volatility seen in the ranges, against that from close to close.
    from_ranges = root_mean(w.sum("range_squares", 20), 20) / sqrt(4 * log(2))
    night, day = w.sum("gap_squares", 20), w.sum("body_squares", 20)
    # Barndorff-Nielsen and Shephard (2004): the variance that bipower variation leaves is jumps.
    realised = w.sum("squares", 20)
    continuous = pi / 2 * (20 / 19) * w.sum("bipower", 19)
    return {
        "vol_ratio_5_20": relative(w.volatility[5], w.volatility[20]),
        "vol_ratio_10_50": relative(w.volatility[10], w.volatility[50]),
        "vol_ratio_20_100": relative(w.volatility[20], w.volatility[100]),
        "vol_mom_10": relative(ten_bars[10:], ten_bars[:-10]),
        "range_rel_20": relative(w.now("range"), w.mean("range", 20)),
        "park_cc_20": relative(from_ranges, w.volatility[20]),
        "overnight_share_20": Fraction(night, movement(night + day)),
        "semivar_50": Fraction(w.sum("signed_squares", 50), movement(w.sum("squares", 50))),
        "absret_cv_50": quotient(w.centred(50).deviation("moves"), w.mean("moves", 50)),
        "jump_20": Fraction(realised - continuous, movement(realised)),
        "bandwidth_20": w.in_volatility(w.centred(20).deviation("log_close"), 20, 20),
        "bandwidth_50": w.in_volatility(w.centred(50).deviation("log_close"), 50, 50),
    }


def volume_features(w: TrailingWindows) -> Fractions:
    """Volumes against each other, and where the price goes when volume is large.

    All are 0 where a feed has no volume.
    """

    def vwap_spread(bars: int) -> Fraction:
        # The volume-weighted less the plain mean of ln TP: sum(V (ln TP - mean)) / sum(V).
        products = w.centred(bars).products["log_typical", "volume"]
        return w.in_volatility(Fraction(products, w.sum("volume", bars)).value, bars, bars)

    def illiquidity(bars: int) -> Array:
        return Fraction(w.sum("moves", bars), w.sum("value", bars)).value

    return {
        "volu_ratio_5_20": relative(w.mean("volume", 5), w.mean("volume", 20)),
        "volu_ratio_20_100": relative(w.mean("volume", 20), w.mean("volume", 100)),
        "obv_30": Fraction(w.sum("signed_volume", 30), w.sum("volume", 30)),
        "cmf_20": Fraction(w.sum("accumulation", 20), w.sum("volume", 20)),
        "mfi_14": Fraction(w.sum("signed_flow", 14), w.sum("moving_flow", 14)),
        "vwap_spread_20": vwap_spread(20),
        "vwap_spread_50": vwap_spread(50),
        "ret_volu_corr_20": w.centred(20).correlations["returns", "volume"],
        "absret_volu_corr_20": w.centred(20).correlations["moves", "volume"],
        "amihud_rel_5_50": relative(illiquidity(5), illiquidity(50)),
        "volu_trend_20": w.centred(20).trend("volume", w.mean("volume", 20)),
        "volu_cv_50": Fraction(w.centred(50).deviation("volume"), w.mean("volume", 50)),
        "vpin_50": volume_imbalance(w),
    }


def candle_features(w: TrailingWindows) -> Fractions:
    """The shape of this bar, of the last few, and against the bar before."""
    body, height = w.close - w.open, w.high - w.low
    open_before, high_before, low_before, close_before = w.prices[:, -w.rows - 1 : -1]
    both = np.maximum(w.high, high_before) - np.minimum(w.low, low_before)
    common = np.minimum(w.high, high_before) - np.maximum(w.low, low_before)
    alike = both == 0.0  # two bars of one and the same price overlap fully
    body_before, zone = close_before - open_before, DEAD_ZONE * w.close
    direction = sign(body, zone)
    engulfs = direction * sign(body_before, zone) < 0
    engulfs &= np.abs(body) - np.abs(body_before) > zone
    ranges = w.sum("range", 5)
    return {
        "body_share": Fraction(body, height),
        "upper_wick": Fraction(w.high - np.maximum(w.open, w.close), height),
        "lower_wick": Fraction(np.minimum(w.open, w.close) - w.low, height),
        "body_mean_5": Fraction(w.sum("body", 5), ranges),
        "wick_imb_5": Fraction(w.sum("wick_balance", 5), ranges),
        "wick_imb_20": Fraction(w.sum("wick_balance", 20), w.sum("range", 20)),
        "bar_overlap": Fraction(np.where(alike, 1.0, common), np.where(alike, 1.0, both)),
        "bar_shift": Fraction((w.high + w.low) - (high_before + low_before), 2 * both),
        "engulf": w.as_fraction(np.where(engulfs, direction, 0.0)),
        "stair_5": w.as_fraction(w.sum("stairs", 5) / 10),
    }


def calendar_features(w: TrailingWindows) -> Fractions:
    """The time of day, week, month and year on circles, and the gap since the last bar.

    On a circle the end of a day lies beside the start of the next one.
    """
    sines, cosines = w.calendar
    middle = np.partition(w.window("interval", 50), (24, 25), axis=1)
    gap = w.now("interval") / ((middle[:, 24] + middle[:, 25]) / 2)  # against the median
    return {
        "tod_sin": w.as_fraction(sines[0]),
        "tod_cos": w.as_fraction(cosines[0]),
        "dow_sin": w.as_fraction(sines[1]),
        "dow_cos": w.as_fraction(cosines[1]),
        "dom_sin": w.as_fraction(sines[2]),
        "dom_cos": w.as_fraction(cosines[2]),
        "moy_sin": w.as_fraction(sines[3]),
        "moy_cos": w.as_fraction(cosines[3]),
        "bar_gap": w.as_fraction(np.log(np.minimum(np.maximum(gap, e**-6), e**6))),
    }


def statistical_features(w: TrailingWindows) -> Fractions:
    """Autocorrelations and higher moments of the returns, and what the path's shape tells.

    Sources: Lo and MacKinlay (1988) for the variance ratio, Abdi and Ranaldo (2017) for the spread,
    Bandt and Pompe (2002) for the entropy of ordinal patterns.
    """
    centred = w.centred(20)
    correlations = w.centred(50).correlations
    of_five_bars = movement(w.sum("five_bar_squares", 95)) / 95 / 5
    skewness = centred.skewness("returns")
    half_spread = np.sqrt(np.maximum(w.mean("spread", 20), 0.0))
    # A sum of ordinal patterns holds the six counts, of six bits each.
    counts = w.sum("pattern", 48).astype(np.int64)[:, None] >> PATTERN_SHIFTS & 63
    entropy = np.take(ENTROPY_TERMS, counts).sum(axis=-1)
    # The least-squares line ends 9.5 bars after its middle.
    residual = centred.last("log_close") - 9.5 * centred.slope("log_close")
    return {
        "acf1_20": centred.correlations["returns", "returns_1"],
        "acf1_50": correlations["returns", "returns_1"],
        "acf5_50": correlations["returns", "returns_5"],
        "acf1_abs_50": correlations["moves", "moves_1"],
        "var_ratio_5_95": relative(of_five_bars, movement(w.sum("squares", 95)) / 95),
        "skew_20": w.as_fraction(np.sign(skewness) * np.log1p(np.abs(skewness))),
        "lever_corr_50": correlations["moves", "returns_1"],
        "spread_ar_20": w.in_volatility(half_spread, 20),
        "perm_entropy_50": w.as_fraction(np.maximum(entropy, 0.0)),
        "resid_20": w.in_volatility(residual, 20, 20),
    }


def balance(up: Array, down: Array) -> Fraction:
    """Return (up - down) / (up + down), 0 where nothing moved."""
    return quotient(up - down, up + down)


def volume_imbalance(w: TrailingWindows) -> Fraction:
    """Return the share of the volume by which buyers and sellers differ (VPIN), over 50 bars.

    A bar's return in units of volatility, z, gives the share on one side: |2 Phi(z) - 1|. Source:
    Easley, Lopez de Prado and O'Hara (2012), bulk volume classification.
    """
    volatility = root_mean(w.sums_before("squares", 20, 49), 20)
    scores = quotient(w.now("returns", 49), volatility).value / sqrt(2)
    imbalances = np.array([abs(erf(score)) for score in scores.tolist()])
    flow = imbalances * w.now("volume", 49)
    return Fraction(window_sums(doublings(flow, 50, np.add), 50, w.rows), w.sum("volume", 50))
