import subprocess
import sys
from threading import Lock

import pytest
from distributed import LocalCluster
from joblib import Parallel, delayed

from backtests.evidence.searched import choose
from backtests.synthetic.markets import market
from backtests.walk_forward import workers as module
from backtests.walk_forward.folds import FoldPlan, Outcome, Settings, lay_folds, train_tasks
from backtests.walk_forward.searching import search
from backtests.walk_forward.space import Range, SearchPlan, Space
from backtests.walk_forward.workers import workers
from model.training.config import TrainConfig
from tests.helpers.folds import trained

PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig(max_epochs=1))
SEARCH = Settings(PLAN).search


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A cluster of two processes on this machine: with one joblib would work here."""
    folder = str(tmp_path_factory.mktemp("dask"))
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        local_directory=folder,
        host="127.0.0.1",
    ) as found:
        yield found.scheduler_address


def test_a_cluster_trains_the_same_models(address):
    bars = market("ar1", n_bars=400, seed=1).bars
    folds = lay_folds(bars, PLAN, CONFIG)

    def digests(jobs):
        return [model.checkpoint.digest for model in trained(bars, folds, CONFIG, SEARCH, jobs)]

    here = digests(1)
    with workers(address):
        assert digests(2) == here


def test_a_cluster_finds_the_same_winner_of_a_search(address, tmp_path):
    bars = market("ar1", n_bars=300, seed=1).bars
    config = PLAN.training(TrainConfig(max_epochs=1, sequence_length=5))
    space = Space({"learning_rate": Range(low=1e-4, high=1e-2, log=True)})
    given = bars, Settings(PLAN, config), space, SearchPlan(trials=2, batch=2)

    def winner_in(folder, jobs):
        found = list(search(*given, tmp_path / folder / "search.log", jobs))
        best, choice, _ = choose(bars, found, config)
        return choice, dict(best.settings), best.loss, best.losses, best.forecasts.tolist()

    here = winner_in("here", 1)
    with workers(address):
        assert winner_in("there", 2) == here


class Keyless:
    """A task whose result cannot be pickled."""

    label = "fold 1"

    def call(self):
        return result_that_cannot_be_sent


def result_that_cannot_be_sent(on_epoch):
    return Outcome(model=Lock())


def test_a_result_that_cannot_be_sent_fails_its_task_alone(address):
    """joblib would wait for it on Dask for ever."""
    with workers(address):
        [(_, outcome)] = train_tasks([Keyless()], jobs=2)
    assert (
        "must be possible to pickle, so that another process can send it: "
        "cannot pickle '_thread.lock' object"
    ) in outcome.failure


def test_what_is_not_sent_need_not_be_sendable():
    [(_, outcome)] = train_tasks([Keyless()], jobs=1)
    assert outcome.model and not outcome.failure


KILLED = """
import os, signal, time
from joblib import Parallel
from backtests.walk_forward.workers import dies_with_parent
parallel = Parallel(n_jobs=2, return_as="generator_unordered")
list(parallel(dies_with_parent(time.sleep, 0) for _ in range(4)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_works_ends_with_the_one_it_works_for(tmp_path):
    """It would wait for ever, and hold open what that one had opened.

    Here that is the pipe that this test reads to its end.
    """
    ended = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, timeout=120)
    assert ended.returncode == -9, ended.stderr


def test_without_an_address_the_work_stays_here():
    with workers(None):
        assert Parallel(n_jobs=1)(delayed(abs)(number) for number in (-1, -2)) == [1, 2]


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "distributed", None)
    with (
        pytest.raises(ValueError, match=r"pip install 'backtrader-bilstm\[dask\]'"),
        workers("tcp://127.0.0.1:1"),
    ):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_where_nothing_answers_it_says_so(monkeypatch, address):
    monkeypatch.setattr(module, "CONNECT_WITHIN", "500ms")
    message = "`dask` must be the address of a Dask scheduler, like tcp://host:8786, got"
    with pytest.raises(ValueError, match=f"{message} '{address}'"), workers(address):
        pass
