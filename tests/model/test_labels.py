"""Labels: what wins, what is known when, what does not exist."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from model.labels import (
    LABELS,
    known_after,
    make_labels,
    recent_volatility,
    soft_targets,
    tied_share,
)
from model.training.windows import DataPreprocessor

NAN = np.nan


def priced(*, open: list[float], close: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"open": open, "close": close},
        index=pd.date_range("2020-01-01", periods=len(open)),
        dtype=float,
    )


@pytest.fixture
def few_bars() -> pd.DataFrame:
    return priced(open=[10, 11, 11, 9, 12, 12], close=[11, 11, 10, 12, 13, 8])


@pytest.mark.parametrize(
    ("label", "horizon", "expected"),
    [
        ("open", 1, [1, 0, 0, 1, 0, NAN]),
        ("open", 3, [0, 1, 1, NAN, NAN, NAN]),
        ("close", 1, [NAN, 0, 0, 1, 1, 0]),
        ("close", 3, [NAN, 1, 1, 0, NAN, NAN]),
        ("open", 6, [NAN] * 6),
        ("close", 100, [NAN] * 6),
    ],
)
def test_a_label_is_the_outcome_of_a_position_opened_at_the_bars_open(
    few_bars: pd.DataFrame, label: str, horizon: int, expected: list[float]
) -> None:
    labels = make_labels(few_bars, label, horizon)
    np.testing.assert_array_equal(labels, expected)
    assert labels.index.equals(few_bars.index)


def test_the_default_label_is_the_next_open_above_this_one(few_bars: pd.DataFrame) -> None:
    pd.testing.assert_series_equal(
        make_labels(few_bars), make_labels(few_bars, label="open", horizon=1)
    )


def test_a_tie_is_not_up_and_its_share_is_known(few_bars: pd.DataFrame) -> None:
    flat = priced(open=[5, 5, 5], close=[5, 5, 5])
    assert make_labels(flat).tolist()[:2] == [0.0, 0.0]
    assert tied_share(flat) == 1.0
    assert tied_share(few_bars) == 2 / 5
    assert tied_share(few_bars, "close") == 1 / 5
    assert tied_share(flat, horizon=3) == 0.0  # no label is known


def test_labels_shifted_by_one_stand_at_their_decision(few_bars: pd.DataFrame) -> None:
    decided = make_labels(few_bars).shift(-1)
    bought, sold = few_bars["open"].shift(-1), few_bars["open"].shift(-2)
    assert decided.dropna().eq((sold > bought).astype(float)[:4]).all()


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_a_label_is_known_so_many_bars_after_its_decision_and_no_sooner(
    few_bars: pd.DataFrame, label: str, horizon: int
) -> None:
    decision = 1
    known = decision + known_after(label, horizon)
    assert np.isfinite(
        make_labels(few_bars[: known + 1], label, horizon).iloc[decision + 1 : decision + 2]
    ).all()
    assert np.isnan(make_labels(few_bars[:known], label, horizon).shift(-1).iloc[decision])


@pytest.mark.parametrize(
    ("label", "horizon", "message"),
    [
        ("high", 1, "`label` must be one of open, close, got 'high'."),
        ("open", 0, "`horizon` must be a whole number of bars from 1, got 0."),
        ("open", 1.5, "`horizon` must be a whole number of bars from 1, got 1.5."),
        ("open", True, "`horizon` must be a whole number of bars from 1, got True."),
    ],
)
def test_labels_that_do_not_exist_are_refused(
    few_bars: pd.DataFrame, label: str, horizon: Any, message: str
) -> None:
    for make in (
        lambda: make_labels(few_bars, label, horizon),
        lambda: DataPreprocessor(label=label, horizon=horizon),
    ):
        with pytest.raises(ValueError) as refusal:
            make()
        assert str(refusal.value) == message


EVERY_LABEL = pytest.mark.parametrize(
    ("label", "horizon"), [("open", 1), ("open", 5), ("close", 1), ("close", 3)]
)


@EVERY_LABEL
def test_a_target_lies_on_its_labels_side_of_one_half(
    bars: pd.DataFrame, label: Any, horizon: int
) -> None:
    labels, targets = make_labels(bars, label, horizon), soft_targets(bars, label, horizon)
    assert (targets.isna() == labels.isna()).all() and targets.index.equals(labels.index)
    assert ((targets > 0.5) == (labels == 1)).all() and targets.dropna().between(0, 1).all()


@EVERY_LABEL
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
    # What is known when bar k opens.
    volatility = np.sqrt(np.mean(np.diff(closes[k - 21 : k]) ** 2))
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
