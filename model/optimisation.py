"""Optimisation: the epochs, the averaged weights, early stopping, and how training ends when numbers stop being numbers."""
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from model.calibration import fit_temperature, log_loss
from model.network import DirectionNetwork
from model.settings import TrainConfig

Loader = DataLoader[tuple[Tensor, Tensor]]

PLATEAU = 5  # epochs without a better validation loss after which the learning rate is halved


class TrainingDiverged(RuntimeError):
    """A loss or a gradient stopped being a number."""

    exit_code = 5


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


def optimise(network: DirectionNetwork, training: Loader, validation: Loader, config: TrainConfig,
             on_epoch: Callable[[Epoch], None] | None = None) -> list[Epoch]:
    """Train the network in place and return the history; it ends with the averaged weights of the best epoch on validation.

    training: windows with a target in [0, 1] for each of their rows; validation: windows and labels 0 or 1.
    """
    learner, best = _Learner(network, config), _Best(config.patience)
    plateau = ReduceLROnPlateau(learner.optimizer, factor=0.5, patience=PLATEAU)
    history: list[Epoch] = []
    for number in range(1, config.max_epochs + 1):
        train_loss, norm = _run_epoch(learner, training, number)
        validation_loss = _validation_loss(learner.average.network, validation, config)
        best.offer(number, validation_loss, learner.average.network)
        history.append(Epoch(config.member, number, config.max_epochs, train_loss, validation_loss, learner.rate, norm, best.epoch))
        if on_epoch:
            on_epoch(history[-1])
        if best.exhausted(number):
            break
        plateau.step(validation_loss)
    network.load_state_dict(best.weights)
    return history


class _Learner:
    """The network that learns, what moves its weights, and the average that follows them."""

    def __init__(self, network: DirectionNetwork, config: TrainConfig) -> None:
        self.network, self.config, self.average = network, config, _Average(network, config.averaging)
        groups = [{"params": weights, "lr": config.learning_rate * share} for share, weights in network.learning_shares()]
        self.optimizer = AdamW(groups, weight_decay=config.weight_decay)
        steps = max(config.warm_up, 1)
        self.warm_up = LinearLR(self.optimizer, 1 / steps, total_iters=steps - 1)

    @property
    def rate(self) -> float:
        """The learning rate of the weights that are not slowed down."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def step(self, windows: Tensor, targets: Tensor) -> tuple[float, float]:
        """Learn from one batch; return its loss and the norm of the gradient before clipping, finite or not."""
        loss = _loss(self.network, windows, targets, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip))
        self.optimizer.step()
        self.average.follow()
        self.warm_up.step()
        return loss.item(), norm


class _Average:
    """A network whose weights follow the trained ones as an exponential average: less noise, at no cost."""

    def __init__(self, network: DirectionNetwork, keep: float) -> None:
        self.network, self.keep, self.steps = copy.deepcopy(network).requires_grad_(False), keep, 0
        self._averages = [weights.data for weights in self.network.parameters()]
        self._trained = [weights.data for weights in network.parameters()]  # the optimizer changes them in place

    def follow(self) -> None:
        self.steps += 1
        # The first steps average over fewer, or the initial weights would stay in it for long.
        keep = min(self.keep, self.steps / (self.steps + 9))
        torch._foreach_lerp_(self._averages, self._trained, 1 - keep)


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


def _run_epoch(learner: _Learner, loader: Loader, epoch: int) -> tuple[float, float]:
    """Train on every batch once; return the mean loss and the largest gradient norm before clipping."""
    learner.network.train()
    total, largest = 0.0, 0.0
    for number, (windows, targets) in enumerate(loader, 1):
        rate = learner.rate
        loss, norm = learner.step(windows, targets)
        # One infinite input leaves the loss finite and turns every weight into NaN in a single step: the norm tells.
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingDiverged(f"loss and gradient norm must stay finite, got {loss} and {norm} in epoch {epoch}, "
                                   f"step {number}, at learning rate {rate:g}. Lower learning_rate or gradient_clip.")
        total, largest = total + loss * len(targets), max(largest, norm)
    return total / len(loader.dataset), largest  # type: ignore[arg-type]


def _validation_loss(network: nn.Module, loader: Loader, config: TrainConfig) -> float:
    """Return the log loss against the labels after the temperature that suits them best, as the checkpoint will have one.

    A network grows too sure of itself long before it stops telling windows apart better, and soft targets make it too
    unsure: without the temperature training would end too early.
    """
    network.eval()
    with torch.inference_mode():
        pairs = [(_logits(network, windows, config), labels) for windows, labels in loader]
    logits, labels = (torch.cat(column).double().cpu().numpy() for column in zip(*pairs))
    if not np.isfinite(logits).all():
        raise TrainingDiverged(f"the validation logits must stay finite, got {np.count_nonzero(~np.isfinite(logits))} of "
                               f"{len(logits)} that are not. Lower learning_rate.")
    return log_loss(logits / fit_temperature(logits, labels), labels)


def _loss(network: DirectionNetwork, windows: Tensor, targets: Tensor, config: TrainConfig) -> Tensor:
    logits = _logits(network.training_logits, windows, config)  # (batch, positions), those of the last rows
    return nn.functional.binary_cross_entropy_with_logits(logits, targets[:, -logits.shape[1]:].to(config.device))


def _logits(compute: Callable[[Tensor], Tensor], windows: Tensor, config: TrainConfig) -> Tensor:
    with torch.autocast(config.device.split(":")[0], torch.bfloat16, enabled=config.precision == "bf16"):
        logits = compute(windows.to(config.device))
    return logits.float()
