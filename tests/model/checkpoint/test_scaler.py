"""The scaler as plain numbers."""

from typing import Any

import numpy as np
import pytest

from model.checkpoint.scaler import Scaler


@pytest.fixture
def scaler() -> Scaler:
    return Scaler(mean=(1.0, 0.0, 5.0), scale=(2.0, 0.5, 1.0), kept=(True, True, False))


def test_a_score_is_the_distance_from_the_mean_in_scales(scaler: Scaler) -> None:
    scores = scaler.transform(np.array([[3.0, 1.0, 9.0], [1.0, -1.0, 5.0]]))
    np.testing.assert_array_equal(scores, [[1.0, 2.0, 0.0], [0.0, -2.0, 0.0]])
    assert scores.dtype == np.float32


def test_scores_beyond_the_clip_are_clipped_and_counted(scaler: Scaler) -> None:
    features = np.array([[17.0, 4.0, 1e9], [17.1, -4.1, 0.0]])
    np.testing.assert_array_equal(scaler.transform(features), [[8.0, 8.0, 0.0], [8.0, -8.0, 0.0]])
    assert scaler.clipped(features) == 2


def test_a_row_scales_alike_alone_and_among_others(scaler: Scaler) -> None:
    features = np.random.default_rng(0).normal(size=(1000, 3))
    alone = np.concatenate([scaler.transform(row[None]) for row in features])
    np.testing.assert_array_equal(scaler.transform(features), alone)


def test_scaling_leaves_its_input_alone(scaler: Scaler) -> None:
    features = np.full((2, 3), 100.0)
    scaler.transform(features)
    assert (features == 100.0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (1.0, 2.0)}, r"mean, scale and kept must be equally long, got \(2, 3, 3\)"),
        ({"kept": (True,)}, r"equally long, got \(3, 3, 1\)"),
        ({"scale": (1.0, 0.0, 1.0)}, r"scale and clip above 0, got .*\[1\.0, 0\.0, 1\.0\]"),
        ({"scale": (1.0, np.nan, 1.0)}, "scale and clip above 0"),
        ({"scale": (1.0, np.inf, 1.0)}, "scale and clip above 0"),
        ({"mean": (np.nan, 0.0, 0.0)}, "mean must be finite"),
        ({"clip": 0.0}, r"clip above 0, got .* and 0\.0"),
        ({"clip": np.nan}, "clip above 0"),
    ],
)
def test_numbers_that_cannot_scale_are_refused(changes: dict[str, Any], message: str) -> None:
    good = {"mean": (0.0,) * 3, "scale": (1.0,) * 3, "kept": (True,) * 3}
    with pytest.raises(ValueError, match=message):
        Scaler(**good | changes)
