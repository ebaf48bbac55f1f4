"""Signals during work that can be kept: the first one asks to stop, a second one is obeyed at once."""

import hashlib
import json
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch

from model.bars.read import digest_bars
from model.checkpoint.format import pack, tensors_in, text_in
from model.errors import Interrupted, OutputInUse
from model.files import locked, require_writable, sweep, write_atomically
from model.provenance import code_digest, library_versions
from model.training.config import TrainConfig
from model.training.loop import Course, State

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wish:
    """number: the signal that asked to stop, 0 while none did."""

    number = 0

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """Note the first signal instead of obeying it; nothing is done inside the handler. A signal that was ignored stays so.

    Signals come to the main thread alone: in any other one nothing is changed, and no wish is heard.
    """
    wish = Wish()
    before = _handlers() if threading.current_thread() is threading.main_thread() else {}

    def note(number: int, _: FrameType | None) -> None:
        wish.number = number
        put_back()

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        put_back()


def _handlers() -> dict[signal.Signals, Any]:
    """Return the handlers in place, without those of ignored signals and those that only C knows and nobody could put back."""
    found = {number: signal.getsignal(number) for number in SIGNALS}
    return {
        number: handler
        for number, handler in found.items()
        if handler not in (signal.SIG_IGN, None)
    }


SUFFIX, LOCK, ENDING = ".part", "lock", ".state"
SECONDS = 60.0  # between two states kept in the midst of an epoch
DIGEST_LENGTH = 64


class Resumption:
    """The folder in which the courses of a training are kept."""

    def __init__(self, folder: Path, bars: pd.DataFrame) -> None:
        self.folder, self._bars = folder, digest_bars(bars)

    def keeper(self, config: TrainConfig) -> "StateFile":
        """Return where the course of the one network that these settings train is kept."""
        return StateFile(
            self.folder / f"{config.member.replace(' ', '-')}{ENDING}", self._key(config)
        )

    def finish(self) -> None:
        """Remove the states: the result is written."""
        shutil.rmtree(
            self.folder, ignore_errors=True
        )  # another training may begin there at this moment

    def _key(self, config: TrainConfig) -> str:
        """Return the digest of all that decides a course."""
        content = {
            "bars": self._bars,
            "config": asdict(config),
            "versions": library_versions(),
            "code": code_digest("model"),
            "processor": torch.backends.cpu.get_cpu_capability(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def resumption(result: Path, bars: pd.DataFrame, *, fresh: bool = False) -> Iterator[Resumption]:
    """Keep the training of a result so that the same training goes on after whatever ended it; if `fresh`, it starts over.

    Raises OutputInUse where another process trains the same result, OutputError where the folder cannot be written.
    """
    folder = result.with_name(result.name + SUFFIX)
    require_writable(folder / "state")
    refusal = OutputInUse(
        f"{result} must not be written by two trainings at once, and another one is at work on it. "
        "Wait for it, or give another file with --out."
    )
    with locked(folder / LOCK, refusal, folder):
        sweep(result.parent, result.name)
        for path in folder.glob(f"*{ENDING}") if fresh else ():
            path.unlink()
        yield Resumption(folder, bars)


class StateFile:
    """The kept course of one network's training. `key`: what decides the course; a file with another one is not gone on with.

    A first INT, TERM or HUP ends the training after the step under way with an Interrupted, its state kept, a second at once.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self._wish = Wish()
        self._written = time.monotonic()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Listen to signals while the course is under way."""
        with wish_to_stop() as self._wish:
            yield
        if self._wish.number:  # it came after the last step
            raise self._interrupted("at its end")

    def kept(self) -> State | None:
        """Return the state of an interrupted training, None where there is none to go on with."""
        if not self._path.exists():
            return None
        data = self._path.read_bytes()
        content = data[DIGEST_LENGTH:]
        if _digest(content) != data[:DIGEST_LENGTH]:
            self._start_over("is damaged")
            return None
        record = json.loads(text_in(content, "state"))
        if record["key"] != self._key:
            self._start_over("is of other bars, settings, versions or code")
            return None
        warnings.warn(
            f"training goes on from {self._path}, after epoch {len(record['values']['history'])}. "
            "--fresh starts over.",
            stacklevel=2,
        )
        return State(record["values"], tensors_in(content))

    def keep(self, course: Course) -> None:
        """Write the state; Interrupted where somebody asked to stop."""
        state = course.state()
        text = json.dumps({"key": self._key, "values": state.values})
        content = pack(state.tensors, state=text)
        write_atomically(self._path, _digest(content) + content)
        self._written = time.monotonic()
        if self._wish.number:
            best = (
                f"epoch {course.best.epoch} is the best so far"
                if course.best.epoch
                else "no epoch is finished yet"
            )
            raise self._interrupted(f"in epoch {course.epoch}; {best}")

    def pause(self, course: Course) -> None:
        """Do the same in the midst of an epoch, where somebody asked to stop or the last state is old."""
        if self._wish.number or time.monotonic() - self._written > SECONDS:
            self.keep(course)

    def _start_over(self, why: str) -> None:
        warnings.warn(
            f"the state of an interrupted training, {self._path}, {why}: training starts over.",
            stacklevel=3,
        )

    def _interrupted(self, where: str) -> Interrupted:
        return Interrupted(
            f"stopped by {self._wish.name} {where}. The same command goes on from there, with what is kept in "
            f"{self._path.parent}.",
            self._wish.number,
        )


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
