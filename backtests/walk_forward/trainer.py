"""The training of all folds, whatever happens on the way: what is finished is reused, what was lost is trained again."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from backtests.walk_forward.fingerprint import key_of
from backtests.walk_forward.folds import (
    Failure,
    Fold,
    FoldModel,
    FoldTask,
    MemberTask,
    OnEpoch,
    Task,
    train_tasks,
)
from backtests.walk_forward.store import MemberStore, RunState
from backtests.walk_forward.thresholds import Search
from backtests.walk_forward.workers import WORKER_DEATHS
from model.checkpoint.checkpoint import Checkpoint
from model.training.config import TrainConfig, member_configs

# A process that dies takes along what others do at that moment: what was at work at two deaths is from then on trained alone.
TOGETHER, TRIES = 2, 4
DIED = "the process that trained it died in every try (memory?)"

# Told of a task's label, its outcome (None: a member whose past lacks a class), and whether that was found finished.
OnDone = Callable[[str, FoldModel | Checkpoint | None, bool], None]
Keep = Callable[[Any], object]


class FoldsFailed(RuntimeError):
    """Some folds could not be trained; all others are finished and kept."""

    exit_code = 8

    @classmethod
    def of(cls, lost: Sequence["Lost"], folds: int) -> "FoldsFailed":
        """Return the error that names what was lost of so many folds."""
        said = "; ".join(f"{one.label}: {one.reason}" for one in lost)
        return cls(
            f"{said}. {folds - len(lost)} of {folds} folds are kept; the same command tries the rest again."
        )


@dataclass(frozen=True)
class Lost:
    """A fold without an end, by the label of its task."""

    label: str
    reason: str


@dataclass(frozen=True, eq=False)
class Course:
    """The folds of one market under one set of settings, and where what is finished is kept.

    config: with the shares of the plan. members: where the members of folds that have several are kept, for all courses over
    this market. market, variant: what messages call it by, "" where there is but one.
    """

    bars: pd.DataFrame
    folds: Sequence[Fold]
    config: TrainConfig
    search: Search
    state: RunState
    members: MemberStore
    market: str = ""
    variant: str = ""

    def models(self) -> list[FoldModel] | None:
        """Return the finished models in the order of the folds; None where one is missing."""
        found = [job.finished() for job in self.jobs()]
        models = [model for model in found if model is not None]
        return models if len(models) == len(found) else None

    def jobs(self) -> list["Job"]:
        """Return what there is to do, finished or not."""
        return [
            Job(self, fold, key_of(fold.past(self.bars), self.config, self.search))
            for fold in self.folds
        ]


@dataclass(frozen=True, eq=False)
class Job:
    """A fold of a course with the key of its model."""

    course: Course
    fold: Fold
    key: str

    @property
    def label(self) -> str:
        """What messages call it by."""
        return self._called(self.course.market, self.course.variant, f"fold {self.fold.number}")

    def finished(self) -> FoldModel | None:
        """Return its model, if it is there."""
        return self.course.state.finished(self.fold, self.key)

    def keep(self, model: FoldModel) -> None:
        """Keep its model."""
        self.course.state.keep(model, self.key)

    def members(self) -> dict[str, MemberTask]:
        """Return the task of each member by the key of all that decides it."""
        past, bars = self.fold.past(self.course.bars), self.course.bars
        return {
            key_of(past, single): MemberTask(
                bars,
                self.fold,
                single,
                self._called(self.course.market, f"fold {self.fold.number}", single.member),
            )
            for single in member_configs(self.course.config)
        }

    def task(self, members: Sequence[str]) -> FoldTask:
        """Return the task, which takes the members with these keys if all of them are there when its turn comes."""
        course = self.course
        return FoldTask(
            course.bars,
            self.fold,
            course.config,
            course.search,
            self.label,
            partial(course.members.all_of, members),
        )

    @staticmethod
    def _called(*names: str) -> str:
        return " ".join(name for name in names if name)


def train_all(
    courses: Sequence[Course],
    *,
    jobs: int = 1,
    on_epoch: OnEpoch | None = None,
    on_done: OnDone,
    on_more: Callable[[int], object] = bool,
) -> list[Lost]:
    """Train what is missing of all courses, each kept as soon as it is there, and return the folds that were lost.

    First the members of folds that have several, each once for all courses, then the folds. A fold that fails costs no other.
    on_more: told once how many members there are to train beside the folds.
    """
    crew = _Crew(jobs, on_epoch, on_done)
    missing = list(_unfinished(courses, on_done))
    members = {job: job.members() for job in missing if len(member_configs(job.course.config)) > 1}
    shared = {key for those in members.values() for key in those}
    members |= {
        job: those
        for job in missing
        if job not in members and (those := job.members()).keys() & shared
    }
    on_more(len({key for those in members.values() for key in those}))
    failed = crew.train_members(members)
    lost = {
        job: reason
        for job, those in members.items()
        for key in those
        if (reason := failed.get(key))
    }
    tasks: dict[Task, Job] = {
        job.task(tuple(members.get(job, ()))): job for job in missing if job not in lost
    }
    reasons = crew.train({task: job.keep for task, job in tasks.items()})
    lost |= {tasks[task]: reason for task, reason in reasons.items()}
    return [Lost(job.label, lost[job]) for job in missing if job in lost]


def _unfinished(courses: Sequence[Course], on_done: OnDone) -> Iterator[Job]:
    """Yield the jobs that are not finished, and lay the member of each finished fold that has one where others find it."""
    together = any(len(member_configs(course.config)) > 1 for course in courses)
    for course in courses:
        for job in course.jobs():
            model = job.finished()
            if model is None:
                yield job
                continue
            if together and model.checkpoint and len(model.checkpoint.members) == 1:
                [key] = job.members()
                course.members.keep_once(key, model.checkpoint)
            on_done(job.label, model, True)


@dataclass
class _Crew:
    """Does tasks, whatever dies on the way."""

    jobs: int
    on_epoch: OnEpoch | None
    on_done: OnDone

    def train_members(self, members: Mapping[Job, Mapping[str, MemberTask]]) -> dict[str, str]:
        """Train each member once; return by key why some could not be."""
        wanted: dict[str, tuple[MemberTask, MemberStore]] = {}
        for job, those in members.items():
            for key, task in those.items():
                wanted.setdefault(key, (task, job.course.members))
        found = {key for key, (_, store) in wanted.items() if store.has(key)}
        for key in found:
            self.on_done(wanted[key][0].label, wanted[key][1].find(key), True)
        keys = {task: key for key, (task, _) in wanted.items() if key not in found}
        keeps: dict[Task, Keep] = {
            task: partial(wanted[key][1].keep_once, key) for task, key in keys.items()
        }
        return {keys[task]: f"{task.label}: {reason}" for task, reason in self.train(keeps).items()}  # type: ignore[index]

    def train(self, keeps: Mapping[Task, Keep]) -> dict[Task, str]:
        """Do the tasks and keep what comes of each; return why some came to nothing."""
        work = _Work(list(keeps))
        while batch := work.next_batch():
            started: list[Task] = []
            try:
                for task, outcome in train_tasks(
                    batch, jobs=self.jobs, on_epoch=self.on_epoch, on_start=started.append
                ):
                    self._take(task, outcome, work, keeps[task])
            except WORKER_DEATHS:
                work.blame([task for task in started if task in work.waiting] or batch)
        return work.failed

    def _take(
        self,
        task: Task,
        outcome: FoldModel | Checkpoint | Failure | None,
        work: "_Work",
        keep: Keep,
    ) -> None:
        del work.waiting[task]
        if isinstance(outcome, Failure):
            work.failed[task] = outcome.reason
            return
        if outcome is not None:
            keep(outcome)
        self.on_done(task.label, outcome, False)


class _Work:
    """What is neither done nor failed, in order, and the deaths that each task has seen."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.waiting: dict[Task, None] = dict.fromkeys(tasks)
        self.failed: dict[Task, str] = {}
        self.deaths: Counter[Task] = Counter()

    def next_batch(self) -> list[Task]:
        """Return what to do next: all that saw few deaths, the innocent first; else one suspect alone."""
        together = [task for task in self.waiting if self.deaths[task] < TOGETHER]
        return sorted(together, key=lambda task: self.deaths[task]) or list(self.waiting)[:1]

    def blame(self, suspects: Sequence[Task]) -> None:
        """Count a death against the tasks that were at work."""
        self.deaths.update(suspects)
        for task in suspects:
            if self.deaths[task] >= TRIES:
                self.failed[task] = DIED
                del self.waiting[task]
