import pytest
from dying import die_if_told
from joblib import Parallel, delayed
from makers import random_checkpoint

from backtests import campaign
from backtests.campaign import Course, FoldsFailed, Lost, train_all
from backtests.state import RunState
from backtests.walk_forward import FoldFailure, FoldModel, FoldPlan, lay_folds
from model.training import TrainConfig

PLAN = FoldPlan(folds=3, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())


@pytest.fixture
def folds(bars):
    return lay_folds(bars, PLAN, CONFIG)


def course(bars, folds, folder, *, config=CONFIG, name=""):
    return Course(bars, folds, config, None, RunState(folder), name)


@pytest.fixture
def trainer(monkeypatch):
    """Stands for train_folds: makes random checkpoints and notes which folds it was asked for."""
    asked = []

    def train(tasks, *, on_start, **_):
        asked.append([task.label for task in tasks])
        for task in reversed(tasks):
            on_start(task)
            until = task.bars.index[task.fold.test]
            yield task, FoldModel(task.fold, random_checkpoint(task.bars, until, seed=task.fold.number))

    monkeypatch.setattr(campaign, "train_folds", train)
    return asked


def run(*courses, seen=None):
    told = (lambda label, _, found: seen.append((label, found))) if seen is not None else (lambda *_: None)
    return train_all(courses, on_fold=told)


def test_models_come_in_order_and_are_told_of_as_they_finish(bars, folds, trainer, tmp_path):
    seen = []
    [models], lost = run(course(bars, folds, tmp_path), seen=seen)
    assert [model.fold.number for model in models] == [1, 2, 3] and lost == []
    assert seen == [("fold 3", False), ("fold 2", False), ("fold 1", False)]


def test_finished_folds_are_not_trained_again(bars, folds, trainer, tmp_path):
    [first], seen = run(course(bars, folds, tmp_path))[0], []
    (tmp_path / ".state" / "fold-02.json").unlink()
    [again], _ = run(course(bars, folds, tmp_path), seen=seen)
    assert trainer == [["fold 1", "fold 2", "fold 3"], ["fold 2"]]
    assert seen == [("fold 1", True), ("fold 3", True), ("fold 2", False)]
    assert [model.checkpoint.digest for model in again] == [model.checkpoint.digest for model in first]


def test_other_settings_train_all_folds_again(bars, folds, trainer, tmp_path):
    run(course(bars, folds, tmp_path))
    run(course(bars, folds, tmp_path, config=PLAN.training(TrainConfig(seed=7))))
    assert trainer == [["fold 1", "fold 2", "fold 3"]] * 2


def test_the_folds_of_several_markets_are_trained_at_the_same_time(bars, folds, trainer, tmp_path):
    one, other = course(bars, folds, tmp_path / "a", name="a"), course(bars, folds[1:], tmp_path / "b", name="b")
    models, lost = run(one, other)
    assert trainer == [["a fold 1", "a fold 2", "a fold 3", "b fold 2", "b fold 3"]] and lost == []
    assert [[model.fold.number for model in those] for those in models] == [[1, 2, 3], [2, 3]]
    assert (tmp_path / "b" / ".state" / "fold-02.json").exists()


def dying(monkeypatch, marker):
    """Real processes, of which the one with fold 2 of the market "a" dies: once, or always without a marker."""
    asked = []

    def train(tasks, *, on_start, **_):
        asked.append([task.label for task in tasks])

        def calls():
            for number, task in enumerate(tasks):
                on_start(task)
                yield delayed(die_if_told)(number, task.label == "a fold 2", marker)

        for number in Parallel(n_jobs=2, return_as="generator_unordered")(calls()):
            yield tasks[number], FoldModel(tasks[number].fold, None, reason="no need of one")

    monkeypatch.setattr(campaign, "train_folds", train)
    return asked


def test_a_worker_that_dies_once_costs_nothing(monkeypatch, bars, folds, tmp_path):
    dying(monkeypatch, str(tmp_path / "died"))
    [models], lost = run(course(bars, folds, tmp_path, name="a"))
    assert [model.fold.number for model in models] == [1, 2, 3] and lost == []


def test_a_fold_whose_worker_always_dies_costs_no_other(monkeypatch, bars, folds, tmp_path):
    asked = dying(monkeypatch, "")
    models, lost = run(course(bars, folds, tmp_path / "a", name="a"), course(bars, folds, tmp_path / "b", name="b"))
    assert models[0] is None and [model.fold.number for model in models[1]] == [1, 2, 3]
    assert lost == [Lost("a fold 2", "the process that trained it died in every try (memory?)")]
    assert asked.count(["a fold 2"]) == 2  # in the end alone
    assert sorted(path.name for path in (tmp_path / "a" / ".state").iterdir()) == ["fold-01.json", "fold-03.json"]


def test_a_fold_that_diverges_is_lost_without_another_try(monkeypatch, bars, folds, tmp_path):
    asked = []

    def train(tasks, **_):
        asked.append(len(tasks))
        for task in tasks:
            yield task, FoldFailure("nan") if task.fold.number == 1 else FoldModel(task.fold, None, reason="one class")

    monkeypatch.setattr(campaign, "train_folds", train)
    assert run(course(bars, folds, tmp_path)) == ([None], [Lost("fold 1", "nan")]) and asked == [3]


def test_what_was_lost_is_named():
    error = FoldsFailed.of([Lost("a fold 2", "it died"), Lost("b fold 1", "nan")], 8)
    assert str(error) == "a fold 2: it died; b fold 1: nan. 6 of 8 folds are kept; the same command tries the rest again."
    assert error.exit_code == 8
