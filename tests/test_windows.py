"""Labels, windows, the purged split in time order, and the scaler's fit."""
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from model.features import FEATURE_NAMES, LOOKBACK
from model.windows import LABELS, DataPreprocessor, TimeSeriesDataset, calendar_mask, known_after, make_labels, tied_share

NAN = np.nan


def priced(*, open: list[float], close: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"open": open, "close": close}, index=pd.date_range("2020-01-01", periods=len(open)), dtype=float)


@pytest.fixture
def few_bars() -> pd.DataFrame:
    return priced(open=[10, 11, 11, 9, 12, 12], close=[11, 11, 10, 12, 13, 8])


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(1000, len(FEATURE_NAMES)))
    return pd.DataFrame(values, index=pd.date_range("2020-01-01", periods=1000), columns=list(FEATURE_NAMES))


@pytest.fixture(scope="module")
def labels(features: pd.DataFrame) -> pd.Series:
    return pd.Series(np.random.default_rng(1).integers(0, 2, 1000).astype(float), index=features.index)


@pytest.mark.parametrize(("label", "horizon", "expected"), [
    ("open", 1, [1, 0, 0, 1, 0, NAN]),
    ("open", 3, [0, 1, 1, NAN, NAN, NAN]),
    ("close", 1, [NAN, 0, 0, 1, 1, 0]),
    ("close", 3, [NAN, 1, 1, 0, NAN, NAN]),
    ("open", 6, [NAN] * 6),
    ("close", 100, [NAN] * 6),
])
def test_a_label_is_the_outcome_of_a_position_opened_at_the_bars_open(
        few_bars: pd.DataFrame, label: str, horizon: int, expected: list[float]) -> None:
    labels = make_labels(few_bars, label, horizon)
    np.testing.assert_array_equal(labels, expected)
    assert labels.index.equals(few_bars.index)


def test_the_default_label_is_the_next_open_above_this_one(few_bars: pd.DataFrame) -> None:
    pd.testing.assert_series_equal(make_labels(few_bars), make_labels(few_bars, label="open", horizon=1))


def test_a_tie_is_not_up_and_its_share_is_known(few_bars: pd.DataFrame) -> None:
    flat = priced(open=[5, 5, 5], close=[5, 5, 5])
    assert make_labels(flat).tolist()[:2] == [0.0, 0.0]
    assert tied_share(flat) == 1.0
    assert tied_share(few_bars) == 2 / 5
    assert tied_share(few_bars, "close") == 1 / 5
    assert tied_share(flat, horizon=3) == 0.0  # no label is known


def test_labels_shifted_by_one_stand_at_their_decision(few_bars: pd.DataFrame) -> None:
    decided = make_labels(few_bars).shift(-1)
    bought, sold = few_bars["open"].shift(-1), few_bars["open"].shift(-2)
    assert decided.dropna().eq((sold > bought).astype(float)[:4]).all()


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_a_label_is_known_so_many_bars_after_its_decision_and_no_sooner(few_bars: pd.DataFrame, label: str, horizon: int) -> None:
    decision = 1
    known = decision + known_after(label, horizon)
    assert np.isfinite(make_labels(few_bars[:known + 1], label, horizon).iloc[decision + 1:decision + 2]).all()
    assert np.isnan(make_labels(few_bars[:known], label, horizon).shift(-1).iloc[decision])


@pytest.mark.parametrize(("label", "horizon", "message"), [
    ("high", 1, "`label` must be one of open, close, got 'high'."),
    ("open", 0, "`horizon` must be a whole number of bars from 1, got 0."),
    ("open", 1.5, "`horizon` must be a whole number of bars from 1, got 1.5."),
    ("open", True, "`horizon` must be a whole number of bars from 1, got True."),
])
def test_labels_that_do_not_exist_are_refused(few_bars: pd.DataFrame, label: str, horizon: Any, message: str) -> None:
    for make in (lambda: make_labels(few_bars, label, horizon), lambda: DataPreprocessor(label=label, horizon=horizon)):
        with pytest.raises(ValueError) as refusal:
            make()
        assert str(refusal.value) == message


def test_a_thousand_labelled_rows_make_950_windows(features: pd.DataFrame, labels: pd.Series) -> None:
    windows, outcomes = DataPreprocessor().create_sequences(features, labels)
    assert windows.shape == (950, 50, 86)
    assert outcomes.shape == (950,)


@pytest.mark.parametrize("window", [0, 1, 500, 949])
def test_the_rows_of_a_window_belong_to_the_label_of_the_row_after_it(features: pd.DataFrame, window: int) -> None:
    numbers = pd.Series(np.arange(1000.0), index=features.index)
    windows, outcomes = DataPreprocessor().create_sequences(features, numbers)
    np.testing.assert_array_equal(windows[window], features.to_numpy()[window:window + 50])
    assert outcomes[window] == window + 50


def test_windows_are_views_that_cannot_be_written_to(features: pd.DataFrame, labels: pd.Series) -> None:
    values = features.to_numpy()
    windows, _ = DataPreprocessor().create_sequences(values, labels.to_numpy())
    assert np.shares_memory(windows, values)
    assert not windows.flags.writeable


def test_arrays_are_paired_by_position(features: pd.DataFrame, labels: pd.Series) -> None:
    by_index = DataPreprocessor().create_sequences(features, labels)
    by_position = DataPreprocessor().create_sequences(features.to_numpy(), labels.to_numpy())
    for left, right in zip(by_index, by_position):
        np.testing.assert_array_equal(left, right)


def test_pandas_objects_of_unequal_index_are_refused(features: pd.DataFrame, labels: pd.Series) -> None:
    with pytest.raises(ValueError, match=r"must have the same index\. Use labels\.reindex\(features\.index\)\."):
        DataPreprocessor().create_sequences(features, labels.shift(freq="D"))


def test_unequal_lengths_are_refused(features: pd.DataFrame, labels: pd.Series) -> None:
    with pytest.raises(ValueError, match="must have equally many rows, got 1000 and 999"):
        DataPreprocessor().create_sequences(features.to_numpy(), labels.to_numpy()[1:])


def test_too_few_rows_for_a_window_are_refused(features: pd.DataFrame, labels: pd.Series) -> None:
    with pytest.raises(ValueError, match=r"50 \+ 1 rows make the first labelled window, got 50\. Give more bars\."):
        DataPreprocessor().create_sequences(features[:50], labels[:50])
    assert len(DataPreprocessor().create_sequences(features[:51], labels[:51])[1]) == 1


@pytest.mark.parametrize("unknown", [1, 3, 900])
def test_trailing_windows_without_a_label_are_left_out(features: pd.DataFrame, labels: pd.Series, unknown: int) -> None:
    known = labels.where(np.arange(1000) < 1000 - unknown)
    windows, outcomes = DataPreprocessor().create_sequences(features, known)
    assert len(windows) == len(outcomes) == 950 - unknown
    np.testing.assert_array_equal(outcomes, labels[50:1000 - unknown])


def test_labels_that_no_window_is_paired_with_may_be_unknown(features: pd.DataFrame, labels: pd.Series) -> None:
    assert len(DataPreprocessor().create_sequences(features, labels.where(np.arange(1000) >= 50))[1]) == 950


def test_rows_that_only_unlabelled_windows_reach_may_be_unknown(features: pd.DataFrame, labels: pd.Series) -> None:
    known = labels.where(np.arange(1000) < 990)
    holed = features.where(np.tile(np.arange(1000) < 990, (86, 1)).T)
    assert len(DataPreprocessor().create_sequences(holed, known)[1]) == 940


@pytest.mark.parametrize("value", [NAN, np.inf])
@pytest.mark.parametrize("row", [50, 700, 998])
def test_a_hole_in_the_labels_is_refused(features: pd.DataFrame, labels: pd.Series, row: int, value: float) -> None:
    holed = labels.where(np.arange(1000) != row, value)
    with pytest.raises(ValueError, match=f"got 1 that are not, the first at window {row - 50}"):
        DataPreprocessor().create_sequences(features, holed)


@pytest.mark.parametrize("value", [NAN, -np.inf])
@pytest.mark.parametrize("row", [0, 700, 998])
def test_a_hole_in_the_features_is_refused(features: pd.DataFrame, labels: pd.Series, row: int, value: float) -> None:
    holed = features.copy()
    holed.iloc[row, 7] = value
    with pytest.raises(ValueError, match=f"features must be finite, got 1 rows that are not, the first is row {row}"):
        DataPreprocessor().create_sequences(holed, labels)


def test_labels_all_unknown_are_refused(features: pd.DataFrame, labels: pd.Series) -> None:
    with pytest.raises(ValueError, match="no window has a label"):
        DataPreprocessor().create_sequences(features, labels * NAN)


def lengths(parts: tuple[slice, slice, slice]) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in parts)


@pytest.mark.parametrize(("preprocessor", "expected"), [
    (DataPreprocessor(label="close"), (665, 142, 143)),
    (DataPreprocessor(label="open"), (664, 141, 143)),
    (DataPreprocessor(label="open", horizon=5), (660, 137, 143)),
    (DataPreprocessor(train=0.85, validation=0.15), (806, 143, 0)),  # no test part: no purge after validation
    (DataPreprocessor(train=0.7, validation=0.3, label="close"), (665, 285, 0)),
])
def test_the_split_of_950_windows(preprocessor: DataPreprocessor, expected: tuple[int, ...]) -> None:
    assert lengths(preprocessor.split(950)) == expected


def test_shares_are_the_decimals_they_were_written_as() -> None:
    assert 0.7 * 10 + 0.1 * 10 == 8 and int(0.29 * 100) == 28  # binary numbers would take a window away
    assert DataPreprocessor(train=0.29, validation=0.2, label="close").split(100)[0].stop == 29


shares = st.integers(1, 98).flatmap(lambda train: st.tuples(st.just(train), st.integers(1, 100 - train)))


@given(n_windows=st.integers(0, 3000), shares=shares, label=st.sampled_from(LABELS), horizon=st.integers(1, 9))
def test_the_parts_are_ordered_and_never_decide_on_an_unknown_label(
        n_windows: int, shares: tuple[int, int], label: str, horizon: int) -> None:
    preprocessor = DataPreprocessor(train=shares[0] / 100, validation=shares[1] / 100, label=label, horizon=horizon)
    try:
        train, validation, test = preprocessor.split(n_windows)
    except ValueError as refusal:
        assert "too few for a training and a validation part" in str(refusal)
        return
    assert 0 == train.start < train.stop <= validation.start < validation.stop <= test.start <= test.stop == n_windows
    assert (test.start == n_windows) == (sum(shares) == 100)
    assert validation.start == shares[0] * n_windows // 100
    for part, following in ((train, validation), (validation, test)):
        if following.start < n_windows:  # window w decides at the close of its last row; neighbours are one bar apart
            assert part.stop - 1 + known_after(label, horizon) == following.start


@pytest.mark.parametrize(("train", "validation"), [(0, 0.5), (0.5, 0), (1, 0.1), (0.8, 0.3), (-0.1, 0.5), (NAN, 0.1)])
def test_shares_that_leave_a_part_without_windows_are_refused(train: float, validation: float) -> None:
    with pytest.raises(ValueError, match=f"must be shares above 0 with a sum of at most 1, got {train} and {validation}"):
        DataPreprocessor(train=train, validation=validation)


@pytest.mark.parametrize("length", [0, -1, 2.5])
def test_a_window_has_a_whole_number_of_rows(length: Any) -> None:
    with pytest.raises(ValueError, match=f"`sequence_length` must be a whole number from 1, got {length}"):
        DataPreprocessor(sequence_length=length)


def test_too_few_windows_to_split_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"3 windows are too few .* \(0\.7 and 0\.15 of them, 1 purged at each border\)"):
        DataPreprocessor().split(3)


def windows_of(bars: int, preprocessor: DataPreprocessor) -> int:
    """Count the labelled windows of so many bars."""
    labels = make_labels(priced(open=[1.0] * bars, close=[1.0] * bars), preprocessor.label, preprocessor.horizon)
    rows = np.zeros((bars - LOOKBACK + 1, 1))
    return len(preprocessor.create_sequences(rows, labels.to_numpy()[LOOKBACK - 1:])[1])


@given(train_windows=st.integers(1, 200), validation_windows=st.integers(1, 60), shares=shares,
       label=st.sampled_from(LABELS), horizon=st.integers(1, 4))
def test_one_bar_fewer_than_needed_is_too_few(
        train_windows: int, validation_windows: int, shares: tuple[int, int], label: str, horizon: int) -> None:
    preprocessor = DataPreprocessor(train=shares[0] / 100, validation=shares[1] / 100, label=label, horizon=horizon)

    def enough(bars: int) -> bool:
        try:
            train, validation, _ = lengths(preprocessor.split(windows_of(bars, preprocessor)))
        except ValueError:
            return False
        return train >= train_windows and validation >= validation_windows

    needed = preprocessor.bars_needed(train_windows, validation_windows)
    assert enough(needed)
    assert not enough(needed - 1)


def test_the_scaler_sees_the_rows_of_kept_training_windows_and_no_later_one(features: pd.DataFrame) -> None:
    preprocessor = DataPreprocessor()
    train = preprocessor.split(950)[0]
    first_unseen = train.stop + 49
    later_changed = features.copy()
    later_changed.iloc[first_unseen:] *= 1e6
    assert preprocessor.fit_scaler(later_changed, train) == preprocessor.fit_scaler(features, train)
    last_changed = features.copy()
    last_changed.iloc[first_unseen - 1] *= 1e6
    assert preprocessor.fit_scaler(last_changed, train) != preprocessor.fit_scaler(features, train)


def test_the_scaler_gives_the_training_rows_mean_0_and_deviation_1(features: pd.DataFrame) -> None:
    values = features.to_numpy() * 5 + 3
    scores = DataPreprocessor().fit_scaler(values, slice(0, 951)).transform(values)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, -1e6, 0.1])
def test_a_constant_column_keeps_scale_1(features: pd.DataFrame, level: float) -> None:
    flat = features.assign(rsi_14=level)
    scaler = DataPreprocessor().fit_scaler(flat, slice(0, 600))
    column = FEATURE_NAMES.index("rsi_14")
    assert scaler.scale[column] == 1.0
    np.testing.assert_allclose(scaler.transform(flat.to_numpy())[:, column], 0, atol=1e-15)


@pytest.mark.parametrize(("span", "left_out"), [
    ("1 days", {"tod", "dow", "dom", "moy"}),
    ("3 days", {"dow", "dom", "moy"}),
    ("13 days", {"dow", "dom", "moy"}),
    ("14 days", {"dom", "moy"}),
    ("60 days", {"dom", "moy"}),
    ("61 days", {"moy"}),
    ("700 days", {"moy"}),
    ("731 days", set()),
])
def test_a_calendar_cycle_that_the_span_does_not_cover_twice_is_left_out(span: str, left_out: set[str]) -> None:
    start = pd.Timestamp("2020-01-01")
    kept = calendar_mask(pd.DatetimeIndex([start, start + pd.Timedelta(span)]))
    missing = {name for name, keep in zip(FEATURE_NAMES, kept) if not keep}
    assert missing == {f"{cycle}_{wave}" for cycle in left_out for wave in ("sin", "cos")}


def test_the_training_rows_decide_which_calendar_columns_are_kept(features: pd.DataFrame) -> None:
    short, whole = (DataPreprocessor().fit_scaler(features, slice(0, stop)) for stop in (10, 900))
    assert short.kept.count(False) == 4 and whole.kept.count(False) == 0  # 59 and 949 days
    assert all(DataPreprocessor().fit_scaler(features.to_numpy(), slice(0, 10)).kept)


@pytest.fixture
def dataset() -> TimeSeriesDataset:
    rows = np.arange(200 * 3, dtype=np.float32).reshape(200, 3)
    return TimeSeriesDataset(rows, np.arange(151.0))


def test_a_dataset_holds_views_of_its_rows(dataset: TimeSeriesDataset) -> None:
    assert dataset.windows.shape == (151, 50, 3)
    assert dataset.windows.untyped_storage().nbytes() == 200 * 3 * 4
    assert dataset[7][0].data_ptr() == dataset.windows.data_ptr() + 7 * 3 * 4


def test_a_loader_delivers_every_window_once_in_time_order(dataset: TimeSeriesDataset) -> None:
    batches = list(DataLoader(dataset, batch_size=64, shuffle=False))
    assert [len(labels) for _, labels in batches] == [64, 64, 23]
    assert torch.equal(torch.cat([windows for windows, _ in batches]), dataset.windows)
    assert torch.equal(torch.cat([labels for _, labels in batches]), torch.arange(151.0))


@pytest.mark.parametrize("positions", [[4], [3, 4, 5], [5, 4, 3], [1, 9, 3], [2, 2, 4], [150, 0]])
def test_a_batch_in_any_order_holds_the_windows_asked_for(dataset: TimeSeriesDataset, positions: list[int]) -> None:
    for position, (window, label) in zip(positions, dataset.__getitems__(positions), strict=True):
        assert torch.equal(window, dataset.windows[position])
        assert label == position


def test_a_batch_in_time_order_is_fetched_as_views(dataset: TimeSeriesDataset) -> None:
    storage = dataset.windows.untyped_storage().data_ptr()
    assert {window.untyped_storage().data_ptr() for window, _ in dataset.__getitems__(range(10, 74))} == {storage}


def test_a_dataset_refuses_labels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="200 rows hold 151 windows of 50, got 150 labels"):
        TimeSeriesDataset(np.zeros((200, 3), dtype=np.float32), np.zeros(150))
