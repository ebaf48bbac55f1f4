"""What a walk-forward will take: windows, time and memory, and when nothing is to be told."""

from dataclasses import replace

import pytest

from backtests import cost
from backtests.cost import describe_cost, seconds_per_window
from backtests.simulation.account import Costs
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from backtests.walk_forward.store import MemberStore, RunState
from backtests.walk_forward.trainer import Configuration
from model.training.config import TrainConfig
from tests.helpers.makers import random_checkpoint

PLAN = FoldPlan(folds=3, train_blocks=2)
CONFIG = PLAN.training(TrainConfig(max_epochs=30, patience=10))
ASKED = {"bilstm": 0.05, "transformer": 0.25}


@pytest.fixture(autouse=True)
def timed(monkeypatch):
    """The architectures of which a few batches were timed: each a window at a known speed."""
    asked = []

    def seconds(config):
        asked.append(config.architecture)
        return ASKED[config.architecture]

    monkeypatch.setattr(cost, "seconds_per_window", seconds)
    return asked


@pytest.fixture
def make(bars, tmp_path):
    """Makes a configuration of three folds of two blocks of 50 decisions."""

    def made(config=CONFIG, name="", costs=Costs()):
        folds = lay_folds(bars, PLAN, config)
        state, settings = RunState(tmp_path / name), Settings(PLAN, config, costs=costs)
        pasts = [fold.past(bars) for fold in folds]
        return Configuration(pasts, folds, settings, state, MemberStore(tmp_path), name, name)

    return made


def test_time_is_of_the_fewest_epochs_and_the_most(make, timed):
    # 101 windows each, of which .8 train: 3 x 80 x .05 seconds an epoch on one process.
    text = describe_cost([make()], 1)
    assert text == (
        "training 3 folds of up to 80 windows, 1 at a time: 2 minutes (11 epochs each) to "
        "6 minutes (30 epochs each); 0.6 GB of memory for each at a time"
    )
    assert "2 at a time: 66 seconds (11 epochs each) to 3 minutes" in describe_cost([make()], 2)
    # No more at a time than there are folds.
    assert "3 at a time" in describe_cost([make()], 50)


def test_each_architecture_and_member_counts_and_is_timed_once(make, timed):
    both = replace(CONFIG, architecture="ensemble", max_epochs=1)
    text = describe_cost([make(name="one"), make(both, "two")], 1)
    # An epoch of both members, and one of the other network for each of the eleven.
    assert timed == ["bilstm", "transformer"]
    assert text.startswith("training 6 folds of up to 80 windows, 1 at a time: ")


def test_what_is_finished_or_needs_thresholds_alone_is_not_told(make, bars):
    done, dearer = make(), make(costs=Costs(commission=9))
    for job in done.jobs()[1:]:
        checkpoint = random_checkpoint(bars, job.past.index[-1], seed=job.fold.number)
        job.configuration.state.keep(FoldModel(job.fold, checkpoint), job.keys)
    for walk in (done, dearer):
        assert describe_cost([walk], 1).startswith("training 1 fold of up to 80 windows")
    first = done.jobs()[0]
    checkpoint = random_checkpoint(bars, first.past.index[-1])
    done.state.keep(FoldModel(first.fold, checkpoint), first.keys)
    assert describe_cost([done], 1) == describe_cost([dearer], 1) == ""


def test_memory_grows_with_the_windows_of_the_largest_fold(make, monkeypatch):
    monkeypatch.setattr(cost, "training_windows", lambda job: 400_000)
    # 500,000 rows of 86 numbers, three of eight bytes each.
    assert "1.6 GB of memory for each at a time" in describe_cost([make()], 1)


@pytest.mark.parametrize("other", [{"batch_size": 4}, {"horizon": 60, "label": "close"}])
def test_a_few_windows_are_really_trained_whatever_the_settings(other):
    quick = replace(CONFIG, architecture="transformer", sequence_length=5)
    assert seconds_per_window(replace(quick, **other)) > 0
