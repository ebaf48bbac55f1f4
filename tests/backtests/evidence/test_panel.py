"""The decisions of a universe as tables: against those of each instrument by itself."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.decisions import decisions_of
from backtests.evidence.panel import mean_of_ranks, panel_of
from backtests.simulation.vectorised import directions
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds, predictions
from backtests.walk_forward.universe import lay_dated_folds
from model.labels.moves import relative_labels
from model.training.config import TrainConfig
from tests.helpers.panels import random_universe

PLAN = FoldPlan(folds=2, train_blocks=2)
RELATIVE = PLAN.training(TrainConfig(outcome="relative", fewest_instruments=3, batch_size=16))
DIRECTION = replace(RELATIVE, outcome="direction")


@pytest.fixture(scope="module")
def universe():
    return random_universe()


def probabilities(dated, seed=5):
    n_dates = dated.folds[-1].stop - dated.folds[0].test
    return np.random.default_rng(seed).uniform(0.4, 0.6, (n_dates, len(dated.universe)))


@pytest.fixture(scope="module")
def direction(universe):
    dated = lay_dated_folds(universe, PLAN, DIRECTION)
    return panel_of(dated, {"strategy": probabilities(dated)}, {})


@pytest.fixture(scope="module")
def relative(universe):
    dated = lay_dated_folds(universe, PLAN, RELATIVE)
    return panel_of(dated, {"strategy": probabilities(dated)}, {})


def test_of_directions_it_has_what_each_instrument_has_by_itself(universe, direction):
    for number, (name, bars) in enumerate(universe.items()):
        folds = lay_folds(bars, PLAN, DIRECTION)
        outcomes = predictions(bars, [FoldModel(fold, None) for fold in folds], DIRECTION)
        none = pd.DataFrame(index=outcomes.index)
        held = np.zeros(len(outcomes))
        alone = decisions_of(bars, outcomes, held, none, Settings(PLAN, DIRECTION))
        assert direction.names[number] == name and (direction.folds == alone.folds).all()
        assert direction.dates.equals(alone.decided_at.as_unit("ns"))
        for fill, moves in alone.fills.items():
            assert direction.moves[fill][:, number] == pytest.approx(moves, nan_ok=True)
        assert direction.labels[:, number].tolist() == alone.labels.tolist()


def test_a_price_that_did_not_move_has_no_label(universe):
    changed = universe["n1"].copy()
    changed.iloc[-20:-10, :4] = 100.0
    dated = lay_dated_folds(universe | {"n1": changed}, PLAN, DIRECTION)
    panel = panel_of(dated, {"strategy": probabilities(dated)}, {})
    assert np.isnan(panel.labels[:, 1]).sum() == 9 and not np.isnan(panel.labels[:, 0]).any()


def test_relative_labels_are_those_of_training(relative):
    assert relative.labels == pytest.approx(relative_labels(relative.moves["open"]))
    assert not relative.held


def test_later_moves_begin_at_the_next_open(universe, relative):
    opens = universe["n2"]["open"].to_numpy()
    place = universe["n2"].index.get_loc(relative.dates[3])
    for bars, moves in relative.later.items():
        expected = opens[place + 1 + bars] / opens[place + 1] - 1
        assert moves[3, 2] == pytest.approx(expected)


def test_the_rules_know_the_past_alone(universe, relative):
    close = np.log(universe["n0"]["close"].to_numpy())
    place = universe["n0"].index.get_loc(relative.dates[-1])
    assert relative.scores["reversal"][-1, 0] == pytest.approx(close[place - 1] - close[place])
    momentum = close[place - 20] - close[place - 250]
    assert relative.scores["momentum"][-1, 0] == pytest.approx(momentum)


def test_the_mean_of_ranks_is_of_the_names_that_both_rank():
    first = np.array([[1.0, 2, 3, np.nan, 9], [np.nan] * 5])
    other = np.array([[30.0, 20, 10, 40, 90], [np.nan] * 5])
    found = mean_of_ranks(first, other)
    # Of four names ranks 1 and 3 are as good as 2 and 2; the last is the best of both.
    assert found[0].tolist() == pytest.approx([-0.125, -0.125, -0.125, np.nan, 0.375], nan_ok=True)
    assert np.isnan(found[1]).all()


def test_network_and_boosting_stand_together_where_there_is_boosting(universe):
    dated = lay_dated_folds(universe, PLAN, DIRECTION)
    ours, theirs = probabilities(dated), probabilities(dated, 6)
    panel = panel_of(dated, {"strategy": ours, "boosting": theirs}, {})
    assert list(panel.scores)[2:] == ["mean of ranks", "reversal", "momentum"]
    known = len(panel.dates)
    assert panel.scores["mean of ranks"] == pytest.approx(
        mean_of_ranks(ours[:known], theirs[:known])
    )
    # By direction it is long what stands in the upper half.
    assert panel.held["mean of ranks"].mean() == pytest.approx(0.45, abs=0.1)
    assert "mean of ranks" not in panel.probabilities


def test_all_are_judged_where_the_strategy_forecasts(universe):
    dated = lay_dated_folds(universe, PLAN, RELATIVE)
    ours = probabilities(dated)
    ours[10:20, 1] = np.nan
    panel = panel_of(dated, {"strategy": ours, "logistic": probabilities(dated, 6)}, {})
    assert all(np.isnan(score[10:20, 1]).all() for score in panel.scores.values())
    assert panel.probabilities == {"strategy", "logistic"}


def test_thresholds_of_each_date_decide_what_is_held(universe, direction):
    dated = lay_dated_folds(universe, PLAN, DIRECTION)
    ours = probabilities(dated)
    enter = np.linspace(0.5, 0.6, len(ours))
    panel = panel_of(dated, {"strategy": ours}, {"strategy": (enter, enter - 0.02)})
    alone = directions(ours[:, 3], enter=enter, exit=enter - 0.02)
    assert panel.held["strategy"][:, 3].tolist() == alone[: len(panel.dates)].tolist()
    assert panel.held["strategy"].mean() < direction.held["strategy"].mean()


def test_an_instrument_that_ends_has_forecasts_of_moves_that_never_come(universe):
    ended = universe | {"n0": universe["n0"].iloc[:-10]}
    dated = lay_dated_folds(ended, PLAN, RELATIVE)
    ours = probabilities(dated)
    ours[-10:, 0] = np.nan
    panel = panel_of(dated, {"strategy": ours}, {})
    assert panel.unknown_moves == 2 and len(panel.dates) == len(ours) - 2


def test_flags_name_their_instrument(universe):
    flag = {"name": "gaps", "identity": False, "accepted": True, "sentence": "each bar is odd."}
    flagged = universe["n2"].copy()
    flagged.attrs = universe["n2"].attrs | {"flags": [flag]}
    dated = lay_dated_folds(universe | {"n2": flagged}, PLAN, RELATIVE)
    [found] = panel_of(dated, {"strategy": probabilities(dated)}, {}).flags
    assert found["sentence"] == "n2: each bar is odd."
