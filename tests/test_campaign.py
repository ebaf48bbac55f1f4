import pytest
from dying import die_if_told
from joblib import Parallel, delayed
from makers import random_checkpoint

from backtests import campaign
from backtests.campaign import FoldsFailed, train_all
from backtests.state import RunState
from backtests.walk_forward import FoldModel, FoldPlan, lay_folds
from model.training import TrainConfig

PLAN = FoldPlan(folds=3, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())
SEARCH = None


@pytest.fixture
def folds(bars):
    return lay_folds(bars, PLAN, CONFIG)


@pytest.fixture
def trainer(monkeypatch, bars):
    """Stands for train_folds: makes random checkpoints and notes which folds it was asked for."""
    asked = []

    def train(bars, folds, *_, **__):
        asked.append([fold.number for fold in folds])
        for fold in reversed(folds):
            yield FoldModel(fold, random_checkpoint(bars, bars.index[fold.test], seed=fold.number))

    monkeypatch.setattr(campaign, "train_folds", train)
    return asked


def run(bars, folds, folder, seen=None):
    def note(model, found):
        if seen is not None:
            seen.append((model.fold.number, found))

    return train_all(bars, folds, CONFIG, SEARCH, RunState(folder), on_fold=note)


def test_models_come_in_order_and_are_told_of_as_they_finish(bars, folds, trainer, tmp_path):
    seen = []
    models = run(bars, folds, tmp_path, seen)
    assert [model.fold.number for model in models] == [1, 2, 3]
    assert seen == [(3, False), (2, False), (1, False)]


def test_finished_folds_are_not_trained_again(bars, folds, trainer, tmp_path):
    first, seen = run(bars, folds, tmp_path), []
    (tmp_path / ".state" / "fold-02.json").unlink()
    again = run(bars, folds, tmp_path, seen)
    assert trainer == [[1, 2, 3], [2]]
    assert seen == [(1, True), (3, True), (2, False)]
    assert [model.checkpoint.digest for model in again] == [model.checkpoint.digest for model in first]


def test_other_settings_train_all_folds_again(bars, folds, trainer, tmp_path):
    run(bars, folds, tmp_path)
    train_all(bars, folds, PLAN.training(TrainConfig(seed=7)), SEARCH, RunState(tmp_path), on_fold=lambda *_: None)
    assert trainer == [[1, 2, 3], [1, 2, 3]]


def dying(monkeypatch, marker):
    """Real processes, of which the one with fold 2 dies: once, or always without a marker."""
    def train(bars, folds, *_, **__):
        by_number = {fold.number: fold for fold in folds}
        parallel = Parallel(n_jobs=2, return_as="generator_unordered")
        for number in parallel(delayed(die_if_told)(number, marker) for number in by_number):
            yield FoldModel(by_number[number], None, reason="no need of one")

    monkeypatch.setattr(campaign, "train_folds", train)


def test_a_worker_that_dies_once_costs_nothing(monkeypatch, bars, folds, tmp_path):
    dying(monkeypatch, str(tmp_path / "died"))
    assert [model.fold.number for model in run(bars, folds, tmp_path)] == [1, 2, 3]


def test_a_fold_whose_worker_always_dies_costs_no_other(monkeypatch, bars, folds, tmp_path):
    dying(monkeypatch, "")
    with pytest.raises(FoldsFailed, match=r"the process that trained fold 2 died in every try .* 2 of 3 folds are kept") as failed:
        run(bars, folds, tmp_path)
    assert failed.value.exit_code == 8
    assert sorted(path.name for path in (tmp_path / ".state").iterdir()) == ["fold-01.json", "fold-03.json"]
