"""A training that is killed or stopped by a signal.

It ends at once or after its step, and the same command goes on with it.
"""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.errors import Interrupted
from model.training.resume import SIGNALS, stop_requests
from tests.helpers import interrupting
from tests.helpers.makers import random_bars

Outcome = dict[str, Any]


def outcomes(folder: Path, *cases: str, instruments: int = 1) -> dict[str, Outcome]:
    """What became of each of the trainings, on one file or on a folder of several."""
    data = folder / "bars"
    data.mkdir()
    for number in range(instruments):
        random_bars(300, seed=number).to_csv(data / f"{number}.csv")
    given = data if instruments > 1 else data / "0.csv"
    command = [sys.executable, "-m", interrupting.__name__, str(given), str(folder), *cases]
    finished = subprocess.run(command, capture_output=True, check=True, text=True)
    return {outcome["case"]: outcome for outcome in map(json.loads, finished.stdout.splitlines())}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """One process for all: what takes time is that it loads its libraries."""
    return outcomes(tmp_path_factory.mktemp("interrupted"), "border 2", "moment 1", *ONE, *TWO)


ONE = ("signal SIGTERM", "signal SIGHUP")
TWO = ("signal SIGINT SIGTERM",)


def test_the_same_seed_gives_the_same_bytes_in_two_fresh_processes(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    """The command with the default network, in interpreters whose sets have another order."""
    bars.to_csv(tmp_path / "bars.csv")
    command = [
        sys.executable,
        "-m",
        "model.train",
        "--data",
        str(tmp_path / "bars.csv"),
        "--max-epochs",
        "1",
    ]
    trainings = [
        subprocess.Popen(
            [*command, "--out", str(tmp_path / f"{seed}.ckpt")],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert [training.wait() for training in trainings] == [0, 0]
    assert (tmp_path / "1.ckpt").read_bytes() == (tmp_path / "2.ckpt").read_bytes()


@pytest.mark.parametrize("case", ["border 2", "moment 1"])
def test_a_killed_training_goes_on_to_the_same_bytes(few: dict[str, Outcome], case: str) -> None:
    assert (few[case]["code"], few[case]["same"]) == (-9, True)


@pytest.mark.slow
def test_killed_at_any_moment_or_border_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    cases = [
        *(f"border {epoch}" for epoch in range(1, 7)),
        *(f"moment {seed}" for seed in range(20)),
    ]
    found = outcomes(tmp_path, *cases).values()
    assert len(found) == len(cases) and all(outcome["same"] for outcome in found)
    # A random moment may come after the end.
    assert sum(outcome["code"] == -9 for outcome in found) >= 24
    assert sum(outcome["went on"] for outcome in found) >= 12  # or before the first epoch's


@pytest.mark.slow
def test_the_training_of_a_universe_that_is_killed_goes_on_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    cases = [*(f"border {epoch}" for epoch in (1, 4)), *(f"moment {seed}" for seed in range(4))]
    found = outcomes(tmp_path, *cases, instruments=3).values()
    assert len(found) == len(cases) and all(outcome["same"] for outcome in found)
    assert sum(outcome["code"] == -9 for outcome in found) >= 4


@pytest.mark.parametrize("case", ONE)
def test_a_signal_ends_training_after_its_step_with_its_state_kept(
    few: dict[str, Outcome], case: str
) -> None:
    name, outcome = case.removeprefix("signal "), few[case]
    assert outcome["code"] == 128 + getattr(signal, name)
    assert outcome["seconds"] < interrupting.STEP + 1
    assert (
        f"error: stopped by {name} in epoch 3; epoch" in outcome["said"]
        and "The same command goes on" in outcome["said"]
    )
    assert outcome["went on"] and outcome["same"]


@pytest.mark.parametrize("case", TWO)
def test_a_second_signal_ends_it_at_once_and_the_last_state_stands(
    few: dict[str, Outcome], case: str
) -> None:
    outcome = few[case]
    assert outcome["code"] == 128 + getattr(signal, case.split()[-1]) and outcome["seconds"] < 1
    assert "in epoch 3" not in outcome["said"] and outcome["went on"] and outcome["same"]


def test_a_first_signal_is_noted_and_the_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_requests() as request:
        assert request.number == 0
        os.kill(os.getpid(), signal.SIGHUP)
        assert request.number == signal.SIGHUP
        assert [signal.getsignal(number) for number in SIGNALS] == before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as request:
            os.kill(os.getpid(), signal.SIGHUP)
        assert request.number == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_works_and_leaves_signals_alone() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    def work() -> tuple[int, bool]:
        with stop_requests() as request:
            return request.number, [signal.getsignal(number) for number in SIGNALS] == before

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(work).result() == (0, True)


def test_a_handler_that_only_c_knows_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_requests() as request:
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN and request.number == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_exit_code_is_that_of_the_signal(number: int, code: int) -> None:
    assert Interrupted("stopped.", number).exit_code == code
