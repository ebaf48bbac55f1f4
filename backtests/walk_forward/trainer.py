"""The training of all folds: what is finished is reused, what a dead process lost is trained again.

A configuration (settings tried on an instrument) has a job for each of its folds. A job is one task
of the trainer's, after a task for each member where the fold's model has several.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from backtests.walk_forward.fingerprint import key_of
from backtests.walk_forward.folds import (
    Fold,
    FoldModel,
    FoldTask,
    MemberTask,
    OnEpoch,
    Outcome,
    Settings,
    Task,
    choose_anew,
    train_tasks,
)
from backtests.walk_forward.ledger import Trial
from backtests.walk_forward.store import Keys, MemberStore, RunState
from backtests.walk_forward.workers import WORKER_DEATHS
from model.bars.faults import count
from model.bars.universe import Bars
from model.training.config import TrainConfig, member_configs

# A process that dies takes along what others do at that moment: a task that was at work at two
# deaths is from then on trained alone, and given up after four.
TOGETHER, TRIES = 2, 4
DIED = "the process that trained it died in every try (memory?)"

# Where an outcome is from: this run trained it; an earlier one finished it; an earlier one trained
# it under other costs, and its thresholds were chosen anew.
Origin = Literal["trained", "found finished", "network found, thresholds chosen anew"]
TRAINED: Origin = "trained"
FOUND: Origin = "found finished"
CHOSEN_ANEW: Origin = "network found, thresholds chosen anew"
# Called with a task's label and its outcome.
OnDone = Callable[[str, Outcome, Origin], None]
Keep = Callable[[Task, Outcome], None]


class FoldsFailed(RuntimeError):
    """Some folds could not be trained; all others are finished and kept."""

    exit_code = 8

    @classmethod
    def of(cls, lost: Sequence["Lost"], folds: int) -> "FoldsFailed":
        """Return the error that names what was lost of so many folds."""
        reasons = "; ".join(f"{one.label}: {one.reason.rstrip('.')}" for one in lost)
        return cls(
            f"{reasons}. Kept: {folds - len(lost)} of {count(folds, 'fold')}; "
            "the same command tries the rest again."
        )


@dataclass(frozen=True)
class Lost:
    """A fold that could not be trained, by the label of its task."""

    label: str
    reason: str


@dataclass(frozen=True, eq=False)
class Configuration:
    """Settings tried on an instrument, or a universe: what is to be trained, and where it is kept.

    pasts: the bars that the model of each of the folds may see. members: shared with all
    configurations of this instrument. instrument, name: what messages call it by, "" where there is
    but one. key: the digest of all that decides its results. tried: all else that was tried on
    the instrument and interval, as the ledger held it at the start. configs: how each fold is
    trained, where a search chose for each by itself.
    """

    pasts: Sequence[Bars]
    folds: Sequence[Fold]
    settings: Settings
    state: RunState
    members: MemberStore
    instrument: str = ""
    name: str = ""
    key: str = ""
    tried: tuple[Trial, ...] = ()
    configs: tuple[TrainConfig, ...] = ()

    def jobs(self) -> list["FoldJob"]:
        search = self.settings.search
        configs = self.configs or [self.settings.config] * len(self.folds)
        return [
            FoldJob(
                self, fold, past, config, Keys(key_of(past, config), key_of(past, config, search))
            )
            for fold, past, config in zip(self.folds, self.pasts, configs, strict=True)
        ]

    def models(self) -> list[FoldModel] | None:
        """Return the finished models in the order of the folds; None where one is missing."""
        found = [job.finished() for job in self.jobs()]
        models = [model for model in found if model is not None]
        return models if len(models) == len(found) else None


@dataclass(frozen=True, eq=False)
class FoldJob:
    """A fold of a configuration with the bars that its model may see, and the keys of the model."""

    configuration: Configuration
    fold: Fold
    past: Bars
    config: TrainConfig
    keys: Keys

    @property
    def label(self) -> str:
        # A run over one instrument with one architecture says "fold 1" alone.
        names = (self.configuration.instrument, self.configuration.name, f"fold {self.fold.number}")
        return " ".join(filter(None, names))

    def finished(self) -> FoldModel | None:
        return self.configuration.state.finished(self.fold, self.keys)

    def chosen_anew(self) -> FoldModel | None:
        """Return the fold's model, kept, with new thresholds, if its network is there."""
        own = self.configuration
        model = own.state.trained(self.fold, self.keys.trained)
        if model is None:
            return None
        model = choose_anew(model, self.past, own.settings.search)
        own.state.keep(model, self.keys)
        return model

    def keep(self, outcome: Outcome) -> None:
        if outcome.model is not None:
            self.configuration.state.keep(outcome.model, self.keys)

    def members(self) -> dict[str, MemberTask]:
        """Return the task of each member by the key of all that decides it."""
        tasks = {}
        for single in member_configs(self.config):
            # All configurations of an instrument share it: its label names none of them.
            names = (self.configuration.instrument, f"fold {self.fold.number}", single.member)
            label = " ".join(filter(None, names))
            tasks[key_of(self.past, single)] = MemberTask(self.past, single, label)
        return tasks

    def task(self, members: Sequence[str]) -> FoldTask:
        """Return the task, which takes the members with these keys if all are there at its turn.

        Members are trained after the task is made, and one whose past lacks a class never comes.
        """
        own = self.configuration
        return FoldTask(
            self.past,
            self.fold,
            self.config,
            own.settings.search,
            self.label,
            partial(own.members.find_all, members),
        )


def train_all(
    configurations: Sequence[Configuration],
    *,
    jobs: int = 1,
    on_epoch: OnEpoch | None = None,
    on_done: OnDone,
    on_more: Callable[[int], None] | None = None,
) -> list[Lost]:
    """Train what is missing of all configurations; return the folds that were lost.

    First come the members of folds that have several, each once for all configurations, then the
    folds. Each is kept as soon as it is there, and a fold that fails costs no other. on_more: takes
    once the number of members to train beside the folds.
    """
    trainer = Trainer(jobs, on_epoch, on_done)
    missing = list(_unfinished(configurations, on_done))
    members = _members_apart(missing)
    if on_more is not None:
        on_more(len({key for those in members.values() for key in those}))
    failed = trainer.train_members(members)
    lost: dict[FoldJob, str] = {}
    tasks: dict[Task, FoldJob] = {}
    for job in missing:
        keys = list(members.get(job, ()))
        # A fold whose member failed is not tried: it would be another model than asked for.
        if reasons := [failed[key] for key in keys if key in failed]:
            lost[job] = reasons[-1]
        else:
            tasks[job.task(keys)] = job

    def keep(task: Task, outcome: Outcome) -> None:
        tasks[task].keep(outcome)

    for task, reason in trainer.train(list(tasks), keep).items():
        lost[tasks[task]] = reason
    return [Lost(job.label, lost[job]) for job in missing if job in lost]


def _unfinished(configurations: Sequence[Configuration], on_done: OnDone) -> Iterator[FoldJob]:
    """Yield the jobs that are to be trained, and report those that are not.

    The single member of a finished fold is laid where other configurations find it.
    """
    several = any(len(member_configs(one.settings.config)) > 1 for one in configurations)
    for configuration in configurations:
        for job in configuration.jobs():
            model, origin = job.finished(), FOUND
            if model is None:
                model, origin = job.chosen_anew(), CHOSEN_ANEW
            if model is None:
                yield job
                continue
            # An earlier run with one member kept it in the fold's checkpoint alone.
            if several and model.checkpoint and len(model.checkpoint.members) == 1:
                [key] = job.members()
                configuration.members.keep(key, model.checkpoint)
            on_done(job.label, Outcome(model), origin)


def _members_apart(jobs: Sequence[FoldJob]) -> dict[FoldJob, dict[str, MemberTask]]:
    """Return the members to be trained by themselves, of each job that has such.

    They are those of folds that have several; and the single one of a fold that another
    configuration needs too, so that it is trained once.
    """
    of_each = {job: job.members() for job in jobs}
    several = {job: members for job, members in of_each.items() if len(members) > 1}
    wanted = {key for members in several.values() for key in members}
    single = {
        job: members
        for job, members in of_each.items()
        if job not in several and members.keys() & wanted
    }
    return several | single


@dataclass(frozen=True)
class Trainer:
    """Does tasks in processes, whichever of them die on the way."""

    jobs: int
    on_epoch: OnEpoch | None
    on_done: OnDone

    def train_members(self, members: Mapping[FoldJob, Mapping[str, MemberTask]]) -> dict[str, str]:
        """Train each member that is not there, once; return by key why some could not be."""
        wanted: dict[str, tuple[MemberTask, MemberStore]] = {}
        for job, of_job in members.items():
            for key, task in of_job.items():
                # The first job that needs it names it; the others find it in the store.
                wanted.setdefault(key, (task, job.configuration.members))
        missing: dict[Task, tuple[str, MemberStore]] = {}
        for key, (task, store) in wanted.items():
            if found := store.find(key):
                self.on_done(task.label, Outcome(member=found), FOUND)
            else:
                missing[task] = key, store

        def keep(task: Task, outcome: Outcome) -> None:
            if outcome.member is not None:  # a past that lacks a class gives none
                key, store = missing[task]
                store.keep(key, outcome.member)

        failed = self.train(list(missing), keep)
        return {missing[task][0]: f"{task.label}: {reason}" for task, reason in failed.items()}

    def train(self, tasks: Sequence[Task], keep: Keep) -> dict[Task, str]:
        """Do the tasks and keep what comes of each; return why some came to nothing.

        When a process dies, joblib ends all others with it: what was not done is tried again, the
        suspects last.
        """
        queue = Queue(tasks)
        while batch := queue.next_batch():
            started: list[Task] = []
            try:
                for task, outcome in train_tasks(
                    batch, jobs=self.jobs, on_epoch=self.on_epoch, on_start=started.append
                ):
                    del queue.waiting[task]
                    if outcome.failure:
                        queue.failed[task] = outcome.failure
                        continue
                    # Kept before it is reported: a run that is killed has lost nothing it told of.
                    keep(task, outcome)
                    self.on_done(task.label, outcome, TRAINED)
            except WORKER_DEATHS:
                # joblib does not say which process died: all that had begun are suspects.
                suspects = [task for task in started if task in queue.waiting]
                queue.blame(suspects or [task for task in batch if task in queue.waiting])
        return queue.failed


class Queue:
    """The tasks that are neither done nor failed, in order, and the deaths that each has seen."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.waiting: dict[Task, None] = dict.fromkeys(tasks)
        self.failed: dict[Task, str] = {}
        self.deaths: Counter[Task] = Counter()

    def next_batch(self) -> list[Task]:
        """Return what to do next: all that saw few deaths, the fewest first; else one task alone.

        Alone, a task that kills its process (of too little memory, say) takes no other along.
        """
        together = [task for task in self.waiting if self.deaths[task] < TOGETHER]
        return sorted(together, key=lambda task: self.deaths[task]) or list(self.waiting)[:1]

    def blame(self, suspects: Sequence[Task]) -> None:
        """Count a death against the tasks that were at work; give up those with too many."""
        self.deaths.update(suspects)
        for task in suspects:
            if self.deaths[task] >= TRIES:
                self.failed[task] = DIED
                del self.waiting[task]
