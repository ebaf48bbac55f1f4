"""Labels: what wins, what is known when, what does not exist."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from model.labels.moves import (
    MOVES,
    known_after,
    make_labels,
    medians_of_others,
    recent_volatility,
    relative_labels,
    relative_targets,
    soft_targets,
)
from model.training.preprocessor import DataPreprocessor

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


def test_a_tie_is_not_up(few_bars: pd.DataFrame) -> None:
    flat = priced(open=[5, 5, 5], close=[5, 5, 5])
    assert make_labels(flat).tolist()[:2] == [0.0, 0.0]


def test_labels_shifted_by_one_stand_at_their_decision(few_bars: pd.DataFrame) -> None:
    decided = make_labels(few_bars).shift(-1)
    bought, sold = few_bars["open"].shift(-1), few_bars["open"].shift(-2)
    assert decided.dropna().eq((sold > bought).astype(float)[:4]).all()


@pytest.mark.parametrize("label", MOVES)
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
        # A preprocessor knows how long a barrier's trades may last, too.
        assert str(refusal.value).replace("close, barrier, own", "close") == message


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


def by_hand(moves: np.ndarray) -> np.ndarray:
    """The median of the others of its row, for each value."""
    found = np.full(moves.shape, NAN)
    for (row, column), move in np.ndenumerate(moves):
        others = np.delete(moves[row], column)
        others = others[~np.isnan(others)]
        if len(others) and not np.isnan(move):
            found[row, column] = np.median(others)
    return found


@pytest.fixture
def moves() -> np.ndarray:
    """Moves of 60 days by 7 instruments, some of which are missing and some equal."""
    draw = np.random.default_rng(3)
    found = draw.normal(0, 0.02, (60, 7))
    found[::4] = found[::4].round(2)
    found[draw.random(found.shape) < 0.3] = NAN
    found[5], found[6, 1:], found[7, 2:] = NAN, NAN, NAN
    return found


def test_each_move_is_compared_with_the_median_of_the_others(moves: np.ndarray) -> None:
    medians = by_hand(moves)
    np.testing.assert_allclose(medians_of_others(moves), medians, rtol=0, atol=1e-15)
    labels = relative_labels(moves)
    np.testing.assert_array_equal(labels == 1, moves > medians + 1e-12)
    np.testing.assert_array_equal(labels == 0, moves < medians - 1e-12)
    assert np.isnan(labels).sum() > np.isnan(moves).sum() + 5  # equal ones


@pytest.mark.parametrize("names, biased", [(3, 1 / 3), (5, 0.4), (21, 10 / 21)])
def test_of_an_odd_number_half_are_above(names: int, biased: float) -> None:
    drawn = np.random.default_rng(0).normal(size=(4_000, names))
    assert (drawn > np.median(drawn, axis=1, keepdims=True)).mean() == pytest.approx(biased)
    # The one in the middle is above or below the others' median with even chances.
    assert relative_labels(drawn).mean() == pytest.approx(0.5, abs=2 / np.sqrt(4_000) / names)


def test_equal_moves_of_other_prices_are_equal() -> None:
    # All rose by 5 %, as prices are written.
    moves = np.log(np.array([[0.21, 7.77, 0.63, 6.09]]) / np.array([[0.2, 7.4, 0.6, 5.8]]))
    assert len(set(moves[0].tolist())) > 1 and np.isnan(relative_labels(moves)).all()


@pytest.mark.parametrize("softness", [0.5, 1.0])
def test_a_relative_target_is_the_normal_law_of_the_distance_in_units_of_its_day(
    moves: np.ndarray, softness: float
) -> None:
    targets, labels = relative_targets(moves, softness), relative_labels(moves)
    np.testing.assert_array_equal(np.isnan(targets), np.isnan(labels))
    known = ~np.isnan(labels)
    np.testing.assert_array_equal(targets[known] > 0.5, labels[known] == 1)
    day = moves[1][~np.isnan(moves[1])]
    spread = 1.4826 * np.median(np.abs(day - np.median(day)))
    expected = norm.cdf((moves[1] - by_hand(moves)[1]) / (softness * spread))
    np.testing.assert_allclose(targets[1], expected, atol=1e-12)


def test_no_softness_and_a_day_without_spread_give_the_relative_labels_themselves(
    moves: np.ndarray,
) -> None:
    np.testing.assert_array_equal(relative_targets(moves, 0.0), relative_labels(moves))
    alike = np.array([[0.01, 0.01, 0.01, 0.02, -0.5]])
    np.testing.assert_array_equal(relative_targets(alike), [[NAN, NAN, NAN, 1.0, 0.0]])
