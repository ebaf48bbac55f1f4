"""Interrupted trainings: their states on the disk, and the signals that interrupt them."""

import hashlib
import json
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pandas as pd

from model.bars.read import digest_bars
from model.bars.universe import Universe, universe_of
from model.checkpoint.format import pack, tensors_in, text_in
from model.errors import Interrupted, OutputInUse
from model.files import locked, require_writable, sweep, write_atomically
from model.provenance import code_digest, machine
from model.training.config import TrainConfig
from model.training.loop import Keeper, Snapshot, TrainingState

SUFFIX, LOCK, ENDING = ".part", "lock", ".state"
SECONDS = 60.0  # between two states saved in the midst of an epoch
DIGEST_LENGTH = 64  # SHA-256 in hex, in front of the content of a file
# Ctrl-C, what a scheduler sends before it kills, and the end of the terminal or connection.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def resumption(
    result: Path, bars: pd.DataFrame | Universe, *, fresh: bool = False, seconds: float = SECONDS
) -> Iterator["Resumption"]:
    """Let the training of a file go on where whatever ended it left it.

    Parameters
    ----------
    result
        The file that the training is for; the states lie in a folder beside it, with .part added to
        its name.
    bars
        Those to train on, of one instrument or by name of several. A state of other bars, settings,
        versions or code is not gone on with.
    fresh
        Start over, whatever states there are.
    seconds
        Time between two states saved in the midst of an epoch.

    Yields
    ------
    Resumption
        For `fit`. Its `finish` is to be called when the result is written.

    Raises
    ------
    OutputInUse
        Where another process trains the same file.
    OutputError
        Where the folder cannot be written.

    Examples
    --------
    >>> config = TrainConfig(architecture="transformer", max_epochs=1)
    >>> with resumption(Path("mine.ckpt"), bars) as kept:
    ...     fit(bars, config, resumption=kept).save("mine.ckpt")
    ...     kept.finish()
    """
    folder = result.with_name(result.name + SUFFIX)
    require_writable(folder / "state")  # makes the folder, too
    refusal = OutputInUse(
        f"{result} must not be written by two trainings at once, and another one is at work on it. "
        "Wait for it, or give another file with --out."
    )
    with locked(folder / LOCK, refusal, folder):
        # A training that was killed while it saved its result left a half-written one beside it.
        sweep(result.parent, result.name)
        if fresh:
            for path in folder.glob(f"*{ENDING}"):
                path.unlink()
        yield Resumption(folder, bars, seconds)


class Resumption:
    """The folder with the states of a training, one file for each network.

    `resumption` makes one for the result that is trained; `fit` takes it.

    Parameters
    ----------
    folder
        Where the states lie.
    bars
        What is trained on: a state of other bars is not gone on with.
    seconds
        From one save in the midst of an epoch to the next, at the least.

    Examples
    --------
    >>> with resumption(Path("mine.ckpt"), bars) as kept:
    ...     kept.folder.name
    'mine.ckpt.part'
    """

    def __init__(
        self, folder: Path, bars: pd.DataFrame | Universe, seconds: float = SECONDS
    ) -> None:
        self.folder, self._seconds = folder, seconds
        self._bars = {name: digest_bars(own) for name, own in universe_of(bars).items()}

    def keeper(self, config: TrainConfig) -> "StateFile":
        """Return the file for the state of the one network that these settings train.

        Parameters
        ----------
        config
            One of `member_configs`.

        Returns
        -------
        StateFile
            From which `fit` goes on, and to which it saves.
        """
        # All that decides the bits of a training. A state of other bits would make a checkpoint
        # that no undisturbed training makes.
        content = {
            "bars": self._bars,
            "config": config.described(),
            "code": code_digest("model"),
            "machine": machine(),
        }
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        name = f"{config.member.replace(' ', '-')}{ENDING}"
        return StateFile(self.folder / name, key, self._seconds)

    def finish(self) -> None:
        """Remove the states once the result is written; without it they stay for the next run."""
        # Another training may begin there at this moment.
        shutil.rmtree(self.folder, ignore_errors=True)


class StateFile(Keeper):
    """The saved state of one network's training.

    `key` stands for all that decides the training; a file with another one is not gone on with. The
    first INT, TERM or HUP ends training after the step under way, with its state saved and an
    Interrupted; a second one ends it at once.
    """

    def __init__(self, path: Path, key: str, seconds: float) -> None:
        self._path, self._key, self._seconds = path, key, seconds
        self._request = StopRequest()
        self._saved_at = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen to signals while training runs."""
        with stop_requests() as self._request:
            yield
        if self._request.number:  # it came after the last step
            raise self._interrupted("at its end")

    def load(self) -> Snapshot | None:
        """Return the state of an interrupted training, None where there is none to go on with."""
        if not self._path.exists():
            return None
        data = self._path.read_bytes()
        # The disk may have kept less than was written: what does not digest is not parsed.
        digest, content = data[:DIGEST_LENGTH], data[DIGEST_LENGTH:]
        record = json.loads(text_in(content, "state")) if _digest(content) == digest else None
        if record is None or record["key"] != self._key:
            why = "is of other bars, settings, versions or code" if record else "is damaged"
            warnings.warn(
                f"the state of an interrupted training, {self._path}, {why}: training starts over.",
                stacklevel=2,
            )
            return None
        warnings.warn(
            f"training goes on from {self._path}, after epoch {len(record['values']['history'])}. "
            "--fresh starts over.",
            stacklevel=2,
        )
        return Snapshot(record["values"], tensors_in(content))

    def save(self, state: TrainingState) -> None:
        """Write the state; Interrupted where a signal asked to stop."""
        snapshot = state.snapshot()
        text = json.dumps({"key": self._key, "values": snapshot.values})
        content = pack(snapshot.tensors, state=text)
        write_atomically(self._path, _digest(content) + content)
        self._saved_at = time.monotonic()
        # Only here, where the state on the disk is that of this very step.
        if self._request.number:
            best = (
                f"epoch {state.best_epoch} is the best so far"
                if state.best_epoch
                else "no epoch is finished yet"
            )
            raise self._interrupted(f"in epoch {state.epoch}; {best}")

    def save_if_due(self, state: TrainingState) -> None:
        """Save where the last state is old or a signal asked to stop."""
        if self._request.number or time.monotonic() - self._saved_at > self._seconds:
            self.save(state)

    def _interrupted(self, where: str) -> Interrupted:
        name = signal.Signals(self._request.number).name
        return Interrupted(
            f"stopped by {name} {where}. "
            f"The same command goes on from there, with what is kept in {self._path.parent}.",
            self._request.number,
        )


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


class StopRequest:
    """Whether somebody asked to stop: the number of the signal, 0 while none came."""

    number = 0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note the first signal, where it would end the process, and obey a second one.

    Nothing is done inside the handler. A signal that was ignored stays so. Signals come to the main
    thread alone: in any other one nothing is changed, and no request is heard.
    """
    request = StopRequest()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            handler = signal.getsignal(number)
            # None is a handler that only C knows, which nobody could put back.
            if handler not in (signal.SIG_IGN, None):
                before[number] = handler

    def note(number: int, _: FrameType | None) -> None:
        request.number = number
        put_back()

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:  # after a first signal they are back already, and this changes nothing
        put_back()
