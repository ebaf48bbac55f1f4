import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtests.simulation.account import Account
from backtests.synthetic.markets import market
from backtests.walk_forward import folds as walk_forward
from backtests.walk_forward.folds import (
    FoldModel,
    FoldPlan,
    FoldTask,
    MemberTask,
    Outcome,
    Settings,
    lay_folds,
    predictions,
    trade,
    train_fold,
    train_tasks,
)
from backtests.walk_forward.thresholds import Search
from model.errors import BarsError, TrainingDiverged
from model.training.config import TrainConfig, member_configs
from tests.helpers import small_network  # noqa: F401  makes the architecture known
from tests.helpers.folds import save, trained
from tests.helpers.makers import random_checkpoint

PLAN = FoldPlan(folds=3, train_blocks=2)
CONFIG = PLAN.training(TrainConfig(architecture="small", max_epochs=1))
LARGE = replace(CONFIG, architecture="bilstm")
SEARCH = Settings(PLAN).search
WARM_UP = 149


@pytest.fixture(scope="module")
def bars():
    return market("ar1", n_bars=WARM_UP + 5 * 60 + 3, seed=1).bars


@pytest.fixture(scope="module")
def folds(bars):
    return lay_folds(bars, PLAN, CONFIG)


@pytest.fixture(scope="module")
def models(bars, folds):
    return trained(bars, folds, CONFIG, SEARCH)


def test_the_test_blocks_adjoin_and_end_on_the_last_bar(bars, folds):
    assert [(fold.test, fold.stop) for fold in folds] == [(272, 332), (332, 392), (392, 452)]
    assert folds[-1].stop == len(bars)


def test_each_fold_learns_from_the_decisions_just_before_its_test_block(folds):
    assert [(fold.train, fold.test - fold.train) for fold in folds] == [
        (152, 120),
        (212, 120),
        (272, 120),
    ]


def test_the_past_begins_with_the_warm_up_and_ends_on_the_first_test_decision(bars, folds):
    past = folds[0].past(bars)
    assert past.index[0] == bars.index[152 - WARM_UP]
    assert past.index[-1] == bars.index[272]
    assert past.attrs == bars.attrs


def test_the_first_fold_may_begin_on_the_first_decision_there_is(bars):
    first = lay_folds(bars.iloc[3:], PLAN, CONFIG)[0]
    assert first.train == WARM_UP
    assert len(first.past(bars.iloc[3:])) == WARM_UP + 120 + 1


def test_an_anchored_past_begins_on_the_first_bar_and_grows(bars, folds):
    anchored = lay_folds(bars, replace(PLAN, anchored=True), CONFIG)
    assert [(fold.test, fold.stop) for fold in anchored] == [
        (fold.test, fold.stop) for fold in folds
    ]
    assert [len(fold.past(bars)) for fold in anchored] == [273, 333, 393]


@pytest.mark.parametrize(
    "n_bars, remedy",
    [(40, "Give more bars."), (358, "Lower `folds` or `batch_size` to need fewer.")],
)
def test_too_few_bars_are_refused_with_the_number_needed(bars, n_bars, remedy):
    message = (
        f"ar1: {n_bars} bars; at least 359 are needed "
        f"(for 3 folds that each learn from 2 blocks). {remedy}"
    )
    with pytest.raises(BarsError, match=re.escape(message)):
        lay_folds(bars.iloc[:n_bars], PLAN, CONFIG)


def test_the_number_needed_is_enough(bars):
    fewest = bars.iloc[:359]
    fold = lay_folds(fewest, PLAN, CONFIG)[0]
    assert train_fold(fold.past(fewest), fold, CONFIG, SEARCH).model.checkpoint


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"folds": 0}, "`folds` must be a whole number from 1, got 0."),
        ({"train_blocks": -1}, "`train_blocks` must be a whole number from 1, got -1."),
        (
            {"validation_share": 1.0},
            "`validation_share` must be a number above 0 and below 1, got 1.0.",
        ),
        ({"folds": 0, "validation_share": 0.0}, "got 0. `validation_share` must be"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError) as caught:
        FoldPlan(**settings)
    assert message in str(caught.value)


def test_validation_share_decides_both_shares_of_training():
    config = FoldPlan(validation_share=0.3).training(TrainConfig())
    assert (config.train, config.validation) == (0.7, 0.3)


def test_a_model_is_trained_until_its_first_test_decision(bars, models):
    assert [model.checkpoint.trained_until for model in models] == [
        bars.index[model.fold.test] for model in models
    ]


def test_all_of_the_past_is_training_or_validation(models):
    parts = models[0].checkpoint.parts
    purged = 1
    unknown_at_the_first_test_decision = 1
    assert (
        parts["train"]["windows"] + parts["validation"]["windows"]
        == 120 - purged - unknown_at_the_first_test_decision
    )
    assert parts["test"]["windows"] == 0


def test_a_model_is_blind_to_every_bar_after_its_first_test_decision(bars, folds, models):
    poisoned = bars.copy()
    poisoned.iloc[folds[0].test + 1 :, :4] *= 10
    again = train_fold(folds[0].past(poisoned), folds[0], CONFIG, SEARCH).model
    assert again.checkpoint.digest == models[0].checkpoint.digest


def test_the_models_do_not_depend_on_the_number_of_processes(bars, folds):
    # Others know no small one.
    parallel, alone = (trained(bars, folds[:2], LARGE, SEARCH, jobs) for jobs in (2, 1))
    assert [model.checkpoint.digest for model in parallel] == [
        model.checkpoint.digest for model in alone
    ]


def test_a_past_without_one_of_the_classes_gives_no_model(bars, folds):
    rising = bars.copy()
    rising["open"] = rising["low"] = np.linspace(100, 200, len(bars))
    rising["close"] = rising["high"] = rising["open"] + 0.1
    model = train_fold(folds[0].past(rising), folds[0], CONFIG, SEARCH).model
    assert model.checkpoint is None
    assert "must hold at least 5 windows of each class" in model.reason


def test_the_thresholds_are_chosen_on_validation_with_all_costs(bars, folds):
    assert Search(cost=2e-4, allow_short=False, fewest_trades=10) == SEARCH
    model = train_fold(folds[0].past(bars), folds[0], LARGE, replace(SEARCH, fewest_trades=1)).model
    assert model.choice.chosen
    assert (model.checkpoint.enter, model.checkpoint.exit) == (
        model.choice.enter,
        model.choice.exit,
    )


def test_epochs_are_reported_with_their_fold(bars, folds):
    seen, started = [], []
    task = FoldTask(folds[1].past(bars), folds[1], CONFIG, SEARCH, "fold 2")
    list(
        train_tasks(
            [task],
            on_epoch=lambda label, epoch: seen.append((label, epoch.epoch)),
            on_start=started.append,
        )
    )
    assert seen == [("fold 2", 1)] and started == [task]


def test_members_trained_by_themselves_make_the_same_model(bars, folds):
    config = replace(CONFIG, seeds=2)
    alone = [
        dict(train_tasks([MemberTask(folds[0].past(bars), single, "")])).popitem()[1].member
        for single in member_configs(config)
    ]
    together, apart = (
        train_fold(folds[0].past(bars), folds[0], config, SEARCH, members).model
        for members in ((), alone)
    )
    assert (
        apart.checkpoint.digest == together.checkpoint.digest and len(apart.checkpoint.members) == 2
    )


def test_a_member_whose_past_lacks_a_class_is_none(bars, folds):
    rising = bars.copy()
    rising["open"] = rising["low"] = np.linspace(100, 200, len(bars))
    rising["close"] = rising["high"] = rising["open"] + 0.1
    [(_, outcome)] = train_tasks([MemberTask(folds[0].past(rising), CONFIG, "")])
    assert outcome == Outcome()


def test_a_training_that_diverges_is_a_failure_of_its_fold(monkeypatch, bars, folds):
    def diverge(*_):
        raise TrainingDiverged("the loss is nan")

    monkeypatch.setattr(walk_forward, "fit", diverge)
    [(_, outcome)] = train_tasks(
        [FoldTask(folds[0].past(bars), folds[0], CONFIG, SEARCH, "fold 1")]
    )
    assert outcome == Outcome(failure="the loss is nan")


@pytest.fixture(scope="module")
def decisions(bars, models):
    return predictions(bars, models, CONFIG)


def test_there_is_one_row_per_test_decision(bars, decisions):
    assert list(decisions) == [
        "fold",
        "decided_at",
        "opens_at",
        "known_at",
        "probability",
        "label",
        "checkpoint",
    ]
    assert decisions["decided_at"].tolist() == bars.index[272:].tolist()
    assert decisions["checkpoint"].value_counts().to_dict() == {
        "fold-01.ckpt": 60,
        "fold-02.ckpt": 60,
        "fold-03.ckpt": 60,
    }


def test_a_decision_opens_on_the_next_bar_and_is_known_at_the_open_after_it(bars, decisions):
    assert decisions["opens_at"].iloc[0] == bars.index[273]
    assert decisions["known_at"].iloc[0] == bars.index[274]
    assert decisions["label"].iloc[0] == (bars["open"].iloc[274] > bars["open"].iloc[273])


def test_what_lies_after_the_last_bar_is_missing(decisions):
    assert decisions["opens_at"].isna().sum() == 1
    assert decisions["known_at"].isna().sum() == decisions["label"].isna().sum() == 2


def test_a_probability_is_that_of_the_model_on_the_whole_history(bars, models, decisions):
    whole = models[1].checkpoint.probabilities(bars)
    np.testing.assert_allclose(
        decisions["probability"].iloc[60:120],
        whole.loc[bars.index[332] : bars.index[391]],
        atol=1e-6,
    )


def test_a_fold_without_a_model_has_decisions_without_a_probability(bars, models):
    decisions = predictions(
        bars, [models[0], FoldModel(models[1].fold, None, reason="why"), models[2]], CONFIG
    )
    missing = decisions["probability"].isna()
    assert missing.sum() == 60 and missing[60:120].all()
    assert decisions["checkpoint"].isna().equals(missing)


@pytest.fixture(scope="module")
def random_models(bars, folds):
    """A model per fold with random weights, whose probabilities spread far."""
    return [
        FoldModel(
            fold,
            random_checkpoint(
                bars, bars.index[fold.test], seed=fold.number, bar_interval=pd.Timedelta("1h")
            ),
        )
        for fold in folds
    ]


@pytest.fixture(scope="module")
def traded(bars, random_models, tmp_path_factory):
    return trade(bars, random_models, save(random_models, tmp_path_factory.mktemp("checkpoints")))


def test_the_decisions_around_every_border_are_those_of_the_backtest(
    bars, folds, random_models, traded
):
    said = predictions(bars, random_models, CONFIG).set_index("decided_at")["probability"]
    borders = [position for fold in folds for position in (fold.test, fold.test + 1, fold.stop - 1)]
    around = bars.index[borders]
    np.testing.assert_allclose(traded.probability[around], said[around], atol=1e-6)
    assert said.diff()[bars.index[folds[1].test]] != 0


def test_every_decision_of_the_predictions_is_traded_at_its_opening_bar(
    bars, random_models, traded
):
    said = predictions(bars, random_models, CONFIG).iloc[:-1]
    np.testing.assert_allclose(traded.probability.iloc[:-1], said["probability"], atol=1e-6)
    assert (
        (said["probability"] >= 0.5).to_numpy()
        == (traded.position.loc[said["opens_at"]] > 0).to_numpy()
    ).all()
    assert 0.1 < (said["probability"] >= 0.5).mean() < 0.9


def test_a_fold_without_a_model_stays_flat_after_a_fold_with_one(
    bars, folds, random_models, tmp_path
):
    models = [random_models[0], FoldModel(folds[1], None, reason="one class"), random_models[2]]
    done = trade(bars, models, save(models, tmp_path), account=Account(enter=0.5, exit=0.5))
    held = pd.Series(done.position.to_numpy() != 0, index=range(folds[0].test, len(bars)))
    assert not held.loc[folds[1].test + 1 : folds[1].stop].any()
    assert held.loc[: folds[1].test].any() and held.loc[folds[1].stop + 1 :].any()


def test_without_any_model_nothing_is_traded(bars, folds, tmp_path):
    done = trade(bars, [FoldModel(fold, None, reason="one class") for fold in folds], tmp_path)
    assert done.fills.empty and (done.equity == done.equity.iloc[0]).all()
