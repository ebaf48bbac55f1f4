"""The 86 features: their definitions, their memory, their invariances and their edges."""

from collections.abc import Callable
from math import log, sqrt
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from arch.data import nasdaq
from hypothesis import given, settings
from hypothesis import strategies as st

from model.features.table import (
    CALENDAR_CYCLES,
    FEATURE_GROUPS,
    FEATURE_NAMES,
    FEATURES,
    FORMULAS,
    GROUPS,
    LOOKBACK,
    VOLUME_FEATURES,
    FeatureEngineer,
)
from model.features.trailing import (
    CENTRED,
    Array,
    TrailingWindows,
    base_series,
    doublings,
    window_maxima,
    window_sums,
)
from tests.helpers.reference_features import reference_row

COLUMNS = ["open", "high", "low", "close", "volume"]
seeds = st.integers(0, 2**32 - 1)


def walk(
    n: int, seed: int = 0, *, frequency: str = "7h", gap: float = 0.004, volatility: float = 0.01
) -> pd.DataFrame:
    """A random walk with gaps between bars and ties in its prices and volumes."""
    random = np.random.default_rng(seed)
    moves = random.normal(0, volatility, n) * (random.random(n) > 0.1)
    close = 100 * np.exp(np.cumsum(moves))
    open_ = close * np.exp(random.normal(0, gap, n) * (random.random(n) > 0.1))
    high = np.maximum(open_, close) * np.exp(
        abs(random.normal(0, 0.004, n)) * (random.random(n) > 0.2)
    )
    low = np.minimum(open_, close) * np.exp(
        -abs(random.normal(0, 0.004, n)) * (random.random(n) > 0.2)
    )
    volume = np.round(random.lognormal(4, 1, n))
    index = pd.date_range("1999-12-20 09:30", periods=n, freq=frequency, name="date")
    return pd.DataFrame(
        np.column_stack([open_, high, low, close, volume]), index=index, columns=COLUMNS
    )


def with_prices(bars: pd.DataFrame, rows: slice, change: Callable[[Array], Array]) -> pd.DataFrame:
    values = bars.to_numpy(copy=True)
    values[rows, :4] = change(values[rows, :4])
    return pd.DataFrame(values, index=bars.index, columns=COLUMNS)


def with_volume(bars: pd.DataFrame, rows: slice, volume: float) -> pd.DataFrame:
    values = bars.to_numpy(copy=True)
    values[rows, 4] = volume
    return pd.DataFrame(values, index=bars.index, columns=COLUMNS)


def features(bars: pd.DataFrame) -> Array:
    return FeatureEngineer().transform(bars).to_numpy()


def irregular(bars: pd.DataFrame) -> pd.DataFrame:
    """The same bars on working days, some missing."""
    days = pd.bdate_range("1996-01-31", periods=2 * len(bars), name="date")
    chosen = np.sort(np.random.default_rng(1).permutation(len(days))[: len(bars)])
    return bars.set_axis(days[chosen])


BARS = walk(400)
SERIES = {
    "random walk": BARS,
    "working days": irregular(BARS),
    "five minutes": walk(400, 3, frequency="5min", volatility=3e-4),
    "flat stretch": with_prices(BARS, slice(130, 260), lambda prices: np.full_like(prices, 100.0)),
    "all flat": with_prices(BARS, slice(None), lambda prices: np.full_like(prices, 3.3)),
    "one price a bar": with_prices(
        BARS, slice(None), lambda prices: np.repeat(prices[:, 3:], 4, axis=1)
    ),
    "zero volume stretch": with_volume(BARS, slice(130, 260), 0.0),
    "zero volume": with_volume(BARS, slice(None), 0.0),
    "constant volume": with_volume(BARS, slice(None), 1e15 / 3),
    "one giant volume": with_volume(BARS, slice(200, 201), 1e15),
    "crash and back": with_prices(BARS, slice(200, 220), lambda prices: prices * 1e-8),
    "coarse ticks": with_prices(BARS, slice(None), lambda prices: np.ceil(prices / 5) * 5),
    "huge prices": with_prices(BARS, slice(None), lambda prices: prices * 5e11),
    "tiny prices": with_prices(BARS, slice(None), lambda prices: prices * 1e-8),
    "steady growth": with_prices(
        BARS, slice(None), lambda prices: 1.01 ** np.arange(len(prices))[:, None] * np.ones(4)
    ),
}
BOUNDS = {
    **dict.fromkeys(["bar_open_z", "bar_high_z", "bar_low_z"], (-10, 10)),
    **dict.fromkeys(
        ["bar_close_z", "ret_z_2", "ret_z_5", "ret_z_10", "ret_z_20"], (-sqrt(20), sqrt(20))
    ),
    "ret_z_50": (-sqrt(50), sqrt(50)),
    "ret_z_100": (-10, 10),
    "streak": (-log(21), log(21)),
    "drawdown_50": (-np.inf, 0),
    "runup_50": (0, np.inf),
    "absret_cv_50": (0, 7),
    "volu_cv_50": (0, 7),
    "bar_gap": (-5, 5),
    "spread_ar_20": (0, 10),
    **dict.fromkeys(
        [
            "ma_dist_5",
            "ma_dist_50",
            "macd_12_26",
            "macd_hist_9",
            "vwap_spread_20",
            "vwap_spread_50",
            "skew_20",
            "resid_20",
        ],
        (-np.inf, np.inf),
    ),
    **dict.fromkeys(["bandwidth_20", "bandwidth_50"], (0, np.inf)),
    **dict.fromkeys(
        [
            "eff_ratio_20",
            "eff_ratio_50",
            "overnight_share_20",
            "vpin_50",
            "upper_wick",
            "lower_wick",
            "perm_entropy_50",
        ],
        (0, 1),
    ),
}


@pytest.fixture(params=SERIES, scope="module")
def bars(request: pytest.FixtureRequest) -> pd.DataFrame:
    return SERIES[request.param]


@pytest.fixture(scope="module")
def nasdaq_bars() -> pd.DataFrame:
    frame = nasdaq.load().rename(columns=str.lower)
    return frame[COLUMNS].astype(float)


def difference_from_reference(bars: pd.DataFrame, every: int) -> "pd.Series[float]":
    """The largest absolute difference from the literal definitions, by feature."""
    timestamps = pd.DatetimeIndex(bars.index).to_pydatetime().tolist()
    values = bars.to_numpy().tolist()
    ends = range(LOOKBACK, len(bars) + 1, every)
    rows = [
        reference_row(values[end - LOOKBACK : end], timestamps[end - LOOKBACK : end])
        for end in ends
    ]
    expected = pd.DataFrame(rows, columns=list(FEATURE_NAMES))
    return (
        (FeatureEngineer().transform(bars).iloc[::every].reset_index(drop=True) - expected)
        .abs()
        .max()
    )


def test_there_are_86_features_with_distinct_names() -> None:
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 86
    assert FEATURE_NAMES[:2] == ("bar_open_z", "bar_high_z") and FEATURE_NAMES[-1] == "resid_20"


def test_every_feature_is_in_one_group_and_every_group_has_a_formula_for_each_of_its_own() -> None:
    names = [name for columns in FEATURE_GROUPS.values() for name in FEATURE_NAMES[columns]]
    assert tuple(names) == FEATURE_NAMES and list(FEATURE_GROUPS) == list(GROUPS)
    assert FEATURE_NAMES[FEATURE_GROUPS["calendar"]][0] == "tod_sin"
    windows = TrailingWindows(BARS.to_numpy(), BARS.index.to_numpy("datetime64[ns]"))
    with np.errstate(all="ignore"):
        for formulas, features in zip(FORMULAS, GROUPS.values(), strict=True):
            assert list(formulas(windows)) == [feature.name for feature in features]


def test_the_longest_lookback_is_the_one_announced() -> None:
    assert max(feature.lookback for feature in FEATURES) == LOOKBACK == 101


def test_transform_names_and_dates_its_rows() -> None:
    rows = FeatureEngineer().transform(BARS)
    assert tuple(rows.columns) == FEATURE_NAMES and rows.index.equals(BARS.index[100:])
    assert rows.shape == (300, 86) and set(rows.dtypes) == {np.dtype("float64")}


def test_transform_leaves_its_input_alone() -> None:
    bars = walk(150)
    FeatureEngineer().transform(bars)
    pd.testing.assert_frame_equal(bars, walk(150))


def test_transform_ignores_other_columns_and_their_order() -> None:
    shuffled = BARS.assign(ticker="X")[["ticker", "volume", "close", "low", "open", "high"]]
    assert np.array_equal(features(shuffled), features(BARS))


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_the_unit_of_the_timestamps_does_not_matter(unit: Literal["s", "us", "ns"]) -> None:
    assert np.array_equal(
        features(BARS.set_axis(pd.DatetimeIndex(BARS.index).as_unit(unit))), features(BARS)
    )


def test_aware_timestamps_are_read_in_utc() -> None:
    aware = BARS.tz_localize("UTC").tz_convert("Asia/Tokyo")
    assert np.array_equal(features(aware), features(BARS))
    assert FeatureEngineer().transform(aware).index.equals(aware.index[100:])


def test_the_centred_series_lead_the_base_series() -> None:
    series = base_series(BARS.to_numpy().T.copy(), BARS.index.to_numpy("datetime64[ns]"))
    assert list(series)[: len(CENTRED)] == list(CENTRED)


def test_volume_features_are_those_that_are_constant_without_volume() -> None:
    spread = np.ptp(features(SERIES["zero volume"]), axis=0)
    assert {name for name, width in zip(FEATURE_NAMES, spread) if width == 0} - {"bar_gap"} == set(
        VOLUME_FEATURES
    )
    assert len(VOLUME_FEATURES) == 14


def test_calendar_cycles_name_the_calendar_features() -> None:
    assert tuple(CALENDAR_CYCLES) == tuple(
        name for name in FEATURE_NAMES if name[:4] in {"tod_", "dow_", "dom_", "moy_"}
    )
    assert CALENDAR_CYCLES["tod_sin"] == pd.Timedelta(days=2) and CALENDAR_CYCLES[
        "dow_cos"
    ] == pd.Timedelta(weeks=2)


def test_every_feature_agrees_with_its_literal_definition(bars: pd.DataFrame) -> None:
    worst = difference_from_reference(bars, every=3)
    assert worst.max() < 1e-9, worst.nlargest(3)


def test_every_feature_agrees_with_its_literal_definition_on_real_bars(
    nasdaq_bars: pd.DataFrame,
) -> None:
    worst = difference_from_reference(nasdaq_bars, every=37)
    assert worst.max() < 1e-9, worst.nlargest(3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bar_close_z", sqrt(20)),
        ("ret_z_2", sqrt(10)),
        ("ret_z_20", 1.0),
        ("vol_ratio_5_20", 1 / 3),
        ("vol_mom_10", 1.0),
        ("eff_ratio_20", 1.0),
        ("rsi_14", 1.0),
        ("streak", log(2)),
        ("updown_10", 0.1),
        ("stoch_14", 1.0),
        ("aroon_osc_25", 1 / 25),
        ("jump_20", 1.0),
        ("semivar_50", 1.0),
        ("absret_cv_50", 7.0),
        ("drawdown_50", 0.0),
        ("runup_50", 1.0),
        ("bandwidth_20", sqrt(0.95 / 20)),
        ("volu_cv_50", 0.0),
        ("vwap_spread_20", 0.0),
        ("body_share", 0.0),
        ("bar_overlap", -1.0),
        ("bar_shift", 1.0),
        ("stair_5", 0.2),
        ("perm_entropy_50", 0.0),
        ("obv_30", 1 / 30),
        ("mfi_14", 1.0),
    ],
)
def test_a_single_jump_has_the_values_worked_out_by_hand(name: str, value: float) -> None:
    prices = np.full((LOOKBACK, 4), 50.0)
    prices[-1] = 55.0
    bars = pd.DataFrame(
        np.column_stack([prices, np.full(LOOKBACK, 7.0)]), BARS.index[:LOOKBACK], COLUMNS
    )
    assert FeatureEngineer().transform(bars)[name].item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("timestamp", "name", "value"),
    [
        ("2024-01-01 06:00", "tod_sin", 1.0),
        ("2024-01-01 12:00", "tod_cos", -1.0),
        ("2024-01-01", "dow_sin", 0.0),
        ("2024-01-07", "dow_sin", -np.sin(2 * np.pi / 7)),
        ("2023-02-08", "dom_sin", 1.0),
        ("2024-04-16", "dom_cos", -1.0),
        ("2024-04-01", "moy_sin", 1.0),
        ("1969-07-01", "moy_cos", -1.0),
        ("1969-12-29 18:00", "tod_sin", -1.0),
    ],
)
def test_calendar_angles_have_the_values_worked_out_by_hand(
    timestamp: str, name: str, value: float
) -> None:
    bars = BARS[:LOOKBACK].set_axis(pd.date_range(end=timestamp, periods=LOOKBACK, freq="D"))
    assert FeatureEngineer().transform(bars)[name].item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "low", "high"), [(name, *BOUNDS.get(name, (-1, 1))) for name in FEATURE_NAMES]
)
def test_a_feature_keeps_its_bounds(name: str, low: float, high: float) -> None:
    for label, bars in SERIES.items():
        column = features(bars)[:, FEATURE_NAMES.index(name)]
        assert low - 1e-12 <= column.min() and column.max() <= high + 1e-12, label


def test_every_feature_is_finite_on_unkind_series(bars: pd.DataFrame) -> None:
    assert np.isfinite(features(bars)).all()


def test_most_features_move_on_ordinary_bars(nasdaq_bars: pd.DataFrame) -> None:
    still = np.ptp(features(nasdaq_bars), axis=0) == 0
    assert [name for name, constant in zip(FEATURE_NAMES, still) if constant] == [
        "tod_sin",
        "tod_cos",
    ]


@given(seed=seeds, kept=st.integers(LOOKBACK, 1199))
@settings(max_examples=12, deadline=None)
def test_cutting_off_the_future_changes_nothing(seed: int, kept: int) -> None:
    bars = walk(1200, seed)
    assert np.array_equal(features(bars[:kept]), features(bars)[: kept - LOOKBACK + 1])


@given(seed=seeds, dropped=st.integers(1, 1099))
@settings(max_examples=12, deadline=None)
def test_dropping_the_past_changes_nothing(seed: int, dropped: int) -> None:
    bars = walk(1200, seed)
    assert np.array_equal(features(bars[dropped:]), features(bars)[dropped:])


def test_a_row_alone_equals_the_row_in_a_batch(bars: pd.DataFrame) -> None:
    alone = [features(bars[end - LOOKBACK : end]) for end in range(LOOKBACK, len(bars) + 1, 3)]
    assert np.array_equal(np.concatenate(alone), features(bars)[::3])


@pytest.mark.parametrize("chunk", [3, 64, 511, 5000])
def test_chunk_borders_cannot_be_seen(chunk: int) -> None:
    bars = walk(700, 5)
    rows = FeatureEngineer().rows(bars.to_numpy(), bars.index.to_numpy("datetime64[ns]"), chunk)
    assert np.array_equal(rows, features(bars))


@pytest.mark.parametrize("lookback", sorted({feature.lookback for feature in FEATURES}))
@pytest.mark.parametrize("label", ["random walk", "working days", "flat stretch"])
def test_a_feature_sees_no_more_than_its_lookback(lookback: int, label: str) -> None:
    bars = SERIES[label][150 : 150 + LOOKBACK]
    older = LOOKBACK - lookback
    values = np.concatenate((3 * walk(older, 9), bars[older:]))
    index = (pd.DatetimeIndex(bars.index[:older]) - pd.Timedelta(days=3)).append(bars.index[older:])
    same = features(pd.DataFrame(values, index, COLUMNS))[0] == features(bars)[0]
    assert not [
        feature.name
        for feature, kept in zip(FEATURES, same)
        if feature.lookback <= lookback and not kept
    ]


def test_a_strided_or_fortran_ordered_array_has_the_same_rows() -> None:
    values, timestamps = BARS.to_numpy(), BARS.index.to_numpy("datetime64[ns]")
    wide = np.zeros((2 * len(values), 9))
    wide[::2, ::2] = values
    for other in (np.asfortranarray(values), wide[::2, ::2]):
        assert np.array_equal(FeatureEngineer().rows(other, timestamps), features(BARS))


@given(seed=seeds, price=st.sampled_from([137.5, 1e-3]), volume=st.sampled_from([0.0123, 1e6]))
@settings(max_examples=10, deadline=None)
def test_the_scale_of_prices_and_volumes_does_not_matter(
    seed: int, price: float, volume: float
) -> None:
    bars = walk(400, seed)
    scaled = bars * [price, price, price, price, volume]
    assert np.abs(features(scaled) - features(bars)).max() <= 1e-9


@pytest.mark.parametrize("label", [label for label in SERIES if label != "steady growth"])
def test_the_scale_does_not_matter_on_unkind_series(label: str) -> None:
    scaled = SERIES[label] * [137.5, 137.5, 137.5, 137.5, 0.0123]
    assert np.abs(features(scaled) - features(SERIES[label])).max() <= 1e-9


def test_too_few_bars_are_refused_with_their_number() -> None:
    with pytest.raises(
        ValueError,
        match=r"at least 101 \(a feature row looks back 100 bars\), got 100\. Pass a longer",
    ):
        FeatureEngineer().transform(BARS[:100])


def test_missing_columns_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"columns open, .*, got none named low, volume among \['open', 'high', 'close'",
    ):
        FeatureEngineer().transform(BARS.drop(columns=["low", "volume"]))


def test_an_index_without_dates_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"DatetimeIndex, got RangeIndex\. Set the index to the bars' timestamps"
    ):
        FeatureEngineer().transform(BARS.reset_index(drop=True))


@pytest.mark.parametrize("bars", [1, 2, 5, 48, 50, 95, 100])
def test_window_sums_and_maxima_cover_exactly_their_window(bars: int) -> None:
    numbers = np.random.default_rng(0).integers(-50, 50, 130).astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(numbers, bars)
    assert np.array_equal(
        window_sums(doublings(numbers, bars, np.add), bars, 20), windows.sum(-1)[-20:]
    )
    assert np.array_equal(
        window_maxima(doublings(numbers, bars, np.maximum), bars, 20), windows.max(-1)[-20:]
    )
