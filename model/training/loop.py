"""The training loop of one network, and everything that changes in it between steps."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from model.errors import TrainingDisturbed, TrainingDiverged
from model.metrics import log_loss_of_logits
from model.networks.bilstm import DirectionNetwork
from model.networks.registry import BUILT_IN
from model.runtime import arithmetic
from model.training.calibration import fit_temperature
from model.training.config import TrainConfig
from model.training.data import Loader

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Epochs in a row without a better validation loss that are let pass; the next one halves the rate.
PLATEAU = 5
BLOCK = 624  # numbers that the Mersenne twister makes at a time


@dataclass(frozen=True)
class Epoch:
    """One epoch of a member: an entry of its history.

    Parameters
    ----------
    member
        The architecture with the seed.
    epoch, max_epochs
        The number of the epoch, from 1, and how many there will be at the most.
    train_loss
        Mean loss against the soft targets over the epoch.
    validation_loss
        Log loss against the labels, after calibration; each date counts the same.
    learning_rate
        That after the last step, before the validation loss may halve it.
    gradient_norm
        The largest norm of a gradient before clipping.
    best_epoch
        The epoch with the lowest validation loss so far.

    Examples
    --------
    >>> def show(epoch: Epoch) -> None:
    ...     print(f"{epoch.member}: epoch {epoch.epoch} of {epoch.max_epochs}")
    >>> checkpoint = fit(bars, TrainConfig(architecture="transformer", max_epochs=1), show)
    transformer 42: epoch 1 of 1
    """

    member: str
    epoch: int
    max_epochs: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float
    best_epoch: int


class TrainingResult(NamedTuple):
    """What the training of one network came to.

    history: its epochs. network, weights: the config of the network, and its averaged weights in
    the best of these epochs, none where there is no epoch. diverged: the fault that ended training
    early, "" where none did.
    """

    history: list[Epoch]
    network: "DataclassInstance"
    weights: dict[str, Tensor]
    diverged: str


class Snapshot(NamedTuple):
    """A training state at a moment, as plain values and tensors."""

    values: Mapping[str, Any]  # whatever JSON holds
    tensors: Mapping[str, Tensor]


class Keeper:
    """Keeps the state of a training while it runs. This one keeps nothing; a `StateFile` does."""

    def running(self) -> AbstractContextManager[None]:
        """Surround the training."""
        return nullcontext()

    def load(self) -> Snapshot | None:
        """Return what an interrupted training left, None for nothing."""
        return None

    def save(self, state: "TrainingState") -> None:
        """Save the state, and raise Interrupted if a signal asked to stop."""

    def save_if_due(self, state: "TrainingState") -> None:
        """Save in the midst of an epoch if the last save is long ago or a signal asked to stop."""


def optimise(
    network: DirectionNetwork,
    training: Loader,
    validation: Loader,
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] | None = None,
    keeper: Keeper | None = None,
    *,
    weights: NDArray[np.float64] | None = None,
) -> TrainingResult:
    """Train the network, which is left with the weights of its last step.

    training: windows with targets from 0 to 1. validation: windows with labels 0 or 1. weights: how
    much each window of validation counts. Goes on from what the keeper has, whose epochs are
    reported again. Raises Interrupted where the keeper does.
    """
    keeper = keeper or Keeper()
    state = TrainingState(network, config)
    if snapshot := keeper.load():
        state.restore(snapshot)
    report = on_epoch or (lambda epoch: None)
    # Whoever watches sees a resumed training whole: the epochs before are reported again.
    for epoch in state.history:
        report(epoch)
    diverged = ""
    try:
        with keeper.running():
            while not state.finished:
                _run_epoch(state, training, keeper)
                state.end_epoch(_validation_loss(state, validation, keeper, weights))
                report(state.history[-1])
                keeper.save(state)
    except TrainingDiverged as error:
        diverged = str(error)
    return TrainingResult(state.history, network.config, state.best_weights, diverged)


def _run_epoch(state: "TrainingState", loader: Loader, keeper: Keeper) -> None:
    """Learn from every batch that the epoch has not had yet."""
    state.network.train()
    for windows, targets in state.batches_left(loader):
        rate = state.learning_rate  # before the step, which changes it during the warm-up
        loss, norm = _learn(state, windows, targets)
        # One infinite input leaves the loss finite and turns every weight into NaN in one step,
        # which the norm shows.
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingDiverged(
                f"loss and gradient norm must stay finite, got {loss} and {norm} "
                f"in epoch {state.epoch}, step {state.batches + 1}, at learning rate {rate:g}. "
                "Lower `learning_rate` or `gradient_clip`."
            )
        state.count_batch(loss, norm, len(targets))
        keeper.save_if_due(state)


def _learn(state: "TrainingState", windows: Tensor, targets: Tensor) -> tuple[float, float]:
    """Learn from one batch.

    Returns its loss and the gradient's norm before clipping, finite or not.
    """
    config = state.config
    logits = _logits(state.network, windows, config)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, targets.to(config.device))
    state.optimizer.zero_grad(set_to_none=True)  # frees the gradients: nothing is filled with 0
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(state.network.parameters(), config.gradient_clip))
    state.optimizer.step()
    state.average.follow()
    state.warm_up.step()
    return loss.item(), norm


def _validation_loss(
    state: "TrainingState",
    loader: Loader,
    keeper: Keeper,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the log loss against the labels, calibrated by the temperature that suits them best.

    A network grows too sure of itself long before it stops telling windows apart better, and soft
    targets make it too unsure: without the temperature, which the checkpoint will have too,
    training would end too early.
    """
    network = state.average.network.eval()  # this one is never trained: eval for good
    batches = []
    for windows, outcomes in loader:
        with torch.inference_mode():
            batches.append((_logits(network, windows, state.config), outcomes))
        keeper.save_if_due(state)  # a long validation, too, ends soon after a signal
    # In double precision, and once for all batches: the temperature belongs to the whole part.
    logits, labels = (
        torch.cat(column).double().cpu().numpy() for column in zip(*batches, strict=True)
    )
    if not np.isfinite(logits).all():
        raise TrainingDiverged(
            "the validation logits must stay finite, got "
            f"{np.count_nonzero(~np.isfinite(logits))} of {len(logits)} that are not. "
            "Lower `learning_rate`."
        )
    temperature = fit_temperature(logits, labels, weights)
    return log_loss_of_logits(logits / temperature, labels, weights)


def _logits(network: DirectionNetwork, windows: Tensor, config: TrainConfig) -> Tensor:
    with arithmetic(config.precision, config.device):
        logits: Tensor = network(windows.to(config.device))
    return logits.float()  # the loss is summed in fp32 in any precision


class TrainingState:
    """Everything that changes between steps, so that training resumes bit for bit.

    Of the epoch under way, `batches` are done with `windows` in them, their summed `loss` and the
    largest `norm` of a gradient; `random` is torch's random state after the last of them.
    """

    def __init__(
        self, network: DirectionNetwork, config: TrainConfig, plateau: int = PLATEAU
    ) -> None:
        self.network, self.config = network, config
        self.average = AveragedNetwork(network, config.averaging)
        self.best_epoch, self.best_loss = 0, math.inf
        self.best_weights: dict[str, Tensor] = {}
        groups = [
            {"params": weights, "lr": config.learning_rate * share}
            for share, weights in network.learning_shares()
        ]
        self.optimizer = AdamW(groups, weight_decay=config.weight_decay)
        steps = max(config.warm_up, 1)  # one step at the full rate is no warm-up
        self.warm_up = LinearLR(self.optimizer, 1 / steps, total_iters=steps - 1)
        self.plateau = ReduceLROnPlateau(self.optimizer, factor=0.5, patience=plateau)
        self.history: list[Epoch] = []
        self._draws: dict[int, int] = {}  # by the windows of a step, the numbers it draws
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.batches, self.windows, self.loss, self.norm = 0, 0, 0.0, 0.0
        self.random = torch.get_rng_state()

    @property
    def epoch(self) -> int:
        return len(self.history) + 1

    @property
    def learning_rate(self) -> float:
        """The rate of the weights that a network does not slow down."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @property
    def finished(self) -> bool:
        done = len(self.history)
        patience_lost = done > 0 and done - self.best_epoch >= self.config.patience
        return done >= self.config.max_epochs or patience_lost

    def batches_left(self, loader: Loader) -> Iterator[list[Tensor]]:
        """Yield the batches that the epoch has not had yet.

        torch's random state is then as it was after those that it had.
        """
        torch.set_rng_state(self.random)
        batches = iter(loader)  # draws from the random state, whether it shuffles or not
        for _ in range(self.batches):
            next(batches)
        # Dropout goes on from where it was in the midst of the epoch.
        if self.batches:
            torch.set_rng_state(self.random)
        self.random = torch.get_rng_state()
        for batch in batches:
            self._require_undisturbed(torch.equal(torch.get_rng_state(), self.random))
            yield batch

    def count_batch(self, loss: float, norm: float, windows: int) -> None:
        self.batches, self.windows = self.batches + 1, self.windows + windows
        self.loss, self.norm = self.loss + loss * windows, max(self.norm, norm)
        before, self.random = self.random, torch.get_rng_state()
        if self.config.architecture in BUILT_IN:
            # Every step on as many windows draws as many numbers. A network of one's own may not.
            drawn = (_place(self.random) - _place(before)) % BLOCK
            self._require_undisturbed(self._draws.setdefault(windows, drawn) == drawn)

    def _require_undisturbed(self, holds: bool) -> None:
        if not holds:
            raise TrainingDisturbed(
                "nothing else may draw from torch's random numbers while a network trains, "
                f"but something did in epoch {self.epoch}, step {self.batches + 1}: the result "
                "could not be had again. Train in a process of its own, or give what draws beside "
                "it a torch.Generator of its own."
            )

    def end_epoch(self, validation_loss: float) -> None:
        """Enter the epoch into the history; validation made this loss of its averaged weights."""
        if validation_loss < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, validation_loss
            weights = self.average.network.state_dict()
            # Copies, for the average goes on to change its own in place.
            self.best_weights = {name: tensor.clone() for name, tensor in weights.items()}
        epoch = Epoch(
            member=self.config.member,
            epoch=self.epoch,
            max_epochs=self.config.max_epochs,
            train_loss=self.loss / self.windows,
            validation_loss=validation_loss,
            learning_rate=self.learning_rate,
            gradient_norm=self.norm,
            best_epoch=self.best_epoch,
        )
        self.history.append(epoch)
        self.plateau.step(validation_loss)
        self._begin_epoch()

    def snapshot(self) -> Snapshot:
        """Return all that the rest of the training depends on; the tensors are those in use."""
        optimizer = self.optimizer.state_dict()
        tensors = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "best": self.best_weights,
            "random": {"state": self.random},
        }
        tensors |= {f"weights {number}": own for number, own in optimizer["state"].items()}
        values = {
            # The rest of a group is settings, which the key of a saved state stands for.
            "optimizer": [
                {name: group[name] for name in ("lr", "initial_lr")}
                for group in optimizer["param_groups"]
            ],
            "warm_up": _plain_values(self.warm_up),
            "plateau": _plain_values(self.plateau),
            "average": self.average.steps,
            "best": [self.best_epoch, self.best_loss],
            "history": [asdict(epoch) for epoch in self.history],
            "batches": [self.batches, self.windows, self.loss, self.norm],
        }
        named = {
            f"{part}.{name}": tensor
            for part, own in tensors.items()
            for name, tensor in own.items()
        }
        return Snapshot(values, named)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from the snapshot of a training with equal settings.

        torch's random state is put back later, where the next batch is learnt from.
        """
        values = snapshot.values
        tensors: dict[str, dict[str, Tensor]] = {"best": {}}  # empty before the first epoch ends
        for key, tensor in snapshot.tensors.items():
            part, name = key.split(".", 1)
            tensors.setdefault(part, {})[name] = tensor
        # What AdamW remembers of each of the network's weights, by their number.
        moments = {
            int(part.removeprefix("weights ")): own
            for part, own in tensors.items()
            if part.startswith("weights ")
        }
        groups = zip(self.optimizer.state_dict()["param_groups"], values["optimizer"], strict=True)
        self.optimizer.load_state_dict(
            {"state": moments, "param_groups": [group | rates for group, rates in groups]}
        )
        self.network.load_state_dict(tensors["network"])
        self.average.network.load_state_dict(tensors["average"])
        self.average.steps = values["average"]
        self.warm_up.load_state_dict(dict(values["warm_up"]))
        self.plateau.load_state_dict(dict(values["plateau"]))
        self.best_weights = tensors["best"]
        self.best_epoch, self.best_loss = values["best"]
        self.history = [Epoch(**epoch) for epoch in values["history"]]
        self.batches, self.windows, self.loss, self.norm = values["batches"]
        self.random = tensors["random"]["state"]


def _place(random: Tensor) -> int:
    """Return how many numbers of its block a state of torch's CPU generator has given out."""
    # After the seed and two flags stands the next one's number, of eight bytes.
    return int.from_bytes(bytes(random[16:24].tolist()), "little")


def _plain_values(scheduler: LinearLR | ReduceLROnPlateau) -> dict[str, object]:
    """Return what a scheduler remembers, without the objects that every training makes anew."""
    return {
        name: value
        for name, value in scheduler.state_dict().items()
        if isinstance(value, (int, float, str, list))
    }


class AveragedNetwork:
    """A copy of a network whose weights follow the trained ones as an exponential average.

    It forecasts with less noise than the network itself, at no cost.
    """

    def __init__(self, network: DirectionNetwork, keep: float) -> None:
        self.network, self.keep, self.steps = copy.deepcopy(network).requires_grad_(False), keep, 0
        self._averages = [weights.data for weights in self.network.parameters()]
        # The optimizer changes these in place.
        self._trained = [weights.data for weights in network.parameters()]

    def follow(self) -> None:
        self.steps += 1
        # The first steps average over fewer, or the initial weights would stay in it for long.
        keep = min(self.keep, self.steps / (self.steps + 9))
        torch._foreach_lerp_(self._averages, self._trained, 1 - keep)
