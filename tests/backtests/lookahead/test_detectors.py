"""The detectors of look-ahead.

Each planted leak is caught, and the project's own pipeline passes.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from backtests.lookahead import detectors as leaks
from backtests.lookahead.detectors import LeakResult, Table, Tally
from backtests.synthetic.markets import market
from model.bars.sample import sample_bars
from model.checkpoint.scaler import Scaler
from model.features.table import FEATURE_NAMES, FeatureEngineer
from model.labels.moves import make_labels
from model.training.config import TrainConfig
from model.training.data import TrainingData, prepare
from model.training.preprocessor import DataPreprocessor
from tests.helpers.makers import random_bars

LABELS = [("open", 1), ("open", 3), ("close", 1), ("close", 3)]


@pytest.fixture(scope="module")
def data(bars: pd.DataFrame) -> TrainingData:
    """The bars, ready to train on."""
    return prepare(bars, TrainConfig(batch_size=16))


@pytest.fixture(scope="module")
def short(bars: pd.DataFrame) -> pd.DataFrame:
    """The first 130 of the bars."""
    return bars.iloc[:130]


# Leaks to plant: columns that a feature table may not have.


def noisy_next_return(bars: pd.DataFrame) -> pd.Series:
    noise = np.sin(pd.DatetimeIndex(bars.index).as_unit("s").asi8)
    return bars["close"].pct_change().shift(-1) + 0.01 * noise


PLANTED: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "the next return with noise": noisy_next_return,
    "the sign of the next return": lambda bars: np.sign(bars["close"].diff().shift(-1)),
    "a centred window": lambda bars: (
        bars["close"] / bars["close"].rolling(21, center=True, min_periods=1).mean()
    ),
    "a window reaching one bar ahead": lambda bars: (
        bars["high"].rolling(20).max().shift(-1).ffill()
    ),
    "a return 15 bars ahead": lambda bars: bars["close"].pct_change().shift(-15).fillna(0),
    "scaled by all rows": lambda bars: (
        (bars["volume"] - bars["volume"].mean()) / bars["volume"].std()
    ),
    "ranked among all rows": lambda bars: bars["close"].rank(pct=True),
    "the wait for the next bar": lambda bars: (
        pd.Series(bars.index, bars.index).diff(-1).dt.total_seconds().fillna(-86_400)
    ),
    "gaps filled from behind": lambda bars: (
        bars["close"].where(bars["close"] > bars["open"]).bfill().ffill()
    ),
    "the length of the history": lambda bars: pd.Series(float(len(bars)), bars.index),
}
FUTURES: dict[str, leaks.Futures] = {
    "cut": leaks.cut_off,
    "poison": lambda bars, last: iter([("with other bars", leaks.poisoned(bars, last))]),
}


def with_leak(leak: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def transform(bars: pd.DataFrame) -> pd.DataFrame:
        features = FeatureEngineer().transform(bars)
        return features.assign(ret_z_2=PLANTED[leak](bars).astype(float).reindex(features.index))

    return transform


@pytest.mark.parametrize("leak", PLANTED)
def test_a_planted_feature_is_named_at_every_bar(leak: str, short: pd.DataFrame) -> None:
    check = leaks.window_leaks("features", with_leak(leak), short)
    assert [found.item for found in check.findings] == ["ret_z_2"]
    assert check.findings[0].bar in short.index[100:103] and check.differences > 15


@pytest.mark.parametrize(
    "leak, future",
    [
        (leak, future)
        for leak in PLANTED
        for future in FUTURES
        if (leak, future)
        not in (("the length of the history", "poison"), ("the wait for the next bar", "cut"))
    ],
)
def test_a_planted_feature_is_caught_by_a_cut_and_by_poison_alone(
    leak: str, future: str, short: pd.DataFrame
) -> None:
    check = leaks.history_leaks(
        "features", with_leak(leak), short, range(102, 122), other_futures=FUTURES[future]
    )
    assert [found.item for found in check.findings] == ["ret_z_2"]


@pytest.mark.parametrize(
    "bars", [sample_bars().iloc[-200:], market("latch", 200).bars], ids=["sample", "market"]
)
def test_the_features_know_no_future(bars: pd.DataFrame) -> None:
    transform = FeatureEngineer().transform
    check = leaks.window_leaks("features", transform, bars)
    # Nothing follows the last bar that could be poisoned.
    assert (check.differences, check.compared) == (0, 86 * (2 * 100 - 1))
    assert leaks.history_leaks("features", transform, bars, [100, 150, 198]).differences == 0


def test_a_row_that_is_missing_without_the_future_is_a_difference(short: pd.DataFrame) -> None:
    check = leaks.window_leaks(
        "features", lambda bars: FeatureEngineer().transform(bars).iloc[:-1], short
    )
    assert len(check.findings) == 86 and pd.isna(check.findings[0].other)


def test_the_bars_are_left_as_they_were(short: pd.DataFrame) -> None:
    before = short.copy(deep=True)
    leaks.window_leaks("features", FeatureEngineer().transform, short)
    leaks.history_leaks("features", FeatureEngineer().transform, short, [120])
    pd.testing.assert_frame_equal(short, before, check_exact=True)


def test_poison_moves_the_price_the_other_way_and_time_on(bars: pd.DataFrame) -> None:
    rising = bars["close"].shift(-1) > bars["close"]
    for cut in range(100, 110):
        other = leaks.poisoned(bars, cut)
        assert (other["close"].iloc[cut + 1] < other["close"].iloc[cut]) == rising.iloc[cut]
        pd.testing.assert_frame_equal(other.iloc[: cut + 1], bars.iloc[: cut + 1], check_freq=False)
        assert other.index.is_monotonic_increasing and other.index[cut + 1] > bars.index[cut + 1]


# The scaler


def fits(data: TrainingData) -> dict[str, Callable[[pd.DataFrame], Scaler]]:
    """Ways to fit the scaler, by how they go about the rows behind training."""
    fit, stop = DataPreprocessor().fit_scaler, data.split[0].stop
    return {
        "on training": lambda rows: fit(rows, slice(0, stop)),
        "on all": lambda rows: fit(rows, slice(0, len(rows) - 49)),
        "one row too far": lambda rows: fit(rows, slice(0, stop + 1)),
        "a mask of all": lambda rows: replace(
            fit(rows, slice(0, stop)), kept=(rows.index[-1] < data.features.index[-1],) * 86
        ),
    }


@pytest.mark.parametrize(
    "way, figures",
    [("on training", 0), ("on all", 172), ("one row too far", 172), ("a mask of all", 86)],
)
def test_a_scaler_that_saw_rows_behind_training_is_caught(
    data: TrainingData, way: str, figures: int
) -> None:
    check = leaks.scaler_leaks(fits(data)[way], data.features, data.split[0].stop + 49)
    assert check.compared == 2 * 258 * (len(data.features) - data.split[0].stop - 49)
    assert bool(check.differences) == bool(figures)
    # Calendar features may be constant either way.
    assert figures - 20 <= len(check.findings) <= figures


@pytest.mark.parametrize(
    "way, caught", [("on training", False), ("on all", True), ("one row too far", True)]
)
def test_a_scaler_is_caught_all_the_way_from_the_bars(
    bars: pd.DataFrame, data: TrainingData, way: str, caught: bool
) -> None:
    last = data.split[0].stop + 49 - 1 + 100
    check = leaks.preparation_leaks(
        lambda other: fits(data)[way](FeatureEngineer().transform(other)),
        bars,
        range(last, last + 5),
    )
    assert bool(check.differences) == caught


# Labels


@pytest.mark.parametrize("label, horizon", LABELS)
def test_labels_are_the_outcomes_of_positions_opened_after_the_decision(
    bars: pd.DataFrame, label: str, horizon: int
) -> None:
    labels = make_labels(bars, label, horizon)
    assert leaks.label_leaks(labels.shift(-1), bars, label, horizon).differences == 0
    for steps in (-2, 0, 1):
        assert leaks.label_leaks(labels.shift(steps), bars, label, horizon).differences > 50


@pytest.mark.parametrize("label, horizon", LABELS)
def test_a_label_of_another_price_or_horizon_is_caught(
    bars: pd.DataFrame, label: str, horizon: int
) -> None:
    other = "close" if label == "open" else "open"
    for labels in (make_labels(bars, other, horizon), make_labels(bars, label, horizon + 1)):
        assert leaks.label_leaks(labels.shift(-1), bars, label, horizon).differences > 20


def test_a_label_that_is_known_too_early_is_caught(bars: pd.DataFrame) -> None:
    check = leaks.label_leaks(make_labels(bars).shift(-1).fillna(0.0), bars, "open", 1)
    assert (check.differences, check.findings[0].bar) == (2, bars.index[-2])


# Borders


def overlap(
    parts: tuple[slice, slice, slice], bars: pd.DataFrame, label: str, horizon: int
) -> LeakResult:
    decided, wait = pd.DatetimeIndex(bars.index[149:]), horizon + (label == "open")
    return leaks.overlap_leaks(parts, decided, decided[wait:].append(decided[:0]))


@pytest.mark.parametrize("label, horizon", LABELS)
def test_the_purged_split_has_no_overlap_and_without_the_purge_it_has(
    bars: pd.DataFrame, label: str, horizon: int
) -> None:
    parts = DataPreprocessor(label=label, horizon=horizon).split(240)
    assert overlap(parts, bars, label, horizon).differences == 0
    late = horizon + (label == "open") - 1
    unpurged = slice(0, parts[1].start), slice(parts[1].start, parts[2].start), parts[2]
    assert overlap(unpurged, bars, label, horizon).differences == 2 * late


@pytest.mark.parametrize(
    "parts, late",
    [
        ((slice(0, 100), slice(100, 149), slice(150, 200)), 1),
        ((slice(0, 99), slice(100, 150), slice(150, 200)), 1),
        ((slice(0, 120), slice(100, 149), slice(150, 200)), 21),
        ((slice(100, 149), slice(0, 99), slice(150, 200)), 49),
        ((slice(0, 99), slice(100, 149), slice(120, 200)), 30),
        ((slice(0, 99), slice(100, 150), slice(150, 150)), 0),
    ],
)
def test_windows_whose_outcome_comes_after_the_border_are_counted(
    bars: pd.DataFrame, parts: tuple[slice, slice, slice], late: int
) -> None:
    assert overlap(parts, bars, "open", 1).differences == late


# Shuffled labels


def scored(
    data: TrainingData, train: slice, judged: slice, echo: float = 0
) -> Callable[[Table], float]:
    """A logistic regression on the last row, which may hold an echo of the label."""

    def score(labels: Table) -> float:
        rows = np.column_stack(
            (data.scaler.transform(data.features.to_numpy())[49:][: len(labels)], echo * labels)
        )
        model = LogisticRegression(max_iter=2_000).fit(rows[train], labels[train])
        return float(roc_auc_score(labels[judged], model.decision_function(rows[judged])))

    return score


@pytest.fixture(scope="module")
def long_data() -> TrainingData:
    """1,000 random bars, ready to train on."""
    return prepare(random_bars(1_000), TrainConfig())


def test_shuffled_labels_cannot_be_forecast(long_data: TrainingData) -> None:
    train, _, test = long_data.split
    check = leaks.shuffled_label_leaks(scored(long_data, train, test), long_data.labels, test)
    assert (check.compared, check.differences) == (5, 0)


@pytest.mark.parametrize("leak", ["judged on training", "the label among the features"])
def test_a_score_that_survives_shuffled_labels_is_caught(
    long_data: TrainingData, leak: str
) -> None:
    train, _, test = long_data.split
    judged, echo = (train, 0) if leak == "judged on training" else (test, 3)
    check = leaks.shuffled_label_leaks(
        scored(long_data, train, judged, echo), long_data.labels, judged
    )
    assert check.differences == 5
    assert (
        str(check.findings[0]).endswith("without a leak")
        and check.findings[0].item == "AUC with seed 0"
    )


# Orders


def crossing(bars: pd.DataFrame, mean: pd.Series) -> pd.DataFrame:
    """One row per bar at which the close crosses a mean, as a backtest would list its orders."""
    side = np.sign(bars["close"] - mean)
    crossed = side.ne(side.shift()) & side.notna()
    return pd.DataFrame({"size": side[crossed], "price": bars["open"][crossed]})


ORDERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "a trailing mean": lambda bars: crossing(bars, bars["close"].rolling(20).mean()),
    "the mean of all": lambda bars: crossing(bars, pd.Series(bars["close"].mean(), bars.index)),
    "tomorrow's close": lambda bars: crossing(bars, bars["close"].shift(-1)),
    "only winners": lambda bars: crossing(bars, bars["close"].rolling(20).mean()).query(
        f"price < {bars['close'].iloc[-1]}"
    ),
}


@pytest.mark.parametrize("way", ORDERS)
@pytest.mark.parametrize("future", FUTURES)
def test_orders_that_the_future_moves_are_caught(bars: pd.DataFrame, way: str, future: str) -> None:
    check = leaks.history_leaks(
        "orders", ORDERS[way], bars, range(100, 300, 4), other_futures=FUTURES[future]
    )
    assert (check.differences == 0) == (way == "a trailing mean") and check.compared > 300


def test_two_orders_at_one_bar_are_two_rows(bars: pd.DataFrame) -> None:
    def orders(given: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([ORDERS["a trailing mean"](given), ORDERS["the mean of all"](given)])

    check = leaks.history_leaks("orders", orders, bars, range(100, 300, 20))
    assert check.differences > 0 and {found.item for found in check.findings} == {"size", "price"}


# What is told


def test_a_difference_names_check_feature_and_bar(short: pd.DataFrame) -> None:
    found = leaks.window_leaks(
        "features", with_leak("the sign of the next return"), short
    ).findings[0]
    assert str(found) == (
        f"features: ret_z_2 at {short.index[100]:%Y-%m-%d} is {found.value}, "
        "but nan from its own 101 bars without the bars that follow"
    )
    assert found.item in FEATURE_NAMES and found.value in (-1.0, 1.0)


def test_the_earliest_difference_of_an_item_is_kept() -> None:
    tally, days = Tally("any"), pd.date_range("2020-01-01", periods=3)
    tally.compare(
        ["a", "b"], days[1:], np.zeros((2, 2)), np.array([[1.0, 0.0], [1.0, 1.0]]), "then"
    )
    tally.compare(
        ["a", "b"], days[:2], np.zeros((2, 2)), np.array([[2.0, 0.0], [2.0, 0.0]]), "then"
    )
    assert [(found.item, found.bar, found.other) for found in tally.result.findings] == [
        ("a", days[0], 2.0),
        ("b", days[2], 1.0),
    ]
    assert (tally.result.compared, tally.result.differences) == (8, 5)


@pytest.mark.parametrize(
    "value, other, tolerance, compared, differs",
    [
        (1.0, 1.0, 0.0, 1, 0),
        (0.0, -0.0, 0.0, 1, 1),
        (1.0, np.nextafter(1.0, 2.0), 0.0, 1, 1),
        (1.0, 1.5, 0.5, 1, 0),
        (1.0, 1.6, 0.5, 1, 1),
        (1.0, np.nan, 0.5, 1, 1),
        (np.nan, 1.0, 0.0, 1, 1),
        (np.nan, np.nan, 0.0, 0, 0),
        (np.nan, np.nan, 0.5, 0, 0),
    ],
)
def test_numbers_are_compared_bit_for_bit_or_within_a_tolerance(
    value: float, other: float, tolerance: float, compared: int, differs: int
) -> None:
    tally = Tally("any")
    tally.compare(["a"], [None], np.array([[value]]), np.array([[other]]), "then", tolerance)
    assert (tally.compared, tally.differences) == (compared, differs)
