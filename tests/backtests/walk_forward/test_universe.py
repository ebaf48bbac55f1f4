"""Folds of a universe by date: where they lie, what their models may see, what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtests.walk_forward.folds import FoldModel, FoldPlan, lay_folds
from backtests.walk_forward.universe import dated_probabilities, lay_dated_folds
from model.errors import BarsError
from model.training.config import TrainConfig
from tests.helpers.makers import random_checkpoint
from tests.helpers.panels import random_universe

PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig(outcome="relative", fewest_instruments=3, batch_size=16))
NEEDED = 150  # bars of a window


@pytest.fixture(scope="module")
def universe():
    return random_universe()


@pytest.fixture(scope="module")
def dated(universe):
    return lay_dated_folds(universe, PLAN, CONFIG)


@pytest.fixture(scope="module")
def ragged(universe):
    """One begins late, one ends early, one misses bars; a fourth and a fifth are whole."""
    late, early, holed = (universe[name] for name in ("n0", "n1", "n2"))
    return universe | {
        "n0": late.iloc[90:],
        "n1": early.iloc[:300],
        "n2": holed.drop(holed.index[[200, 201, 250, 333]]),
        "n4": universe["n3"] * 1.5,
    }


def test_on_one_calendar_they_are_the_folds_of_each_instrument(universe, dated):
    single = lay_folds(universe["n0"], PLAN, CONFIG)
    for fold, own in zip(dated.folds, single, strict=True):
        for name, bars in universe.items():
            pd.testing.assert_frame_equal(dated.past(fold)[name], own.past(bars))
            pd.testing.assert_frame_equal(dated.test_bars(fold)[name], own.test_bars(bars))


def test_test_blocks_adjoin_and_end_on_the_last_date(universe, dated):
    first, second = (dated.test_dates(fold) for fold in dated.folds)
    bars = universe["n0"].index
    assert first[-1] == bars[bars.get_loc(second[0]) - 1] and second[-1] == bars[-1]
    assert len(first) == len(second) == len(dated.dates) // 4


def test_an_anchored_past_begins_with_the_first_window(universe):
    bars = universe["n0"]
    anchored = lay_dated_folds(universe, replace(PLAN, anchored=True), CONFIG)
    begins = [anchored.past(fold)["n0"].index[0] for fold in anchored.folds]
    assert begins == [bars.index[0], bars.index[0]]


def test_dates_count_on_which_enough_can_be_forecast(ragged):
    """With all but one whole the first window decides; all five can from 90 bars on, till 300."""
    config = replace(CONFIG, fewest_instruments=4)
    assert lay_dated_folds(ragged, PLAN, config).dates[0] == ragged["n3"].index[NEEDED - 1]
    with pytest.raises(BarsError, match="5 instruments or more can be forecast on 60 dates"):
        lay_dated_folds(ragged, PLAN, replace(CONFIG, fewest_instruments=5))


def test_who_misses_bars_has_its_whole_window_from_the_first_test_date(ragged):
    dated = lay_dated_folds(ragged, PLAN, CONFIG)
    for fold in dated.folds:
        bars = dated.test_bars(fold)["n2"]
        first = dated.test_dates(fold)[0]
        assert bars.index.searchsorted(first) == NEEDED - 1


def test_who_has_ended_or_not_begun_takes_no_part(ragged):
    dated = lay_dated_folds(ragged, PLAN, CONFIG)
    last = dated.folds[-1]
    assert "n1" in dated.past(last) and "n1" not in dated.test_bars(last)
    short = lay_dated_folds(ragged | {"n0": ragged["n0"].iloc[200:]}, PLAN, CONFIG)
    assert "n0" not in short.past(short.folds[0])


def test_nothing_after_the_first_test_date_is_in_a_past(ragged):
    dated = lay_dated_folds(ragged, PLAN, CONFIG)
    for fold in dated.folds:
        first = dated.test_dates(fold)[0]
        assert all(bars.index[-1] <= first for bars in dated.past(fold).values())
        assert any(bars.index[-1] == first for bars in dated.past(fold).values())


def test_a_forecast_is_that_of_the_instrument_by_itself(ragged):
    dated = lay_dated_folds(ragged, PLAN, CONFIG)
    models = [
        FoldModel(
            fold, random_checkpoint(ragged["n3"], dated.test_dates(fold)[0], seed=fold.number)
        )
        for fold in dated.folds
    ]
    found = dated_probabilities(dated, models)
    assert list(found) == list(ragged) and found.index.equals(
        dated.dates[dated.folds[0].test :].as_unit("ns")
    )
    for model in models:
        decided = dated.test_dates(model.fold)
        for name in ("n2", "n3"):
            alone = model.checkpoint.probabilities(ragged[name]).reindex(decided)
            assert found.loc[decided, name].to_numpy() == pytest.approx(
                alone, abs=1e-6, nan_ok=True
            )
    # Where there is no bar there is no decision.
    assert np.isnan(found.loc[ragged["n3"].index[333], "n2"])


def test_a_fold_without_a_model_forecasts_nothing(universe, dated):
    models = [FoldModel(fold, None, reason="one class") for fold in dated.folds]
    assert dated_probabilities(dated, models).isna().all(axis=None)


@pytest.mark.parametrize(
    "change, told",
    [
        (
            {"batch_size": 10_000},
            "fold 1 cannot learn from .*: its training part holds no batch of",
        ),
        ({"fewest_instruments": 5}, "at least 50 dates in all, got 0: 5 instruments or more"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(universe, change, told):
    with pytest.raises(BarsError, match=told):
        lay_dated_folds(universe, PLAN, replace(CONFIG, **change))


def test_a_past_that_cannot_be_learnt_from_is_refused_with_its_dates(universe):
    """Two that are the same until the first test date would count twice in its past."""
    changed = universe["n3"].copy()
    changed.iloc[380:] *= 1.5
    told = "fold 1 cannot learn from .* to .*: n3, n4 hold the same prices"
    with pytest.raises(BarsError, match=told):
        lay_dated_folds(universe | {"n4": changed}, PLAN, CONFIG)


def test_names_that_no_test_date_can_forecast_are_told_with_their_bars(universe, dated):
    """Counted among the instruments, they would be missed by nobody."""
    few, early = universe["n3"].iloc[-3:], universe["n3"].iloc[:200]
    more = lay_dated_folds(universe | {"few": few, "early": early * 2}, PLAN, CONFIG)
    needed = dated.folds[0].warm_up + 1
    told = (
        f"never judged, as a forecast needs {needed} bars up to a test date: few (3), early (200)"
    )
    assert more.describe_unjudged() == told and dated.describe_unjudged() == ""
