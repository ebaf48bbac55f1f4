"""What the benchmark measures with.

Two sides that work in turn, A B A B, here or in other processes.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

MEGABYTE = 1024  # in the kilobytes that the kernel counts in
FOLDER = "BENCHMARK_FOLDER"  # tells a child where the files are that sides share
_folders: list[tempfile.TemporaryDirectory[str]] = []  # removed when this process ends


@dataclass(frozen=True)
class Work:
    """What a round did: how many units, and what came out, by which the two sides are compared."""

    units: float
    output: Sequence[float] = ()


@dataclass(frozen=True)
class Sample:
    """A round as it was measured.

    units: of work. cpu, wall: seconds of the processor and of the clock. memory: the most that the
    process held since its start, in MB.
    """

    units: float
    cpu: float
    wall: float
    memory: float = 0.0
    output: Sequence[float] = ()


@dataclass(frozen=True)
class Samples:
    """All rounds of one side."""

    rounds: Sequence[Sample]

    def cost(self, clock: str, percentile: float = 50) -> float:
        """Return a percentile of the seconds that a unit takes on a clock, "cpu" or "wall"."""
        costs = [getattr(sample, clock) / sample.units for sample in self.rounds]
        return float(np.percentile(costs, percentile))

    @property
    def memory(self) -> float:
        return max(sample.memory for sample in self.rounds)

    @property
    def outputs(self) -> list[Sequence[float]]:
        return [sample.output for sample in self.rounds]


class Size(NamedTuple):
    """How much each side gets in a round, and how many rounds."""

    ours: int
    theirs: int
    rounds: int


Round = Callable[[int], Work]  # does the round of a number, which seeds its data
Side = Callable[..., Round]  # gets ready for a size and returns what does a round
# here: in this process. apart: each side in a process of its own, with threads, allocator and
# imports of its own. fresh: each round in a new process. whole: the same, and the process counts
# from its start to its end, with all the processes that it starts.
Where = Literal["here", "apart", "fresh", "whole"]


class Player(Protocol):
    """Plays the rounds of one side."""

    def play(self, number: int) -> Sample: ...


@cache
def scratch() -> Path:
    """Return a folder that all processes of one benchmark share.

    It goes when the benchmark does.
    """
    if FOLDER not in os.environ:
        _folders.append(tempfile.TemporaryDirectory(prefix="benchmark-"))
        os.environ[FOLDER] = _folders[0].name
    return Path(os.environ[FOLDER])


def in_turn(
    where: Where, ours: Side, theirs: Side, **settings: str
) -> Callable[[Size], Sequence[Samples]]:
    """Return what has both sides work in turn; `settings` are given to our side.

    A first round warms up, unless every round has a new process.
    """

    def meet(size: Size) -> Sequence[Samples]:
        with ExitStack() as stack:
            players: list[Player] = []
            for side, amount, given in ((ours, size.ours, settings), (theirs, size.theirs, {})):
                if where == "here":
                    players.append(Here(side(amount, **given)))
                elif where == "apart":
                    players.append(stack.enter_context(Child(side, amount, given)))
                else:
                    start = partial(Child, side, amount, given)
                    players.append(Fresh(start, counts_all=where == "whole"))
            if where in ("here", "apart"):
                for player in players:
                    player.play(0)
            found = [
                [player.play(number) for player in players] for number in range(1, size.rounds + 1)
            ]
        return [Samples(column) for column in zip(*found, strict=True)]

    return meet


class Here:
    """Plays in this process."""

    def __init__(self, play: Round) -> None:
        self._play = play

    def play(self, number: int) -> Sample:
        """Do a round and measure it."""
        wall, cpu = time.perf_counter(), time.process_time()
        work = self._play(number)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
        return Sample(work.units, cpu, wall, memory, [float(value) for value in work.output])


class Child:
    """Plays in a process of its own, which runs `serve`; as a context, ended at its end."""

    def __init__(self, side: Side, size: int, settings: dict[str, str]) -> None:
        code = f"from {__name__} import serve; serve()"
        words = [side.__module__, side.__qualname__, str(size), json.dumps(settings)]
        scratch()  # before the child looks for it
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._process.communicate()

    def play(self, number: int) -> Sample:
        assert self._process.stdin and self._process.stdout  # both are pipes
        # A side that has ended already cannot be asked; what it has left to answer is nothing.
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"a side of the benchmark ended with exit code {self._process.wait()}; "
                "its message stands above."
            )
        return Sample(**json.loads(answer))


class Fresh:
    """Plays every round in a new process; counts_all: from its start, with all that it starts."""

    def __init__(self, start: Callable[[], Child], counts_all: bool) -> None:
        self._start, self._counts_all = start, counts_all

    def play(self, number: int) -> Sample:
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        with self._start() as child:
            sample = child.play(number)
        if not self._counts_all:
            return sample
        # The kernel adds a child's time, and that of its own children, when it has ended.
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return replace(sample, cpu=cpu, wall=time.perf_counter() - wall)


def serve() -> None:
    """Do the rounds whose numbers come in, one a line, and answer each with its sample.

    What a side or a library prints goes to stderr, so that the answers stay alone.
    """
    module, name, size, settings = sys.argv[1:]
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        side: Side = getattr(importlib.import_module(module), name)
        here = Here(side(int(size), **json.loads(settings)))
        for line in sys.stdin:
            channel.write(json.dumps(asdict(here.play(int(line)))) + "\n")
            channel.flush()


def difference(ours: Samples, theirs: Samples) -> float:
    """Return the largest difference between what both sides made of the same rounds.

    Outputs are compared as far as both reach. It is NaN where one side has a number and the other
    none, whatever the other rounds show.
    """
    gaps = []
    for one, other in zip(ours.outputs, theirs.outputs, strict=True):
        common = min(len(one), len(other))
        left, right = np.array(one[:common]), np.array(other[:common])
        both_missing = np.isnan(left) & np.isnan(right)
        gaps.append(np.where(both_missing, 0.0, np.abs(left - right)).max(initial=0.0))
    return float(np.max(gaps))  # NaN if any is


def spread(samples: Samples) -> float:
    """Return how far the numbers of one output lie apart."""
    return max(max(output) - min(output) for output in samples.outputs)
