from dataclasses import replace

import numpy as np
import pytest

from backtests.simulation.account import Costs
from backtests.walk_forward.plan import Settings
from backtests.walk_forward.thresholds import (
    Choice,
    Decided,
    Search,
    candidates,
    choose,
    with_thresholds,
)
from model.training.config import TrainConfig
from tests.helpers.makers import random_checkpoint

FREE_SEARCH = Search(cost=0.0)


@pytest.fixture
def draw():
    return np.random.default_rng(3)


def test_the_pair_that_earns_most_is_chosen(draw):
    """Only probabilities from .6 on are followed by a rise."""
    probability = np.tile([0.55, 0.65, 0.4], 200) + draw.uniform(-0.01, 0.01, 600)
    moves = np.tile([-0.01, 0.01, -0.01], 200)
    choice = choose([Decided(probability, moves)], FREE_SEARCH)
    assert (
        choice.chosen
        and 0.56 < choice.enter < 0.66
        and choice.net == pytest.approx(0.01 / 3, rel=0.3)
    )


def test_costs_speak_for_fewer_trades(draw):
    probability, moves = draw.uniform(0.3, 0.7, 2000), draw.normal(0, 1e-3, 2000)
    few, many = (
        choose([Decided(probability, moves)], Search(cost, fewest_trades=10)).trades
        for cost in (0.01, 0.0)
    )
    assert few < many


def test_without_enough_trades_it_is_one_half_and_says_so(draw):
    choice = choose([Decided(np.full(300, 0.51), draw.normal(0, 0.01, 300))], FREE_SEARCH)
    assert (choice.enter, choice.exit, choice.chosen) == (0.5, 0.5, False)
    assert str(choice) == "thresholds .50/.50: no pair made enough trades on validation, 1 at most"


def test_a_choice_says_what_it_earned():
    assert (
        str(Choice(0.55, 0.52, 31, 1.5e-4, True))
        == "thresholds 0.550/0.520: 31 trades and +1.50 bp per bar on validation"
    )


def test_a_best_pair_that_loses_is_chosen_and_said(draw):
    probability = draw.uniform(0.3, 0.7, 2000)
    choice = choose([Decided(probability, np.full(2000, -1e-3))], Search(cost=1e-3))
    assert choice.lost and choice.trades >= 10
    assert str(choice).endswith(" bp per bar on validation, where every pair lost")


@pytest.mark.parametrize("allow_short", [False, True])
def test_every_pair_is_one_that_the_strategy_takes(draw, allow_short):
    pairs = list(candidates(draw.uniform(0, 1, 500), allow_short))
    assert len(pairs) == 13
    assert all(0.5 <= exit <= enter < 1 for enter, exit in pairs)


def test_probabilities_that_never_lean_leave_one_half():
    assert list(candidates(np.full(50, 0.4), False)) == [(0.5, 0.5)]


@pytest.fixture
def trained(bars):
    """A random network whose parts are those of a training that ended at bar 380."""
    part = {
        "windows": 80,
        "first": str(bars.index[298]),
        "last": str(bars.index[377]),
        "up_share": 0.5,
    }
    return random_checkpoint(bars, bars.index[380], parts={"validation": part})


def test_the_thresholds_are_kept_in_the_checkpoint(bars, trained):
    model, choice = with_thresholds(trained, bars, Search(0.0, fewest_trades=2))
    assert (model.enter, model.exit) == (choice.enter, choice.exit)
    assert choice.chosen


@pytest.mark.parametrize("first, last", [(0, 100), (381, 400)])
def test_only_the_validation_part_chooses(bars, trained, first, last):
    changed = bars.copy()
    changed.iloc[first:last, :4] *= 3
    search = Search(0.0, fewest_trades=2)
    assert with_thresholds(trained, changed, search)[1] == with_thresholds(trained, bars, search)[1]


def test_of_a_universe_all_instruments_choose_together(bars, trained):
    """What is held on one of them is not held on from its end to the next one's beginning."""
    late, copy = bars.iloc[:310], bars.copy()
    search = Search(1e-4, fewest_trades=2)
    alone = with_thresholds(trained, bars, search)[1]
    twice = with_thresholds(trained, {"a": bars, "b": copy}, search)[1]
    assert (twice.enter, twice.exit, twice.trades) == (alone.enter, alone.exit, 2 * alone.trades)
    assert twice.net == pytest.approx(alone.net)
    # Of one that has ended its last moves are not known, one that is too short has no forecast.
    part = with_thresholds(
        trained, {"a": late, "b": bars.iloc[350:]}, replace(search, fewest_trades=0)
    )
    assert part[1].chosen


def test_a_relative_forecast_has_no_thresholds_of_its_own(bars, trained):
    ranked = replace(trained, outcome="relative")
    model, choice = with_thresholds(ranked, {"a": bars}, Search(0.0, fewest_trades=2))
    assert (model.enter, model.exit, choice.chosen) == (0.5, 0.5, False)


def test_costs_choose_nothing_where_forecasts_are_ranked():
    dear, cheap = (
        Settings(config=TrainConfig(outcome="relative"), costs=Costs(commission=cost))
        for cost in (50.0, 1.0)
    )
    assert dear.search == cheap.search
    assert Settings(costs=Costs(commission=50.0)).search != Settings().search
