"""Progress over folds and epochs: the processes that train append lines to a file, the command follows it."""

import json
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from model.training.loop import Epoch

READ_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Journal:
    """A file to which any number of processes append a line per epoch."""

    path: Path
    patience: int

    def __call__(self, fold: str, epoch: Epoch) -> None:
        if (
            not self.path.parent.exists()
        ):  # another machine's worker: there is no terminal to show it on
            return
        line = json.dumps(
            {
                "fold": fold,
                "epoch": epoch.epoch,
                "expected": self._expected(epoch),
                "loss": epoch.validation_loss,
            }
        )
        with self.path.open(
            "a", encoding="utf-8"
        ) as file:  # one short write in append mode: lines never mix
            file.write(line + "\n")

    def _expected(self, epoch: Epoch) -> int:
        """Return the epochs that training will take if no better one comes."""
        return min(epoch.best_epoch + self.patience, epoch.max_epochs)


class FoldProgress:
    """Bars on the terminal: one over all folds with the time left, one for each fold in training."""

    def __init__(self, journal: Journal, n_folds: int, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._total = self._bars.add_task(f"{n_folds} folds", total=n_folds, detail="")
        self._journal, self._offset = journal, 0
        self._shares: dict[str, float] = {}  # by label: how much of a fold is done
        self._tasks: dict[str, TaskID] = {}
        self._over = Event()
        self._follower = Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "FoldProgress":
        self._bars.start()
        self._follower.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._follower.join()
        self._bars.stop()

    def more(self, count: int) -> None:
        """Expect so many trainings more."""
        self._bars.update(self._total, total=(self._bars.tasks[0].total or 0) + count)

    def finish(self, fold: str, line: str) -> None:
        """Print a line about a finished fold and take its bar away."""
        self._shares[fold] = 1.0
        if fold in self._tasks:
            self._bars.update(self._tasks[fold], visible=False)
        self._bars.update(self._total, completed=sum(self._shares.values()))
        self.console.print(line, soft_wrap=True)

    def _follow(self) -> None:
        while not self._over.wait(READ_EVERY):
            self._read()

    def _read(self) -> None:
        """Take in the whole lines that have come since the last time."""
        if not self._journal.path.exists():
            return
        with self._journal.path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + bool(whole)
        for line in whole.splitlines():
            self._show(**json.loads(line))

    def _show(self, fold: str, epoch: int, expected: int, loss: float) -> None:
        if self._shares.get(fold) == 1.0:
            return
        if fold not in self._tasks:
            self._tasks[fold] = self._bars.add_task(fold, detail="")
        self._shares[fold] = min(epoch / expected, 0.99)
        detail = f"epoch {epoch} of about {expected}, validation loss {loss:.4f}"
        self._bars.update(self._tasks[fold], total=expected, completed=epoch, detail=detail)
        self._bars.update(self._total, completed=sum(self._shares.values()))
