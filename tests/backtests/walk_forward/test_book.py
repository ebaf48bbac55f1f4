"""A book over folds: what validation chooses for it, and that each fold's choice is traded."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtests.simulation.account import BookSettings, Costs
from backtests.walk_forward.book import (
    KEEPS,
    REBALANCES,
    BookChoice,
    choose_book,
    choose_books,
    require_book_names,
    trade_book,
)
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings
from backtests.walk_forward.universe import lay_dated_folds
from model.errors import BarsError
from model.features import registry
from model.training.config import TrainConfig
from tests.helpers.makers import random_checkpoint
from tests.helpers.universes import reverting_universe

UNIVERSE = reverting_universe(500, 6)
PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig(outcome="relative", fewest_instruments=3, batch_size=16))
DATED = lay_dated_folds(UNIVERSE, PLAN, CONFIG)
FREE, DEAR = Costs(0, 0, 0), Costs(300, 0, 0)
OPEN = BookSettings(long=2, short=2)


class Knowing:
    """A checkpoint that forecasts the next move's sign, or its opposite on every other date."""

    def __init__(self, fold, wavering=False):
        self.trained_until, self.bars_needed = DATED.dates[fold.test], 2
        self.wavering = wavering

    def part_rows(self, part, index):
        assert part == "validation"
        return slice(len(index) - 60, len(index) - 2)

    def probabilities(self, bars):
        moves = bars["open"].shift(-2) / bars["open"].shift(-1) - 1
        if self.wavering:
            moves = moves * np.where(bars.index.day_of_year % 2, 1, -1)
        return (0.5 + moves.fillna(0.0)).iloc[self.bars_needed - 1 :]


class Asking(Knowing):
    """Forecasts only where a feature of one's own is known."""

    def probabilities(self, bars):
        assert "steps" in registry._known, "steps is not known in this process"
        return super().probabilities(bars)


OWN = """
class Steps:
    name, lookback = "steps", 2

    def transform(self, bars):
        return bars[["close"]].diff().rename(columns={"close": "step"})
"""


def settings(costs=FREE, book=OPEN):
    return Settings(PLAN, CONFIG, costs=costs, book=book)


def chosen(costs=FREE, book=OPEN, **knowing):
    fold = DATED.folds[0]
    return choose_book(Knowing(fold, **knowing), DATED.past(fold), settings(costs, book))


def test_features_of_ones_own_are_known_in_the_processes_that_choose(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    config = replace(CONFIG, features=f"{tmp_path / 'own.py'}:Steps")
    models = [FoldModel(fold, Asking(fold)) for fold in DATED.folds]
    given = Settings(PLAN, config, costs=FREE, book=OPEN)
    assert [one.rebalance for one in choose_books(DATED, models, given, jobs=2)] == [1, 1]


def test_without_costs_a_good_forecast_is_followed_at_once():
    found = chosen()
    assert (found.keep, found.rebalance) == (1.0, 1) and found.net > 0.005
    assert str(found).startswith("keep 1, rebalance 1: +") and "lost" not in str(found)


def test_where_trading_is_dear_names_are_kept_longer():
    found = chosen(DEAR)
    assert found.rebalance == max(REBALANCES) and found.net < chosen().net


def test_what_is_given_is_not_chosen():
    book = replace(OPEN, keep=1.5, rebalance=7)
    assert chosen(book=book) == BookChoice(1.5, 7)
    assert str(chosen(book=book)) == "keep 1.5, rebalance 7"
    assert chosen(DEAR, replace(OPEN, keep=1.5)).keep == 1.5
    assert chosen(DEAR, replace(OPEN, rebalance=2)).rebalance == 2


def test_what_even_the_best_lost_is_said():
    found = chosen(DEAR, wavering=True)
    assert found.net < 0 and str(found).endswith(
        "bp per bar on validation, where each of them lost"
    )


def test_no_bar_after_training_is_looked_at():
    fold = DATED.folds[0]
    past = DATED.past(fold)
    later = {
        name: pd.concat([bars, UNIVERSE[name].loc[bars.index[-1] :].iloc[1:] * 3])
        for name, bars in past.items()
    }
    checkpoint = Knowing(fold)
    assert choose_book(checkpoint, later, settings()) == choose_book(checkpoint, past, settings())


def test_calm_names_may_weigh_more_there_too():
    calm = chosen(book=replace(OPEN, weights="inverse-volatility", window=5))
    assert calm.net != chosen().net and calm.keep in KEEPS


def test_a_fold_without_a_model_leaves_the_book_as_it_is():
    first, second = DATED.folds
    models = [FoldModel(first, random_checkpoint(UNIVERSE["r00"])), FoldModel(second, None)]
    choices = choose_books(DATED, models, settings(book=replace(OPEN, keep=1.0, rebalance=1)))
    assert choices == [BookChoice(1.0, 1)] * 2
    forecasts = pd.DataFrame(
        np.random.default_rng(0).uniform(size=(len(DATED.dates), 6)), DATED.dates, list(UNIVERSE)
    )
    forecasts[DATED.dates[second.test] :] = np.nan
    made = trade_book(DATED, models, forecasts, settings(), choices)
    assert (made.units[DATED.dates[second.test + 1] :].diff()[1:] == 0).all(axis=None)
    assert made.rankings["decided_at"].max() == DATED.dates[second.test - 1]
    assert len(made.equity) == second.stop - first.test


def test_the_choice_of_each_fold_is_traded_from_its_first_decision_on():
    models = [FoldModel(fold, None) for fold in DATED.folds]
    forecasts = pd.DataFrame(
        np.random.default_rng(0).uniform(size=(len(DATED.dates), 6)), DATED.dates, list(UNIVERSE)
    )
    choices = [BookChoice(1.0, 1), BookChoice(1.0, 20)]
    made = trade_book(DATED, models, forecasts, settings(), choices)
    second = DATED.dates[DATED.folds[1].test]
    dates = made.rankings["decided_at"].drop_duplicates()
    assert (dates < second).sum() == DATED.folds[0].stop - DATED.folds[0].test
    assert (dates >= second).sum() == 1 + (DATED.folds[1].stop - DATED.folds[1].test - 20) // 20


@pytest.mark.parametrize(
    ("book", "kind", "message"),
    [
        (BookSettings(long=4, short=3), BarsError, "must have 7 names .* got 6"),
        (BookSettings(fewest=8), BarsError, "at least 8 that are ranked, must have 8 names"),
        (BookSettings(long=2, short=2, cap=0.1), ValueError, "`cap` must be at least 0.2375"),
    ],
)
def test_a_book_that_cannot_be_filled_is_refused(book, kind, message):
    with pytest.raises(kind, match=message):
        require_book_names(DATED, book)
    require_book_names(DATED, OPEN)
