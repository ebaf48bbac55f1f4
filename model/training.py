"""Training: TrainConfig, and fit(bars, config) -> Checkpoint."""
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from model.bars import BarsError, bar_interval, require_bars
from model.calibration import fit_temperature
from model.checkpoint import Checkpoint, Golden, library_versions
from model.features import LOOKBACK, FeatureEngineer
from model.metrics import classification_scores
from model.network import BiLSTMClassifier, NetworkConfig
from model.process import keep_freed_memory, torch_threads
from model.scaling import Scaler
from model.windows import DataPreprocessor, Split, TimeSeriesDataset, known_after, make_labels

FEWEST_PER_CLASS = 5
PARTS = ("train", "validation", "test")

Loader = DataLoader[tuple[Tensor, Tensor]]


class OneClassError(BarsError):
    """A part of the data hardly ever goes up, or hardly ever does not: nothing to learn."""


class TrainingDiverged(RuntimeError):
    """A loss or a gradient stopped being a number."""

    exit_code = 5


@dataclass(frozen=True)
class TrainConfig:
    """How to train; every field is a flag of the commands.

    Parameters
    ----------
    label
        What is predicted: "open", the move from the next open, or "close", the move from this close.
    horizon
        Bars over which the move is measured.
    sequence_length
        Feature rows per window.
    train
        Share of the windows, the earliest, to train on.
    validation
        Share of the windows after them that choose the epoch and the calibration; the rest is the test part.
    batch_size
        Windows per step, in time order.
    learning_rate
        AdamW's at the start; halved when the validation loss has not improved for 5 epochs.
    weight_decay
        AdamW's decoupled weight decay.
    max_epochs
        Passes over the training part at the most.
    patience
        Epochs without a better validation loss after which training stops.
    gradient_clip
        Largest norm of the gradient of all weights together.
    seed
        Seed of the initial weights and of dropout: same seed and threads, same bits.
    threads
        Threads of this process; more than one slows down as soon as another process uses a core.
    device
        Where torch computes; only "cpu" gives the same bits on every run.
    precision
        Arithmetic of training: "fp32", or "bf16" where the CPU has it in hardware. Trading is always fp32.
    """

    label: Literal["open", "close"] = "open"
    horizon: int = 1
    sequence_length: int = 50
    train: float = 0.70
    validation: float = 0.15
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    max_epochs: int = 100
    patience: int = 10
    gradient_clip: float = 1.0
    seed: int = 42
    threads: int = 1
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        faults = [f"`{name}` must be above 0, got {getattr(self, name)!r}." for name in _POSITIVE if not getattr(self, name) > 0]
        if self.weight_decay < 0:
            faults.append(f"`weight_decay` must not be negative, got {self.weight_decay!r}.")
        if self.precision not in ("fp32", "bf16"):
            faults.append(f"`precision` must be fp32 or bf16, got {self.precision!r}.")
        if faults:
            raise ValueError(" ".join(faults))
        self.preprocessor  # refuses wrong shares, labels and lengths

    @property
    def preprocessor(self) -> DataPreprocessor:
        """The cutting and splitting that these settings describe."""
        return DataPreprocessor(self.sequence_length, self.train, self.validation, self.label, self.horizon)

    def without_test(self) -> "TrainConfig":
        """Return the same settings with the test part given to training: for a model that is to trade the next bar."""
        return replace(self, train=round(1 - self.validation, 12))


_POSITIVE = ("batch_size", "learning_rate", "max_epochs", "patience", "gradient_clip", "threads")


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch: the entry of the history and the epoch with the best validation loss so far."""

    epoch: int
    max_epochs: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float
    best_epoch: int


@dataclass(frozen=True)
class TrainingData:
    """Windows ready to train on: feature rows (n, 86) with their stamps, labels (m,) by window, parts, scaler."""

    features: pd.DataFrame
    labels: NDArray[np.float64]
    parts: Split
    scaler: Scaler
    config: TrainConfig

    def rows(self, part: slice) -> NDArray[np.float64]:
        """Return the raw feature rows that the windows of a part reach."""
        values: NDArray[np.float64] = self.features.to_numpy()[part.start:part.stop + self.config.sequence_length - 1]
        return values

    def loader(self, part: slice) -> Loader:
        """Return the part's batches in time order."""
        dataset = TimeSeriesDataset(self.scaler.transform(self.rows(part)), self.labels[part], self.config.sequence_length)
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
        network, history = _train(data, on_epoch)
    return _evaluated(_uncalibrated(network, history, data, bars), data, bars)


def prepare(bars: pd.DataFrame, config: TrainConfig) -> TrainingData:
    """Return features, labels, the purged split and the scaler fitted on the training part."""
    preprocessor = config.preprocessor
    needed = preprocessor.bars_needed(config.batch_size)
    require_bars(bars, needed, f"for a training part of one batch of {config.batch_size} windows; lower batch_size to need fewer")
    features = FeatureEngineer().transform(bars)
    labels = make_labels(bars, config.label, config.horizon).loc[features.index]
    _, outcomes = preprocessor.create_sequences(features, labels)
    parts = preprocessor.split(len(outcomes))
    _require_both_classes(outcomes, parts)
    return TrainingData(features, outcomes, parts, preprocessor.fit_scaler(features, parts[0]), config)


def _require_both_classes(labels: NDArray[np.float64], parts: Split) -> None:
    for name, part in zip(PARTS[:2], parts):
        ups = int(labels[part].sum())
        downs = len(labels[part]) - ups
        if min(ups, downs) < FEWEST_PER_CLASS:
            raise OneClassError(f"the {name} part must hold at least {FEWEST_PER_CLASS} windows of each class, "
                                f"got {ups} up and {downs} not up. Give more bars, or bars that move.")


def _train(data: TrainingData, on_epoch: Callable[[Epoch], None] | None) -> tuple[BiLSTMClassifier, list[Epoch]]:
    """Run the epochs; return the network with the weights of the best one, and the history."""
    config = data.config
    network = BiLSTMClassifier(NetworkConfig()).to(config.device)
    optimizer = AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
    training, validation = data.loader(data.parts[0]), data.loader(data.parts[1])
    best = _Best(config.patience)
    history: list[Epoch] = []
    for number in range(1, config.max_epochs + 1):
        rate = optimizer.param_groups[0]["lr"]
        train_loss, norm = _run_epoch(network, training, optimizer, config, number)
        validation_loss = _mean_loss(network, validation, config)
        best.offer(number, validation_loss, network)
        history.append(Epoch(number, config.max_epochs, train_loss, validation_loss, rate, norm, best.epoch))
        if on_epoch:
            on_epoch(history[-1])
        if best.exhausted(number):
            break
        scheduler.step(validation_loss)
    network.load_state_dict(best.weights)
    return network, history


class _Best:
    """The weights of the epoch with the lowest validation loss so far, and when to stop looking for a better one."""

    def __init__(self, patience: int) -> None:
        self.patience, self.epoch, self.loss = patience, 0, math.inf
        self.weights: dict[str, Tensor] = {}

    def offer(self, epoch: int, loss: float, network: nn.Module) -> None:
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def exhausted(self, epoch: int) -> bool:
        return epoch - self.epoch >= self.patience


def _run_epoch(network: nn.Module, loader: Loader, optimizer: AdamW, config: TrainConfig, epoch: int) -> tuple[float, float]:
    """Train on every batch once; return the mean loss and the largest gradient norm before clipping."""
    network.train()
    total, largest = 0.0, 0.0
    for step, (windows, labels) in enumerate(loader, 1):
        loss = _loss(network, windows, labels, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip))
        # One infinite input leaves the loss finite and turns every weight into NaN in a single step: the norm tells.
        if not math.isfinite(loss.item()) or not math.isfinite(norm):
            rate = optimizer.param_groups[0]["lr"]
            raise TrainingDiverged(f"loss and gradient norm must stay finite, got {loss.item()} and {norm} in epoch {epoch}, "
                                   f"step {step}, at learning rate {rate:g}. Lower learning_rate or gradient_clip.")
        optimizer.step()
        total, largest = total + loss.item() * len(labels), max(largest, norm)
    return total / len(loader.dataset), largest  # type: ignore[arg-type]


def _mean_loss(network: nn.Module, loader: Loader, config: TrainConfig) -> float:
    network.eval()
    with torch.inference_mode():
        total = sum(_loss(network, windows, labels, config).item() * len(labels) for windows, labels in loader)
    mean: float = total / len(loader.dataset)  # type: ignore[arg-type]
    if not math.isfinite(mean):
        raise TrainingDiverged(f"the validation loss must stay finite, got {mean}. Lower learning_rate.")
    return mean


def _loss(network: nn.Module, windows: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    with torch.autocast(config.device.split(":")[0], torch.bfloat16, enabled=config.precision == "bf16"):
        logits = network(windows.to(config.device))
    return nn.functional.binary_cross_entropy_with_logits(logits.float(), labels.to(config.device))


def _uncalibrated(network: BiLSTMClassifier, history: list[Epoch], data: TrainingData, bars: pd.DataFrame) -> Checkpoint:
    config = data.config
    attributes = {"instrument": None, "timezone": None, "stamp": "open"} | bars.attrs
    return Checkpoint(
        network=network.config, weights={name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        scaler=data.scaler, label=config.label, horizon=config.horizon, sequence_length=config.sequence_length,
        temperature=1.0, enter=None, exit=None, trained_until=_trained_until(data, bars),
        instrument=attributes["instrument"], bar_interval=bar_interval(bars.index), timezone=attributes["timezone"],
        stamp=attributes["stamp"], parts={name: _describe(data, part) for name, part in zip(PARTS, data.parts)},
        metrics={}, history=[asdict(epoch) for epoch in history], config=asdict(config), versions=library_versions())


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
              for score, value in classification_scores(data.labels[part], calibrated.predict(data.rows(part))).items()}
    return replace(calibrated, metrics=scores, golden=golden_window(calibrated, bars.loc[:checkpoint.trained_until]))


def golden_window(checkpoint: Checkpoint, bars: pd.DataFrame) -> Golden:
    """Return the whole way of the window that ends at the last of `bars`."""
    last = bars.iloc[-checkpoint.bars_needed:]
    features = FeatureEngineer().transform(last).to_numpy()
    scores = checkpoint.scaler.transform(features[-1:])[0]
    stamps = last.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return Golden(tuple(stamps.tolist()), tuple(map(tuple, last.to_numpy().tolist())), tuple(features[-1].tolist()),
                  tuple(scores.tolist()), float(checkpoint.predict(features)[0]))
