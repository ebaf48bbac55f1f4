"""The 86 features: a table name -> formula of the trailing LOOKBACK bars, and the engine that fills it.

A row is a function of its own trailing bars alone, bit for bit: training, backtest and live call the same `rows`.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np
import pandas as pd

from model.bars.read import COLUMNS
from model.features import formulas as f
from model.features.trailing import LOOKBACK, Array, Fraction, Stamps, Trail, divided

__all__ = [
    "CALENDAR_CYCLES",
    "FEATURES",
    "FEATURE_NAMES",
    "LOOKBACK",
    "VOLUME_FEATURES",
    "Feature",
    "FeatureEngineer",
]

CHUNK = 512  # rows computed together: the working set stays in the processor's cache


class Feature(NamedTuple):
    """One column: its name, the bars it depends on (the current one included), its formula, and a bound to its size."""

    name: str
    lookback: int
    formula: Callable[[Trail], Fraction]
    bound: float = inf


FEATURES = (
    Feature("bar_open_z", 21, lambda w: f.price_z(w, "gap"), 10.0),
    Feature("bar_high_z", 21, lambda w: f.price_z(w, "high_change"), 10.0),
    Feature("bar_low_z", 21, lambda w: f.price_z(w, "low_change"), 10.0),
    Feature("bar_close_z", 21, f.close_z),
    Feature("bar_volume_rel", 20, f.volume_rel),
    Feature("ret_z_2", 21, lambda w: f.ret_z(w, 2, 20)),
    Feature("ret_z_5", 21, lambda w: f.ret_z(w, 5, 20)),
    Feature("ret_z_10", 21, lambda w: f.ret_z(w, 10, 20)),
    Feature("ret_z_20", 21, lambda w: f.ret_z(w, 20, 20)),
    Feature("ret_z_50", 51, lambda w: f.ret_z(w, 50, 50)),
    Feature("ret_z_100", 101, lambda w: f.ret_z(w, 100, 100)),
    Feature("intraday_t_10", 10, lambda w: f.drift_t(w, "body")),
    Feature("overnight_t_10", 11, lambda w: f.drift_t(w, "gap")),
    Feature("ma_dist_5", 21, f.ma_dist_5),
    Feature("ma_dist_50", 51, f.ma_dist_50),
    Feature("macd_12_26", 51, f.macd),
    Feature("macd_hist_9", 51, f.macd_hist),
    Feature("trend_r2_10", 10, lambda w: w.centred(10).trend("log_close"), 1.0),
    Feature("trend_r2_50", 50, lambda w: w.centred(50).trend("log_close"), 1.0),
    Feature("trend_r2_100", 100, lambda w: w.centred(100).trend("log_close"), 1.0),
    Feature("eff_ratio_20", 21, lambda w: f.eff_ratio(w, 20)),
    Feature("eff_ratio_50", 51, lambda w: f.eff_ratio(w, 50)),
    Feature("di_diff_14", 15, f.di_diff),
    Feature("aroon_osc_25", 26, f.aroon_osc),
    Feature("rsi_7", 8, lambda w: f.rsi(w, 7)),
    Feature("rsi_14", 15, lambda w: f.rsi(w, 14)),
    Feature("stoch_14", 14, lambda w: f.stochastic(w, 14)),
    Feature("donchian_100", 100, lambda w: f.stochastic(w, 100)),
    Feature("updown_10", 11, lambda w: w.whole(w.mean("signs", 10))),
    Feature("streak", 21, f.streak),
    Feature("drawdown_50", 51, f.drawdown),
    Feature("runup_50", 51, f.runup),
    Feature("vol_ratio_5_20", 21, lambda w: f.vol_ratio(w, 5, 20)),
    Feature("vol_ratio_10_50", 51, lambda w: f.vol_ratio(w, 10, 50)),
    Feature("vol_ratio_20_100", 101, lambda w: f.vol_ratio(w, 20, 100)),
    Feature("vol_mom_10", 21, f.vol_momentum),
    Feature("range_rel_20", 20, f.range_rel),
    Feature("park_cc_20", 21, f.parkinson),
    Feature("overnight_share_20", 21, f.overnight_share),
    Feature("semivar_50", 51, f.semivariance),
    Feature("absret_cv_50", 51, f.absret_cv),
    Feature("jump_20", 21, f.jump, 1.0),
    Feature("bandwidth_20", 21, lambda w: f.bandwidth(w, 20)),
    Feature("bandwidth_50", 51, lambda w: f.bandwidth(w, 50)),
    Feature("volu_ratio_5_20", 20, lambda w: f.volu_ratio(w, 5, 20)),
    Feature("volu_ratio_20_100", 100, lambda w: f.volu_ratio(w, 20, 100)),
    Feature("obv_30", 31, lambda w: f.flow_share(w, "signed_volume", 30)),
    Feature("cmf_20", 20, lambda w: f.flow_share(w, "accumulation", 20)),
    Feature("mfi_14", 15, lambda w: f.flow_share(w, "signed_flow", 14, "moving_flow")),
    Feature("vwap_spread_20", 21, lambda w: f.vwap_spread(w, 20)),
    Feature("vwap_spread_50", 51, lambda w: f.vwap_spread(w, 50)),
    Feature("ret_volu_corr_20", 21, lambda w: w.centred(20).correlations["returns", "volume"], 1.0),
    Feature(
        "absret_volu_corr_20", 21, lambda w: w.centred(20).correlations["moves", "volume"], 1.0
    ),
    Feature("amihud_rel_5_50", 51, f.amihud_rel),
    Feature("volu_trend_20", 20, f.volu_trend, 1.0),
    Feature("volu_cv_50", 50, f.volu_cv),
    Feature("vpin_50", 70, f.vpin),
    Feature("body_share", 1, f.body_share),
    Feature("upper_wick", 1, f.upper_wick),
    Feature("lower_wick", 1, f.lower_wick),
    Feature("body_mean_5", 5, lambda w: f.flow_share(w, "body", 5, "range")),
    Feature("wick_imb_5", 5, lambda w: f.flow_share(w, "wick_balance", 5, "range")),
    Feature("wick_imb_20", 20, lambda w: f.flow_share(w, "wick_balance", 20, "range")),
    Feature("bar_overlap", 2, f.bar_overlap),
    Feature("bar_shift", 2, f.bar_shift),
    Feature("engulf", 2, f.engulf),
    Feature("stair_5", 6, f.stair),
    Feature("tod_sin", 1, lambda w: w.whole(w.calendar[0])),
    Feature("tod_cos", 1, lambda w: w.whole(w.calendar[4])),
    Feature("dow_sin", 1, lambda w: w.whole(w.calendar[1])),
    Feature("dow_cos", 1, lambda w: w.whole(w.calendar[5])),
    Feature("dom_sin", 1, lambda w: w.whole(w.calendar[2])),
    Feature("dom_cos", 1, lambda w: w.whole(w.calendar[6])),
    Feature("moy_sin", 1, lambda w: w.whole(w.calendar[3])),
    Feature("moy_cos", 1, lambda w: w.whole(w.calendar[7])),
    Feature("bar_gap", 51, f.bar_gap, 5.0),
    Feature("acf1_20", 22, lambda w: w.centred(20).correlations["returns", "returns_1"], 1.0),
    Feature("acf1_50", 52, lambda w: w.centred(50).correlations["returns", "returns_1"], 1.0),
    Feature("acf5_50", 56, lambda w: w.centred(50).correlations["returns", "returns_5"], 1.0),
    Feature("acf1_abs_50", 52, lambda w: w.centred(50).correlations["moves", "moves_1"], 1.0),
    Feature("var_ratio_5_95", 100, f.variance_ratio),
    Feature("skew_20", 21, f.skewness),
    Feature("lever_corr_50", 52, lambda w: w.centred(50).correlations["moves", "returns_1"], 1.0),
    Feature("spread_ar_20", 21, f.spread, 10.0),
    Feature("perm_entropy_50", 50, f.pattern_entropy),
    Feature("resid_20", 21, f.resid),
)
BOUNDS = np.array([[feature.bound] for feature in FEATURES])
FEATURE_NAMES = tuple(feature.name for feature in FEATURES)
VOLUME_FEATURES = (
    "bar_volume_rel",
    "volu_ratio_5_20",
    "volu_ratio_20_100",
    "obv_30",
    "cmf_20",
    "mfi_14",
    "vwap_spread_20",
    "vwap_spread_50",
    "ret_volu_corr_20",
    "absret_volu_corr_20",
    "amihud_rel_5_50",
    "volu_trend_20",
    "volu_cv_50",
    "vpin_50",
)

# What a training span must cover before a calendar pair is more than a disguised time trend: two of its cycles.
CALENDAR_CYCLES = {
    name: span
    for cycle, span in {
        "tod": pd.Timedelta(days=2),
        "dow": pd.Timedelta(weeks=2),
        "dom": pd.Timedelta(days=61),
        "moy": pd.Timedelta(days=730),
    }.items()
    for name in (f"{cycle}_sin", f"{cycle}_cos")
}


class FeatureEngineer:
    """Turn bars into feature rows; stateless, so that history, chunk and call leave no trace in a row."""

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the 86 features of every bar that has 100 bars before it."""
        require_form(bars)
        values = bars[list(COLUMNS)].to_numpy(np.float64)
        rows = self.rows(values, utc_stamps(bars.index))
        return pd.DataFrame(
            rows, index=bars.index[LOOKBACK - 1 :], columns=list(FEATURE_NAMES), copy=False
        )

    def rows(self, values: Array, stamps: Stamps) -> Array:
        """Return (n - 100, 86) for values (n, 5), open to volume, and their stamps in nanoseconds."""
        n_rows = len(values) - LOOKBACK + 1
        if n_rows < 1:
            raise ValueError(
                f"bars must be at least {LOOKBACK} (a feature row looks back {LOOKBACK - 1} bars), "
                f"got {len(values)}. Pass a longer history."
            )
        stamps = stamps.astype("datetime64[ns]", copy=False)
        rows = np.empty((n_rows, len(FEATURES)))
        with np.errstate(all="ignore"):  # a quotient that its denominator forbids is replaced by 0
            for start in range(0, n_rows, CHUNK):
                bars = slice(start, start + CHUNK + LOOKBACK - 1)
                fill(rows[start : start + CHUNK], Trail(values[bars], stamps[bars]))
        return rows


def fill(rows: Array, trail: Trail) -> None:
    """Fill rows (n, 86): all divisions and bounds at once, as on a live bar the number of numpy's calls is the cost."""
    fractions = [feature.formula(trail) for feature in FEATURES]
    numerators, denominators, floors = zip(*fractions)
    sides = np.concatenate((*numerators, *denominators)).reshape(2, len(FEATURES), -1)
    values = divided(sides[0], sides[1], np.array(floors)[:, None])
    rows[:] = np.minimum(np.maximum(values, -BOUNDS), BOUNDS).T


def require_form(bars: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in bars.columns]
    if missing:
        raise ValueError(
            f"bars must have the columns {', '.join(COLUMNS)}, got none named {', '.join(missing)} among "
            f"{list(bars.columns)}. Rename them, or load the file with read_bars."
        )
    if not isinstance(bars.index, pd.DatetimeIndex):
        raise ValueError(
            f"bars must be indexed by a DatetimeIndex, got {type(bars.index).__name__}. "
            "Set the index to the bars' stamps, or load the file with read_bars."
        )


def utc_stamps(index: pd.Index) -> Stamps:
    """Return the stamps in nanoseconds: an aware index in UTC, a naive one as it is."""
    stamps = pd.DatetimeIndex(index)
    if stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    return stamps.to_numpy("datetime64[ns]")
