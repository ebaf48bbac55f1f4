"""Figures of probabilities against outcomes: by hand, and beside scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from strategy_plugin.quality import auc, brier, calibration, hit_rate

NOTHING = np.array([])


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])),
        min_size=2,
        max_size=50,
    )
)
def test_auc_and_brier_are_those_of_scikit_learn(pairs: list[tuple[bool, float]]) -> None:
    labels, probabilities = np.array(pairs, dtype=float).T
    assert brier(labels, probabilities) == pytest.approx(brier_score_loss(labels, probabilities))
    expected = roc_auc_score(labels, probabilities) if 0 < labels.mean() < 1 else None
    assert auc(labels, probabilities) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "labels, directions, expected",
    [
        ([1, 0, 1, 0], [1, -1, 0, 0], 1.0),
        ([1, 0, 1, 0], [1, 1, 1, 1], 0.5),
        ([1, 0], [-1, 1], 0.0),
        ([1, 0], [0, 0], None),
    ],
)
def test_the_hit_rate_counts_bars_with_a_position(
    labels: list[int], directions: list[int], expected: float | None
) -> None:
    assert hit_rate(np.array(labels, dtype=float), np.array(directions, dtype=float)) == expected


def test_calibration_groups_neighbouring_probabilities() -> None:
    probabilities = np.linspace(0.0, 0.99, 100)
    groups = calibration((probabilities > 0.45).astype(float), probabilities)
    assert [group["bars"] for group in groups] == [10] * 10
    assert groups[0]["probability"] == pytest.approx(0.045) and groups[4][
        "frequency"
    ] == pytest.approx(0.4)


@pytest.mark.parametrize("figure", [auc, brier, hit_rate])
def test_of_nothing_every_figure_is_undefined(figure: object) -> None:
    assert figure(NOTHING, NOTHING) is None  # type: ignore[operator]
    assert calibration(NOTHING, NOTHING) == []
