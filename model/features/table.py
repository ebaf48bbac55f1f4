"""The 86 features: their table, and the engine that fills rows with them and with one's own.

A row is a function of its own trailing bars alone, ours bit for bit: training, backtest and live
trading call the same `rows`. The columns of other series stand beside the bars that they were
joined to (`model.features.context`), and pass through.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model.bars.faults import COLUMNS
from model.errors import FeatureError
from model.features import formulas
from model.features.own import FeatureRecord, KnownFeature
from model.features.series import ContextRecord
from model.features.trailing import LOOKBACK as LOOKBACK
from model.features.trailing import Array, Fraction, Scalar, Times, TrailingWindows, divided

CHUNK = 512  # rows computed together: the working set stays in the processor's cache


class Feature(NamedTuple):
    """A column.

    lookback: the bars it depends on, the current one included. bound: its largest absolute value.
    """

    name: str
    lookback: int
    bound: float = inf


# The formulas of each group, in the order of GROUPS.
FORMULAS = (
    formulas.bar_features,
    formulas.return_features,
    formulas.trend_features,
    formulas.momentum_features,
    formulas.volatility_features,
    formulas.volume_features,
    formulas.candle_features,
    formulas.calendar_features,
    formulas.statistical_features,
)
# A group's columns are neighbours: importance moves them together.
GROUPS = {
    "bar": (
        Feature("bar_open_z", 21, 10.0),
        Feature("bar_high_z", 21, 10.0),
        Feature("bar_low_z", 21, 10.0),
        Feature("bar_close_z", 21),
        Feature("bar_volume_rel", 20),
    ),
    "returns": (
        Feature("ret_z_2", 21),
        Feature("ret_z_5", 21),
        Feature("ret_z_10", 21),
        Feature("ret_z_20", 21),
        Feature("ret_z_50", 51),
        Feature("ret_z_100", 101),
        Feature("intraday_t_10", 10),
        Feature("overnight_t_10", 11),
    ),
    "trend": (
        Feature("ma_dist_5", 21),
        Feature("ma_dist_50", 51),
        Feature("macd_12_26", 51),
        Feature("macd_hist_9", 51),
        Feature("trend_r2_10", 10, 1.0),
        Feature("trend_r2_50", 50, 1.0),
        Feature("trend_r2_100", 100, 1.0),
        Feature("eff_ratio_20", 21),
        Feature("eff_ratio_50", 51),
        Feature("di_diff_14", 15),
        Feature("aroon_osc_25", 26),
    ),
    "momentum": (
        Feature("rsi_7", 8),
        Feature("rsi_14", 15),
        Feature("stoch_14", 14),
        Feature("donchian_100", 100),
        Feature("updown_10", 11),
        Feature("streak", 21),
        Feature("drawdown_50", 51),
        Feature("runup_50", 51),
    ),
    "volatility": (
        Feature("vol_ratio_5_20", 21),
        Feature("vol_ratio_10_50", 51),
        Feature("vol_ratio_20_100", 101),
        Feature("vol_mom_10", 21),
        Feature("range_rel_20", 20),
        Feature("park_cc_20", 21),
        Feature("overnight_share_20", 21),
        Feature("semivar_50", 51),
        Feature("absret_cv_50", 51),
        Feature("jump_20", 21, 1.0),
        Feature("bandwidth_20", 21),
        Feature("bandwidth_50", 51),
    ),
    "volume": (
        Feature("volu_ratio_5_20", 20),
        Feature("volu_ratio_20_100", 100),
        Feature("obv_30", 31),
        Feature("cmf_20", 20),
        Feature("mfi_14", 15),
        Feature("vwap_spread_20", 21),
        Feature("vwap_spread_50", 51),
        Feature("ret_volu_corr_20", 21, 1.0),
        Feature("absret_volu_corr_20", 21, 1.0),
        Feature("amihud_rel_5_50", 51),
        Feature("volu_trend_20", 20, 1.0),
        Feature("volu_cv_50", 50),
        Feature("vpin_50", 70),
    ),
    "candle": (
        Feature("body_share", 1),
        Feature("upper_wick", 1),
        Feature("lower_wick", 1),
        Feature("body_mean_5", 5),
        Feature("wick_imb_5", 5),
        Feature("wick_imb_20", 20),
        Feature("bar_overlap", 2),
        Feature("bar_shift", 2),
        Feature("engulf", 2),
        Feature("stair_5", 6),
    ),
    "calendar": (
        Feature("tod_sin", 1),
        Feature("tod_cos", 1),
        Feature("dow_sin", 1),
        Feature("dow_cos", 1),
        Feature("dom_sin", 1),
        Feature("dom_cos", 1),
        Feature("moy_sin", 1),
        Feature("moy_cos", 1),
        Feature("bar_gap", 51, 5.0),
    ),
    "statistical": (
        Feature("acf1_20", 22, 1.0),
        Feature("acf1_50", 52, 1.0),
        Feature("acf5_50", 56, 1.0),
        Feature("acf1_abs_50", 52, 1.0),
        Feature("var_ratio_5_95", 100),
        Feature("skew_20", 21),
        Feature("lever_corr_50", 52, 1.0),
        Feature("spread_ar_20", 21, 10.0),
        Feature("perm_entropy_50", 50),
        Feature("resid_20", 21),
    ),
}
FEATURES = tuple(feature for group in GROUPS.values() for feature in group)
FEATURE_NAMES = tuple(feature.name for feature in FEATURES)
BOUNDS = np.array([[feature.bound] for feature in FEATURES])
_ENDS = np.cumsum([len(group) for group in GROUPS.values()]).tolist()
# The columns of each group.
FEATURE_GROUPS = {
    name: slice(end - len(group), end)
    for (name, group), end in zip(GROUPS.items(), _ENDS, strict=True)
}
# They are constant where a feed has no volume.
VOLUME_FEATURES = ("bar_volume_rel", *(feature.name for feature in GROUPS["volume"]))

# What a training span must cover before a calendar pair is more than a disguised time trend: two of
# its cycles.
CALENDAR_CYCLES = {
    f"{cycle}_{wave}": pd.Timedelta(days=days)
    for cycle, days in (("tod", 2), ("dow", 14), ("dom", 61), ("moy", 730))
    for wave in ("sin", "cos")
}


class Layout(NamedTuple):
    """The columns of a row, the bars behind one, and the columns of each group."""

    names: tuple[str, ...]
    lookback: int
    groups: dict[str, slice]


def layout(
    own: Sequence[FeatureRecord], *, only: bool = False, context: ContextRecord | None = None
) -> Layout:
    """Return the layout of rows of our features, unless `only`, of one's own and of other series.

    Raises FeatureError where two have a name or a column in common.
    """
    others = context.series if context else ()
    columns = [name for record in own for name in record.columns]
    columns += [name for series in others for name in series.names]
    for what, names in (("name", [record.name for record in own]), ("column", columns)):
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise FeatureError(
                f"`features` must not have a {what} in common, got {', '.join(twice)} more than "
                "once. Leave one out, or rename it."
            )
    # The order is ours, one's own, other series: a checkpoint of ours alone has the same rows.
    ours = () if only else FEATURE_NAMES
    lookback = max([1 if only else LOOKBACK, *(record.lookback for record in own)])
    groups, end = {} if only else dict(FEATURE_GROUPS), len(ours)
    for record in own:
        groups[f"own {record.name}"] = slice(end, end + len(record.columns))
        end += len(record.columns)
    for series in others:
        groups[f"series {series.title}"] = slice(end, end + len(series.columns))
        end += len(series.columns)
    return Layout((*ours, *columns), lookback, groups)


class FeatureEngineer:
    """Turns bars into feature rows.

    Stateless: neither history nor chunk nor call leaves a trace in a row.

    Parameters
    ----------
    own
        Features of one's own, as `TrainConfig.own` and `Checkpoint.engineer.own`; their
        columns stand behind ours.
    only
        Leave our 86 out.
    context
        The other series whose columns stand beside the bars, as `Checkpoint.context`; behind all
        others.

    Attributes
    ----------
    own : tuple of KnownFeature
        Those of one's own.
    names : tuple of str
        The columns of a row.
    lookback : int
        Bars behind a row, its own included: 101, or the longest `lookback` of one's own.
    groups : dict of str to slice
        The columns of each group; a feature of one's own is one, as "own momentum", and a series,
        as "series spy".
    columns : tuple of str
        What bars must have: open to volume, and the columns of other series.

    Raises
    ------
    FeatureError
        Where two of them have a name or a column in common, and where no column would be left.

    Examples
    --------
    >>> rows = FeatureEngineer().transform(sample_bars())
    >>> rows.shape[1]
    86
    """

    def __init__(
        self,
        own: Sequence[KnownFeature] = (),
        *,
        only: bool = False,
        context: ContextRecord | None = None,
    ) -> None:
        self.own, self._ours, self.context = tuple(own), not only, context
        records = [one.record for one in own]
        self.names, self.lookback, self.groups = layout(records, only=only, context=context)
        self.columns = (*COLUMNS, *(context.names if context else ()))
        if not self.names:
            raise FeatureError(
                "`features` must name some where `only` leaves ours out, got none. Name some, or "
                "join other series to the bars."
            )

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the features of every bar that has enough bars before it, 100 for ours.

        Parameters
        ----------
        bars
            Columns open, high, low, close and volume, as `read_bars` returns them: (n, 5 or more),
            indexed by time.

        Returns
        -------
        One row for each bar from the 101st on, one column per feature: (n - 100, 86).

        Raises
        ------
        ValueError
            Where bars or columns are missing, or the index holds no times.
        """
        values, timestamps = arrays_of(bars, self.columns)
        rows = self.rows(values, timestamps)
        return pd.DataFrame(
            rows, index=bars.index[self.lookback - 1 :], columns=list(self.names), copy=False
        )

    def rows(self, values: Array, timestamps: Times, chunk: int = CHUNK) -> Array:
        """Return the features of plain arrays, as a live feed has them.

        Parameters
        ----------
        values
            Open, high, low, close and volume, and the columns of other series: (n, 5 or more).
        timestamps
            Of the bars, in UTC: (n,).
        chunk
            How many rows of ours are computed together; it changes no bit of them.

        Returns
        -------
        One row for each bar from the 101st on: (n - 100, 86). NaN where a feature of one's own
        gives no finite number, and where another series has none.

        Raises
        ------
        ValueError
            Where there are fewer than 101 bars, and FeatureError where a feature of one's own
            fails.
        """
        n_rows = len(values) - self.lookback + 1
        if n_rows < 1:
            raise ValueError(
                f"bars must be at least {self.lookback} (a feature row looks back "
                f"{self.lookback - 1} bars), got {len(values)}. Pass a longer history."
            )
        # A feature of one's own sees one unit, whatever the file has.
        timestamps = timestamps.astype("datetime64[ns]", copy=False)
        rows = np.empty((n_rows, len(self.names)))
        if self.context:
            # They were computed from the series' own bars; here they only take their place.
            rows[:, len(self.names) - len(self.context.names) :] = values[-n_rows:, len(COLUMNS) :]
            values = values[:, : len(COLUMNS)]
        if self._ours:
            surplus = self.lookback - LOOKBACK  # bars that only features of one's own look back
            our_rows(values[surplus:], timestamps[surplus:], chunk, rows[:, : len(FEATURES)])
        for one in self.own:
            rows[:, self.groups[f"own {one.record.name}"]] = one.rows(values, timestamps, n_rows)
        return rows


def arrays_of(bars: pd.DataFrame, columns: Sequence[str] = COLUMNS) -> tuple[Array, Times]:
    """Return the values and the timestamps of bars as `rows` takes them; ValueError for no bars."""
    missing = [name for name in columns if name not in bars.columns]
    if joined := [name for name in missing if name not in COLUMNS]:
        raise ValueError(
            f"bars must have the columns of other series, got none named {', '.join(joined[:3])}. "
            "Join them with add_context."
        )
    if missing:
        raise ValueError(
            f"bars must have the columns {', '.join(COLUMNS)}, got none named "
            f"{', '.join(missing)} among {list(bars.columns)}. Rename them, or load the file "
            "with read_bars."
        )
    if not isinstance(bars.index, pd.DatetimeIndex):
        raise ValueError(
            f"bars must be indexed by a DatetimeIndex, got {type(bars.index).__name__}. "
            "Set the index to the bars' timestamps, or load the file with read_bars."
        )
    # An aware index counts in UTC, a naive one as it is.
    times = bars.index.tz_convert("UTC").tz_localize(None) if bars.index.tz else bars.index
    return bars[list(columns)].to_numpy(np.float64), times.to_numpy("datetime64[ns]")


def our_rows(values: Array, timestamps: Times, chunk: int, rows: Array) -> None:
    """Fill `rows` with our 86 features, (n - 100, 86), chunk by chunk."""
    with np.errstate(all="ignore"):  # a quotient that its denominator forbids is replaced by 0
        for start in range(0, len(rows), chunk):
            # A chunk brings the bars that its first row looks back on, so that chunks change no
            # bit.
            bars = slice(start, start + chunk + LOOKBACK - 1)
            windows = TrailingWindows(values[bars], timestamps[bars])
            rows[start : start + chunk] = feature_rows(windows)


def feature_rows(windows: TrailingWindows) -> Array:
    """Return the features of the windows: (rows, 86).

    All divisions and bounds are done at once: on a live bar the number of numpy's calls is the
    cost.
    """
    fractions: dict[str, Fraction] = {}
    for group in FORMULAS:
        fractions |= group(windows)
    in_order = [fractions[name] for name in FEATURE_NAMES]
    numerators, denominators, floors = zip(*in_order, strict=True)
    # One division for all 86, not one for each.
    sides = np.concatenate((*numerators, *denominators)).reshape(2, len(FEATURES), -1)
    values = divided(sides[0], sides[1], np.array(floors)[:, None])
    bounded: Array = np.minimum(np.maximum(values, -BOUNDS), BOUNDS)
    return bounded.T


def cut_windows(rows: NDArray[Scalar], sequence_length: int) -> NDArray[Scalar]:
    """Return the windows of feature rows: (n, 86) -> (n - length + 1, length, 86).

    They are views, so that a million of them need no memory, and as writable as the rows are.
    """
    windows = sliding_window_view(rows, sequence_length, axis=0, writeable=True)
    return windows.transpose(0, 2, 1)
