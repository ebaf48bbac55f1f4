"""Training data: bars cut into windows, split by time into three parts, and scaled, each once."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from model.bars.faults import count
from model.bars.read import check_bars, require_bars, require_usual_spacing
from model.checkpoint.member import cut_windows
from model.checkpoint.scaler import Scaler
from model.errors import OneClassError
from model.features.table import LOOKBACK, FeatureEngineer
from model.labels import known_after, make_labels, soft_targets
from model.training.config import TrainConfig
from model.training.windows import Split, TimeSeriesDataset

FEWEST_PER_CLASS = 5  # windows of a part: with fewer a temperature or an AUC is a lottery

Loader = DataLoader[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Part:
    """The windows of one part in time order, with the outcome of each and the time of its decision.

    Parameters
    ----------
    rows
        The scaled feature rows that the windows reach: (m + sequence_length - 1, 86) float32.
    labels
        1.0 for up and 0.0 for not up: (m,).
    targets
        What training aims at, from 0 to 1 and on the label's side of one half: (m,).
    timestamps
        The bars at whose close the windows are complete: (m,).
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.float64]
    targets: NDArray[np.float64]
    timestamps: pd.DatetimeIndex

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sequence_length(self) -> int:
        return len(self.rows) - len(self.labels) + 1

    @property
    def windows(self) -> Tensor:
        """The windows: (m, sequence_length, 86), a view of the rows."""
        return torch.from_numpy(cut_windows(self.rows, self.sequence_length))

    @property
    def last_rows(self) -> NDArray[np.float32]:
        """The newest row of each window: (m, 86)."""
        return self.rows[self.sequence_length - 1 :]

    def loader(self, outcomes: NDArray[np.float64], batch_size: int) -> Loader:
        """Deliver the windows in batches in time order, each with its outcome.

        outcomes: the labels or the targets of this part.
        """
        dataset = TimeSeriesDataset(self.rows, outcomes, self.sequence_length)
        return DataLoader(dataset, batch_size=batch_size, shuffle=False)


@dataclass(frozen=True)
class TrainingData:
    """Bars ready to train on. Windows are scaled and cut once, and every part is a view of them.

    Parameters
    ----------
    features
        The raw feature rows: (n, 86), on their bars' timestamps.
    labels, targets
        The outcomes of all windows in time order, the purged ones included: (m,).
    split
        Which of the windows belong to training, validation and test.
    scaler
        Fitted on the rows that the training windows reach.
    trained_until
        The bar that the last validation label waits for.
    config
        The settings that the bars were prepared with.
    """

    features: pd.DataFrame
    labels: NDArray[np.float64]
    targets: NDArray[np.float64]
    split: Split
    scaler: Scaler
    trained_until: pd.Timestamp
    config: TrainConfig

    @cached_property
    def train(self) -> Part:
        return self._part(self.split[0])

    @cached_property
    def validation(self) -> Part:
        return self._part(self.split[1])

    @cached_property
    def test(self) -> Part:
        """The windows that nothing is fitted on; none where the shares of the others sum to 1."""
        return self._part(self.split[2])

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by name, in time order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def judged(self) -> dict[str, Part]:
        """The parts that a trained network is scored on: those after training that have windows."""
        return {name: part for name, part in self.parts.items() if name != "train" and len(part)}

    @property
    def training_features(self) -> NDArray[np.float64]:
        """The raw feature rows that the training windows reach; scaled ones would be clipped."""
        return self.features.to_numpy()[: len(self.train.rows)]

    # Of a million bars they take 350 MB: made when the first window is asked for, and never again.
    @cached_property
    def _rows(self) -> NDArray[np.float32]:
        return self.scaler.transform(self.features.to_numpy())

    def _part(self, windows: slice) -> Part:
        span = self.config.sequence_length - 1  # rows that a window reaches beside its newest
        return Part(
            self._rows[windows.start : windows.stop + span],
            self.labels[windows],
            self.targets[windows],
            pd.DatetimeIndex(self.features.index[windows.start + span : windows.stop + span]),
        )


def prepare(bars: pd.DataFrame, config: TrainConfig) -> TrainingData:
    """Make bars ready to train on: features, labels, soft targets, the purged split and the scaler.

    Raises BarsError for unsound or too few bars, OneClassError where a part lacks a class.
    """
    bars = check_bars(bars)  # a caller of Python may not have read them by `read_bars`
    require_enough_bars(bars, config)
    require_usual_spacing(bars)
    preprocessor = config.preprocessor
    features = FeatureEngineer().transform(bars)
    labels = make_labels(bars, config.label, config.horizon).loc[features.index]
    _, outcomes = preprocessor.create_sequences(features, labels)
    split = preprocessor.split(len(outcomes))
    for name, part in zip(("train", "validation"), split[:2], strict=True):
        _require_both_classes(name, outcomes[part])
    targets = soft_targets(bars, config.label, config.horizon, config.label_softness)
    # A window is judged by the position that opens with the bar after it. Bar `first` is the one
    # after the first window.
    first = LOOKBACK - 1 + config.sequence_length
    last_decision = first - 1 + split[1].stop - 1
    return TrainingData(
        features,
        outcomes,
        targets.to_numpy()[first : first + len(outcomes)],
        split,
        preprocessor.fit_scaler(features, split[0]),
        pd.Timestamp(bars.index[last_decision + known_after(config.label, config.horizon)]),
        config,
    )


def describe_purge(config: TrainConfig) -> str:
    """Return how many windows are left out between two parts, in words, and why."""
    purged = count(known_after(config.label, config.horizon) - 1, "window")
    return f"{purged} before each later part, whose outcome is not known when that part begins"


def _require_both_classes(part: str, labels: NDArray[np.float64]) -> None:
    ups = int(labels.sum())
    downs = len(labels) - ups
    if min(ups, downs) < FEWEST_PER_CLASS:
        raise OneClassError(
            f"the {part} part must hold at least {FEWEST_PER_CLASS} windows of each class, "
            f"got {ups} up and {downs} not up. Give more bars, or bars that move."
        )


def require_enough_bars(bars: pd.DataFrame, config: TrainConfig) -> None:
    """Require bars for one batch to train on and for a validation part.

    Raises BarsError with the number needed and the settings of which a lower one would do.
    """
    preprocessor, batch_size = config.preprocessor, config.batch_size
    fewest = {
        "batch_size": preprocessor.bars_needed(1),
        "sequence_length": replace(preprocessor, sequence_length=1).bars_needed(batch_size),
    }
    # Only settings that would help alone are named.
    helping = [name for name, bars_needed in fewest.items() if bars_needed <= len(bars)]
    purpose = f"for a training part of one batch of {batch_size} windows"
    require_bars(bars, preprocessor.bars_needed(batch_size), purpose, helping)
