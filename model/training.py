"""Training: fit(bars, config) -> Checkpoint."""
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from model.bars import COLUMNS, BarsError, bar_interval, check_bars, require_bars
from model.baseline import logistic_probabilities
from model.calibration import fit_temperature
from model.checkpoint import Checkpoint, Golden, library_versions
from model.features import FEATURE_NAMES, LOOKBACK, FeatureEngineer
from model.metrics import classification_scores
from model.network import BiLSTMClassifier, NetworkConfig
from model.optimisation import Epoch, Loader, TrainingDiverged, optimise
from model.process import keep_freed_memory, torch_threads
from model.scaling import Scaler
from model.settings import TrainConfig
from model.targets import soft_targets
from model.windows import Split, TimeSeriesDataset, known_after, make_labels

__all__ = ["Epoch", "OneClassError", "TrainConfig", "TrainingDiverged", "fit"]

FEWEST_PER_CLASS = 5
PARTS = ("train", "validation", "test")
COMPARED = ("auc", "log_loss")  # with the cheap baseline's


class OneClassError(BarsError):
    """A part of the data hardly ever goes up, or hardly ever does not: nothing to learn."""


@dataclass(frozen=True)
class TrainingData:
    """Windows ready to train on: feature rows (n, 86) with their stamps, labels and targets (m,) by window, parts, scaler."""

    features: pd.DataFrame
    labels: NDArray[np.float64]
    targets: NDArray[np.float64]
    parts: Split
    scaler: Scaler
    config: TrainConfig

    def rows(self, part: slice) -> NDArray[np.float64]:
        """Return the raw feature rows that the windows of a part reach."""
        values: NDArray[np.float64] = self.features.to_numpy()[part.start:part.stop + self.config.sequence_length - 1]
        return values

    def last_rows(self, part: slice) -> NDArray[np.float32]:
        """Return the scaled newest row of each window of a part."""
        return self.scaler.transform(self.rows(part)[self.config.sequence_length - 1:])

    def loader(self, part: slice, outcomes: NDArray[np.float64]) -> Loader:
        """Return the part's windows with their outcomes, of all (m,) windows, in batches in time order."""
        rows = self.scaler.transform(self.rows(part))
        dataset = TimeSeriesDataset(rows, outcomes[part], self.config.sequence_length)
        return DataLoader(dataset, batch_size=self.config.batch_size, shuffle=False)

    def decided_at(self, window: int) -> pd.Timestamp:
        """Return the stamp of the bar at whose close the window is complete."""
        return pd.Timestamp(self.features.index[window + self.config.sequence_length - 1])


def fit(bars: pd.DataFrame, config: TrainConfig = TrainConfig(), on_epoch: Callable[[Epoch], None] | None = None) -> Checkpoint:
    """Train on bars and return the checkpoint of the epoch with the best validation loss.

    bars: as `read_bars` gives them. on_epoch is called after each epoch. If train and validation sum to 1 there is no
    test part and the model has seen all bars. Same bars, settings and library versions: the same bits.
    Raises BarsError for too few bars, OneClassError where a part lacks a class, TrainingDiverged.
    """
    keep_freed_memory()
    with torch_threads(config.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        data = prepare(bars, config)
        network = BiLSTMClassifier(NetworkConfig())
        network.start(FEATURE_NAMES)
        network.to(config.device)
        training, validation = data.loader(data.parts[0], data.targets), data.loader(data.parts[1], data.labels)
        history = optimise(network, training, validation, config, on_epoch)
    return _evaluated(_uncalibrated(network, history, data, bars), data, bars)


def require_enough_bars(bars: pd.DataFrame, config: TrainConfig) -> None:
    """Raise BarsError, with the number needed, unless the bars make at least one batch to train on and a validation part."""
    needed = config.preprocessor.bars_needed(config.batch_size)
    least = {"batch_size": config.preprocessor.bars_needed(1),
             "sequence_length": replace(config, sequence_length=1).preprocessor.bars_needed(config.batch_size)}
    helping = [name for name, fewest in least.items() if fewest <= len(bars)]
    require_bars(bars, needed, f"for a training part of one batch of {config.batch_size} windows", helping)


def prepare(bars: pd.DataFrame, config: TrainConfig) -> TrainingData:
    """Return features, labels, the purged split and the scaler fitted on the training part."""
    bars = check_bars(bars)
    require_enough_bars(bars, config)
    preprocessor = config.preprocessor
    features = FeatureEngineer().transform(bars)
    labels = make_labels(bars, config.label, config.horizon).loc[features.index]
    _, outcomes = preprocessor.create_sequences(features, labels)
    parts = preprocessor.split(len(outcomes))
    _require_both_classes(outcomes, parts)
    soft = soft_targets(bars, config.label, config.horizon, config.label_softness).loc[features.index]
    targets = soft.to_numpy()[config.sequence_length:][:len(outcomes)]
    return TrainingData(features, outcomes, targets, parts, preprocessor.fit_scaler(features, parts[0]), config)


def _require_both_classes(labels: NDArray[np.float64], parts: Split) -> None:
    for name, part in zip(PARTS[:2], parts):
        ups = int(labels[part].sum())
        downs = len(labels[part]) - ups
        if min(ups, downs) < FEWEST_PER_CLASS:
            raise OneClassError(f"the {name} part must hold at least {FEWEST_PER_CLASS} windows of each class, "
                                f"got {ups} up and {downs} not up. Give more bars, or bars that move.")


def _uncalibrated(network: BiLSTMClassifier, history: list[Epoch], data: TrainingData, bars: pd.DataFrame) -> Checkpoint:
    config = data.config
    attributes: dict[Any, Any] = {"instrument": None, "timezone": None, "stamp": "open"} | bars.attrs
    return Checkpoint(
        network=network.config, weights={name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        scaler=data.scaler, label=config.label, horizon=config.horizon, sequence_length=config.sequence_length,
        temperature=1.0, enter=None, exit=None, trained_until=_trained_until(data, bars),
        bar_interval=bar_interval(pd.DatetimeIndex(bars.index)), instrument=attributes["instrument"],
        timezone=attributes["timezone"], stamp=attributes["stamp"],
        parts={name: _describe(data, part) for name, part in zip(PARTS, data.parts)}, metrics={},
        history=[asdict(epoch) for epoch in history], config=asdict(config), versions=library_versions())


def _trained_until(data: TrainingData, bars: pd.DataFrame) -> pd.Timestamp:
    """Return the stamp of the bar that the last validation label waits for."""
    decision = LOOKBACK - 1 + data.parts[1].stop - 1 + data.config.sequence_length - 1
    return pd.Timestamp(bars.index[decision + known_after(data.config.label, data.config.horizon)])


def _describe(data: TrainingData, part: slice) -> dict[str, str | float | int | None]:
    labels = data.labels[part]
    if not len(labels):
        return {"windows": 0, "first": None, "last": None, "up_share": None}
    return {"windows": len(labels), "first": str(data.decided_at(part.start)), "last": str(data.decided_at(part.stop - 1)),
            "up_share": float(labels.mean())}


def _evaluated(checkpoint: Checkpoint, data: TrainingData, bars: pd.DataFrame) -> Checkpoint:
    """Return the checkpoint with its temperature, the scores of each part after the first, and a golden window."""
    validation = data.parts[1]
    temperature = fit_temperature(checkpoint.logits(data.rows(validation)), data.labels[validation])
    calibrated = replace(checkpoint, temperature=temperature)
    scores = {f"{name}_{score}": value for name, part in zip(PARTS[1:], data.parts[1:]) if part.stop > part.start
              for score, value in _scores(calibrated, data, part).items()}
    return replace(calibrated, metrics=scores, golden=golden_window(calibrated, bars.loc[:checkpoint.trained_until]))


def _scores(checkpoint: Checkpoint, data: TrainingData, part: slice) -> dict[str, float | None]:
    """Return a part's scores of the network and, beside them, those of logistic regression on each window's last row."""
    labels, train = data.labels[part], data.parts[0]
    logistic = logistic_probabilities(data.last_rows(train), data.labels[train], data.last_rows(part))
    cheap = classification_scores(labels, logistic)
    scores = classification_scores(labels, checkpoint.predict(data.rows(part)))
    return scores | {f"logistic_{name}": cheap[name] for name in COMPARED}


def golden_window(checkpoint: Checkpoint, bars: pd.DataFrame) -> Golden:
    """Return the whole way of the window that ends at the last of `bars`."""
    last = bars.iloc[-checkpoint.bars_needed:][list(COLUMNS)]
    features = FeatureEngineer().transform(last).to_numpy()
    scores = checkpoint.scaler.transform(features[-1:])[0]
    stamps = last.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return Golden(tuple(stamps.tolist()), tuple(map(tuple, last.to_numpy().tolist())), tuple(features[-1].tolist()),
                  tuple(scores.tolist()), float(checkpoint.predict(features)[0]))
