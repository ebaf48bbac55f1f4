"""A walk-forward that is killed, or whose workers are, ends with the bytes of one that is not."""

import json
import os
import re
import subprocess
import sys

import pytest
from distributed import LocalCluster

from backtests.synthetic.markets import market
from tests.helpers.processes import environment

QUICK = ["--folds", "2", "--train-blocks", "2", "--max-epochs", "1"]
ENGINES = ("serial", "loky", "dask")
FEW = {"serial": (3, 9), "loky": (9,), "dask": (3,)}  # a tenth of them
EVERY = (*range(1, 13), *range(14, 39, 3))  # all while it trains, then down to the ledger


@pytest.fixture(scope="module")
def bars_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bars") / "smoke.csv"
    market("ar1", n_bars=400, seed=3).bars.to_csv(path)
    return path


@pytest.fixture(scope="module")
def walk(bars_file):
    """Runs the command once for each event, killed there, and again; returns how the runs ended."""

    def walk(folder, events, options, fold=""):
        script = [sys.executable, "-m", "tests.helpers.deadly_walk"]
        arguments = ["--data", bars_file, *QUICK, *options]
        command = [*script, ",".join(map(str, events)), folder, fold, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return walk


def contents(folder):
    """What a reader finds: all files but the run's own notes."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        # The ledger says when a trial was made, which is another time in each run.
        name: re.sub(rb'"date": "[^"]+", ', b"", path.read_bytes())
        if name == "trials"
        else path.read_bytes()
        for name, path in found.items()
        # The settings name the folder and the ledger, which each run here has of its own.
        if not name.startswith((".state", ".lock", "settings.toml"))
    }


@pytest.fixture(scope="module")
def undisturbed(walk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert walk(folder, [0], ["--jobs", "1"]) == [[0]]
    return contents(folder / "0")


@pytest.fixture(scope="module")
def options_of(tmp_path_factory):
    """The options of an engine; the cluster is started when it is first needed."""
    clusters = []

    def options(engine):
        if engine == "dask" and not clusters:
            place = str(tmp_path_factory.mktemp("dask"))
            os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]  # for the workers
            clusters.append(
                LocalCluster(
                    n_workers=2,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",
                    local_directory=place,
                    host="127.0.0.1",
                )
            )
        there = ["--dask", clusters[0].scheduler_address] if engine == "dask" else []
        return ["--jobs", "1" if engine == "serial" else "2", *there]

    before = os.environ.get("PYTHONPATH")
    yield options
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
    for cluster in clusters:
        cluster.close()


def require_same(walk, undisturbed, folder, events, options):
    assert walk(folder, events, options) == [[-9, 0]] * len(events)
    for event in events:
        assert contents(folder / str(event)) == undisturbed, event


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(
    walk, undisturbed, options_of, engine, tmp_path
):
    require_same(walk, undisturbed, tmp_path, FEW[engine], options_of(engine))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_it_does_so_killed_at_any_of_twenty_points(walk, undisturbed, options_of, engine, tmp_path):
    require_same(walk, undisturbed, tmp_path, EVERY, options_of(engine))


@pytest.mark.parametrize(
    "engine, fold",
    [
        ("loky", "fold 1"),
        ("dask", "fold 2"),
        pytest.param("loky", "fold 2", marks=pytest.mark.slow),
        pytest.param("dask", "fold 1", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_killed_costs_no_byte(
    walk, undisturbed, options_of, engine, fold, tmp_path
):
    assert walk(tmp_path, [0], options_of(engine), fold) == [[0]]
    assert (tmp_path / "0.died").exists() and contents(tmp_path / "0") == undisturbed
