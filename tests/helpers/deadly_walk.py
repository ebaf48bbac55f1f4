"""The walk-forward, killed: python -m tests.helpers.deadly_walk EVENT,EVENT,...

FOLDER FOLD ARGUMENT...

For each EVENT the command is run with the arguments in FOLDER/EVENT, by a process that dies by
SIGKILL at that event, counted from 1: the moment before a file appears, the one after, or the end
of an epoch; 0: never. Then the same command goes on undisturbed. With the label of a fold, like
"fold 1", the process that trains it dies in its first epoch, once. Prints how all of them ended.
"""

import json
import os
import signal
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import backtests.reports.results
import backtests.reports.universe
import backtests.run
from backtests.evidence.baselines import learner_probabilities
from backtests.evidence.evidence import evidence_of
from backtests.evidence.pooled import pool
from backtests.walk_forward.progress import EpochLog
from model import files
from model.cli import run

QUICK = 50  # resamples


class Death:
    """Comes at one of the events of this process, counted from 1."""

    def __init__(self, event: int) -> None:
        self.event = event
        self.events = count(1)

    def may_come(self) -> None:
        if next(self.events) == self.event:
            os.kill(os.getpid(), signal.SIGKILL)

    def replace(self, *paths: Any) -> None:
        self.may_come()
        os.rename(*paths)
        self.may_come()


class DeadlyEpochLog(EpochLog):
    """Kills the process that trains a fold, once.

    It is sent to the processes that train, where this module is known.

    What it is told lies in a file beside it: a cluster's processes have an environment of their
    own.
    """

    def __init__(self, path: Path, patience: int) -> None:
        super().__init__(path, patience)
        path.with_name("told").write_text(
            json.dumps([os.environ["FOLD_TO_DIE"], os.environ["MARKER"]])
        )

    def __call__(self, fold: str, epoch: Any) -> None:
        told, marker = json.loads(self.path.with_name("told").read_text())
        if fold == told and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(fold, epoch)


class CountedEpochLog(EpochLog):
    """An epoch is an event, where it is trained by this very process."""

    death: Death

    def __call__(self, fold: str, epoch: Any) -> None:
        self.death.may_come()
        super().__call__(fold, epoch)


def live(event: int, arguments: list[str]) -> None:
    """Run the command in this process, with fewer resamples and learners."""
    death = Death(event)
    backtests.reports.results.learner_probabilities = partial(  # type: ignore[assignment]
        learner_probabilities, learners=("logistic",)
    )
    backtests.reports.results.evidence_of = partial(  # type: ignore[assignment]
        evidence_of, resamples=QUICK
    )
    backtests.reports.universe.pool = partial(pool, resamples=QUICK)  # type: ignore[assignment]
    files.os = type("CountedOs", (), {**vars(os), "replace": staticmethod(death.replace)})
    if (
        "--jobs" in arguments
        and arguments[arguments.index("--jobs") + 1] == "1"
        and "--dask" not in arguments
    ):
        CountedEpochLog.death = death
        backtests.run.EpochLog = CountedEpochLog  # type: ignore[misc]
    run(backtests.run.app, arguments)


def child(event: int, arguments: list[str]) -> int:
    """Fork, live there, and return how it ended."""
    number = os.fork()
    if not number:
        try:
            live(event, arguments)
        except SystemExit as left:
            os._exit(int(left.code or 0))
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


if __name__ == "__main__":
    events, place, fold_to_die, *given = sys.argv[1:]
    ends = []
    for event in map(int, events.split(",")):
        where = Path(place) / str(event)
        where.mkdir(parents=True)
        os.environ |= {"FOLD_TO_DIE": fold_to_die, "MARKER": str(where.with_suffix(".died"))}
        if fold_to_die:
            backtests.run.EpochLog = DeadlyEpochLog  # type: ignore[misc]
        ledger = where.with_suffix(".trials") if "--pooled" in given else where / "trials"
        command = [*given, "--out", str(where), "--ledger", str(ledger)]
        ends.append([child(event, command), child(0, command)] if event else [child(0, command)])
    print(json.dumps(ends))
