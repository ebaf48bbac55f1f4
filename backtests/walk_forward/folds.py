"""Folds: laid over bars, each trained on its own past, then forecast and traded on its test."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel

from backtests.simulation.account import Account, Costs
from backtests.simulation.broker import Simulation, simulate
from backtests.walk_forward.importance import importance
from backtests.walk_forward.plan import FoldPlan as FoldPlan  # which lays the folds
from backtests.walk_forward.plan import Settings as Settings
from backtests.walk_forward.thresholds import Choice, Search, with_thresholds
from backtests.walk_forward.workers import (
    JoblibTask,
    Unsendable,
    dies_with_parent,
    here,
    require_sendable,
)
from model.bars.faults import count
from model.bars.read import require_bars, require_usual_spacing
from model.bars.universe import Bars
from model.checkpoint.checkpoint import Checkpoint
from model.errors import BarsError, OneClassError, Setting, TrainingDisturbed, TrainingDiverged
from model.labels.labelling import Labelling
from model.provenance import machine
from model.training.config import TrainConfig
from model.training.fitting import combine, fit
from model.training.loop import Epoch

FEWEST_DECISIONS = 50  # of all test blocks: below, no figure of the report says anything
OnEpoch = Callable[[str, Epoch], None]


@dataclass(frozen=True)
class Fold:
    """One fold, in bar positions.

    It learns from the decisions train .. test - 1 and is judged on test .. stop - 1. A decision
    falls at its bar's close; warm_up bars before a decision make its window.
    """

    number: int
    train: int
    test: int
    stop: int
    warm_up: int

    def past(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return all that the fold's model may see, its first window's warm-up included.

        It ends with the bar at whose close the first test decision is made. A label needs later
        bars: training leaves out the last windows, whose outcome is not known by then.
        """
        return bars.iloc[self.train - self.warm_up : self.test + 1]

    @property
    def checkpoint(self) -> str:
        """The name of its model's file."""
        return f"fold-{self.number:02d}.ckpt"

    def test_bars(self, bars: pd.DataFrame) -> pd.DataFrame:
        return bars.iloc[self.test - self.warm_up : self.stop]


@dataclass(frozen=True)
class FoldModel:
    """What a fold's training gave.

    checkpoint: None where there is no model, for the reason stated. choice: how its thresholds were
    chosen. importance: how much validation suffers without each group of features. machine: the
    libraries and the processor that trained it, which may be another computer.
    """

    fold: Fold
    checkpoint: Checkpoint | None
    choice: Choice = field(default_factory=Choice)
    reason: str = ""
    importance: Mapping[str, float] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.fold.checkpoint


@dataclass(frozen=True)
class Outcome:
    """What came of a task: a fold's model, a member's checkpoint, or why training failed.

    All three are absent for a member whose past lacks a class: nothing failed, and there is
    nothing.
    """

    model: FoldModel | None = None
    member: Checkpoint | None = None
    failure: str = ""


def lay_folds(bars: pd.DataFrame, plan: FoldPlan, config: TrainConfig) -> list[Fold]:
    """Cut the bars into folds, oldest first; BarsError where there are too few bars for the plan.

    With L = decisions // (folds + train_blocks), each test block and each train block holds L
    decisions; an anchored past has as many or more.
    """
    warm_up = config.lookback + config.sequence_length - 2
    blocks = plan.folds + plan.train_blocks
    # Bars needed with one setting as low as it can be: a refusal names only settings that help.
    least = {
        "folds": _bars_needed(replace(plan, folds=1), config),
        "batch_size": _bars_needed(plan, replace(config, batch_size=1)),
    }
    require_bars(
        bars,
        _bars_needed(plan, config),
        f"for {count(plan.folds, 'fold')} that each learn from {count(plan.train_blocks, 'block')}",
        [name for name, fewest in least.items() if fewest <= len(bars)],
    )
    require_usual_spacing(bars)
    # What the division leaves over lies at the start, with the oldest bars.
    length = (len(bars) - warm_up) // blocks
    if plan.folds * length < FEWEST_DECISIONS:
        raise BarsError(
            f"the test blocks must hold at least {FEWEST_DECISIONS} decisions in all, "
            f"got {plan.folds * length}: fewer show nothing. Give more bars, or lower ",
            Setting("train_blocks"),
            ".",
        )
    folds = []
    for later in reversed(range(plan.folds)):  # how many test blocks follow this one
        test = len(bars) - (later + 1) * length
        train = warm_up if plan.anchored else test - plan.train_blocks * length
        folds.append(Fold(plan.folds - later, train, test, test + length, warm_up))
    return folds


def _bars_needed(plan: FoldPlan, config: TrainConfig) -> int:
    """Return the fewest bars of which every fold's past holds a whole batch to train on."""
    warm_up = config.lookback + config.sequence_length - 2
    # A past is its decisions with the warm-up before them and the bar of the first test decision.
    decisions = plan.training(config).preprocessor.bars_needed(config.batch_size) - warm_up - 1
    length = max(1, math.ceil(decisions / plan.train_blocks))
    return warm_up + (plan.folds + plan.train_blocks) * length


@dataclass(frozen=True, eq=False)
class MemberTask:
    """A member of a fold's model to be trained by itself.

    past: the bars that it may see. config: of this one member, with the shares of the plan
    (`FoldPlan.training`). label: how progress and messages call it.
    """

    past: Bars
    config: TrainConfig
    label: str

    def call(self) -> Callable[..., Outcome]:
        """Return what is to be done, with as few bars as it needs, to be sent to any process."""
        return partial(train_member, self.past, self.config)


@dataclass(frozen=True, eq=False)
class FoldTask:
    """A fold's model to be made.

    past: the bars that it may see. search: how thresholds are chosen. members: gives the members'
    checkpoints when its turn comes; () to train them with it.
    """

    past: Bars
    fold: Fold
    config: TrainConfig
    search: Search
    label: str
    members: Callable[[], Sequence[Checkpoint]] = tuple

    def call(self) -> Callable[..., Outcome]:
        """Return what is to be done, with as few bars as it needs, to be sent to any process."""
        members = tuple(self.members())
        return partial(train_fold, self.past, self.fold, self.config, self.search, members)


Task = MemberTask | FoldTask


def train_tasks(
    tasks: Sequence[Task],
    *,
    jobs: int = 1,
    on_epoch: OnEpoch | None = None,
    on_start: Callable[[Task], None] | None = None,
) -> Iterator[tuple[Task, Outcome]]:
    """Do each task and yield it with what came of it as soon as that is there, in any order.

    jobs: processes; each computes on its own, so the models do not depend on it. on_epoch: called
    with the task's label in the process that trains. on_start: called here when a task is handed
    on.
    """

    def calls() -> Iterator[JoblibTask]:
        for position, task in enumerate(tasks):
            if on_start is not None:
                on_start(task)
            report = partial(on_epoch, task.label) if on_epoch else None
            # Results come in any order: each carries the position of its task.
            yield dies_with_parent(_outcome, position, here(), task.call(), report)

    # Bars are small: sending them is simpler, and safer in a full /tmp, than the memory maps that
    # joblib makes of them. A single task still gets a process of its own, unless one process is all
    # there may be.
    parallel = Parallel(
        n_jobs=min(jobs, max(2, len(tasks))), return_as="generator_unordered", max_nbytes=None
    )
    for position, outcome in parallel(calls()):
        yield tasks[position], outcome


def _outcome(
    position: int,
    owner: tuple[str, int],
    train: Callable[..., Outcome],
    on_epoch: Callable[[Epoch], None] | None,
) -> tuple[int, Outcome]:
    """Train in a process that may be another; return what came of it beside the task's position.

    owner: the process that asked for it. A training that fails gives an outcome that says so.
    """
    try:
        outcome = train(on_epoch=on_epoch)
        require_sendable(outcome, owner)
        return position, outcome
    except (BarsError, TrainingDisturbed, TrainingDiverged, Unsendable) as error:
        # An error raised here would end all other tasks with this one.
        return position, Outcome(failure=str(error))


def train_member(
    past: Bars, config: TrainConfig, on_epoch: Callable[[Epoch], None] | None = None
) -> Outcome:
    """Train one member on a fold's past.

    A past in which a part lacks a class gives nothing: the fold's own task meets the same and says
    why there is no model.
    """
    try:
        return Outcome(member=fit(past, config, on_epoch))
    except OneClassError:
        return Outcome()


def train_fold(
    past: Bars,
    fold: Fold,
    config: TrainConfig,
    search: Search,
    members: Sequence[Checkpoint] = (),
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Outcome:
    """Train on a fold's past, or combine its trained members, and choose thresholds there.

    A past in which a part lacks a class gives a fold without a checkpoint, which stays out.
    """
    try:
        checkpoint = combine(members, past, config) if members else fit(past, config, on_epoch)
    except OneClassError as error:
        return Outcome(FoldModel(fold, None, reason=str(error), machine=machine()))
    weights = importance(checkpoint, past, config)
    model = FoldModel(fold, checkpoint, importance=weights, machine=machine())
    return Outcome(choose_anew(model, past, search))


def choose_anew(model: FoldModel, past: Bars, search: Search) -> FoldModel:
    """Return the model with the thresholds that this search chooses; its weights stay."""
    if model.checkpoint is None:
        return model
    checkpoint, choice = with_thresholds(model.checkpoint, past, search)
    return replace(model, checkpoint=checkpoint, choice=choice)


def predictions(
    bars: pd.DataFrame, models: Sequence[FoldModel], config: TrainConfig
) -> pd.DataFrame:
    """Return every test decision with its forecast and what became of it.

    One row per decision of all test blocks, in order: its fold, when it is made, when its trade
    opens, when its outcome is known, the probability, the label and the model's file. What is not
    known (no model, after the last bar) is missing.
    """
    timestamps, labels = pd.Series(bars.index), config.labelling.labels(bars)
    blocks = []
    # Each model is asked about its own test block alone, with no bar after it.
    for model in models:
        decided = bars.index[model.fold.test : model.fold.stop]
        if model.checkpoint is None:
            forecast, name = pd.Series(np.nan, index=decided), None
        else:
            forecast, name = model.checkpoint.probabilities(model.fold.test_bars(bars)), model.name
        block = {"fold": model.fold.number, "probability": forecast, "checkpoint": name}
        blocks.append(pd.DataFrame(block, index=decided))
    forecasts = pd.concat(blocks)
    frame = pd.DataFrame(
        {
            "fold": forecasts["fold"].reindex(bars.index).to_numpy(),
            "decided_at": timestamps,
            "opens_at": timestamps.shift(-1),
            "known_at": timestamps.reindex(labels.known).to_numpy(),
            "probability": forecasts["probability"].reindex(bars.index).to_numpy(),
            "label": labels.values,
            "checkpoint": forecasts["checkpoint"].reindex(bars.index).to_numpy(),
        }
    )
    return frame.iloc[models[0].fold.test :].reset_index(drop=True).astype({"fold": int})


def trade(
    bars: pd.DataFrame,
    models: Sequence[FoldModel],
    folder: Path,
    *,
    account: Account = Account(),
    costs: Costs = Costs(),
    traded: Labelling | None = None,
) -> Simulation:
    """Trade all test blocks in one continuous run over the folder of checkpoints.

    A fold without a model stays out of the market.
    """
    vacant = [range(model.fold.test, model.fold.stop) for model in models if not model.checkpoint]
    # A folder without any checkpoint cannot be traded: no forecast on any bar comes to the same.
    no_model = len(vacant) == len(models)
    source = pd.Series(np.nan, index=bars.index) if no_model else folder
    return simulate(
        bars,
        source,
        models[0].fold.test,
        account=account,
        costs=costs,
        vacant=vacant,
        traded=traded,
    )
