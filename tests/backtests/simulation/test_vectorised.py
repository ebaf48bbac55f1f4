import numpy as np
import pytest

from backtests.simulation.account import Account, Costs
from backtests.simulation.broker import simulate
from backtests.simulation.vectorised import (
    Positions,
    directions,
    net_returns,
    open_returns,
    timing_gains,
)
from backtests.synthetic.markets import market
from model.bars.artefacts import repeated_rows
from tests.helpers.artefacts import clean, filled_forward


@pytest.mark.parametrize(
    "probability, allow_short, expected",
    [
        ([0.7, 0.55, 0.45, 0.55, 0.6], False, [1, 1, 0, 0, 1]),
        ([0.3, 0.45, 0.55, np.nan, 0.6], True, [-1, -1, 0, 0, 1]),
        ([0.7, np.nan, np.nan], False, [1, 1, 1]),
    ],
)
def test_directions_follow_the_strategy_s_rule(probability, allow_short, expected):
    assert (
        directions(np.array(probability), enter=0.6, exit=0.5, allow_short=allow_short).tolist()
        == expected
    )


def test_a_decision_earns_from_the_next_open_to_the_one_after(bars):
    moves = open_returns(bars)
    assert moves[10] == bars["open"].iloc[12] / bars["open"].iloc[11] - 1
    assert np.isnan(moves[-2:]).all() and not np.isnan(moves[:-2]).any()


def test_every_change_of_position_costs():
    wanted = np.array([1.0, 1.0, -1.0, 0.0])
    assert net_returns(wanted, np.zeros(4), 0.01).tolist() == [-0.01, 0.0, -0.02, -0.01]
    assert Positions.of(wanted, wanted).entries == 2


@pytest.mark.parametrize("costs", [Costs(0, 0, 0), Costs(5, 0, 0)])
def test_it_earns_what_backtrader_earns_by_the_same_probabilities(costs):
    """Their difference: Backtrader invests 95 %, with a size fixed at the opening of a trade."""
    planted = market("ar1", n_bars=1500, seed=2)
    probability = planted.probability.fillna(0.5)
    run = simulate(planted.bars, probability, account=Account(enter=0.5, exit=0.5), costs=costs)
    wanted = directions(probability.to_numpy(), enter=0.5, exit=0.5)
    ours = np.nancumsum(net_returns(wanted, open_returns(planted.bars), costs.per_side * 1e-4))[-3]
    assert np.log(run.equity.iloc[-2] / run.equity.iloc[0]) == pytest.approx(0.95 * ours, abs=0.005)


def test_nothing_fills_at_the_open_of_a_bar_that_repeats_another():
    bars = filled_forward(clean(1))
    repeated, opens = repeated_rows(bars), bars["open"].to_numpy()
    moves = open_returns(bars)
    # A decision on a Friday fills on Monday, as do those of the days that were made up.
    friday = int(np.flatnonzero(repeated)[0]) - 1
    monday = friday + 1 + int(np.argmin(repeated[friday + 1 :]))
    assert monday == friday + 3 and bars.index[monday].day_name() == "Monday"
    assert moves[friday - 1] == pytest.approx(opens[monday] / opens[friday] - 1)
    assert moves[friday] == moves[friday + 1] == 0.0


def test_each_decision_may_have_thresholds_of_its_own():
    probability = np.array([0.6, 0.55, 0.55, 0.7])
    enter, keep = np.array([0.5, 0.5, 0.6, 0.6]), np.array([0.5, 0.5, 0.6, 0.5])
    assert directions(probability, enter=enter, exit=keep).tolist() == [1, 1, 0, 1]
    one = directions(probability, enter=0.56, exit=0.5)
    assert (
        directions(probability, enter=np.full(4, 0.56), exit=np.full(4, 0.5)).tolist()
        == one.tolist()
    )


@pytest.mark.filterwarnings("error")
def test_the_timing_of_a_name_without_moves_gains_nothing():
    """As of one that has not begun, or has ended, on all dates that are judged."""
    held = np.array([0.0, 0.5, 0.5])
    np.testing.assert_array_equal(timing_gains(held, np.full(3, np.nan)), np.zeros(3))
    found = timing_gains(held, np.array([np.nan, 0.01, 0.03]))
    np.testing.assert_allclose(found, [0.0, 1 / 6 * -0.01, 1 / 6 * 0.01])
