"""The course of a network's training: all that changes from step to step, to be kept and taken up again bit for bit."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from model.errors import TrainingDiverged
from model.networks.bilstm import DirectionNetwork
from model.runtime import arithmetic
from model.training.calibration import fit_temperature, log_loss
from model.training.config import TrainConfig

Batch = tuple[Tensor, Tensor]

PLATEAU = 5  # epochs without a better validation loss after which the learning rate is halved


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch of a member: the entry of its history and the epoch with the best validation loss so far."""

    member: str
    epoch: int
    max_epochs: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float
    best_epoch: int


class State(NamedTuple):
    """A course at a moment: by part, what it has of plain values and of tensors."""

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class Course:
    """The network that learns, what moves its weights, the average that follows them, and how far all of it has come.

    Of the epoch under way: `batches` of it are done, with `windows` in them, their summed `loss` and the largest `norm` of a
    gradient; `random` is torch's random state after the last of them.
    """

    def __init__(self, network: DirectionNetwork, config: TrainConfig) -> None:
        self.network, self.config = network, config
        self.average, self.best = Average(network, config.averaging), Best()
        groups = [
            {"params": weights, "lr": config.learning_rate * share}
            for share, weights in network.learning_shares()
        ]
        self.optimizer = AdamW(groups, weight_decay=config.weight_decay)
        steps = max(config.warm_up, 1)
        self.warm_up = LinearLR(self.optimizer, 1 / steps, total_iters=steps - 1)
        self.plateau = ReduceLROnPlateau(self.optimizer, factor=0.5, patience=PLATEAU)
        self.history: list[Epoch] = []
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.batches, self.windows, self.loss, self.norm = 0, 0, 0.0, 0.0
        self.random = torch.get_rng_state()

    @property
    def epoch(self) -> int:
        return len(self.history) + 1

    @property
    def rate(self) -> float:
        """The learning rate of the weights that are not slowed down."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @property
    def over(self) -> bool:
        done = len(self.history)
        return done >= self.config.max_epochs or (
            done > 0 and done - self.best.epoch >= self.config.patience
        )

    def batches_left(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches that the epoch has not had yet, with torch's random state as it was after those that it had."""
        torch.set_rng_state(self.random)
        batches = iter(loader)  # draws from the random state, whether it shuffles or not
        for _ in range(self.batches):
            next(batches)
        if self.batches:
            torch.set_rng_state(self.random)
        yield from batches

    def note(self, loss: float, norm: float, windows: int) -> None:
        """Count a batch that was learnt from."""
        self.batches, self.windows = self.batches + 1, self.windows + windows
        self.loss, self.norm = self.loss + loss * windows, max(self.norm, norm)
        self.random = torch.get_rng_state()

    def close(self, validation_loss: float) -> None:
        """End the epoch under way, of whose averaged weights validation made this loss."""
        self.best.offer(self.epoch, validation_loss, self.average.network)
        self.history.append(
            Epoch(
                self.config.member,
                self.epoch,
                self.config.max_epochs,
                self.loss / self.windows,
                validation_loss,
                self.rate,
                self.norm,
                self.best.epoch,
            )
        )
        self.plateau.step(validation_loss)
        self._begin_epoch()

    def state(self) -> State:
        """Return all that the rest of the course depends on; the tensors are those in use, not copies."""
        optimizer = self.optimizer.state_dict()
        moments = {
            f"{number}.{name}": tensor
            for number, own in optimizer["state"].items()
            for name, tensor in own.items()
        }
        values = {
            "optimizer": [
                {name: group[name] for name in ("lr", "initial_lr")}
                for group in optimizer["param_groups"]
            ],
            "warm_up": _plain(self.warm_up),
            "plateau": _plain(self.plateau),
            "average": self.average.steps,
            "best": [self.best.epoch, self.best.loss],
            "history": [asdict(epoch) for epoch in self.history],
            "batches": [self.batches, self.windows, self.loss, self.norm],
        }
        parts = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": moments,
            "best": self.best.weights,
            "random": {"state": self.random},
        }
        return State(
            values,
            {
                f"{part}.{name}": tensor
                for part, own in parts.items()
                for name, tensor in own.items()
            },
        )

    def restore(self, state: State) -> None:
        """Go on from a state of an equal course; the random state is put back where the next batch is learnt."""
        values = state.values
        self.network.load_state_dict(_part(state, "network"))
        self.average.network.load_state_dict(_part(state, "average"))
        self.average.steps = values["average"]
        self.optimizer.load_state_dict(self._optimizer_state(state))
        self.warm_up.load_state_dict(dict(values["warm_up"]))
        self.plateau.load_state_dict(dict(values["plateau"]))
        self.best.weights, (self.best.epoch, self.best.loss) = _part(state, "best"), values["best"]
        self.history = [Epoch(**epoch) for epoch in values["history"]]
        self.batches, self.windows, self.loss, self.norm = values["batches"]
        self.random = _part(state, "random")["state"]

    def _optimizer_state(self, state: State) -> dict[str, Any]:
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(state, "optimizer").items():
            number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = tensor
        groups = zip(
            self.optimizer.state_dict()["param_groups"], state.values["optimizer"], strict=True
        )
        return {"state": moments, "param_groups": [group | rates for group, rates in groups]}


class Average:
    """A network whose weights follow the trained ones as an exponential average: less noise, at no cost."""

    def __init__(self, network: DirectionNetwork, keep: float) -> None:
        self.network, self.keep, self.steps = copy.deepcopy(network).requires_grad_(False), keep, 0
        self._averages = [weights.data for weights in self.network.parameters()]
        self._trained = [
            weights.data for weights in network.parameters()
        ]  # the optimizer changes them in place

    def follow(self) -> None:
        self.steps += 1
        # The first steps average over fewer, or the initial weights would stay in it for long.
        keep = min(self.keep, self.steps / (self.steps + 9))
        torch._foreach_lerp_(self._averages, self._trained, 1 - keep)


class Best:
    """The weights of the epoch with the lowest validation loss so far."""

    def __init__(self) -> None:
        self.epoch, self.loss = 0, math.inf
        self.weights: dict[str, Tensor] = {}

    def offer(self, epoch: int, loss: float, network: nn.Module) -> None:
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _plain(scheduler: LinearLR | ReduceLROnPlateau) -> dict[str, Any]:
    """Return what a scheduler remembers, as plain values."""
    return {
        name: value
        for name, value in scheduler.state_dict().items()
        if isinstance(value, (int, float, str, list))
    }


def _part(state: State, name: str) -> dict[str, Tensor]:
    """Return the tensors of one part by their own names."""
    return {
        key.removeprefix(f"{name}."): tensor
        for key, tensor in state.tensors.items()
        if key.startswith(f"{name}.")
    }


Loader = DataLoader[tuple[Tensor, Tensor]]


class Keeper(Protocol):
    """Where the course of a training is kept while it is under way."""

    def watch(self) -> AbstractContextManager[None]:
        """Surround the training."""

    def kept(self) -> State | None:
        """Return what an interrupted training left, None for nothing."""

    def keep(self, course: Course) -> None:
        """Keep the course as it stands, and leave if somebody asked to."""

    def pause(self, course: Course) -> None:
        """Do the same in the midst of an epoch, if it is time to or somebody asked to leave."""


class Forgetful:
    """Keeps nothing."""

    def watch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def kept(self) -> None:
        return None

    def keep(self, course: Course) -> None:
        pass

    def pause(self, course: Course) -> None:
        pass


def optimise(
    network: DirectionNetwork,
    training: Loader,
    validation: Loader,
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] | None = None,
    keeper: Keeper = Forgetful(),
) -> list[Epoch]:
    """Train the network in place and return the history; it ends with the averaged weights of the best epoch on validation.

    training: windows with a target in [0, 1] each; validation: windows and labels 0 or 1. What the keeper
    kept is gone on with, and its epochs are told of again. Raises TrainingDiverged, with the best epoch's weights in place.
    """
    report = on_epoch or (lambda epoch: None)
    course = Course(network, config)
    if state := keeper.kept():
        course.restore(state)
    for epoch in course.history:
        report(epoch)
    try:
        with keeper.watch():
            while not course.over:
                _run_epoch(course, training, keeper)
                course.close(_validation_loss(course, validation, keeper))
                report(course.history[-1])
                keeper.keep(course)
    except TrainingDiverged as error:
        error.history = course.history
        raise
    finally:
        if course.best.epoch:
            network.load_state_dict(course.best.weights)
    return course.history


def _run_epoch(course: Course, loader: Loader, keeper: Keeper) -> None:
    """Learn from every batch that the epoch has not had yet."""
    course.network.train()
    for windows, targets in course.batches_left(loader):
        rate = course.rate
        loss, norm = _learn(course, windows, targets)
        # One infinite input leaves the loss finite and turns every weight into NaN in a single step: the norm tells.
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingDiverged(
                f"loss and gradient norm must stay finite, got {loss} and {norm} in epoch {course.epoch}, "
                f"step {course.batches + 1}, at learning rate {rate:g}. "
                "Lower `learning_rate` or `gradient_clip`."
            )
        course.note(loss, norm, len(targets))
        keeper.pause(course)


def _learn(course: Course, windows: Tensor, targets: Tensor) -> tuple[float, float]:
    """Learn from one batch; return its loss and the norm of the gradient before clipping, finite or not."""
    loss = _loss(course.network, windows, targets, course.config)
    course.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(course.network.parameters(), course.config.gradient_clip))
    course.optimizer.step()
    course.average.follow()
    course.warm_up.step()
    return loss.item(), norm


def _validation_loss(course: Course, loader: Loader, keeper: Keeper) -> float:
    """Return the log loss against the labels after the temperature that suits them best, as the checkpoint will have one.

    A network grows too sure of itself long before it stops telling windows apart better, and soft targets make it too
    unsure: without the temperature training would end too early.
    """
    network = course.average.network.eval()
    pairs = []
    for windows, labels in loader:
        with torch.inference_mode():
            pairs.append((_logits(network, windows, course.config), labels))
        keeper.pause(course)
    logits, labels = (torch.cat(column).double().cpu().numpy() for column in zip(*pairs))
    if not np.isfinite(logits).all():
        raise TrainingDiverged(
            f"the validation logits must stay finite, got {np.count_nonzero(~np.isfinite(logits))} of "
            f"{len(logits)} that are not. Lower `learning_rate`."
        )
    return log_loss(logits / fit_temperature(logits, labels), labels)


def _loss(
    network: DirectionNetwork, windows: Tensor, targets: Tensor, config: TrainConfig
) -> Tensor:
    logits = _logits(network, windows, config)
    return nn.functional.binary_cross_entropy_with_logits(logits, targets.to(config.device))


def _logits(network: DirectionNetwork, windows: Tensor, config: TrainConfig) -> Tensor:
    with arithmetic(config.precision, config.device):
        logits: Tensor = network(windows.to(config.device))
    return logits.float()
