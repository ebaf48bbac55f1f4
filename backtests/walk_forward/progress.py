"""Progress over folds and epochs, and the time left.

The processes that train append a line per epoch to a file; the command follows it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from backtests.progress import SAY_EVERY, time_left, time_spent
from model.bars.faults import count

if TYPE_CHECKING:
    from model.training.loop import Epoch

READ_EVERY = 0.5  # seconds
LEAST_DONE = 0.2  # of a fold: before, a guess at the time left would be worth nothing


@dataclass(frozen=True)
class EpochLog:
    """A file to which any number of processes append a line per epoch.

    patience: of the training, from which follows how many epochs it will take.
    """

    path: Path
    patience: int

    def __call__(self, fold: str, epoch: Epoch) -> None:
        # In a worker on another machine there is no terminal to show it on.
        if not self.path.parent.exists():
            return
        # This many it takes if no better epoch comes.
        expected = min(epoch.best_epoch + self.patience, epoch.max_epochs)
        entry = {
            "fold": fold,
            "epoch": epoch.epoch,
            "expected": expected,
            "loss": epoch.validation_loss,
        }
        # One short write in append mode: lines of several processes never mix.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


class FoldProgress:
    """Bars on the terminal: one over all folds, with the time left, one for each fold at work."""

    def __init__(
        self,
        log: EpochLog,
        n_folds: int,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console, self._clock = console, clock
        self._started = self._last_said = clock()
        self._estimated = False
        self._found = 0.0  # folds that were finished before, and so took no time
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._total = self._bars.add_task(count(n_folds, "fold"), total=n_folds, detail="", left="")
        self._log, self._offset = log, 0
        self._shares: dict[str, float] = {}  # by label: how much of a fold is done
        self._tasks: dict[str, TaskID] = {}
        self._over = Event()
        self._follower = Thread(target=self._follow, daemon=True)

    def __enter__(self) -> FoldProgress:
        self._bars.start()
        self._follower.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The follower first, as it would draw on bars that are gone.
        self._over.set()
        self._follower.join()
        self._bars.stop()

    def more(self, count: int) -> None:
        """Expect so many trainings more, beside those of the folds."""
        self._bars.update(self._total, total=(self._bars.tasks[0].total or 0) + count)

    def finish(self, fold: str, line: str, found: bool = False) -> None:
        """Print a line about a finished fold and take its bar away.

        found: an earlier run finished it, so that it says nothing of the time that others take.
        """
        self._shares[fold] = 1.0
        self._found += found
        if fold in self._tasks:
            self._bars.update(self._tasks[fold], visible=False)
        self._show_total()
        self.console.print(line, soft_wrap=True)

    def time_left(self) -> str:
        """Return in words how long the rest will take; "" while nothing is known.

        It is judged by what this run did since it began, on as many processes as it has.
        """
        done = sum(self._shares.values()) - self._found
        left = (self._bars.tasks[0].total or 0) - self._found - done
        if done < LEAST_DONE or left <= 0:
            return ""
        return time_left((self._clock() - self._started) * left / done)

    def _show_total(self) -> None:
        self._bars.update(self._total, completed=sum(self._shares.values()), left=self.time_left())
        # Once, in a line that stays: whether to wait is decided at the beginning.
        if not self._estimated and (left := self.time_left()):
            self._estimated = True
            total = self._bars.tasks[0]
            self.console.print(
                f"training of {total.description}: {left}, as far as its first "
                f"{time_spent(self._clock() - self._started)} tell"
            )
        # Where nobody sees the bars, in a file or a log, a line now and then says the same.
        if not self.console.is_terminal and self._clock() - self._last_said > SAY_EVERY:
            self._last_said = self._clock()
            if left := self.time_left():
                total = self._bars.tasks[0]
                done = f"{total.completed:.1f}".removesuffix(".0")
                self.console.print(f"{done} of {total.total:.0f} done, {left}")

    def _follow(self) -> None:
        while not self._over.wait(READ_EVERY):
            self._read()

    def _read(self) -> None:
        """Take in the whole lines that have come since the last time."""
        if not self._log.path.exists():
            return
        with self._log.path.open("rb") as file:
            file.seek(self._offset)
            # Half a line, which its process is still writing, waits for the next time.
            lines, _, _ = file.read().rpartition(b"\n")
        self._offset += len(lines) + bool(lines)
        for line in lines.splitlines():
            self._show(**json.loads(line))

    def _show(self, fold: str, epoch: int, expected: int, loss: float) -> None:
        # Its last lines may be read after it was reported as finished.
        if self._shares.get(fold) == 1.0:
            return
        if fold not in self._tasks:
            self._tasks[fold] = self._bars.add_task(fold, detail="", left="")
        # Even after its last epoch a fold has its thresholds to choose.
        self._shares[fold] = min(epoch / expected, 0.99)
        detail = f"epoch {epoch} of about {expected}, validation loss {loss:.4f}"
        self._bars.update(self._tasks[fold], total=expected, completed=epoch, detail=detail)
        self._show_total()
