import numpy as np
import pandas as pd
import pytest

from backtests.evidence.decisions import decisions_of
from backtests.simulation.account import Account, Costs
from backtests.simulation.broker import simulate
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds, predictions
from model.training.config import TrainConfig

PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())


@pytest.fixture(scope="module")
def probability(bars):
    return pd.Series(np.random.default_rng(2).random(len(bars)), index=bars.index)


@pytest.fixture(scope="module")
def start(bars):
    return lay_folds(bars, PLAN, CONFIG)[0].test


@pytest.fixture(scope="module")
def judged(bars, probability, start):
    models = [FoldModel(fold, None) for fold in lay_folds(bars, PLAN, CONFIG)]
    learners = pd.DataFrame({"a learner": probability.iloc[start:]})
    settings = Settings(PLAN, CONFIG, Account(allow_short=True), Costs())
    position = simulate(
        bars, probability, start, account=settings.account, costs=settings.costs
    ).position
    held = np.sign(position.shift(-1).to_numpy())
    return decisions_of(bars, predictions(bars, models, CONFIG), held, learners, settings)


def test_decisions_are_judged_where_their_outcome_is_known(bars, start, judged):
    assert len(judged.labels) == len(judged.moves) == len(bars) - start - 2
    assert judged.moves[0] == bars["open"].iloc[start + 2] / bars["open"].iloc[start + 1] - 1
    assert ((judged.moves > 0) == (judged.labels > 0.5)).all()


def test_the_strategy_holds_what_its_probability_wants(judged):
    """Here the learner forecasts what the strategy is given, so both want the same."""
    assert (
        judged.strategy == judged.benchmarks["a learner"]
    ).mean() > 0.98  # a reversal that the cash did not cover


def test_a_fold_without_a_model_forecasts_nothing(judged):
    assert np.isnan(judged.probability).all()


def test_costs_are_a_fraction_per_side(judged):
    assert judged.cost == 2e-4
    assert judged.returns["buy-and-hold"][0] == pytest.approx(judged.moves[0] - 2e-4)
