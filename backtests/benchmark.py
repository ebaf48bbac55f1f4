"""The command that measures this project against what one would write otherwise.

python backtests/benchmark.py [--contests NAME...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Column, Table

from backtests import benchmarks
from backtests.benchmarks.rounds import Samples, difference, spread
from model.cli import VERSION, run
from model.files import require_writable, write_atomically
from model.provenance import machine
from model.settings import require_known

if TYPE_CHECKING:
    from backtests.benchmarks.contests import Contest, Goal

app = App(version=VERSION, name="backtests/benchmark.py")
console = Console(highlight=False, markup=False)


class Disagreement(RuntimeError):
    """The two sides of a contest did not compute the same."""

    exit_code = 1


@dataclass(frozen=True, eq=False)
class Result:
    """What a contest gave."""

    contest: Contest
    ours: Samples
    theirs: Samples

    def figure(self, goal: Goal, clock: str) -> float:
        return goal.figure.of(self.ours, self.theirs, clock)


@app.default
def benchmark(
    *,
    contests: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    record: Path | None = None,
    quick: bool = False,
) -> None:
    """Measure this project against what one would write otherwise, both in turn.

    Parameters
    ----------
    contests
        The names of the contests to run; default: all of them, which takes some twenty minutes.
    record
        A file for all that was measured, as JSON.
    quick
        Tiny sizes, to see that everything runs: the figures then mean nothing.
    """
    require_known("contest", contests or [], [contest.name for contest in benchmarks.CONTESTS])
    if record:
        require_writable(record)
    results: list[Result] = []
    for contest in benchmarks.CONTESTS:
        if (not contests or contest.name in contests) and (result := hold(contest, quick)):
            console.print(
                "  ", ", ".join(sentence(result, goal) for goal in contest.goals), soft_wrap=True
            )
            results.append(result)
            if record:
                # What was measured is kept, should the rest be stopped.
                write_atomically(record, encoded(results, quick))
    console.print(table(results))


def hold(contest: Contest, quick: bool) -> Result | None:
    """Let both sides of a contest work and see that they agree.

    None, with a word, where it cannot be run.
    """
    if contest.lack:
        console.print(f"{contest.name}: left out, {contest.lack}", soft_wrap=True)
        return None
    console.print(f"{contest.name}: {contest.work} against {contest.against}", soft_wrap=True)
    ours, theirs = contest.meet(contest.quick if quick else contest.full)
    # Before any time is compared: whoever leaves work out is fast.
    require_agreement(contest, ours, theirs)
    return Result(contest, ours, theirs)


def require_agreement(contest: Contest, ours: Samples, theirs: Samples) -> None:
    # Losses of trainings scatter; they must not differ by more than the rival's own seeds do.
    allowed = spread(theirs) if contest.tolerance is None else contest.tolerance
    found = difference(ours, theirs)
    # Written so that NaN, which compares with nothing, is refused too.
    if not found <= allowed:
        raise Disagreement(
            f"both sides of {contest.name!r} must come to the same within {allowed:.2g}, "
            f"got {found:.2g} apart: their times cannot be compared. "
            "Look for what only one of them does."
        )


def table(results: Sequence[Result]) -> Table:
    """Return a row per goal.

    The processor's milliseconds per unit on both sides, and how they compare on both clocks.
    """
    drawn = Table(
        Column("contest", no_wrap=True),
        "unit",
        "ours, ms",
        "theirs, ms",
        "goal",
        "cpu",
        "wall",
        "met",
        # A median: one round beside a noisy neighbour decides nothing.
        title="medians of rounds in turn; a goal is meant for the clock with the star",
    )
    for result in results:
        for goal in result.contest.goals:
            drawn.add_row(*row(result, goal))
    return drawn


def row(result: Result, goal: Goal) -> tuple[str, ...]:
    contest = result.contest
    costs = (written(1000 * side.cost("cpu")) for side in (result.ours, result.theirs))
    figures = (
        # Both clocks: where they differ the machine had other work.
        written(result.figure(goal, clock)) + "*" * (clock == goal.clock)
        for clock in ("cpu", "wall")
    )
    met = "yes" if goal.met(result.figure(goal, goal.clock)) else "no"
    return (
        f"{contest.name}{goal.name and ', '}{goal.name}",
        contest.unit,
        *costs,
        str(goal),
        *figures,
        met,
    )


def sentence(result: Result, goal: Goal) -> str:
    """Return a figure with its goal, in words."""
    found = result.figure(goal, goal.clock)
    return f"{goal.name or 'found'} {written(found)} {goal.figure.unit}, the goal is {goal}"


def written(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def encoded(results: Sequence[Result], quick: bool) -> bytes:
    """Return all that was measured as JSON."""
    content = {
        "machine": machine(),
        "quick": quick,
        "contests": [entry(result) for result in results],
    }
    return (dumps(content, indent=2) + "\n").encode()


def entry(result: Result) -> dict[str, object]:
    contest = result.contest
    sides = {
        name: {clock: samples.cost(clock) for clock in ("cpu", "wall")}
        | {
            "memory": samples.memory,
            "rounds": [[sample.units, sample.cpu, sample.wall] for sample in samples.rounds],
        }
        for name, samples in (("ours", result.ours), ("theirs", result.theirs))
    }
    goals = [
        {
            "name": goal.name,
            "goal": str(goal),
            "clock": goal.clock,
            "met": goal.met(result.figure(goal, goal.clock)),
            **{clock: result.figure(goal, clock) for clock in ("cpu", "wall")},
        }
        for goal in contest.goals
    ]
    return {
        "name": contest.name,
        "work": contest.work,
        "against": contest.against,
        "unit": contest.unit,
        "difference": difference(result.ours, result.theirs),
        **sides,
        "goals": goals,
    }


if __name__ == "__main__":
    run(app)
