"""Labels: what wins, what is known when, what does not exist."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.labels import LABELS, known_after, make_labels, tied_share
from model.windows import DataPreprocessor

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
