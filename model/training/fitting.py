"""Training: fit(bars, config) -> Checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from model.bars.artefacts import flags_of_all
from model.bars.faults import COLUMNS
from model.bars.intervals import bar_interval, hour_shares
from model.bars.read import digest_bars
from model.bars.universe import Universe
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.member import Member, probability_of
from model.checkpoint.record import Golden
from model.checkpoint.scaler import usual_ranges
from model.errors import CheckpointError, TrainingDiverged
from model.features.joining import context_of
from model.metrics import classification_scores
from model.networks.registry import (
    architecture,
    make_config,
    make_network,
    require_storable,
)
from model.notebook import progress_bar
from model.provenance import library_versions
from model.runtime import keep_freed_memory, one_training, torch_threads, usual_torch
from model.training.calibration import fit_logistic, fit_temperature
from model.training.config import TrainConfig, member_configs
from model.training.data import Part, TrainingData, prepare
from model.training.loop import Epoch, Keeper, TrainingResult, optimise
from model.training.resume import Resumption

COMPARED = ("auc", "log_loss")  # scores that logistic regression is given, too
ALONE = 1e-3  # relative: sums of another order differ by less
MEMBERS_OWN = ("architecture", "seed", "seeds")  # the settings in which members may differ
# What the members of one checkpoint have in common.
COMMON = (
    "label",
    "horizon",
    "barrier",
    "own_label",
    "outcome",
    "features",
    "only",
    "context",
    "sequence_length",
    "bar_interval",
    "timezone",
    "stamp",
    "instrument",
    "instruments",
    "trained_until",
    "parts",
    "scaler",
    "flags",
    "hours",
)

Scores = dict[str, float | None]


class TrainedMember(NamedTuple):
    """A member with its calibrated logits of the windows of each part after training."""

    member: Member
    logits: dict[str, NDArray[np.float64]]


def fit(
    bars: pd.DataFrame | Universe,
    config: TrainConfig = TrainConfig(),
    on_epoch: Callable[[Epoch], None] | None = None,
    resumption: Resumption | None = None,
) -> Checkpoint:
    """Train on bars; each member is as it was in the epoch with its lowest validation loss.

    Same bars, settings and library versions give the same bits, whatever defaults of torch are set.
    Trainings of several threads wait for each other: torch has one source of random numbers.

    Parameters
    ----------
    bars
        As `read_bars` gives them; or those of several instruments by name, of which one network
        learns: whatever their order, the same bits. If the shares of training and validation sum
        to 1, the model has seen them all.
    config
        How to train.
    on_epoch
        Called with an `Epoch` after each of them; by default a notebook shows a bar.
    resumption
        What `resumption` yields: an interrupted training goes on, to the same bits again.

    Returns
    -------
    Checkpoint
        One member for each of `member_configs(config)`, with the scores of all together.

    Raises
    ------
    BarsError
        For unsound or too few bars.
    OneClassError
        Where a part lacks a class.
    TrainingDiverged
        With the checkpoint of the epochs before.
    TrainingDisturbed
        Where something else drew from torch's random numbers during a step.
    ValueError
        For a network of one's own that a checkpoint cannot hold, or that reads several windows at
        once.
    Interrupted
        Where a signal stopped a training with a resumption; its state is kept.

    Examples
    --------
    >>> checkpoint = fit(bars, TrainConfig(max_epochs=1))
    >>> checkpoint.save("mine.ckpt")
    >>> sorted(checkpoint.parts)
    ['test', 'train', 'validation']
    """
    data = prepare(bars, config)
    on_epoch = on_epoch or _shown_in_notebook()
    trained: list[TrainedMember] = []
    for single in member_configs(config):
        keeper = resumption.keeper(single) if resumption else None
        result = train_member(data, single, on_epoch, keeper)
        if result.history:
            trained.append(calibrate(result, data, single))
        if result.diverged:
            checkpoint = assemble(trained, data) if trained else None
            raise TrainingDiverged(result.diverged, checkpoint)
    return assemble(trained, data)


def _shown_in_notebook() -> Callable[[Epoch], None] | None:
    """Return what shows each epoch in the output of a notebook's cell; None elsewhere."""
    show = progress_bar()
    if show is None:
        return None

    def report(epoch: Epoch) -> None:
        show(
            epoch.epoch / epoch.max_epochs,
            f"{epoch.member}: epoch {epoch.epoch} of at most {epoch.max_epochs}, validation loss "
            f"{epoch.validation_loss:.4f}, best epoch {epoch.best_epoch}",
        )

    return report


def train_member(
    data: TrainingData,
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] | None,
    keeper: Keeper | None,
) -> TrainingResult:
    """Train one network from its own seed, leaving the caller's randomness alone.

    It waits while another thread of this process trains.
    """
    keep_freed_memory()  # a fifth to a third of the time otherwise goes to the allocator
    with (
        one_training(),
        usual_torch(),
        torch_threads(config.threads),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(config.seed)
        shape = make_config(
            config.architecture,
            features=len(data.features.columns),
            sequence_length=config.sequence_length,
        )
        network = make_network(config.architecture, shape)
        kind = architecture(config.architecture).config
        # Here, so that hours of work do not end in a refusal.
        require_storable(config.architecture, network.config, kind)
        network.start(list(data.features.columns))
        network.to(config.device)
        # Soft targets teach more than labels do; what a network is worth the labels alone say.
        training = data.train.loader(data.train.targets, config.batch_size)
        validation = data.validation.loader(data.validation.labels, config.batch_size)
        weights = data.validation.weights
        return optimise(network, training, validation, config, on_epoch, keeper, weights=weights)


def calibrate(result: TrainingResult, data: TrainingData, config: TrainConfig) -> TrainedMember:
    """Make a member of the best epoch.

    It gets the temperature that suits validation best and the scores that it has alone.
    """
    history = [asdict(epoch) for epoch in result.history]
    for epoch in history:
        del epoch["member"]  # stands beside the history in the checkpoint
    member = Member(
        architecture=config.architecture,
        network=result.network,
        seed=config.seed,
        temperature=1.0,  # until the raw logits are known
        metrics={},
        weights={name: tensor.detach().cpu() for name, tensor in result.weights.items()},
        history=history,
    )
    raw = member_logits(member, data)
    validation = data.validation
    temperature = fit_temperature(raw["validation"], validation.labels, validation.weights)
    logits = {name: values / temperature for name, values in raw.items()}
    scores = {
        name: classification_scores(part.labels, probability_of(logits[name]))
        for name, part in data.judged.items()
    }
    return TrainedMember(replace(member, temperature=temperature, metrics=_by_part(scores)), logits)


def member_logits(member: Member, data: TrainingData) -> dict[str, NDArray[np.float64]]:
    """Return the calibrated logits of the windows of each part after training.

    Refuses a network that reads other windows of a batch beside its own: those that come later are
    the future.
    """
    logits = {name: member.logits(part.windows) for name, part in data.judged.items()}
    windows = data.validation.windows
    # First, middle and last: what reads ahead, behind or over the batch differs at one of them.
    for place in (0, len(windows) // 2, len(windows) - 1):
        alone = float(member.logits(windows[place : place + 1])[0])
        among = float(logits["validation"][place])
        if not abs(alone - among) <= ALONE * (1 + abs(among)):  # "not" catches NaN, too
            raise ValueError(
                f"the network of {member.name} must judge each window by itself, "
                f"but says {among:.4f} of one among others and {alone:.4f} of the same alone: "
                "it sees other windows of its batch, later ones too. "
                "Mend its forward (batch_first=True, no statistics over the batch)."
            )
    return logits


def assemble(trained: Sequence[TrainedMember], data: TrainingData) -> Checkpoint:
    """Return the checkpoint of the members, with the scores of all together and a golden window."""
    config = data.config
    logistic = fit_logistic(data.train.last_rows, data.train.labels)
    scores: dict[str, Scores] = {}
    for name, part in data.judged.items():
        # Members are asked together: the mean of their calibrated logits is the forecast.
        logits = np.mean([each.logits[name] for each in trained], axis=0)
        with threadpool_limits(1):
            probabilities = logistic.predict_proba(part.last_rows)[:, 1].astype(np.float64)
        cheap = classification_scores(part.labels, probabilities)
        scores[name] = classification_scores(part.labels, probability_of(logits)) | {
            f"logistic_{score}": cheap[score] for score in COMPARED
        }
    learnt = data.learnt
    # All have the same interval: others were refused.
    index = pd.DatetimeIndex(next(iter(learnt.values())).index)
    # Not a bar after it, so that the checkpoint holds nothing it has not been trained on.
    seen = {name: bars.loc[: data.trained_until] for name, bars in learnt.items()}
    times = [pd.DatetimeIndex(bars.index) for bars in seen.values()]
    checkpoint = Checkpoint(
        members=tuple(each.member for each in trained),
        scaler=data.scaler,
        label=config.labelling.label,
        horizon=config.horizon,
        barrier=config.labelling.barrier,
        own_label=config.labelling.own,
        outcome=config.outcome,
        features=tuple(one.record for one in config.own),
        only=config.only,
        context=context_of(data.universe),
        sequence_length=config.sequence_length,
        enter=None,  # thresholds are chosen by trading, which is not known here
        exit=None,
        trained_until=data.trained_until,
        bar_interval=bar_interval(index),
        instrument=_common(learnt, "instrument") if len(learnt) == 1 else None,
        instruments={name: digest_bars(bars) for name, bars in learnt.items()},
        timezone=_common(learnt, "timezone"),
        prices=_common(learnt, "prices"),
        stamp=_common(learnt, "stamp") or "open",  # as `read_bars` where a file says nothing
        parts={name: _describe(part) for name, part in data.parts.items()},
        metrics=_by_part(scores),
        config=config.described(),
        versions=library_versions(),
        usual=usual_ranges(data.training_features),
        flags=tuple(flags_of_all(learnt)),
        hours=hour_shares(pd.DatetimeIndex(times[0].append(times[1:]))),
    )
    # The first by name that is long enough, so that the order of the files decides nothing.
    last = next(bars for bars in seen.values() if len(bars) >= checkpoint.bars_needed)
    return replace(checkpoint, golden=golden_window(checkpoint, last))


def _common(universe: Universe, attribute: str) -> str | None:
    """Return what the bars of all instruments state alike, None where they do not."""
    stated = {bars.attrs.get(attribute) for bars in universe.values()}
    return stated.pop() if len(stated) == 1 else None


def _by_part(scores: Mapping[str, Scores]) -> Scores:
    return {f"{part}_{name}": value for part, own in scores.items() for name, value in own.items()}


def _describe(part: Part) -> dict[str, str | float | int | None]:
    if not len(part):
        return {"windows": 0, "first": None, "last": None, "up_share": None}
    return {
        "windows": len(part),
        "first": str(part.timestamps[0]),
        "last": str(part.timestamps[-1]),
        "up_share": float(part.labels.mean()),
    }


def golden_window(checkpoint: Checkpoint, bars: pd.DataFrame) -> Golden:
    """Record what the window that ends with `bars` is on every stage from prices to probability.

    Whoever loads the checkpoint takes the same way again and sees whether features and network
    still are those of training.
    """
    engineer = checkpoint.engineer
    last = bars.iloc[-checkpoint.bars_needed :][list(engineer.columns)]
    features = engineer.transform(last).to_numpy()
    scores = checkpoint.scaler.transform(features[-1:])[0]
    timestamps = last.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    values = last.to_numpy(copy=True)
    # Before the first row nobody reads another series: there may be nothing of it yet.
    values[: engineer.lookback - 1, len(COLUMNS) :] = 0.0
    return Golden(
        tuple(timestamps.tolist()),
        tuple(map(tuple, values.tolist())),
        tuple(features[-1].tolist()),
        tuple(scores.tolist()),
        float(checkpoint.predict(features)[0]),
    )


def combine(
    checkpoints: Sequence[Checkpoint], bars: pd.DataFrame | Universe, config: TrainConfig
) -> Checkpoint:
    """Join checkpoints that were trained apart into one with all their members.

    From the checkpoints that `fit` makes of each of `member_configs(config)` it makes what `fit`
    makes of `config`, to the last bit.

    Parameters
    ----------
    checkpoints
        In the order of `member_configs(config)`.
    bars
        Those that each of them was trained on, of one instrument or of several by name.
    config
        The settings of all together.

    Returns
    -------
    Checkpoint
        With the scores of all together.

    Raises
    ------
    CheckpointError
        Where one was not trained on these bars with these settings.

    Examples
    --------
    >>> config = TrainConfig(architecture="transformer", seeds=2, max_epochs=1)
    >>> apart = [fit(bars, single) for single in member_configs(config)]
    >>> [member.name for member in combine(apart, bars, config).members]
    ['transformer 42', 'transformer 43']
    """
    members = [member for checkpoint in checkpoints for member in checkpoint.members]
    wanted = [single.member for single in member_configs(config)]
    # Before the bars are prepared, which takes most of the time.
    found = [member.name for member in members]
    if found != wanted:
        raise CheckpointError(
            f"the members must be {', '.join(wanted)}, in that order, "
            f"got {', '.join(found) or 'none'}. Train one for each of member_configs(config)."
        )
    # Nothing is trained again: the members' logits, and all that is made of them, are.
    data = prepare(bars, config)
    trained = [TrainedMember(member, member_logits(member, data)) for member in members]
    whole = assemble(trained, data)
    for number, checkpoint in enumerate(checkpoints, 1):
        _require_companion(checkpoint, whole, f"checkpoint {number} of {len(checkpoints)}")
    return whole


def _require_companion(checkpoint: Checkpoint, whole: Checkpoint, name: str) -> None:
    """Refuse a checkpoint that does not belong to the whole.

    It answers another question, or was trained on other bars or in another way.
    """
    remedy = "Train all members on the same bars with the same settings."
    for field in COMMON:
        theirs, ours = getattr(checkpoint, field), getattr(whole, field)
        if theirs != ours:
            # A scaler or the parts would fill the screen.
            values = f": {theirs} instead of {ours}" if len(str(ours)) < 40 else ""
            raise CheckpointError(
                f"{name} must have the {field} of these bars and settings, "
                f"it has another{values}. {remedy}"
            )
    others = [
        setting
        for setting in sorted(whole.config)
        if setting not in MEMBERS_OWN and checkpoint.config.get(setting) != whole.config[setting]
    ]
    if others:
        raise CheckpointError(
            f"{name} must have these settings, its own are others: {', '.join(others)}. {remedy}"
        )
