"""The settings of training: TrainConfig, whose fields are the flags of the commands."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from model.checkpoint.member import MOST_MEMBERS
from model.networks.registry import BUILT_IN, members_of
from model.training.windows import DataPreprocessor

MOST_SEEDS = MOST_MEMBERS // len(BUILT_IN)


@dataclass(frozen=True)
class TrainConfig:
    """How to train; every field is a flag of the commands.

    Parameters
    ----------
    architecture
        Which network: "bilstm", "transformer", or "ensemble", one of each, whose mean logit decides.
    seeds
        Networks of each architecture, trained with the seeds `seed`, `seed` + 1 and so on; their mean logit decides.
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
    warm_up
        Steps over which the learning rate rises to its full size.
    weight_decay
        AdamW's decoupled weight decay.
    label_softness
        The size of a move, in units of recent volatility, that makes a training label 84 % sure; 0: all are 100 % sure.
    averaging
        Share of the averaged weights, which validation judges and the checkpoint keeps, that a step leaves as it was.
    max_epochs
        Passes over the training part at the most.
    patience
        Epochs without a better validation loss, the log loss after calibration, after which training stops.
    gradient_clip
        Largest norm of the gradient of all weights together.
    seed
        Seed of the initial weights and of dropout: same seed and threads, same bits.
    threads
        Threads of this process; more than one slows down as soon as another process uses a core.
    device
        Where torch computes; only "cpu" gives the same bits on every run.
    precision
        Arithmetic of training: "fp32", or "bf16", faster on a CPU with AMX. Trading has a precision of its own.
    """

    architecture: str = "bilstm"
    seeds: int = 1
    label: Literal["open", "close"] = "open"
    horizon: int = 1
    sequence_length: int = 50
    train: float = 0.70
    validation: float = 0.15
    batch_size: int = 64
    learning_rate: float = 1e-3
    warm_up: int = 0
    weight_decay: float = 1e-4
    label_softness: float = 1.0
    averaging: float = 0.99
    max_epochs: int = 100
    patience: int = 10
    gradient_clip: float = 1.0
    seed: int = 42
    threads: int = 1
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        wrong = [
            (name, rule)
            for rule, (names, holds) in _RULES.items()
            for name in names
            if not holds(getattr(self, name))
        ]
        if wrong:
            raise ValueError(
                " ".join(
                    f"`{name}` must be {rule}, got {getattr(self, name)!r}." for name, rule in wrong
                )
            )
        members_of(self.architecture)  # refuses what nobody registered
        _require_device(self.device)
        self.preprocessor  # refuses wrong shares, labels and lengths

    @property
    def preprocessor(self) -> DataPreprocessor:
        """The cutting and splitting that these settings describe."""
        return DataPreprocessor(
            self.sequence_length, self.train, self.validation, self.label, self.horizon
        )

    @property
    def member(self) -> str:
        """The name of the member that these settings, if they are those of a single one, train."""
        return f"{self.architecture} {self.seed}"

    def without_test(self) -> "TrainConfig":
        """Return the same settings with the test part given to training: for a model that is to trade the next bar."""
        return replace(self, train=round(1 - self.validation, 12))


def member_configs(config: TrainConfig) -> list[TrainConfig]:
    """Return the settings of each member, in order: one of each architecture for each seed."""
    return [
        replace(config, architecture=name, seed=config.seed + number, seeds=1)
        for name in members_of(config.architecture)
        for number in range(config.seeds)
    ]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_RULES: dict[str, tuple[tuple[str, ...], Callable[[Any], bool]]] = {
    "a whole number above 0": (
        ("batch_size", "max_epochs", "patience", "threads"),
        lambda value: _whole(value) and value > 0,
    ),
    f"a whole number from 1 to {MOST_SEEDS}": (
        ("seeds",),
        lambda value: _whole(value) and 0 < value <= MOST_SEEDS,
    ),
    "a whole number from 0": (("warm_up",), lambda value: _whole(value) and value >= 0),
    "a whole number from 0 to 2**63 - 1": (
        ("seed",),
        lambda value: _whole(value) and 0 <= value < 2**63,
    ),
    "a finite number above 0": (
        ("learning_rate", "gradient_clip"),
        lambda value: 0 < value < math.inf,
    ),
    "a finite number from 0": (
        ("weight_decay", "label_softness"),
        lambda value: 0 <= value < math.inf,
    ),
    "from 0 up to but not including 1": (("averaging",), lambda value: 0 <= value < 1),
    "fp32 or bf16": (("precision",), lambda value: value in ("fp32", "bf16")),
}


def _require_device(device: str) -> None:
    try:
        torch.zeros(
            1, device=str(device)
        ).item()  # "meta" makes tensors, but none that holds a number
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # a wrong name, no such device, a build without it
        raise ValueError(
            f"`device` must be one that torch can use here, got {device!r}. Take cpu."
        ) from error
