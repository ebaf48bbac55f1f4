"""A second opinion on the 86 features.

The definitions word by word, in plain Python loops over one row's bars.

Slow and literal on purpose; it shares no line with the engine. `reference_row(values, timestamps)`
describes the last bar.
"""

import calendar
import datetime
import math
import statistics

Series = list[float]


def q(a: float, b: float) -> float:
    return a / b if abs(b) > 1e-12 else 0.0


def over(a: float, b: float) -> float:
    return a / b if b != 0 else 0.0


def rel(a: float, b: float) -> float:
    return (a - b) / (a + b) if a + b != 0 else 0.0


def sgn(x: float, zone: float = 1e-9) -> int:
    return 0 if abs(x) <= zone else 1 if x > 0 else -1


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def mean(x: Series) -> float:
    return math.fsum(x) / len(x)


def centred(x: Series) -> Series:
    m = mean(x)
    return [v - m for v in x]


def sum_squares(x: Series) -> float:
    return math.fsum(v * v for v in x)


def still(total: float) -> float:
    return total if total > 1e-24 else 0.0


def std(x: Series) -> float:
    return math.sqrt(sum_squares(centred(x)) / len(x))


def corr(x: Series, y: Series) -> float:
    a, b = centred(x), centred(y)
    if sum_squares(a) <= 1e-20 * sum_squares(x) or sum_squares(b) <= 1e-20 * sum_squares(y):
        return 0.0
    return clip(
        math.fsum(u * v for u, v in zip(a, b))
        / math.sqrt(sum_squares(a))
        / math.sqrt(sum_squares(b)),
        -1,
        1,
    )


def line(x: Series) -> tuple[float, float, float]:
    """Slope, end value and R^2 of the least-squares line on time."""
    t = centred([float(i) for i in range(len(x))])
    y = centred(x)
    slope = math.fsum(u * v for u, v in zip(t, y)) / sum_squares(t)
    left = sum_squares([v - slope * u for u, v in zip(t, y)])
    r2 = 1 - left / sum_squares(y) if sum_squares(y) > 1e-24 else 0.0
    return slope, mean(x) + slope * t[-1], r2


def signed_r2(x: Series) -> float:
    slope, _, r2 = line(x)
    return math.copysign(r2, slope)


class Window:
    """The bars up to the current one; index 0 is the current bar, k is k bars ago."""

    def __init__(self, values: list[list[float]], timestamps: list[datetime.datetime]) -> None:
        self.O, self.H, self.L, self.C, self.V = (list(column) for column in zip(*reversed(values)))
        self.timestamps = timestamps[::-1]
        past = range(len(values) - 1)
        self.r = [math.log(self.C[k] / self.C[k + 1]) for k in past]
        self.size = [abs(x) for x in self.r]
        self.night = [math.log(self.O[k] / self.C[k + 1]) for k in past]
        self.day = [math.log(c / o) for c, o in zip(self.C, self.O)]
        self.reach = [math.log(h / low) for h, low in zip(self.H, self.L)]
        self.tp = [(h + low + c) / 3 for h, low, c in zip(self.H, self.L, self.C)]

    def S(self, n: int, ago: int = 0) -> float:
        return math.sqrt(still(sum_squares(self.r[ago : ago + n])) / n)

    def ln_close(self, n: int) -> Series:
        """The last n log closes less the first of them, oldest first."""
        return [math.log(c) - math.log(self.C[n - 1]) for c in reversed(self.C[:n])]

    def mean_ln_close(self, n: int, ago: int = 0) -> float:
        return mean([math.log(c) for c in self.C[ago : ago + n]])

    def weighted(self, weights: list[float], n: int) -> float:
        return over(math.fsum(w * v for w, v in zip(weights[:n], self.V)), math.fsum(self.V[:n]))


def bar_group(w: Window) -> dict[str, float]:
    prices = {"open": w.O, "high": w.H, "low": w.L}
    result = {
        f"bar_{name}_z": clip(q(math.log(x[0] / w.C[1]), w.S(20)), -10, 10)
        for name, x in prices.items()
    }
    return result | {
        "bar_close_z": q(w.r[0], w.S(20)),
        "bar_volume_rel": rel(w.V[0], mean(w.V[:20])),
    }


def returns_group(w: Window) -> dict[str, float]:
    spans = {2: 20, 5: 20, 10: 20, 20: 20, 50: 50, 100: 100}
    result = {
        f"ret_z_{n}": q(math.log(w.C[0] / w.C[n]), w.S(s) * math.sqrt(n)) for n, s in spans.items()
    }
    for name, x in (("intraday", w.day), ("overnight", w.night)):
        result[f"{name}_t_10"] = q(math.fsum(x[:10]), math.sqrt(10 * still(sum_squares(x[:10]))))
    return result


def trend_group(w: Window) -> dict[str, float]:
    def m(ago: int) -> float:
        return w.mean_ln_close(12, ago) - w.mean_ln_close(26, ago)

    now = math.log(w.C[0])
    result = {
        "ma_dist_5": q(now - w.mean_ln_close(5), w.S(20) * math.sqrt(5)),
        "ma_dist_50": q(now - w.mean_ln_close(50), w.S(50) * math.sqrt(50)),
        "macd_12_26": q(m(0), w.S(50) * math.sqrt(26)),
        "macd_hist_9": q(m(0) - mean([m(k) for k in range(9)]), w.S(50) * math.sqrt(26)),
        "di_diff_14": directional(w),
        "aroon_osc_25": (w.L[:26].index(min(w.L[:26])) - w.H[:26].index(max(w.H[:26]))) / 25,
    }
    for n in (10, 50, 100):
        result[f"trend_r2_{n}"] = signed_r2(w.ln_close(n))
    for n in (20, 50):
        result[f"eff_ratio_{n}"] = q(abs(math.log(w.C[0] / w.C[n])), math.fsum(w.size[:n]))
    return result


def directional(w: Window) -> float:
    plus = minus = 0.0
    for k in range(14):
        up, down, zone = w.H[k] - w.H[k + 1], w.L[k + 1] - w.L[k], 1e-9 * w.C[k]
        plus += up / w.C[k] if sgn(up - down, zone) > 0 and sgn(up, zone) > 0 else 0
        minus += down / w.C[k] if sgn(down - up, zone) > 0 and sgn(down, zone) > 0 else 0
    return q(plus - minus, plus + minus)


def momentum_group(w: Window) -> dict[str, float]:
    result = {"updown_10": mean([float(sgn(x)) for x in w.r[:10]]), "streak": streak(w)}
    for n in (7, 14):
        up, down = math.fsum(max(x, 0) for x in w.r[:n]), math.fsum(max(-x, 0) for x in w.r[:n])
        result[f"rsi_{n}"] = q(up - down, up + down)
    for name, n in (("stoch_14", 14), ("donchian_100", 100)):
        high, low = max(w.H[:n]), min(w.L[:n])
        result[name] = over(2 * w.C[0] - high - low, high - low)
    scale = w.S(50) * math.sqrt(50)
    result["drawdown_50"] = q(math.log(w.C[0] / max(w.C[:50])), scale)
    result["runup_50"] = q(math.log(w.C[0] / min(w.C[:50])), scale)
    return result


def streak(w: Window) -> float:
    k = 0
    while k < 20 and sgn(w.r[k]) == sgn(w.r[0]):
        k += 1
    return sgn(w.r[0]) * math.log(1 + k)


def volatility_group(w: Window) -> dict[str, float]:
    Q = [still(sum_squares(w.r[k : k + 10])) for k in (0, 10)]
    parkinson = math.sqrt(still(sum_squares(w.reach[:20])) / 20 / (4 * math.log(2)))
    night, day = sum_squares(w.night[:20]), sum_squares(w.day[:20])
    realised = still(sum_squares(w.r[:50]))
    return {
        "vol_ratio_5_20": rel(w.S(5), w.S(20)),
        "vol_ratio_10_50": rel(w.S(10), w.S(50)),
        "vol_ratio_20_100": rel(w.S(20), w.S(100)),
        "vol_mom_10": rel(Q[0], Q[1]),
        "range_rel_20": rel(w.reach[0], mean(w.reach[:20])),
        "park_cc_20": rel(parkinson, w.S(20)),
        "overnight_share_20": over(night, still(night + day)),
        "semivar_50": over(math.fsum(sgn(x) * x * x for x in w.r[:50]), realised),
        "absret_cv_50": q(std(w.size[:50]), mean(w.size[:50])),
        "jump_20": jump(w),
        "bandwidth_20": q(std(w.ln_close(20)), w.S(20) * math.sqrt(20)),
        "bandwidth_50": q(std(w.ln_close(50)), w.S(50) * math.sqrt(50)),
    }


def jump(w: Window) -> float:
    realised = still(sum_squares(w.r[:20]))
    bipower = math.pi / 2 * (20 / 19) * math.fsum(w.size[k] * w.size[k + 1] for k in range(19))
    return clip(1 - bipower / realised, -1, 1) if realised else 0.0


def volume_group(w: Window) -> dict[str, float]:
    share = [abs(math.erf(q(w.r[k], w.S(20, k)) / math.sqrt(2))) for k in range(50)]
    place = [over(2 * c - h - low, h - low) for h, low, c in zip(w.H, w.L, w.C)]
    return {
        "volu_ratio_5_20": rel(mean(w.V[:5]), mean(w.V[:20])),
        "volu_ratio_20_100": rel(mean(w.V[:20]), mean(w.V[:100])),
        "obv_30": w.weighted([sgn(x) for x in w.r], 30),
        "cmf_20": w.weighted(place, 20),
        "mfi_14": money_flow(w),
        "vwap_spread_20": vwap_spread(w, 20),
        "vwap_spread_50": vwap_spread(w, 50),
        "ret_volu_corr_20": corr(w.r[:20], w.V[:20]),
        "absret_volu_corr_20": corr(w.size[:20], w.V[:20]),
        "amihud_rel_5_50": rel(illiquidity(w, 5), illiquidity(w, 50)),
        "volu_trend_20": signed_r2([over(v, mean(w.V[:20])) for v in reversed(w.V[:20])]),
        "volu_cv_50": over(std(w.V[:50]), mean(w.V[:50])),
        "vpin_50": w.weighted(share, 50),
    }


def money_flow(w: Window) -> float:
    signs = [sgn(w.tp[k] - w.tp[k + 1], 1e-9 * w.tp[k]) for k in range(14)]
    signed = math.fsum(s * w.tp[k] * w.V[k] for k, s in enumerate(signs))
    return over(signed, math.fsum(abs(s) * w.tp[k] * w.V[k] for k, s in enumerate(signs)))


def vwap_spread(w: Window, n: int) -> float:
    logs = [math.log(x) for x in w.tp[:n]]
    spread = w.weighted(logs, n) - mean(logs) if math.fsum(w.V[:n]) else 0.0
    return q(spread, w.S(n) * math.sqrt(n))


def illiquidity(w: Window, n: int) -> float:
    return over(math.fsum(w.size[:n]), math.fsum(c * v for c, v in zip(w.C[:n], w.V)))


def candle_group(w: Window) -> dict[str, float]:
    o, h, low, c, width = w.O[0], w.H[0], w.L[0], w.C[0], w.H[0] - w.L[0]
    union = max(h, w.H[1]) - min(low, w.L[1])
    wicks = [
        math.log(min(w.O[k], w.C[k]) / w.L[k]) - math.log(w.H[k] / max(w.O[k], w.C[k]))
        for k in range(20)
    ]
    steps = [sgn(x[k] - x[k + 1], 1e-9 * w.C[k]) for x in (w.H, w.L) for k in range(5)]
    return {
        "body_share": over(c - o, width),
        "upper_wick": over(h - max(o, c), width),
        "lower_wick": over(min(o, c) - low, width),
        "body_mean_5": over(math.fsum(w.day[:5]), math.fsum(w.reach[:5])),
        "wick_imb_5": over(math.fsum(wicks[:5]), math.fsum(w.reach[:5])),
        "wick_imb_20": over(math.fsum(wicks), math.fsum(w.reach[:20])),
        "bar_overlap": (min(h, w.H[1]) - max(low, w.L[1])) / union if union else 1.0,
        "bar_shift": over((h + low) - (w.H[1] + w.L[1]), 2 * union),
        "engulf": engulf(w),
        "stair_5": sum(steps) / 10,
    }


def engulf(w: Window) -> float:
    zone, now, before = 1e-9 * w.C[0], w.C[0] - w.O[0], w.C[1] - w.O[1]
    opposite = sgn(now, zone) * sgn(before, zone) < 0
    return float(sgn(now, zone)) if opposite and abs(now) - abs(before) > zone else 0.0


def calendar_group(w: Window) -> dict[str, float]:
    timestamp = w.timestamps[0]
    midnight = timestamp.replace(hour=0, minute=0, second=0, microsecond=0)
    seconds = (timestamp - midnight).total_seconds()
    month = (timestamp.day - 1) / calendar.monthrange(timestamp.year, timestamp.month)[1]
    parts = {
        "tod": seconds / 86400,
        "dow": timestamp.weekday() / 7,
        "dom": month,
        "moy": (timestamp.month - 1 + month) / 12,
    }
    result = {f"{name}_sin": math.sin(2 * math.pi * part) for name, part in parts.items()}
    result |= {f"{name}_cos": math.cos(2 * math.pi * part) for name, part in parts.items()}
    gaps = [(w.timestamps[k] - w.timestamps[k + 1]).total_seconds() for k in range(50)]
    return result | {"bar_gap": clip(math.log(gaps[0] / statistics.median(gaps)), -5, 5)}


def statistical_group(w: Window) -> dict[str, float]:
    r, size = w.r, w.size
    five = [math.log(w.C[k] / w.C[k + 5]) for k in range(95)]
    _, end, _ = line(w.ln_close(20))
    return {
        "acf1_20": corr(r[:20], r[1:21]),
        "acf1_50": corr(r[:50], r[1:51]),
        "acf5_50": corr(r[:50], r[5:55]),
        "acf1_abs_50": corr(size[:50], size[1:51]),
        "lever_corr_50": corr(size[:50], r[1:51]),
        "var_ratio_5_95": rel(still(sum_squares(five)) / 95 / 5, still(sum_squares(r[:95])) / 95),
        "skew_20": skew(r[:20]),
        "spread_ar_20": spread(w),
        "perm_entropy_50": entropy(w.C[49::-1]),
        "resid_20": q(w.ln_close(20)[-1] - end, w.S(20) * math.sqrt(20)),
    }


def skew(x: Series) -> float:
    a = centred(x)
    if sum_squares(a) <= max(1e-24, 1e-20 * sum_squares(x)):
        return 0.0
    g = mean([v**3 for v in a]) / mean([v**2 for v in a]) ** 1.5
    return math.copysign(math.log(1 + abs(g)), g)


def spread(w: Window) -> float:
    ln_close = [math.log(c) for c in w.C[:21]]
    middle = [(math.log(h) + math.log(low)) / 2 for h, low in zip(w.H[:21], w.L)]
    products = [
        4 * (ln_close[k + 1] - middle[k + 1]) * (ln_close[k + 1] - middle[k]) for k in range(20)
    ]
    return clip(q(math.sqrt(max(mean(products), 0)), w.S(20)), 0, 10)


def entropy(closes: Series) -> float:
    # A stable sort: ties by time.
    patterns = [tuple(sorted(range(3), key=lambda i: closes[k + i])) for k in range(48)]
    shares = [patterns.count(pattern) / 48 for pattern in set(patterns)]
    return -math.fsum(p * math.log(p) for p in shares) / math.log(6)


GROUPS = (
    bar_group,
    returns_group,
    trend_group,
    momentum_group,
    volatility_group,
    volume_group,
    candle_group,
    calendar_group,
    statistical_group,
)


def reference_row(
    values: list[list[float]], timestamps: list[datetime.datetime]
) -> dict[str, float]:
    """All features of the last bar, by name."""
    window = Window(values, timestamps)
    return {name: value for group in GROUPS for name, value in group(window).items()}
