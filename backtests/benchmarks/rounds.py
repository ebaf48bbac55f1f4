"""What the benchmark measures with: two sides that work in turn, A B A B, here or in processes of their own."""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

MEGABYTE = 1024  # in the kilobytes that the kernel counts in
FOLDER = "BENCHMARK_FOLDER"  # tells a child where the files are that sides share


@dataclass(frozen=True)
class Work:
    """What a round did: how many units, and what came out, by which the two sides are compared."""

    units: float
    output: Sequence[float] = ()


@dataclass(frozen=True)
class Sample:
    """A round as it was measured: seconds of the processor and of the clock, and the most memory in MB since the start."""

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
        """Return the median, or another percentile, of the seconds that a unit takes on a clock: "cpu" or "wall"."""
        return float(
            np.percentile(
                [getattr(sample, clock) / sample.units for sample in self.rounds], percentile
            )
        )

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


Round = Callable[[int], Work]
Side = Callable[
    [int], Round
]  # gets ready for a size and returns what does a round; the round's number seeds its data
Where = Literal["here", "apart", "fresh", "whole"]


@cache
def scratch() -> Path:
    """Return a folder that all processes of one benchmark share; it goes when the benchmark does."""
    if FOLDER not in os.environ:
        kept.append(tempfile.TemporaryDirectory(prefix="benchmark-"))
        os.environ[FOLDER] = kept[0].name
    return Path(os.environ[FOLDER])


kept: list[tempfile.TemporaryDirectory[str]] = []


class Here:
    """A side in this process."""

    def __init__(self, side: Side, size: int) -> None:
        self._round = side(size)

    def play(self, number: int) -> Sample:
        return timed(self._round, number)

    def close(self) -> None:
        """Nothing is open."""


class Apart:
    """A side in a process of its own, where threads, allocator and imports are its own."""

    def __init__(self, side: Side, size: int) -> None:
        code = "from backtests.benchmark_rounds import serve; serve()"
        command = [sys.executable, "-c", code, side.__module__, side.__qualname__, str(size)]
        scratch()  # before the child looks for it
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def play(self, number: int) -> Sample:
        self.process.stdin.write(f"{number}\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        answer = self.process.stdout.readline()  # type: ignore[union-attr]
        if not answer:
            raise RuntimeError(
                f"a side of the benchmark ended with exit code {self.process.wait()}; its message stands above."
            )
        return Sample(**json.loads(answer))

    def close(self) -> None:
        self.process.communicate()


class Fresh:
    """A side whose every round is the first one of a new process."""

    def __init__(self, side: Side, size: int) -> None:
        self._side, self._size = side, size

    def play(self, number: int) -> Sample:
        child = Apart(self._side, self._size)
        sample = child.play(number)
        child.close()
        return sample

    def close(self) -> None:
        """Nothing is open."""


class Whole(Fresh):
    """A side whose every round is a whole process, from its start to its end and with all the processes that it starts."""

    def play(self, number: int) -> Sample:
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        sample = super().play(number)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return replace(sample, cpu=cpu, wall=time.perf_counter() - wall)


PLAYERS: dict[Where, Callable[[Side, int], Here | Apart | Fresh]] = {
    "here": Here,
    "apart": Apart,
    "fresh": Fresh,
    "whole": Whole,
}


def in_turn(where: Where, ours: Side, theirs: Side) -> Callable[[Size], Sequence[Samples]]:
    """Return what has both sides work in turn; a first round warms up, unless every round has a new process."""

    def meet(size: Size) -> Sequence[Samples]:
        with ExitStack() as stack:
            players = [
                PLAYERS[where](side, amount)
                for side, amount in ((ours, size.ours), (theirs, size.theirs))
            ]
            for player in players:
                stack.callback(player.close)
            if where in ("here", "apart"):
                play_all(players, 0)
            found = [play_all(players, number) for number in range(1, size.rounds + 1)]
        return [Samples(column) for column in zip(*found)]

    return meet


def play_all(players: Sequence[Here | Apart | Fresh], number: int) -> list[Sample]:
    return [player.play(number) for player in players]


def timed(play: Round, number: int) -> Sample:
    """Do a round and measure it."""
    wall, cpu = time.perf_counter(), time.process_time()
    work = play(number)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    return Sample(work.units, cpu, wall, memory, [float(value) for value in work.output])


def serve() -> None:
    """Do the rounds whose numbers come in, one a line, and answer each with its sample; what else is printed goes to stderr."""
    module, name, size = sys.argv[1:]
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        play: Round = getattr(importlib.import_module(module), name)(int(size))
        for line in sys.stdin:
            channel.write(json.dumps(asdict(timed(play, int(line)))) + "\n")
            channel.flush()


def difference(ours: Samples, theirs: Samples) -> float:
    """Return the largest difference between what both sides made of the same rounds, as far as both outputs reach.

    It is NaN where one side has a number and the other none.
    """
    return max(
        (apart(one, other) for one, other in zip(ours.outputs, theirs.outputs)),
        key=lambda gap: (gap != gap, gap),
    )


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    common = min(len(one), len(other))
    left, right = np.array(one[:common]), np.array(other[:common])
    gaps = np.where(np.isnan(left) & np.isnan(right), 0.0, np.abs(left - right))
    return float(gaps.max(initial=0.0))


def spread(samples: Samples) -> float:
    """Return how far the numbers of one output lie apart."""
    return max(max(output) - min(output) for output in samples.outputs)
