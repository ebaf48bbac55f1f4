from dataclasses import replace

import pytest
from joblib import Parallel, delayed

from backtests.simulation.account import Costs
from backtests.walk_forward import folds as walk_forward
from backtests.walk_forward import trainer as training
from backtests.walk_forward.folds import FoldModel, FoldPlan, FoldTask, Outcome, Settings, lay_folds
from backtests.walk_forward.store import MemberStore, RunState
from backtests.walk_forward.thresholds import Choice
from backtests.walk_forward.trainer import (
    CHOSEN_ANEW,
    FOUND,
    TRAINED,
    Configuration,
    FoldsFailed,
    Lost,
    train_all,
)
from backtests.walk_forward.workers import WORKER_DEATHS
from model.training.config import TrainConfig
from tests.helpers.dying import die_if_told
from tests.helpers.makers import random_checkpoint

PLAN = FoldPlan(folds=3, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())
LABELS = ["fold 1", "fold 2", "fold 3"]


@pytest.fixture
def folds(bars):
    return lay_folds(bars, PLAN, CONFIG)


def configuration(bars, folds, folder, *, config=CONFIG, instrument="", name=""):
    state, settings = RunState(folder / name), Settings(PLAN, config)
    pasts = [fold.past(bars) for fold in folds]
    return Configuration(pasts, folds, settings, state, MemberStore(folder), instrument, name)


def outcome_of(task):
    """What training would give: random weights, for the members that the settings name."""
    until, config = task.past.index[-1], task.config
    if not isinstance(task, FoldTask):
        members = (config.architecture,)
        return Outcome(
            member=random_checkpoint(task.past, until, members=members, seed=config.seed)
        )
    found = task.members()
    checkpoint = random_checkpoint(task.past, until, seed=task.fold.number)
    if found:
        checkpoint = replace(checkpoint, members=tuple(one.members[0] for one in found))
    return Outcome(FoldModel(task.fold, checkpoint))


@pytest.fixture
def trainer(monkeypatch):
    """Stands for train_tasks and notes what it was asked for."""
    asked = []

    def train(tasks, *, on_start, **_):
        asked.append([task.label for task in tasks])
        for task in reversed(tasks):
            on_start(task)
            yield task, outcome_of(task)

    monkeypatch.setattr(training, "train_tasks", train)
    return asked


def run(*configurations, seen=None, **told):
    note = (
        (lambda label, _, origin: seen.append((label, origin)))
        if seen is not None
        else (lambda *_: None)
    )
    return train_all(configurations, on_done=note, **told)


def numbers(configuration):
    return [model.fold.number for model in configuration.models()]


def test_models_come_in_order_and_are_told_of_as_they_finish(bars, folds, trainer, tmp_path):
    seen, one = [], configuration(bars, folds, tmp_path)
    assert run(one, seen=seen) == [] and numbers(one) == [1, 2, 3]
    assert seen == [("fold 3", TRAINED), ("fold 2", TRAINED), ("fold 1", TRAINED)]


def test_finished_folds_are_not_trained_again(bars, folds, trainer, tmp_path):
    one, seen = configuration(bars, folds, tmp_path), []
    run(one)
    first = one.models()
    (tmp_path / ".state" / "fold-02.json").unlink()
    assert one.models() is None
    run(one, seen=seen)
    assert trainer == [LABELS, ["fold 2"]]
    assert seen == [("fold 1", FOUND), ("fold 3", FOUND), ("fold 2", TRAINED)]
    assert [model.checkpoint.digest for model in one.models()] == [
        model.checkpoint.digest for model in first
    ]


def test_other_settings_train_all_folds_again(bars, folds, trainer, tmp_path):
    run(configuration(bars, folds, tmp_path))
    run(configuration(bars, folds, tmp_path, config=PLAN.training(TrainConfig(seed=7))))
    assert trainer == [LABELS, LABELS]


def test_other_costs_train_none_and_choose_thresholds_anew(
    bars, folds, trainer, tmp_path, monkeypatch
):
    seen, one = [], configuration(bars, folds, tmp_path)
    run(one)
    choice = Choice(0.6, 0.55, 20, 1e-4, True)
    monkeypatch.setattr(
        walk_forward,
        "with_thresholds",
        lambda checkpoint, *_: (replace(checkpoint, enter=0.6, exit=0.55), choice),
    )
    dearer = replace(one, settings=replace(one.settings, costs=Costs(commission=9)))
    assert run(dearer, seen=seen) == []
    assert trainer == [LABELS] and seen == [(label, CHOSEN_ANEW) for label in LABELS]
    assert [(model.choice, model.checkpoint.enter) for model in dearer.models()] == [
        (choice, 0.6)
    ] * 3
    assert one.models() is None


def test_the_folds_of_several_instruments_are_trained_at_the_same_time(
    bars, folds, trainer, tmp_path
):
    one, other = (
        configuration(bars, folds, tmp_path / "a", instrument="a"),
        configuration(bars, folds[1:], tmp_path / "b", instrument="b"),
    )
    assert run(one, other) == []
    assert trainer == [["a fold 1", "a fold 2", "a fold 3", "b fold 2", "b fold 3"]]
    assert (numbers(one), numbers(other)) == ([1, 2, 3], [2, 3])


SEVERAL = replace(CONFIG, seeds=2)
MEMBERS = [f"fold {number} bilstm {seed}" for number in (1, 2, 3) for seed in (42, 43)]


def test_members_are_trained_each_by_itself_before_the_folds(bars, folds, trainer, tmp_path):
    one, more = configuration(bars, folds, tmp_path, config=SEVERAL), []
    run(one, on_more=more.append)
    assert trainer == [MEMBERS, LABELS] and more == [6]
    assert [[member.name for member in model.checkpoint.members] for model in one.models()] == [
        ["bilstm 42", "bilstm 43"]
    ] * 3


def test_a_seed_more_trains_but_one_member_more(bars, folds, trainer, tmp_path):
    run(configuration(bars, folds, tmp_path, config=SEVERAL))
    run(configuration(bars, folds, tmp_path, config=replace(CONFIG, seeds=3)))
    assert trainer[2] == [f"fold {number} bilstm 44" for number in (1, 2, 3)]


def test_an_ensemble_takes_the_members_that_others_trained(bars, folds, trainer, tmp_path):
    one = configuration(bars, folds, tmp_path, name="bilstm")
    both = configuration(
        bars, folds, tmp_path, config=replace(CONFIG, architecture="ensemble"), name="ensemble"
    )
    run(one, both)
    names = [
        f"fold {number} {name} 42" for number in (1, 2, 3) for name in ("bilstm", "transformer")
    ]
    assert trainer == [
        names,
        [f"{name} {label}" for name in ("bilstm", "ensemble") for label in LABELS],
    ]
    digests = [
        [digest_of(member) for member in model.checkpoint.members] for model in both.models()
    ]
    assert [those[0] for those in digests] == [
        digest_of(model.checkpoint.members[0]) for model in one.models()
    ]


def digest_of(member):
    return member.name, float(sum(tensor.double().sum() for tensor in member.weights.values()))


def test_the_member_of_a_finished_fold_is_not_trained_again(bars, folds, trainer, tmp_path):
    one = configuration(bars, folds, tmp_path, name="bilstm")
    run(one)
    run(
        one,
        configuration(
            bars,
            folds,
            tmp_path,
            config=replace(CONFIG, architecture="ensemble"),
            name="ensemble",
        ),
    )
    assert trainer[1] == [f"fold {number} transformer 42" for number in (1, 2, 3)]


def failing(monkeypatch, label):
    """All is done but the task with this label, which diverges."""

    def train(tasks, **_):
        for task in tasks:
            yield task, Outcome(failure="nan") if task.label == label else outcome_of(task)

    monkeypatch.setattr(training, "train_tasks", train)


def test_a_member_that_fails_costs_its_fold_alone(monkeypatch, bars, folds, tmp_path):
    failing(monkeypatch, "fold 2 bilstm 43")
    one = configuration(bars, folds, tmp_path, config=SEVERAL)
    assert run(one) == [Lost("fold 2", "fold 2 bilstm 43: nan")] and one.models() is None
    assert sorted(path.name for path in (tmp_path / ".state").glob("*.json")) == [
        "fold-01.json",
        "fold-03.json",
    ]


def test_a_fold_that_diverges_is_lost(monkeypatch, bars, folds, tmp_path):
    failing(monkeypatch, "fold 1")
    assert run(configuration(bars, folds, tmp_path)) == [Lost("fold 1", "nan")]


def dying(monkeypatch, marker):
    """Real processes, of which the one with fold 2 of the instrument "a" dies.

    Once, or always without a marker.
    """
    asked = []

    def train(tasks, *, on_start, **_):
        asked.append([task.label for task in tasks])

        def calls():
            for number, task in enumerate(tasks):
                on_start(task)
                yield delayed(die_if_told)(number, task.label == "a fold 2", marker)

        for number in Parallel(n_jobs=2, return_as="generator_unordered")(calls()):
            model = FoldModel(tasks[number].fold, None, reason="no need of one")
            yield tasks[number], Outcome(model)

    monkeypatch.setattr(training, "train_tasks", train)
    return asked


def test_a_worker_that_dies_once_costs_nothing(monkeypatch, bars, folds, tmp_path):
    dying(monkeypatch, str(tmp_path / "died"))
    one = configuration(bars, folds, tmp_path, instrument="a")
    assert run(one) == [] and numbers(one) == [1, 2, 3]


def test_a_fold_whose_worker_always_dies_costs_no_other(monkeypatch, bars, folds, tmp_path):
    asked = dying(monkeypatch, "")
    one, other = (
        configuration(bars, folds, tmp_path / "a", instrument="a"),
        configuration(bars, folds, tmp_path / "b", instrument="b"),
    )
    assert run(one, other) == [
        Lost("a fold 2", "the process that trained it died in every try (memory?)")
    ]
    assert one.models() is None and numbers(other) == [1, 2, 3]
    assert asked.count(["a fold 2"]) >= 2  # in the end alone
    assert sorted(path.name for path in (tmp_path / "a" / ".state").glob("*.json")) == [
        "fold-01.json",
        "fold-03.json",
    ]


def test_what_is_done_is_not_blamed_for_a_later_death(monkeypatch, bars, folds, tmp_path):
    """A fold that saw three deaths is finished; then its process dies, before it begins another."""
    deaths = []

    def train(tasks, *, on_start, **_):
        deaths.append(len(tasks))
        if len(deaths) <= 3:
            on_start(tasks[0])
        else:
            yield tasks[0], outcome_of(tasks[0])
        raise WORKER_DEATHS[0]("gone")

    monkeypatch.setattr(training, "train_tasks", train)
    one = configuration(bars, folds[:1], tmp_path)
    assert run(one) == [] and numbers(one) == [1] and deaths == [1, 1, 1, 1]


def test_what_was_lost_is_named():
    error = FoldsFailed.of([Lost("a fold 2", "it died"), Lost("b fold 1", "nan.")], 8)
    assert (
        str(error) == "a fold 2: it died; b fold 1: nan. Kept: 6 of 8 folds; "
        "the same command tries the rest again."
    )
    assert error.exit_code == 8
