"""How the benchmark measures.

In turn, here or in other processes, with a check that both sides agree.
"""

import os
from math import nan
from pathlib import Path

import numpy as np
import pytest

from backtests.benchmarks.rounds import (
    FOLDER,
    Child,
    Here,
    Sample,
    Samples,
    Size,
    Where,
    Work,
    difference,
    in_turn,
    scratch,
    spread,
)
from tests.helpers.processes import environment
from tests.helpers.sides import broken, numbers


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Children find the tests' sides, and nothing is left behind."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv(FOLDER, str(tmp_path))
    scratch.cache_clear()


def outputs(*columns: list[float]) -> Samples:
    return Samples([Sample(1, 1, 1, output=column) for column in columns])


@pytest.mark.parametrize(
    ("where", "rounds", "processes"),
    [("here", 3, 1), ("apart", 3, 2), ("fresh", 2, 4), ("whole", 1, 2)],
)
def test_both_sides_do_the_same_rounds_each_where_it_should(
    where: Where, rounds: int, processes: int
) -> None:
    ours, theirs = in_turn(where, numbers, numbers)(Size(5, 7, rounds))
    assert [output[:2] for output in ours.outputs] == [
        [number, 5] for number in range(1, rounds + 1)
    ]
    assert [output[:2] for output in theirs.outputs] == [
        [number, 7] for number in range(1, rounds + 1)
    ]
    seen = {output[2] for output in (*ours.outputs, *theirs.outputs)}
    assert len(seen) == processes and (os.getpid() in seen) == (where == "here")


def test_a_whole_process_costs_more_than_its_round() -> None:
    inside, whole = (
        in_turn(where, numbers, numbers)(Size(1, 1, 1))[0] for where in ("fresh", "whole")
    )
    assert whole.cost("cpu") > 10 * inside.cost("cpu")


def test_a_side_that_ends_early_is_said() -> None:
    with pytest.raises(
        RuntimeError,
        match="a side of the benchmark ended with exit code 3; its message stands above",
    ):
        in_turn("apart", numbers, broken)(Size(1, 1, 1))


def test_a_side_that_ended_before_it_was_asked_is_said_too() -> None:
    with Child(broken, 1, {}) as child:
        child._process.wait()
        with pytest.raises(RuntimeError, match="ended with exit code 3"):
            child.play(1)


def test_costs_are_per_unit() -> None:
    samples = Samples([Sample(10, 1.0, 2.0), Sample(10, 3.0, 2.0), Sample(10, 8.0, 2.0)])
    assert (samples.cost("cpu"), samples.cost("wall"), samples.cost("cpu", 100)) == pytest.approx(
        (0.3, 0.2, 0.8)
    )


def test_a_round_is_timed_on_both_clocks() -> None:
    def play(number: int) -> Work:
        return Work(2, np.sort(np.random.default_rng(number).random(10**5))[:1])

    sample = Here(play).play(0)
    assert sample.units == 2 and sample.cpu > 0 and sample.wall > 0 and sample.memory > 10


@pytest.mark.parametrize(
    ("ours", "theirs", "gap"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([1.0, 2.0], [1.0], 0.0),
        ([nan, 1.0], [nan, 1.0], 0.0),
        ([], [], 0.0),
        ([nan], [1.0], nan),
    ],
)
def test_the_difference_is_the_largest_as_far_as_both_reach(
    ours: list[float], theirs: list[float], gap: float
) -> None:
    assert difference(outputs(ours), outputs(theirs)) == pytest.approx(gap, nan_ok=True)


def test_a_number_beside_none_is_no_agreement_whatever_comes_later() -> None:
    assert np.isnan(difference(outputs([nan], [1.0]), outputs([2.0], [9.0])))


def test_the_spread_is_how_far_an_outputs_numbers_lie_apart() -> None:
    assert spread(outputs([1.0, 4.0, 2.0])) == 3.0


def test_the_shared_folder_is_made_once_and_told_to_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(FOLDER)
    folder = scratch()
    assert folder.is_dir() and os.environ[FOLDER] == str(folder) and scratch() == folder
