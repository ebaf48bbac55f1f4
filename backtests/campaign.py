"""The training of all folds, whatever happens on the way: finished folds are reused, lost ones are trained again."""
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from backtests.cluster import WORKER_DEATHS
from backtests.fingerprint import key_of
from backtests.state import RunState
from backtests.thresholds import Search
from backtests.walk_forward import Fold, FoldFailure, FoldModel, FoldTask, OnEpoch, train_folds
from model.training import TrainConfig

# A process that dies takes along what others do at that moment: who was at work at two deaths is from then on trained alone.
TOGETHER, TRIES = 2, 4
DIED = "the process that trained it died in every try (memory?)"

OnFold = Callable[[str, FoldModel, bool], None]


class FoldsFailed(RuntimeError):
    """Some folds could not be trained; all others are finished and kept."""

    exit_code = 8

    @classmethod
    def of(cls, lost: Sequence["Lost"], folds: int) -> "FoldsFailed":
        """Return the error that names what was lost of so many folds."""
        said = "; ".join(f"{one.label}: {one.reason}" for one in lost)
        return cls(f"{said}. {folds - len(lost)} of {folds} folds are kept; the same command tries the rest again.")


@dataclass(frozen=True, eq=False)
class Course:
    """The folds of one market under one set of settings, and where what is finished is kept.

    name: what messages call it by, "" where there is but one. config: with the shares of the plan.
    """

    bars: pd.DataFrame
    folds: Sequence[Fold]
    config: TrainConfig
    search: Search
    state: RunState
    name: str = ""

    def tasks(self) -> list[FoldTask]:
        """Return what there is to train."""
        return [FoldTask(self.bars, fold, self.config, self.search, f"{self.name} fold {fold.number}".strip())
                for fold in self.folds]


@dataclass(frozen=True)
class Lost:
    """A fold without an end, by the label of its task."""

    label: str
    reason: str


@dataclass
class _Work:
    """What is done and what is not, while it goes on."""

    tasks: Sequence[FoldTask]
    done: dict[FoldTask, FoldModel] = field(default_factory=dict)
    failed: dict[FoldTask, str] = field(default_factory=dict)
    deaths: Counter[FoldTask] = field(default_factory=Counter)

    def next_batch(self) -> list[FoldTask]:
        """Return what to train next: all that saw the fewest deaths, the innocent first; else one suspect alone."""
        waiting = [task for task in self.tasks if task not in self.done and task not in self.failed]
        together = [task for task in waiting if self.deaths[task] < TOGETHER]
        return sorted(together, key=lambda task: self.deaths[task]) or waiting[:1]

    def blame(self, suspects: Sequence[FoldTask]) -> None:
        """Count a death against the tasks that were at work."""
        self.deaths.update(suspects)
        self.failed |= {task: DIED for task in suspects if self.deaths[task] >= TRIES}


def train_all(courses: Sequence[Course], *, jobs: int = 1, on_epoch: OnEpoch | None = None,
              on_fold: OnFold) -> tuple[list[list[FoldModel] | None], list[Lost]]:
    """Return the models of each course in the order of its folds, None where one was lost, and what was lost.

    All missing folds of all courses are trained at the same time, and each is kept as soon as it is there. on_fold: called
    with a task's label, its model, and whether that was found finished. A fold that fails costs no other.
    """
    tasks = {course: course.tasks() for course in courses}
    keep = {task: _Place(course.state, key_of(task.fold.past(course.bars), course.config, course.search))
            for course, those in tasks.items() for task in those}
    work = _Work(list(keep))
    for task, place in keep.items():
        if model := place.state.finished(task.fold, place.key):
            work.done[task] = model
            on_fold(task.label, model, True)

    def train(batch: Sequence[FoldTask], started: list[FoldTask]) -> None:
        for task, outcome in train_folds(batch, jobs=jobs, on_epoch=on_epoch, on_start=started.append):
            if isinstance(outcome, FoldFailure):
                work.failed[task] = outcome.reason
                continue
            keep[task].state.keep(outcome, keep[task].key)
            work.done[task] = outcome
            on_fold(task.label, outcome, False)

    _insist(train, work)
    models = [[work.done[task] for task in those] if all(task in work.done for task in those) else None for those in tasks.values()]
    return models, [Lost(task.label, reason) for task, reason in work.failed.items()]


@dataclass(frozen=True)
class _Place:
    """Where a finished fold is kept, and under which key."""

    state: RunState
    key: str


def _insist(train: Callable[[Sequence[FoldTask], list[FoldTask]], None], work: _Work) -> None:
    """Train until each fold is done or has failed, whatever dies on the way."""
    while batch := work.next_batch():
        started: list[FoldTask] = []
        try:
            train(batch, started)
        except WORKER_DEATHS:
            work.blame([task for task in started if task not in work.done and task not in work.failed] or batch)
