"""Trainings that are ended from outside, in a program of its own.

python -m tests.helpers.interrupting DATA FOLDER CASE..

Of a folder one network is trained. A CASE is "moment SEED", a kill at a random time; "border
EPOCH", a kill when the state of that epoch is kept; or "signal NAME [NAME]", one or two signals in
the third epoch. Each trains in a child until its end comes, and then again without a disturbance.
Prints a line of JSON each: the
exit code, the seconds from the last signal to the end, what was said, and whether the file is that
of a training that nothing disturbed.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch._dynamo  # noqa: F401  loaded by the first optimizer: here once, not in every child

from model.cli import run
from model.train import app
from model.training import loop
from model.training.loop import TrainingState
from model.training.resume import StateFile
from tests.helpers import small_network  # noqa: F401  makes the architecture known

SETTINGS = (
    "--architecture",
    "small",
    "--max-epochs",
    "6",
    "--batch-size",
    "32",
    "--sequence-length",
    "5",
)
STEP = 0.1  # seconds that a step takes where signals come


def child(act: Callable[[], object], said: Path) -> int:
    """Let a child do it, with what it says in a file; return its process number."""
    number = os.fork()
    if number:
        return number
    for stream in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    try:
        act()
    except SystemExit as left:
        sys.stdout.flush()
        os._exit(int(left.code or 0))
    os._exit(99)


def ended(number: int) -> int:
    """Wait for a child; return its exit code, below 0 for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def train(data: Path, out: Path) -> None:
    of_all = ("--pooled", "--fewest-instruments", "2") if data.is_dir() else ()
    run(app, ["--data", str(data), "--out", str(out), *SETTINGS, *of_all])


def killed_at_border(epoch: int) -> None:
    save = StateFile.save

    def saved(keeper: StateFile, state: TrainingState) -> None:
        save(keeper, state)
        if len(state.history) == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    StateFile.save = saved  # type: ignore[method-assign]


def slowed() -> None:
    learn = loop._learn

    def slow(*arguments: object) -> tuple[float, float]:
        end = time.monotonic() + STEP
        while time.monotonic() < end:  # sleeping would wake up for a signal
            time.sleep(0.001)
        return learn(*arguments)  # type: ignore[arg-type]

    loop._learn = slow


def disturbed(case: str, data: Path, out: Path, whole_seconds: float) -> tuple[int, float]:
    """Train until the end that the case is about.

    Return the exit code and the seconds from the signal to the end.
    """
    kind, *words = case.split()
    said = out.with_suffix(".said")
    if kind == "border":
        return ended(child(lambda: (killed_at_border(int(words[0])), train(data, out)), said)), 0.0
    if kind == "moment":
        victim = child(lambda: train(data, out), said)
        time.sleep(random.Random(words[0]).uniform(0, whole_seconds))
        os.kill(victim, signal.SIGKILL)
        return ended(victim), 0.0
    victim = child(lambda: (slowed(), train(data, out)), said)
    while "epoch   2" not in said.read_text(errors="ignore") if said.exists() else True:
        time.sleep(0.01)
    time.sleep(2.5 * STEP)
    for name in words:
        start = time.monotonic()
        os.kill(victim, getattr(signal, name))
        time.sleep(0.01)
    return ended(victim), time.monotonic() - start


def main(data: Path, folder: Path, cases: list[str]) -> None:
    # A process started in the background inherits that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    if ended(child(lambda: train(data, folder / "whole.ckpt"), folder / "whole.said")):
        raise RuntimeError((folder / "whole.said").read_text())
    whole_seconds = time.monotonic() - start
    for number, case in enumerate(cases):
        out = folder / f"{number}.ckpt"
        code, seconds = disturbed(case, data, out, whole_seconds)
        said = out.with_suffix(".said").read_text()
        again = ended(child(lambda: train(data, out), folder / "again.said"))
        same = not again and out.read_bytes() == (folder / "whole.ckpt").read_bytes()
        went_on = "training goes on from" in (folder / "again.said").read_text()
        outcome = {
            "case": case,
            "code": code,
            "seconds": seconds,
            "said": said,
            "same": same,
            "went on": went_on,
        }
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
