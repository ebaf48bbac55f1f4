"""Training anew while it trades: in a process of its own, on the bars that the feed has brought."""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from model.bars.intervals import day
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.features.series import UNIVERSE, Clock, ContextRecord
from strategy_plugin.live.kept_bars import KeptBars
from strategy_plugin.live.store import LOG

SECONDS_TO_END = 10.0
NICE = 10  # trading comes first
# Settings of training that come otherwise: as a param of the run, and as what a deployment is.
NOT_FLAGS = ("features", "only")


class _Task(NamedTuple):
    """One model to be trained anew: of one symbol, or of all together."""

    name: str
    schedule: Schedule
    bars: Sequence[KeptBars]


class Retraining:
    """Trains each model anew once its week is over; the folder of a schedule gets the new ones.

    The strategy takes a new file at the next bar. A training that fails leaves the old model in
    force, is said, and tried again in the week that follows.

    Parameters
    ----------
    schedules
        By symbol, those that decide; symbols with one folder share a model.
    bars
        By symbol, what is kept.
    log
        The file that gets what the trainings say.
    features
        Features of one's own that the models have.
    series
        By name, what is kept of the other series that the models read.
    """

    def __init__(
        self,
        schedules: Mapping[str, Schedule],
        bars: Mapping[str, KeptBars],
        log: Path,
        features: str = "",
        series: Mapping[str, KeptBars] = MappingProxyType({}),
    ) -> None:
        by_folder: dict[Path, list[str]] = {}
        for symbol, schedule in schedules.items():
            if not schedule.folder:
                raise ValueError(
                    f"`checkpoint` must be a folder with `retrain`, got {schedule.path}: new "
                    "models stand beside the old ones. Make a folder and move the file there."
                )
            by_folder.setdefault(schedule.path, []).append(symbol)
        self._tasks = [
            _Task(", ".join(symbols), schedules[symbols[0]], [bars[symbol] for symbol in symbols])
            for symbols in by_folder.values()
        ]
        self._log, self._features, self._series = log, features, series
        self._tried: dict[str, tuple[int, int]] = {}  # the week of the last try, by task
        self._running: tuple[_Task, subprocess.Popen[bytes]] | None = None

    def look(self, now: dt.datetime) -> None:
        """See what has become of a training, and begin the next one that is due.

        To be called after each bar, with its time.
        """
        if self._running is not None and not self._ended(*self._running):
            return
        self._running = None
        week = _week(now)
        for task in self._tasks:
            task.schedule.refresh()
            trained = _week(task.schedule.checkpoints[-1].trained_until)
            if max(trained, self._tried.get(task.name, trained)) < week:
                self._tried[task.name] = week
                self._running = task, self._begin(task)
                return

    def wait(self) -> None:
        """Wait for the training that is under way, if any."""
        if self._running is not None:
            self._running[1].wait()

    def stop(self) -> None:
        """End a training that is under way; the same bars go on with it another time."""
        if self._running is None or self._running[1].poll() is not None:
            return
        process = self._running[1]
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        if process.poll() is None:
            process.kill()
            process.wait()
        LOG.warning("a training was under way and is stopped")

    def _begin(self, task: _Task) -> subprocess.Popen[bytes]:
        for kept in (*task.bars, *self._series.values()):
            kept.save()
        files = [str(kept.path) for kept in task.bars]
        model = task.schedule.checkpoints[-1]
        command = [
            *(sys.executable, "-m", "model.train", "--data", *files),
            *(["--pooled"] if len(files) > 1 else []),
            *("--deploy", str(task.schedule.path)),
            *settings_flags(model, self._features),
            *(context_flags(model.context, self._series) if model.context else []),
        ]
        LOG.info("%s is trained anew on %d bars", task.name, sum(map(len, task.bars)))
        with self._log.open("ab") as log:
            # A group of its own: Ctrl-C is for whoever trades.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        with suppress(OSError):  # it may have ended
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        return process

    def _ended(self, task: _Task, process: subprocess.Popen[bytes]) -> bool:
        """Return whether a training is over, and say how it ended."""
        code = process.poll()
        if code is None:
            return False
        if code:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            LOG.warning(
                "the training of %s failed (%d): %s The model of %s stays in force; %s tells more",
                task.name,
                code,
                next((line for line in reversed(said) if "error" in line), "no reason given."),
                day(task.schedule.checkpoints[-1].trained_until),
                self._log,
            )
        else:
            LOG.info("%s is trained anew, and used from the next bar on", task.name)
        return True


def settings_flags(checkpoint: Checkpoint, features: str) -> list[str]:
    """Return the flags of model.train that train a model as this one was trained."""
    flags = [
        word
        for name, value in checkpoint.config.items()
        if name not in NOT_FLAGS and value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    if features:
        flags += ["--features", features]
    return [*flags, "--only"] if checkpoint.only else flags


def context_flags(record: ContextRecord, series: Mapping[str, KeptBars]) -> list[str]:
    """Return the flags of model.train that join the series to the bars as they were joined."""
    texts = []
    for one in record.series:
        columns = ",".join(one.columns)
        if one.every or one.name == UNIVERSE:
            texts.append(f"{one.title}:{columns}")
            continue
        words = _words_of_dates(one.clock)
        texts.append(f"{series[one.name].path}{'@' if words else ''}{words}:{columns}")
    closes = _words_of_dates(record.clock)
    return [
        *("--context", *texts),
        *("--max-context-age", str(record.max_age)),
        *(["--closes", closes] if closes else []),
    ]


def _words_of_dates(clock: Clock) -> str:
    """Return when dates end, as `Clock.of` reads it; "" where nobody said it, and of times."""
    return f"{clock.closes} {clock.zone or ''}".strip() if clock.dates else ""


def _week(when: dt.datetime) -> tuple[int, int]:
    year, week, _ = when.isocalendar()
    return year, week
