"""Cheap learners of a universe: they see what the network sees, of all instruments together."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss

from backtests.evidence.baselines import (
    PENALTIES,
    flat_windows,
    pooled_probabilities,
    ridge_solutions,
)
from backtests.synthetic.markets import market
from backtests.walk_forward.folds import FoldPlan
from backtests.walk_forward.universe import lay_dated_folds
from model.features.joining import add_context
from model.features.table import FeatureEngineer
from model.training.calibration import fit_logistic
from model.training.config import TrainConfig
from model.training.data import prepare
from tests.helpers.own_features import FILE, GAP


@pytest.fixture(scope="module")
def pooled():
    """Three instruments of which the learners see an easy law, laid by date."""
    universe = {f"m{seed}": market("ar1", 500, seed, strength=0.5).bars for seed in range(3)}
    plan = FoldPlan(folds=2, train_blocks=2)
    config = TrainConfig(fewest_instruments=3, batch_size=16)
    return lay_dated_folds(universe, plan, plan.training(config))


@pytest.fixture(scope="module")
def pooled_forecasts(pooled):
    return pooled_probabilities(pooled)


def test_of_a_universe_each_learner_forecasts_every_name_and_date(pooled, pooled_forecasts):
    for found in pooled_forecasts.values():
        assert found.shape == (2 * len(pooled.test_dates(pooled.folds[0])), 3)
        assert np.isfinite(found).all() and found.std() > 0.05


def test_of_a_universe_they_learn_from_all_instruments_together(pooled, pooled_forecasts):
    """Logistic regression by hand: fitted on the rows that the network is trained on."""
    fold = pooled.folds[0]
    data = prepare(pooled.past(fold), pooled.config)
    fitted = [fit_logistic(data.train.last_rows, data.train.labels, one) for one in PENALTIES]
    losses = [
        log_loss(data.validation.labels, one.predict_proba(data.validation.last_rows)[:, 1])
        for one in fitted
    ]
    rows = FeatureEngineer().transform(pooled.test_bars(fold)["m1"]).to_numpy()
    last = data.scaler.transform(rows[pooled.config.sequence_length - 1 :])
    expected = fitted[int(np.argmin(losses))].predict_proba(last)[:, 1]
    found = pooled_forecasts["logistic"][: len(expected), 1]
    assert found == pytest.approx(expected, abs=1e-6)


def test_of_a_universe_they_see_ones_own_features_and_other_series_as_the_network_does(
    pooled, pooled_forecasts
):
    universe = add_context(pooled.universe, "universe:rank(ret_z_5)")
    config = replace(pooled.config, features=f"{FILE}:Momentum", only=True)
    dated = replace(pooled, universe=universe, config=config)
    data = prepare(dated.past(dated.folds[0]), config)
    assert len(data.features.columns) == 3  # two of one's own, and the rank
    found = pooled_probabilities(dated, learners=("logistic",))["logistic"]
    assert np.isfinite(found).all() and not np.allclose(found, pooled_forecasts["logistic"])


def test_of_a_universe_nothing_is_forecast_where_a_feature_has_no_number(pooled, tmp_path):
    decided = pooled.test_dates(pooled.folds[1])
    (tmp_path / "own.py").write_text(
        GAP.format(name="universe_gap", first=decided[5], last=decided[6])
    )
    config = replace(pooled.config, features=f"{tmp_path / 'own.py'}:Gap")
    found = pooled_probabilities(replace(pooled, config=config), learners=("logistic",))["logistic"]
    gap = slice(len(decided) + 5, len(decided) + 7 + config.sequence_length - 1)
    assert np.isnan(found[gap]).all() and np.isfinite(np.delete(found, gap, axis=0)).all()


def test_of_a_universe_what_comes_after_a_decision_changes_nothing(pooled, pooled_forecasts):
    decided = pooled.test_dates(pooled.folds[1])[10]
    later = {}
    for name, bars in pooled.universe.items():
        later[name] = bars.copy()
        later[name].loc[later[name].index > decided] *= 3.0
    again = pooled_probabilities(replace(pooled, universe=later))
    known = np.flatnonzero(pooled.dates[pooled.folds[0].test :] <= decided)
    for name, found in again.items():
        assert found[known] == pytest.approx(pooled_forecasts[name][known], abs=1e-12), name


def test_windows_some_at_a_time_give_the_ridge_of_all_at_once():
    draw = np.random.default_rng(1)
    windows, signs = draw.normal(size=(300, 40)).astype(np.float32), draw.normal(size=300)
    parts = ridge_solutions(np.split(windows, [97, 200]), signs)
    for some, all_ in zip(parts, ridge_solutions([windows], signs), strict=True):
        assert some == pytest.approx(all_, abs=1e-6)


def test_the_windows_are_laid_flat_some_at_a_time(pooled):
    part = prepare(pooled.past(pooled.folds[0]), pooled.config).validation
    several = list(flat_windows(part, 10))
    assert max(map(len, several)) == 10
    assert (np.concatenate(several) == next(flat_windows(part))).all()


def test_of_a_universe_whose_past_lacks_a_class_there_are_no_forecasts(pooled):
    rising = {}
    for number, (name, bars) in enumerate(pooled.universe.items()):
        growth = np.exp((0.001 + 1e-4 * number) * np.arange(len(bars)))
        rising[name] = bars.assign(**{price: growth for price in ("open", "high", "low", "close")})
    found = pooled_probabilities(replace(pooled, universe=rising), learners=("logistic",))
    assert np.isnan(found["logistic"]).all()
