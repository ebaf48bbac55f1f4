"""Windows; the split and the scaler's fit are in test_split.py."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from model.features.table import FEATURE_NAMES
from model.training.preprocessor import DataPreprocessor
from model.training.windows import DateBatches, TimeSeriesDataset, Windows

NAN = np.nan


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(1000, len(FEATURE_NAMES)))
    return pd.DataFrame(
        values, index=pd.date_range("2020-01-01", periods=1000), columns=list(FEATURE_NAMES)
    )


@pytest.fixture(scope="module")
def labels(features: pd.DataFrame) -> pd.Series:
    return pd.Series(
        np.random.default_rng(1).integers(0, 2, 1000).astype(float), index=features.index
    )


def test_a_thousand_labelled_rows_make_950_windows(
    features: pd.DataFrame, labels: pd.Series
) -> None:
    windows, outcomes = DataPreprocessor().create_sequences(features, labels)
    assert windows.shape == (950, 50, 86)
    assert outcomes.shape == (950,)


@pytest.mark.parametrize("window", [0, 1, 500, 949])
def test_the_rows_of_a_window_belong_to_the_label_of_the_row_after_it(
    features: pd.DataFrame, window: int
) -> None:
    numbers = pd.Series(np.arange(1000.0), index=features.index)
    windows, outcomes = DataPreprocessor().create_sequences(features, numbers)
    np.testing.assert_array_equal(windows[window], features.to_numpy()[window : window + 50])
    assert outcomes[window] == window + 50


def test_windows_are_views_that_cannot_be_written_to(
    features: pd.DataFrame, labels: pd.Series
) -> None:
    values = features.to_numpy()
    windows, _ = DataPreprocessor().create_sequences(values, labels.to_numpy())
    assert np.shares_memory(windows, values)
    assert not windows.flags.writeable


def test_arrays_are_paired_by_position(features: pd.DataFrame, labels: pd.Series) -> None:
    by_index = DataPreprocessor().create_sequences(features, labels)
    by_position = DataPreprocessor().create_sequences(features.to_numpy(), labels.to_numpy())
    for left, right in zip(by_index, by_position):
        np.testing.assert_array_equal(left, right)


def test_pandas_objects_of_unequal_index_are_refused(
    features: pd.DataFrame, labels: pd.Series
) -> None:
    with pytest.raises(
        ValueError, match=r"must have the same index\. Use labels\.reindex\(features\.index\)\."
    ):
        DataPreprocessor().create_sequences(features, labels.shift(freq="D"))


def test_unequal_lengths_are_refused(features: pd.DataFrame, labels: pd.Series) -> None:
    with pytest.raises(ValueError, match="must have equally many rows, got 1000 and 999"):
        DataPreprocessor().create_sequences(features.to_numpy(), labels.to_numpy()[1:])


def test_too_few_rows_for_a_window_are_refused(features: pd.DataFrame, labels: pd.Series) -> None:
    with pytest.raises(
        ValueError, match=r"50 \+ 1 rows make the first labelled window, got 50\. Give more bars\."
    ):
        DataPreprocessor().create_sequences(features[:50], labels[:50])
    assert len(DataPreprocessor().create_sequences(features[:51], labels[:51])[1]) == 1


@pytest.mark.parametrize("unknown", [1, 3, 900])
def test_trailing_windows_without_a_label_are_left_out(
    features: pd.DataFrame, labels: pd.Series, unknown: int
) -> None:
    known = labels.where(np.arange(1000) < 1000 - unknown)
    windows, outcomes = DataPreprocessor().create_sequences(features, known)
    assert len(windows) == len(outcomes) == 950 - unknown
    np.testing.assert_array_equal(outcomes, labels[50 : 1000 - unknown])


def test_labels_that_no_window_is_paired_with_may_be_unknown(
    features: pd.DataFrame, labels: pd.Series
) -> None:
    assert (
        len(DataPreprocessor().create_sequences(features, labels.where(np.arange(1000) >= 50))[1])
        == 950
    )


def test_rows_that_only_unlabelled_windows_reach_may_be_unknown(
    features: pd.DataFrame, labels: pd.Series
) -> None:
    known = labels.where(np.arange(1000) < 990)
    holed = features.where(np.tile(np.arange(1000) < 990, (86, 1)).T)
    assert len(DataPreprocessor().create_sequences(holed, known)[1]) == 940


@pytest.mark.parametrize("value", [NAN, np.inf])
@pytest.mark.parametrize("row", [50, 700, 998])
def test_a_hole_in_the_labels_is_refused(
    features: pd.DataFrame, labels: pd.Series, row: int, value: float
) -> None:
    holed = labels.where(np.arange(1000) != row, value)
    with pytest.raises(ValueError, match=f"got 1 that are not, the first at window {row - 50}"):
        DataPreprocessor().create_sequences(features, holed)


@pytest.mark.parametrize("value", [NAN, -np.inf])
@pytest.mark.parametrize("row", [0, 700, 998])
def test_a_hole_in_the_features_is_refused(
    features: pd.DataFrame, labels: pd.Series, row: int, value: float
) -> None:
    holed = features.copy()
    holed.iloc[row, 7] = value
    with pytest.raises(
        ValueError,
        match=f"features must be finite, got 1 rows that are not, the first is row {row}",
    ):
        DataPreprocessor().create_sequences(holed, labels)


def test_labels_all_unknown_are_refused(features: pd.DataFrame, labels: pd.Series) -> None:
    with pytest.raises(ValueError, match="no window has a label"):
        DataPreprocessor().create_sequences(features, labels * NAN)


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
def test_a_batch_in_any_order_holds_the_windows_asked_for(
    dataset: TimeSeriesDataset, positions: list[int]
) -> None:
    for position, (window, label) in zip(positions, dataset.__getitems__(positions), strict=True):
        assert torch.equal(window, dataset.windows[position])
        assert label == position


def test_a_batch_in_time_order_is_fetched_as_views(dataset: TimeSeriesDataset) -> None:
    storage = dataset.windows.untyped_storage().data_ptr()
    assert {
        window.untyped_storage().data_ptr() for window, _ in dataset.__getitems__(range(10, 74))
    } == {storage}


def test_windows_in_an_order_of_their_own_are_delivered_in_it(dataset: TimeSeriesDataset) -> None:
    rows, starts = np.arange(600, dtype=np.float32).reshape(200, 3), np.array([7, 120, 8, 0, 150])
    ordered = TimeSeriesDataset(rows, np.arange(5.0), starts=starts)
    assert len(ordered) == 5 and torch.equal(ordered.windows, dataset.windows)
    for place, start in enumerate(starts):
        assert torch.equal(ordered[place][0], dataset.windows[start]) and ordered[place][1] == place
    [(windows, labels)] = DataLoader(ordered, batch_size=5)
    assert torch.equal(windows, dataset.windows[starts]) and labels.tolist() == [0, 1, 2, 3, 4]


def test_windows_that_follow_each_other_are_views_and_others_copies() -> None:
    rows = np.arange(600, dtype=np.float32).reshape(200, 3)
    windows = Windows(rows, 50, np.array([3, 4, 5, 100, 9]))
    storage = windows.every.untyped_storage().data_ptr()
    assert windows[:3].untyped_storage().data_ptr() == storage
    assert windows[2:].untyped_storage().data_ptr() != storage
    assert torch.equal(windows[2:], windows.every[[5, 100, 9]])
    np.testing.assert_array_equal(windows.last_rows, rows[[52, 53, 54, 149, 58]])
    assert len(windows) == 5 and len(windows[5:]) == 0


@pytest.mark.parametrize(
    ("sizes", "batch_size", "expected"),
    [
        ([1] * 7, 3, [3, 3, 1]),
        ([2, 2, 2], 3, [4, 2]),
        ([5, 1, 1, 1], 3, [5, 3]),
        ([1, 1, 9, 1], 3, [11, 1]),
        ([4], 1, [4]),
    ],
)
def test_batches_are_of_whole_dates(sizes: list[int], batch_size: int, expected: list[int]) -> None:
    dates = pd.date_range("2020-01-01", periods=len(sizes)).repeat(sizes)
    batches = list(DateBatches(dates, batch_size))
    assert [len(batch) for batch in batches] == expected
    assert len(DateBatches(dates, batch_size)) == len(expected)
    assert [place for batch in batches for place in batch] == list(range(sum(sizes)))


def test_a_dataset_refuses_labels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="200 rows hold 151 windows of 50, got 150 labels"):
        TimeSeriesDataset(np.zeros((200, 3), dtype=np.float32), np.zeros(150))
