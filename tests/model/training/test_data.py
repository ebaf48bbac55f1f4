"""Training data: bars cut into windows, split and scaled once."""

import numpy as np
import pandas as pd
import pytest

from model.features.table import LOOKBACK
from model.labels.moves import known_after, soft_targets
from model.training.config import TrainConfig
from model.training.data import Part, TrainingData, prepare

CONFIG = TrainConfig(batch_size=32)
PARTS = pytest.mark.parametrize("name", ["train", "validation", "test"])


@pytest.fixture(scope="module")
def data(bars: pd.DataFrame) -> TrainingData:
    return prepare(bars, CONFIG)


@PARTS
def test_the_windows_of_a_part_are_the_scaled_rows_up_to_each_decision(
    data: TrainingData, name: str
) -> None:
    part, rows = data.parts[name], data.scaler.transform(data.features.to_numpy())
    windows = part.windows[:]
    assert windows.shape == (len(part), 50, 86)
    decided = data.features.index.get_indexer(part.timestamps)
    for place in (0, len(part) // 2, len(part) - 1):
        reached = slice(decided[place] - 49, decided[place] + 1)
        np.testing.assert_array_equal(windows[place], rows[reached])
    np.testing.assert_array_equal(part.last_rows, rows[decided])


def test_all_parts_are_views_of_rows_that_were_scaled_once(data: TrainingData) -> None:
    for part in data.parts.values():
        assert np.shares_memory(part.windows[:].numpy(), data._rows)
        assert np.shares_memory(part.last_rows, data._rows)


@PARTS
def test_a_part_has_the_outcomes_of_its_own_windows(data: TrainingData, name: str) -> None:
    part, windows = data.parts[name], data.split[list(data.parts).index(name)]
    np.testing.assert_array_equal(part.labels, data.labels[windows])
    np.testing.assert_array_equal(part.targets, data.targets[windows])
    assert len(part) == windows.stop - windows.start == len(part.timestamps)


def test_each_window_has_the_target_of_the_move_after_its_last_row(
    bars: pd.DataFrame, data: TrainingData
) -> None:
    after = soft_targets(bars).shift(-1).loc[data.features.index].to_numpy()
    np.testing.assert_array_equal(data.targets, after[49:][: len(data.labels)])
    np.testing.assert_array_equal(data.targets > 0.5, data.labels == 1)


def test_a_loader_delivers_the_windows_with_the_outcomes_given(data: TrainingData) -> None:
    part: Part = data.validation
    for outcomes in (part.labels, part.targets):
        windows, delivered = zip(*part.loader(outcomes, batch_size=10), strict=True)
        assert [len(batch) for batch in windows] == [10, 10, 10, 6]
        np.testing.assert_array_equal(np.concatenate(windows), part.windows[:])
        np.testing.assert_array_equal(np.concatenate(delivered), outcomes.astype(np.float32))


@pytest.mark.parametrize(("label", "horizon"), [("open", 1), ("open", 4), ("close", 1)])
def test_training_has_seen_the_bar_that_the_last_validation_label_waits_for(
    bars: pd.DataFrame, label: str, horizon: int
) -> None:
    data = prepare(bars, TrainConfig(batch_size=32, label=label, horizon=horizon))  # type: ignore[arg-type]
    last = bars.index.get_loc(data.validation.timestamps[-1])
    assert data.trained_until == bars.index[last + known_after(label, horizon)]
    assert data.trained_until <= data.test.timestamps[0]


def test_the_raw_rows_of_training_end_with_its_last_decision(data: TrainingData) -> None:
    rows = data.training_features
    last = data.features.index.get_loc(data.train.timestamps[-1])
    np.testing.assert_array_equal(rows, data.features.to_numpy()[: last + 1])


def test_without_a_test_part_only_validation_is_judged(
    bars: pd.DataFrame, data: TrainingData
) -> None:
    assert list(data.judged) == ["validation", "test"]
    deployed = prepare(bars, CONFIG.without_test())
    assert list(deployed.judged) == ["validation"] and len(deployed.test) == 0
    assert deployed.trained_until == bars.index[-1]
    assert len(bars) == len(deployed.features) + LOOKBACK - 1
