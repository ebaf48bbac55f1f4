"""Walk-forward: lay the folds, train a model for each on its own past, and collect what each said in its test block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel

from backtests.simulation.account import BASIS_POINT, Account, Costs, Simulation, simulate
from backtests.walk_forward.fingerprint import machine
from backtests.walk_forward.importance import importance
from backtests.walk_forward.thresholds import Choice, Search, with_thresholds
from backtests.walk_forward.workers import Unsendable, here, require_sendable, tethered
from model.bars.read import require_bars
from model.checkpoint.checkpoint import Checkpoint
from model.errors import BarsError, OneClassError, Setting, TrainingDiverged
from model.features.table import LOOKBACK
from model.labels import known_after, make_labels
from model.training.config import TrainConfig
from model.training.fitting import combine, fit
from model.training.loop import Epoch

FEWEST_DECISIONS = 50
OnEpoch = Callable[[str, Epoch], None]


@dataclass(frozen=True)
class FoldPlan:
    """How the bars are cut into folds; every field is a flag of the command.

    Parameters
    ----------
    folds
        Test blocks; they adjoin, and the last one ends on the last bar.
    train_blocks
        Length of the past that each fold learns from, in test blocks.
    validation_share
        Share of that past, its tail, that chooses the epoch, the calibration and the thresholds.
    fewest_trades
        Round trips on validation from which a pair of thresholds may be chosen; .50/.50 where no pair makes as many.
    anchored
        Let every fold's past begin on the first bar, so that it grows, rather than move along.
    """

    folds: int = 8
    train_blocks: int = 8
    validation_share: float = 0.2
    fewest_trades: int = 10
    anchored: bool = False

    def __post_init__(self) -> None:
        counts = {
            "folds": self.folds,
            "train_blocks": self.train_blocks,
            "fewest_trades": self.fewest_trades,
        }
        faults = [
            f"`{name}` must be at least 1, got {count}."
            for name, count in counts.items()
            if count < 1
        ]
        if not 0 < self.validation_share < 1:
            faults.append(
                f"`validation_share` must lie between 0 and 1, got {self.validation_share}."
            )
        if faults:
            raise ValueError(" ".join(faults))

    def search(self, account: Account, costs: Costs) -> Search:
        """Return how each fold chooses its thresholds."""
        return Search(costs.per_side * BASIS_POINT, account.allow_short, self.fewest_trades)

    def training(self, config: TrainConfig) -> TrainConfig:
        """Return the settings with this plan's shares: all of a fold's past is training or validation."""
        return replace(
            config, train=round(1 - self.validation_share, 12), validation=self.validation_share
        )


@dataclass(frozen=True)
class Settings:
    """All that decides a walk-forward over given bars. config: with the shares of the plan (`FoldPlan.training`)."""

    plan: FoldPlan = FoldPlan()
    config: TrainConfig = FoldPlan().training(TrainConfig())
    account: Account = Account()
    costs: Costs = Costs()


@dataclass(frozen=True)
class Fold:
    """One fold, in bar positions: learns from the decisions train .. test - 1 and is judged on test .. stop - 1.

    A decision falls at its bar's close. warm_up bars before a decision make its window.
    """

    number: int
    train: int
    test: int
    stop: int
    warm_up: int

    def past(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return all that the fold's model may see: from the warm-up of its first window to its first test decision."""
        return bars.iloc[self.train - self.warm_up : self.test + 1]

    def test_bars(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the bars of the test decisions with the warm-up of the first."""
        return bars.iloc[self.test - self.warm_up : self.stop]


@dataclass(frozen=True)
class FoldModel:
    """What a fold's training gave: a checkpoint, how its thresholds were chosen and what it looks at, or why there is none.

    machine: the libraries and the processor that trained it.
    """

    fold: Fold
    checkpoint: Checkpoint | None
    choice: Choice = Choice()
    reason: str = ""
    importance: Mapping[str, float] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The checkpoint's file name."""
        return f"fold-{self.fold.number:02d}.ckpt"


def lay_folds(bars: pd.DataFrame, plan: FoldPlan, config: TrainConfig) -> list[Fold]:
    """Cut the bars into folds, oldest first; BarsError where there are too few bars for the plan.

    With L = decisions // (folds + train_blocks), each test block and each train block holds L decisions; an anchored
    past has as many or more.
    """
    warm_up = LOOKBACK + config.sequence_length - 2
    blocks = plan.folds + plan.train_blocks
    least = {
        "folds": _bars_needed(replace(plan, folds=1), config),
        "batch_size": _bars_needed(plan, replace(config, batch_size=1)),
    }
    require_bars(
        bars,
        _bars_needed(plan, config),
        f"for {plan.folds} folds that each learn from {plan.train_blocks} blocks",
        [name for name, fewest in least.items() if fewest <= len(bars)],
    )
    length = (len(bars) - warm_up) // blocks
    if plan.folds * length < FEWEST_DECISIONS:
        raise BarsError(
            f"the test blocks must hold at least {FEWEST_DECISIONS} decisions in all, got {plan.folds * length}: "
            "fewer show nothing. Give more bars, or lower ",
            Setting("train_blocks"),
            ".",
        )
    tests = [len(bars) - (plan.folds - number) * length for number in range(plan.folds)]
    return [
        Fold(
            number,
            warm_up if plan.anchored else test - plan.train_blocks * length,
            test,
            test + length,
            warm_up,
        )
        for number, test in enumerate(tests, 1)
    ]


def _bars_needed(plan: FoldPlan, config: TrainConfig) -> int:
    warm_up = LOOKBACK + config.sequence_length - 2
    past = plan.training(config).preprocessor.bars_needed(config.batch_size) - warm_up - 1
    return warm_up + (plan.folds + plan.train_blocks) * max(1, -(-past // plan.train_blocks))


@dataclass(frozen=True, eq=False)
class MemberTask:
    """A member of a fold's model to be trained by itself. config: of this one, with the shares of the plan
    (`FoldPlan.training`). label: how progress and messages call it."""

    bars: pd.DataFrame
    fold: Fold
    config: TrainConfig
    label: str

    def call(self) -> tuple[Callable[..., Checkpoint | None], tuple[Any, ...]]:
        """Return what is to be done, wherever that is, and with what."""
        return train_member, (self.fold.past(self.bars), self.config)


@dataclass(frozen=True, eq=False)
class FoldTask:
    """A fold's model to be made. search: how thresholds are chosen. members: gives the members' checkpoints when its turn
    comes; () to train them with it."""

    bars: pd.DataFrame
    fold: Fold
    config: TrainConfig
    search: Search
    label: str
    members: Callable[[], Sequence[Checkpoint]] = tuple

    def call(self) -> tuple[Callable[..., FoldModel], tuple[Any, ...]]:
        """Return what is to be done, wherever that is, and with what."""
        return train_fold, (
            self.fold.past(self.bars),
            self.fold,
            self.config,
            self.search,
            tuple(self.members()),
        )


Task = MemberTask | FoldTask


class Failure(NamedTuple):
    """A training that came to nothing, and why."""

    reason: str


def train_tasks(
    tasks: Sequence[Task],
    *,
    jobs: int = 1,
    on_epoch: OnEpoch | None = None,
    on_start: Callable[[Task], object] = bool,
) -> Iterator[tuple[Task, FoldModel | Checkpoint | Failure | None]]:
    """Do each task and yield it with what came of it as soon as that is there, in any order.

    jobs: processes; each computes on its own, so the models do not depend on it. on_epoch: called with the task's label in
    the process that trains. on_start: called here when a task is handed on.
    """

    def calls() -> Iterator[Any]:
        for number, task in enumerate(tasks):
            on_start(task)
            yield tethered(
                _outcome,
                number,
                here(),
                *task.call(),
                partial(on_epoch, task.label) if on_epoch else None,
            )

    # Bars are small: sending them is simpler, and safer in a full /tmp, than the memory maps that joblib makes of them.
    # A single task still gets a process of its own, unless one process is all there may be.
    parallel = Parallel(
        n_jobs=min(jobs, max(2, len(tasks))), return_as="generator_unordered", max_nbytes=None
    )
    for number, outcome in parallel(calls()):
        yield tasks[number], outcome


def _outcome(
    number: int,
    owner: tuple[str, int],
    train: Callable[..., Any],
    given: tuple[Any, ...],
    on_epoch: Any,
) -> tuple[int, Any]:
    """Train in a process that may be another, and return what came of it beside the task's number."""
    try:
        outcome = train(*given, on_epoch=on_epoch)
        require_sendable(outcome, owner)
        return number, outcome
    except (TrainingDiverged, Unsendable) as error:
        return number, Failure(str(error))


def train_member(
    past: pd.DataFrame, config: TrainConfig, on_epoch: Callable[[Epoch], None] | None = None
) -> Checkpoint | None:
    """Train one member on a fold's past; None where a part of it lacks a class."""
    try:
        return fit(past, config, on_epoch)
    except OneClassError:
        return None


def train_fold(
    past: pd.DataFrame,
    fold: Fold,
    config: TrainConfig,
    search: Search,
    members: Sequence[Checkpoint] = (),
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> FoldModel:
    """Train on a fold's past, or put its trained members together, and choose thresholds there; a past in which a part lacks
    a class gives no model."""
    try:
        checkpoint = combine(members, past, config) if members else fit(past, config, on_epoch)
    except OneClassError as error:
        return FoldModel(fold, None, reason=str(error), machine=machine())
    checkpoint, choice = with_thresholds(checkpoint, past, search)
    return FoldModel(
        fold,
        checkpoint,
        choice,
        importance=importance(checkpoint, past, config.precision),
        machine=machine(),
    )


def predictions(
    bars: pd.DataFrame, models: Sequence[FoldModel], config: TrainConfig
) -> pd.DataFrame:
    """Return every test decision: when it is made, when its trade opens and its outcome is known, what was said by which model.

    One row per decision of all test blocks, in order; what is not known (no model, after the last bar) is missing.
    """
    stamps = pd.Series(bars.index)
    said = pd.concat([_said(bars, model) for model in models])
    frame = pd.DataFrame(
        {
            "decided_at": stamps,
            "opens_at": stamps.shift(-1),
            "known_at": stamps.shift(-known_after(config.label, config.horizon)),
            "probability": said["probability"].reindex(bars.index).to_numpy(),
            "label": make_labels(bars, config.label, config.horizon).shift(-1).to_numpy(),
            "checkpoint": said["checkpoint"].reindex(bars.index).to_numpy(),
        }
    )
    return frame.iloc[models[0].fold.test :].reset_index(drop=True)


def _said(bars: pd.DataFrame, model: FoldModel) -> pd.DataFrame:
    decided = bars.index[model.fold.test : model.fold.stop]
    if model.checkpoint is None:
        return pd.DataFrame({"probability": np.nan, "checkpoint": None}, index=decided)
    probability = model.checkpoint.probabilities(model.fold.test_bars(bars))
    return pd.DataFrame({"probability": probability, "checkpoint": model.name}, index=decided)


def trade(
    bars: pd.DataFrame,
    models: Sequence[FoldModel],
    folder: Path,
    *,
    account: Account = Account(),
    costs: Costs = Costs(),
) -> Simulation:
    """Trade all test blocks in one continuous run over the folder of checkpoints; a fold without a model stays out."""
    vacant = [range(model.fold.test, model.fold.stop) for model in models if not model.checkpoint]
    nothing = len(vacant) == len(models)
    source = pd.Series(np.nan, index=bars.index) if nothing else folder
    return simulate(bars, source, models[0].fold.test, account=account, costs=costs, vacant=vacant)
