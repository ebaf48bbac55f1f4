"""Targets: labels that know how sure they are."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from model.labels import make_labels
from model.targets import recent_volatility, soft_targets

LABELS = pytest.mark.parametrize(
    ("label", "horizon"), [("open", 1), ("open", 5), ("close", 1), ("close", 3)]
)


@LABELS
def test_a_target_lies_on_its_labels_side_of_one_half(
    bars: pd.DataFrame, label: Any, horizon: int
) -> None:
    labels, targets = make_labels(bars, label, horizon), soft_targets(bars, label, horizon)
    assert (targets.isna() == labels.isna()).all() and targets.index.equals(labels.index)
    assert ((targets > 0.5) == (labels == 1)).all() and targets.dropna().between(0, 1).all()


@LABELS
def test_no_softness_gives_the_labels_themselves(
    bars: pd.DataFrame, label: Any, horizon: int
) -> None:
    pd.testing.assert_series_equal(
        soft_targets(bars, label, horizon, 0.0), make_labels(bars, label, horizon)
    )


@pytest.mark.parametrize("horizon", [1, 4])
def test_a_move_of_one_deviation_is_84_percent_sure(bars: pd.DataFrame, horizon: int) -> None:
    k = 200
    closes = np.log(bars["close"].to_numpy())
    volatility = np.sqrt(
        np.mean(np.diff(closes[k - 21 : k]) ** 2)
    )  # what is known when bar k opens
    moved = bars.copy()
    moved.iloc[k + horizon, 0] = moved["open"].iloc[k] * np.exp(volatility * np.sqrt(horizon))
    assert soft_targets(moved, "open", horizon).iloc[k] == pytest.approx(norm.cdf(1))
    assert soft_targets(moved, "open", horizon, softness=2.0).iloc[k] == pytest.approx(
        norm.cdf(0.5)
    )


def test_flat_bars_before_a_move_leave_its_label(bars: pd.DataFrame) -> None:
    flat = bars.copy()
    flat.iloc[100:140, :4] = 50.0
    flat.iloc[131, 0] = 51.0
    assert soft_targets(flat).iloc[129:132].tolist() == [0.0, 1.0, 0.0]


def test_volatility_knows_only_closes_before_the_bar_opens(bars: pd.DataFrame) -> None:
    changed = bars.copy()
    changed.iloc[200:, :4] *= 3
    before, after = recent_volatility(bars), recent_volatility(changed)
    assert np.array_equal(before[:201], after[:201], equal_nan=True) and before[201] != after[201]
    assert np.isnan(before[:21]).all() and np.isfinite(before[21:]).all()


def test_few_bars_have_no_volatility_and_keep_their_labels(bars: pd.DataFrame) -> None:
    few = bars.iloc[:10]
    pd.testing.assert_series_equal(soft_targets(few), make_labels(few))
