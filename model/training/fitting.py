"""Training: fit(bars, config) -> Checkpoint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from model.bars.read import COLUMNS, bar_interval, check_bars, require_bars
from model.checkpoint.checkpoint import Checkpoint, Golden
from model.checkpoint.member import Member, cut_windows, probability_of
from model.checkpoint.scaler import Scaler, usual_ranges
from model.errors import CheckpointError, OneClassError, TrainingDiverged
from model.features.table import FEATURE_NAMES, LOOKBACK, FeatureEngineer
from model.labels import known_after, make_labels, soft_targets
from model.metrics import classification_scores
from model.networks.bilstm import DirectionNetwork
from model.networks.registry import architecture, configured, made_network, require_kept
from model.provenance import library_versions
from model.runtime import keep_freed_memory, torch_threads
from model.training.calibration import fit_temperature, logistic_probabilities
from model.training.config import TrainConfig, member_configs
from model.training.loop import Epoch, Forgetful, Keeper, Loader, optimise
from model.training.resume import Resumption
from model.training.windows import Split, TimeSeriesDataset

__all__ = [
    "Epoch",
    "OneClassError",
    "TrainConfig",
    "TrainingDiverged",
    "combine",
    "fit",
    "member_configs",
]

FEWEST_PER_CLASS = 5
PARTS = ("train", "validation", "test")
COMPARED = ("auc", "log_loss")  # with the cheap baseline's
ALONE = 1e-3  # relative: sums of another order differ by less
MEMBERS_OWN = {"architecture", "seed", "seeds"}  # the settings in which members may differ
# What the members of one checkpoint have in common.
COMMON = (
    "label",
    "horizon",
    "sequence_length",
    "bar_interval",
    "timezone",
    "stamp",
    "instrument",
    "trained_until",
    "parts",
    "scaler",
)

Scores = dict[str, float | None]
Logits = dict[str, NDArray[np.float64]]  # by the name of a part, of its windows


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
        values: NDArray[np.float64] = self.features.to_numpy()[
            part.start : part.stop + self.config.sequence_length - 1
        ]
        return values

    def windows(self, part: slice) -> torch.Tensor:
        """Return the scaled windows of a part."""
        return cut_windows(self.scaler.transform(self.rows(part)), self.config.sequence_length)

    def last_rows(self, part: slice) -> NDArray[np.float32]:
        """Return the scaled newest row of each window of a part."""
        return self.scaler.transform(self.rows(part)[self.config.sequence_length - 1 :])

    def loader(self, part: slice, outcomes: NDArray[np.float64]) -> Loader:
        """Return the part's windows with their outcomes, of all (m,) windows, in batches in time order."""
        rows = self.scaler.transform(self.rows(part))
        dataset = TimeSeriesDataset(rows, outcomes[part], self.config.sequence_length)
        return DataLoader(dataset, batch_size=self.config.batch_size, shuffle=False)

    def decided_at(self, window: int) -> pd.Timestamp:
        """Return the stamp of the bar at whose close the window is complete."""
        return pd.Timestamp(self.features.index[window + self.config.sequence_length - 1])


def fit(
    bars: pd.DataFrame,
    config: TrainConfig = TrainConfig(),
    on_epoch: Callable[[Epoch], None] | None = None,
    resumption: Resumption | None = None,
) -> Checkpoint:
    """Train on bars and return the checkpoint, each member as it was in the epoch with its best validation loss.

    bars: as `read_bars` gives them. on_epoch is called with an `Epoch` after each of them. If train
    and validation sum to 1 there is no test part and the model has seen all bars. Same bars,
    settings and library versions: the same bits. With the `Resumption` that `resumption` yields an
    interrupted training goes on, to the same bits again.

    Raises BarsError for too few bars, OneClassError where a part lacks a class, TrainingDiverged
    with the checkpoint of the epochs before, ValueError for a network of one's own whose config a
    file cannot hold; with a `Resumption`, Interrupted where a signal stopped it and its state is
    kept.
    """
    data = prepare(bars, config)
    learned: list[Learned] = []
    try:
        for single in member_configs(config):
            keeper = resumption.keeper(single) if resumption else Forgetful()
            learned.append(_learned(replace(data, config=single), on_epoch, keeper))
    except TrainingDiverged as error:
        learned += [_learned_by(error.member, data)] if error.member else []
        error.checkpoint = _checkpoint(learned, data, bars) if learned else None
        raise
    return _checkpoint(learned, data, bars)


def combine(
    checkpoints: Sequence[Checkpoint], bars: pd.DataFrame, config: TrainConfig
) -> Checkpoint:
    """Return one checkpoint with all the members of several: of those that `fit` makes of each of `member_configs(config)`
    what `fit` makes of `config`, to the last bit.

    Raises CheckpointError where one was not trained on these bars with these settings.
    """
    wanted = [single.member for single in member_configs(config)]
    if (
        found := [member.name for checkpoint in checkpoints for member in checkpoint.members]
    ) != wanted:
        raise CheckpointError(
            f"the members must be {', '.join(wanted)}, in that order, got {', '.join(found) or 'none'}. "
            "Train one for each of member_configs(config)."
        )
    data = prepare(bars, config)
    whole = _checkpoint(
        [_learned_by(member, data) for checkpoint in checkpoints for member in checkpoint.members],
        data,
        bars,
    )
    for number, checkpoint in enumerate(checkpoints, 1):
        _require_companion(checkpoint, whole, f"checkpoint {number} of {len(checkpoints)}")
    return whole


def _require_companion(checkpoint: Checkpoint, whole: Checkpoint, name: str) -> None:
    """Refuse a checkpoint that answers another question than the whole, or was trained on something else."""
    for field in COMMON:
        theirs, ours = getattr(checkpoint, field), getattr(whole, field)
        if theirs != ours:
            values = f": {theirs} instead of {ours}" if len(str(ours)) < 40 else ""
            raise CheckpointError(
                f"{name} must have the {field} of these bars and settings, it has another{values}. "
                "Train all members on the same bars with the same settings."
            )
    theirs, ours = (_shared(found.config) for found in (checkpoint, whole))
    if theirs != ours:
        differing = sorted(setting for setting in ours if theirs.get(setting) != ours[setting])
        raise CheckpointError(
            f"{name} must have these settings, its own are others: {', '.join(differing)}. "
            "Train all members on the same bars with the same settings."
        )


def _shared(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in MEMBERS_OWN}


def require_enough_bars(bars: pd.DataFrame, config: TrainConfig) -> None:
    """Raise BarsError, with the number needed, unless the bars make at least one batch to train on and a validation part."""
    needed = config.preprocessor.bars_needed(config.batch_size)
    least = {
        "batch_size": config.preprocessor.bars_needed(1),
        "sequence_length": replace(config, sequence_length=1).preprocessor.bars_needed(
            config.batch_size
        ),
    }
    helping = [name for name, fewest in least.items() if fewest <= len(bars)]
    require_bars(
        bars, needed, f"for a training part of one batch of {config.batch_size} windows", helping
    )


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
    soft = soft_targets(bars, config.label, config.horizon, config.label_softness).loc[
        features.index
    ]
    targets = soft.to_numpy()[config.sequence_length :][
        : len(outcomes)
    ]  # a window is judged by the bar that opens after it
    return TrainingData(
        features, outcomes, targets, parts, preprocessor.fit_scaler(features, parts[0]), config
    )


def _require_both_classes(labels: NDArray[np.float64], parts: Split) -> None:
    for name, part in zip(PARTS[:2], parts):
        ups = int(labels[part].sum())
        downs = len(labels[part]) - ups
        if min(ups, downs) < FEWEST_PER_CLASS:
            raise OneClassError(
                f"the {name} part must hold at least {FEWEST_PER_CLASS} windows of each class, "
                f"got {ups} up and {downs} not up. Give more bars, or bars that move."
            )


class Learned(NamedTuple):
    """A member, and its calibrated logits of the parts after the first."""

    member: Member
    logits: Logits


def _learned_by(member: Member, data: TrainingData) -> Learned:
    logits = {name: member.logits(data.windows(part)) for name, part in _judged(data)}
    _require_alone(member, data.windows(data.parts[1]), logits["validation"])
    return Learned(member, logits)


def _require_alone(member: Member, windows: torch.Tensor, logits: NDArray[np.float64]) -> None:
    """Refuse a network that reads other windows of a batch beside its own: those that come later are the future."""
    for place in (0, len(windows) // 2, len(windows) - 1):
        alone, among = float(member.logits(windows[place : place + 1])[0]), float(logits[place])
        if not abs(alone - among) <= ALONE * (1 + abs(among)):
            raise ValueError(
                f"the network of {member.name} must judge each window by itself, but says {among:.4f} of one among "
                f"others and {alone:.4f} of the same alone: it sees other windows of its batch, later ones too. "
                "Mend its forward (batch_first=True, no statistics over the batch)."
            )


def _learned(
    data: TrainingData, on_epoch: Callable[[Epoch], None] | None, keeper: Keeper
) -> Learned:
    """Train one network, from its own seed and leaving the caller's randomness alone."""
    config = data.config
    keep_freed_memory()
    with torch_threads(config.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        shape = configured(
            config.architecture, features=len(FEATURE_NAMES), sequence_length=config.sequence_length
        )
        network = made_network(config.architecture, shape)
        kind = architecture(config.architecture).config
        require_kept(config.architecture, network.config, kind)  # hours of work do not end in it
        network.start(FEATURE_NAMES)
        network.to(config.device)
        training, validation = (
            data.loader(data.parts[0], data.targets),
            data.loader(data.parts[1], data.labels),
        )
        try:
            history = optimise(network, training, validation, config, on_epoch, keeper)
        except TrainingDiverged as error:
            error.member = (
                _calibrated(_member(network, error.history, config), data).member
                if error.history
                else None
            )
            raise
    return _calibrated(_member(network, history, config), data)


def _member(network: DirectionNetwork, history: Sequence[Epoch], config: TrainConfig) -> Member:
    kept = [
        {name: value for name, value in asdict(epoch).items() if name != "member"}
        for epoch in history
    ]
    return Member(
        architecture=config.architecture,
        network=network.config,
        seed=config.seed,
        temperature=1.0,
        metrics={},
        weights={name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        history=kept,
    )


def _calibrated(member: Member, data: TrainingData) -> Learned:
    """Give a member with a temperature of 1 its own, and its own scores."""
    raw = _learned_by(member, data).logits
    temperature = fit_temperature(raw["validation"], data.labels[data.parts[1]])
    logits = {name: values / temperature for name, values in raw.items()}
    own = {
        name: classification_scores(data.labels[part], probability_of(logits[name]))
        for name, part in _judged(data)
    }
    return Learned(replace(member, temperature=temperature, metrics=_flat(own)), logits)


def _judged(data: TrainingData) -> Iterator[tuple[str, slice]]:
    """Yield the parts after the first that hold windows."""
    for name, part in zip(PARTS[1:], data.parts[1:]):
        if part.stop > part.start:
            yield name, part


def _flat(scores: Mapping[str, Scores]) -> Scores:
    return {f"{part}_{name}": value for part, own in scores.items() for name, value in own.items()}


def _checkpoint(learned: Sequence[Learned], data: TrainingData, bars: pd.DataFrame) -> Checkpoint:
    """Return the checkpoint of the members with the scores of each part after the first, and a golden window."""
    config = data.config
    attributes: dict[Any, Any] = {
        "instrument": None,
        "timezone": None,
        "stamp": "open",
    } | bars.attrs
    checkpoint = Checkpoint(
        members=tuple(each.member for each in learned),
        scaler=data.scaler,
        label=config.label,
        horizon=config.horizon,
        sequence_length=config.sequence_length,
        enter=None,
        exit=None,
        trained_until=_trained_until(data, bars),
        bar_interval=bar_interval(pd.DatetimeIndex(bars.index)),
        instrument=attributes["instrument"],
        timezone=attributes["timezone"],
        stamp=attributes["stamp"],
        parts={name: _describe(data, part) for name, part in zip(PARTS, data.parts)},
        metrics={},
        config=asdict(config),
        versions=library_versions(),
        usual=usual_ranges(data.rows(data.parts[0])),
    )
    scores = {
        name: _scores(np.mean([each.logits[name] for each in learned], axis=0), data, part)
        for name, part in _judged(data)
    }
    return replace(
        checkpoint,
        metrics=_flat(scores),
        golden=golden_window(checkpoint, bars.loc[: checkpoint.trained_until]),
    )


def _trained_until(data: TrainingData, bars: pd.DataFrame) -> pd.Timestamp:
    """Return the stamp of the bar that the last validation label waits for."""
    decision = LOOKBACK - 1 + data.parts[1].stop - 1 + data.config.sequence_length - 1
    return pd.Timestamp(bars.index[decision + known_after(data.config.label, data.config.horizon)])


def _describe(data: TrainingData, part: slice) -> dict[str, str | float | int | None]:
    labels = data.labels[part]
    if not len(labels):
        return {"windows": 0, "first": None, "last": None, "up_share": None}
    return {
        "windows": len(labels),
        "first": str(data.decided_at(part.start)),
        "last": str(data.decided_at(part.stop - 1)),
        "up_share": float(labels.mean()),
    }


def _scores(logits: NDArray[np.float64], data: TrainingData, part: slice) -> Scores:
    """Return the scores of a part's logits and, beside them, those of logistic regression on each window's last row."""
    labels, train = data.labels[part], data.parts[0]
    logistic = logistic_probabilities(
        data.last_rows(train), data.labels[train], data.last_rows(part)
    )
    cheap = classification_scores(labels, logistic)
    scores = classification_scores(labels, probability_of(logits))
    return scores | {f"logistic_{name}": cheap[name] for name in COMPARED}


def golden_window(checkpoint: Checkpoint, bars: pd.DataFrame) -> Golden:
    """Return the whole way of the window that ends at the last of `bars`."""
    last = bars.iloc[-checkpoint.bars_needed :][list(COLUMNS)]
    features = FeatureEngineer().transform(last).to_numpy()
    scores = checkpoint.scaler.transform(features[-1:])[0]
    stamps = last.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return Golden(
        tuple(stamps.tolist()),
        tuple(map(tuple, last.to_numpy().tolist())),
        tuple(features[-1].tolist()),
        tuple(scores.tolist()),
        float(checkpoint.predict(features)[0]),
    )
