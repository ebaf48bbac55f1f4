"""A sweep computes its probabilities once, in any number of processes, and never takes others."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strategy_plugin import BiLSTMStrategy, Schedule, SignalQuality, cache
from strategy_plugin.cache import cached_forecasts, shared_folder
from tests.helpers.hosts import feed, host
from tests.helpers.makers import random_bars, random_checkpoint

BARS = random_bars(300)
VALUES, TIMESTAMPS = BARS.to_numpy(), BARS.index.asi8


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The bar counts of every computation, from an empty memory and an empty folder on."""
    calls: list[int] = []
    original = Schedule.forecasts

    def counted(self: Schedule, values: Any, *others: Any) -> Any:
        calls.append(len(values))
        return original(self, values, *others)

    monkeypatch.setattr(Schedule, "forecasts", counted)
    monkeypatch.setattr(cache, "_memory", type(cache._memory)())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return calls


def test_the_same_bars_and_models_are_computed_once(
    computed: list[int], checkpoint_path: str
) -> None:
    one, other = (cached_forecasts(Schedule(checkpoint_path), VALUES, TIMESTAMPS) for _ in range(2))
    assert computed == [300] and one is other


@pytest.mark.parametrize("change", ["a value", "a timestamp", "a model", "max_gap", "precision"])
@pytest.mark.filterwarnings("ignore:this processor has no instructions")
def test_whatever_differs_is_computed_anew(
    computed: list[int], checkpoint_path: str, tmp_path: Path, change: str
) -> None:
    random_checkpoint(BARS, seed=9).save(tmp_path / "other.ckpt")
    cached_forecasts(Schedule(checkpoint_path), VALUES, TIMESTAMPS)
    values, timestamps = VALUES.copy(), TIMESTAMPS.copy()
    values[0, 0] += (change == "a value") * 1e-9
    timestamps[-1] += change == "a timestamp"
    path = str(tmp_path / "other.ckpt") if change == "a model" else checkpoint_path
    served = {"max_gap": {"max_gap": 1}, "precision": {"precision": "bf16"}}.get(change, {})
    cached_forecasts(Schedule(path, **served), values, timestamps)
    assert computed == [300, 300]


def test_memory_holds_the_last_few(computed: list[int], checkpoint_path: str) -> None:
    for count in (10, 11, 12, 10):
        cached_forecasts(Schedule(checkpoint_path), VALUES[:count], TIMESTAMPS[:count], most_kept=2)
    assert computed == [10, 11, 12, 10] and len(cache._memory) == 2


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of a pool."""
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())


def test_processes_of_a_pool_share_a_file(
    computed: list[int], pooled: None, checkpoint_path: str
) -> None:
    one = cached_forecasts(Schedule(checkpoint_path), VALUES, TIMESTAMPS)
    cache._memory.clear()
    other = cached_forecasts(Schedule(checkpoint_path), VALUES, TIMESTAMPS)
    assert computed == [300] and one is not other
    np.testing.assert_array_equal(one, other)
    assert shared_folder().stat().st_mode & 0o777 == 0o700


def test_a_file_of_another_length_is_computed_anew(
    computed: list[int], pooled: None, checkpoint_path: str
) -> None:
    cached_forecasts(Schedule(checkpoint_path), VALUES, TIMESTAMPS)
    next(shared_folder().glob("*.f8")).write_bytes(b"short")
    cache._memory.clear()
    cached_forecasts(Schedule(checkpoint_path), VALUES, TIMESTAMPS)
    assert computed == [300, 300]


def test_old_files_are_removed(computed: list[int], pooled: None, checkpoint_path: str) -> None:
    for count in (10, 11, 12, 13):
        cached_forecasts(Schedule(checkpoint_path), VALUES[:count], TIMESTAMPS[:count], most_kept=2)
    assert len(list(shared_folder().iterdir())) == 4  # two results and their locks


def test_a_folder_of_somebody_else_is_refused(
    computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 12_345)
    with pytest.raises(
        PermissionError,
        match=r"12345 must belong to this user, it belongs to user \d+. Remove it or set TMPDIR",
    ):
        shared_folder()


def test_a_sweep_in_one_process_computes_once(computed: list[int], checkpoint_path: str) -> None:
    cerebro = host(feed(BARS), maxcpus=1)
    cerebro.optstrategy(
        BiLSTMStrategy, checkpoint=checkpoint_path, enter=[0.5, 0.52, 0.55, 0.6], exit=0.5
    )
    cerebro.addanalyzer(SignalQuality)
    runs = cerebro.run()
    assert computed == [300] and len(runs) == 4
    rates = [run[0].analyzers.signalquality.get_analysis()["data"]["hit_rate"] for run in runs]
    assert len(set(rates)) > 1


SWEEP = """
import json, multiprocessing, sys
import backtrader as bt
import pandas as pd
from strategy_plugin import BiLSTMStrategy, Schedule, SignalQuality

original = Schedule.forecasts
def counted(self, values, *others):
    with open(sys.argv[3], "a") as log:
        print(len(values), file=log)
    return original(self, values, *others)
Schedule.forecasts = counted

def sweep(method, max_gap):
    multiprocessing.set_start_method(method, force=True)
    cerebro = bt.Cerebro(stdstats=False, maxcpus=2)
    cerebro.adddata(bt.feeds.PandasData(dataname=pd.read_parquet(sys.argv[1]), name="data"))
    cerebro.optstrategy(
        BiLSTMStrategy,
        checkpoint=sys.argv[2],
        enter=[0.5, 0.52, 0.55, 0.6, 0.65, 0.7],
        exit=0.5,
        max_gap=max_gap,
    )
    cerebro.addanalyzer(SignalQuality)
    runs = [run[0] for run in cerebro.run()]
    qualities = [run.analyzers.signalquality.get_analysis()["data"] for run in runs]
    return [[run.p.enter, quality["auc"]] for run, quality in zip(runs, qualities)]

if __name__ == "__main__":  # what is known for one max_gap is not for the other
    print(json.dumps([sweep("fork", 0), sweep("spawn", 9)]))
"""


def test_a_sweep_over_several_processes_computes_once_however_they_are_started(
    tmp_path: Path, checkpoint_path: str
) -> None:
    BARS.to_parquet(tmp_path / "bars.parquet")
    (tmp_path / "sweep.py").write_text(SWEEP)
    command = [sys.executable, "sweep.py", "bars.parquet", checkpoint_path, "log"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    forked, spawned = json.loads(run.stdout)
    assert [enter for enter, _ in forked] == [0.5, 0.52, 0.55, 0.6, 0.65, 0.7] and spawned == forked
    assert len({auc for _, auc in forked}) == 1
    assert (tmp_path / "log").read_text().split() == ["300", "300"]
