"""Optimisation: the epochs, early stopping, and how training ends when numbers stop being numbers or somebody asks it to."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.calibration import fit_temperature, log_loss
from model.course import Course, Epoch, State
from model.network import DirectionNetwork
from model.process import arithmetic
from model.settings import TrainConfig

Loader = DataLoader[tuple[Tensor, Tensor]]


class TrainingDiverged(RuntimeError):
    """A loss or a gradient stopped being a number.

    history: the epochs before. member, checkpoint: the network as it was in the best of them, None where there is none.
    """

    exit_code = 5
    history: list[Epoch] = []
    member: Any = None
    checkpoint: Any = None


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
