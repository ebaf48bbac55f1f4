"""A walk-forward of trades with levels: the account, the same in arrays, and what is judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.decisions import STRATEGY, positions_of
from backtests.simulation.account import Account, Costs
from backtests.simulation.broker import simulate
from backtests.simulation.vectorised import (
    Positions,
    TradeEnds,
    barrier_positions,
    open_returns,
    trade_ends,
)
from backtests.walk_forward.fingerprint import _described
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from backtests.walk_forward.thresholds import Decided, Search, choose, with_thresholds
from model.labels.barrier import Barrier
from model.labels.labelling import Labelling
from model.training.config import TrainConfig
from tests.helpers.folds import evaluate, save
from tests.helpers.makers import random_bars, random_checkpoint

LEVELS = Barrier(stop_loss="1%", take_profit="0.6atr", commission=1.0, slippage=1.0)
TRADE = Labelling("barrier", 4, LEVELS)
BY_BARRIER = Account(exit_by="barrier", enter=0.6)
NAN = np.nan


def test_positions_are_held_to_the_level_to_the_open_or_to_the_end() -> None:
    probability = np.array([0.7, 0.9, 0.1, NAN, 0.6, 0.6, 0.7, 0.6])
    moves = np.full(8, 0.01)
    never = np.iinfo(np.int64).max
    # The first ends within bar 2, that of bar 4 at the open of bar 6, that of bar 6 is not over.
    ends = TradeEnds(np.array([2, 3, 9, 9, 6, 9, never, 9]), np.array([0.5, 0, 0, 0, 0, 0, 0, 0.0]))
    held, caught, turnover = barrier_positions(probability, moves, ends, enter=0.6)
    assert held.tolist() == [1, 1, 0, 0, 1, 0, 1, 1]
    assert caught.tolist() == [0.01, 0.5, *[0.01] * 6]
    assert turnover.tolist() == [1, 1, 0, 0, 1, 1, 1, 0]
    assert Positions(held, caught, turnover).entries == 3
    assert Positions(held, caught, turnover).net(0.1)[:2] == pytest.approx([-0.09, 0.4])


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, pd.Series]:
    """Bars, and forecasts that know nothing of them."""
    bars = random_bars(1_500, seed=8)
    return bars, pd.Series(np.random.default_rng(1).uniform(0.3, 1, len(bars)), bars.index)


def test_vectorised_positions_are_those_of_the_account(market) -> None:
    bars, probability = market
    costs = Costs(commission=1.0, half_spread=0.5, slippage=0.5)
    account = simulate(bars, probability, 100, account=BY_BARRIER, costs=costs, traded=TRADE)
    theirs = positions_of(account, bars)
    ours = barrier_positions(
        probability.to_numpy()[100:],
        open_returns(bars)[100:],
        trade_ends(bars, TRADE, 100),
        enter=0.6,
    )
    # One may be decided on when there is no open left to fill it.
    assert 300 < len(account.trades) <= ours.entries <= len(account.trades) + 1
    for part in ("held", "turnover"):
        # The last open is not there.
        np.testing.assert_array_equal(getattr(ours, part)[:-1], getattr(theirs, part)[:-1])
    caught, told = ours.held * ours.moves, theirs.held * theirs.moves
    np.testing.assert_allclose(caught[:-2], told[:-2], rtol=0, atol=1e-12)
    # The account puts 95 % in, and its limits pay no slippage.
    earned = np.log(account.equity.iloc[-3] / account.equity.iloc[0])
    assert np.log1p(0.95 * ours.net(2e-4)[:-3]).sum() == pytest.approx(earned, abs=0.01)


def test_a_trip_is_costed_from_the_level_that_closed_it(market) -> None:
    bars, probability = market
    costs = Costs(commission=0.0, half_spread=1.0, slippage=0.0)
    account = simulate(bars, probability, 100, account=BY_BARRIER, costs=costs, traded=TRADE)
    trades = account.trades[account.trades["closed_at"].notna()]
    share = trades["costs"] / (trades["size"] * trades["entry_price"])
    # Of both sides, or of the entry alone where a limit was filled.
    assert ((share - 1e-4).abs() < 2e-5).any() and ((share - 2e-4).abs() < 2e-5).any()
    assert share.between(0.8e-4, 2.2e-4).all()


def test_thresholds_are_chosen_by_what_such_trades_earn(market) -> None:
    bars, _ = market
    checkpoint = random_checkpoint(
        bars,
        bars.index[900],
        label="barrier",
        horizon=4,
        barrier=LEVELS,
        parts={"validation": {"first": str(bars.index[500]), "last": str(bars.index[895])}},
    )
    search = Search(2e-4, traded=TRADE, fewest_trades=5)
    chosen, choice = with_thresholds(checkpoint, bars, search)
    assert choice.chosen and chosen.enter == chosen.exit == choice.enter
    probability = checkpoint.probabilities(bars)[bars.index[500] : bars.index[895]].to_numpy()
    past = bars[:901]
    moves, ends = open_returns(past)[500:896], trade_ends(past, TRADE, 500)
    decided = Decided(probability, moves, ends)
    assert choose([decided], search) == choice
    best = barrier_positions(probability, moves, ends, enter=choice.enter)
    assert choice.net == pytest.approx(best.net(2e-4).mean()) and choice.trades == best.entries


PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(
    TrainConfig(label="barrier", horizon=4, stop_loss="1%", take_profit="0.6atr"),
    Costs(commission=1.0, half_spread=0.5, slippage=0.5),
)


def test_the_costs_of_the_run_are_those_that_its_labels_are_judged_after() -> None:
    assert CONFIG.labelling == TRADE
    moves = PLAN.training(TrainConfig(), Costs(commission=9.0))
    assert (moves.commission, moves.slippage) == (0.0, 0.0)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    bars = random_bars(700, seed=5)
    models = [
        FoldModel(
            fold,
            random_checkpoint(
                bars, bars.index[fold.test], label="barrier", horizon=4, barrier=LEVELS
            ),
        )
        for fold in lay_folds(bars, PLAN, CONFIG)
    ]
    settings = Settings(PLAN, CONFIG, Account(exit_by="barrier"), Costs(1.0, 0.5, 0.5))
    return evaluate(bars, models, save(models, tmp_path_factory.mktemp("run")), settings)


def test_the_run_is_judged_by_the_labels_of_training_and_what_the_trades_caught(results) -> None:
    bars, decisions = results.bars, results.decisions
    labels = TRADE.labels(bars)
    places = bars.index.get_indexer(decisions.decided_at)
    np.testing.assert_array_equal(decisions.labels, labels.values[places])
    known = results.predictions.set_index("decided_at")["known_at"].loc[decisions.decided_at]
    np.testing.assert_array_equal(known.to_numpy(), bars.index[labels.known[places]].to_numpy())
    # Learners exit as the strategy does; buy-and-hold and the rules do not.
    assert set(decisions.by_barrier) == {STRATEGY, "logistic", "boosting", "ridge"}
    ours = decisions.by_barrier[STRATEGY]
    assert (ours.moves != decisions.moves).sum() > 20
    np.testing.assert_array_equal(decisions.returns[STRATEGY], ours.net(2e-4))
    assert results.evidence.net == pytest.approx(ours.net(2e-4).mean())
    assert results.evidence.turnover == ours.turnover.mean()
    assert results.verdict.word in ("edge", "no edge", "worse", "cannot tell")
    assert decisions.horizon == 4


def test_learners_forecast_also_what_has_no_label(results) -> None:
    decisions = results.decisions
    assert all(np.isfinite(forecast).all() for forecast in decisions.forecasts.values())


def test_what_cannot_be_meant_together_is_refused() -> None:
    with pytest.raises(ValueError, match="`exit_by` must be 'probability' with label='open'"):
        Settings(account=BY_BARRIER)
    for given in ({"exit": 0.55, "enter": 0.6}, {"allow_short": True}):
        with pytest.raises(ValueError, match="`exit` and `allow_short` must be left out with exit"):
            replace(BY_BARRIER, **given)


def test_a_label_of_ones_own_decides_the_key_by_its_source(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text(Path("tests/helpers/own_labels.py").read_text())
    config = PLAN.training(TrainConfig(label=f"{own}:Rise"))
    described = _described(Settings(PLAN, config))
    assert described["config"]["label"].startswith("rise(bars=5) ")
