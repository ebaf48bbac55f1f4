"""Checkpoints of several members: the same trained together or apart; the mean logit decides."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.member import Member
from model.errors import CheckpointError
from model.features.table import FeatureEngineer
from model.training.config import TrainConfig, member_configs
from model.training.fitting import combine, fit
from tests.helpers.makers import random_bars, random_checkpoint

CONFIG = TrainConfig(
    architecture="ensemble", max_epochs=1, batch_size=32, sequence_length=10, seed=7
)
SEEDS = replace(CONFIG, architecture="transformer", seeds=2)


@pytest.fixture(scope="module")
def singles(bars: pd.DataFrame) -> list[Checkpoint]:
    """The members of CONFIG, each trained alone."""
    return [fit(bars, config) for config in member_configs(CONFIG)]


@pytest.fixture(scope="module")
def together(bars: pd.DataFrame) -> Checkpoint:
    return random_checkpoint(bars, members=("bilstm", "transformer", "bilstm"))


@pytest.fixture(scope="module")
def features(bars: pd.DataFrame) -> np.ndarray:
    return FeatureEngineer().transform(bars).to_numpy()


def test_each_architecture_is_trained_with_each_seed() -> None:
    configs = member_configs(replace(CONFIG, seeds=2))
    assert [config.member for config in configs] == [
        "bilstm 7",
        "bilstm 8",
        "transformer 7",
        "transformer 8",
    ]
    assert {config.seeds for config in configs} == {1} and member_configs(configs[0]) == [
        configs[0]
    ]


def test_members_trained_apart_make_the_same_bits_as_together(
    bars: pd.DataFrame, singles: list[Checkpoint]
) -> None:
    assert combine(singles, bars, CONFIG).digest == fit(bars, CONFIG).digest


def test_one_alone_is_combined_to_itself(bars: pd.DataFrame, singles: list[Checkpoint]) -> None:
    assert combine(singles[:1], bars, member_configs(CONFIG)[0]).digest == singles[0].digest


def test_the_scores_are_those_of_all_and_each_member_keeps_its_own(
    bars: pd.DataFrame, singles: list[Checkpoint]
) -> None:
    whole = combine(singles, bars, CONFIG)
    assert [member.metrics["test_auc"] for member in whole.members] == [
        single.metrics["test_auc"] for single in singles
    ]
    assert whole.metrics["test_logistic_auc"] == singles[0].metrics["test_logistic_auc"]
    assert whole.metrics["test_log_loss"] not in [
        single.metrics["test_log_loss"] for single in singles
    ]
    assert all(len(member.history) == 1 for member in whole.members)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"label": "close"},
            "checkpoint 2 of 2 must have the label of these bars and settings, "
            "it has another: close instead of open",
        ),
        (
            {"horizon": 2},
            "must have the horizon of these bars and settings, it has another: 2 instead of 1.",
        ),
        ({"sequence_length": 49}, "must have the sequence_length of these"),
        ({"bar_interval": pd.Timedelta(hours=1)}, "must have the bar_interval of these"),
        (
            {"timezone": "UTC"},
            "must have the timezone of these bars and settings, "
            "it has another: UTC instead of None.",
        ),
        ({"stamp": "close"}, "must have the stamp of these"),
        (
            {"instrument": "gold"},
            "must have the instrument of these bars and settings, "
            "it has another: gold instead of None.",
        ),
        (
            {"parts": {}},
            "must have the parts of these bars and settings, it has another. "
            "Train all members on the same bars",
        ),
    ],
)
def test_members_that_answer_another_question_are_refused(
    bars: pd.DataFrame, singles: list[Checkpoint], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError) as refusal:
        combine([singles[0], replace(singles[1], **changes)], bars, CONFIG)
    assert message in str(refusal.value)


def test_members_trained_on_other_bars_are_refused(
    bars: pd.DataFrame, singles: list[Checkpoint]
) -> None:
    with pytest.raises(
        CheckpointError,
        match="checkpoint 1 of 2 must have the instruments of these bars and settings",
    ):
        combine(singles, random_bars(400, seed=5), CONFIG)


def test_members_trained_with_other_settings_are_refused(
    bars: pd.DataFrame, singles: list[Checkpoint]
) -> None:
    with pytest.raises(
        CheckpointError,
        match="must have these settings, its own are others: learning_rate, patience. Train all",
    ):
        combine(singles, bars, replace(CONFIG, learning_rate=1e-4, patience=3))


def test_the_probability_is_that_of_the_mean_calibrated_logit(
    together: Checkpoint, features: np.ndarray
) -> None:
    alone = np.stack(
        [replace(together, members=(member,)).logits(features) for member in together.members]
    )
    np.testing.assert_array_equal(together.logits(features), alone.mean(axis=0))
    np.testing.assert_allclose(
        together.predict(features), 1 / (1 + np.exp(-alone.mean(axis=0))), atol=1e-12
    )


def test_the_disagreement_is_the_deviation_of_the_members_probabilities(
    together: Checkpoint, features: np.ndarray
) -> None:
    alone = np.stack(
        [replace(together, members=(member,)).predict(features) for member in together.members]
    )
    np.testing.assert_allclose(
        together.forecast(features).disagreement, alone.std(axis=0), atol=1e-12
    )
    assert together.forecast(features).disagreement.min() > 0


def test_a_forecast_asks_every_member_once(
    together: Checkpoint, features: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    logits = Member.logits
    monkeypatch.setattr(
        Member, "logits", lambda self, *given: asked.append(self.name) or logits(self, *given)
    )
    together.forecast(features)
    assert asked == [member.name for member in together.members]


def test_a_single_member_agrees_with_itself(checkpoint: Checkpoint, features: np.ndarray) -> None:
    assert not checkpoint.forecast(features).disagreement.any()


def test_one_window_is_forecast_alone_as_among_others(
    together: Checkpoint, features: np.ndarray
) -> None:
    whole = np.stack(together.forecast(features))[:, ::25]
    alone = np.stack(
        [together.forecast(features[start : start + 50]) for start in range(0, 251, 25)]
    )[..., 0].T
    np.testing.assert_allclose(alone, whole, atol=1e-6)


def test_bf16_forecasts_nearly_the_same(together: Checkpoint, features: np.ndarray) -> None:
    exact, fast = together.forecast(features), together.forecast(features, "bf16")
    assert not np.array_equal(exact.probability, fast.probability)
    np.testing.assert_allclose(exact.probability, fast.probability, atol=5e-3)


def test_members_come_back_from_a_file_as_they_were(
    together: Checkpoint, features: np.ndarray, tmp_path: Path
) -> None:
    together.save(tmp_path / "three.ckpt")
    loaded = Checkpoint.load(tmp_path / "three.ckpt")
    np.testing.assert_array_equal(loaded.forecast(features), together.forecast(features))
    assert loaded.digest == together.digest
    assert [member.name for member in loaded.members] == ["bilstm 0", "transformer 1", "bilstm 2"]


def test_a_file_grows_by_its_members_weights(bars: pd.DataFrame, tmp_path: Path) -> None:
    for count in (1, 2, 3):
        random_checkpoint(bars, members=("bilstm",) * count).save(tmp_path / f"{count}")
    sizes = [(tmp_path / f"{count}").stat().st_size for count in (1, 2, 3)]
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0], rel=0.01)


@pytest.mark.parametrize("chosen", [[], [0], [0, 0], [1, 0]])
def test_members_other_than_those_of_the_settings_are_not_put_together(
    singles: list[Checkpoint],
    bars: pd.DataFrame,
    chosen: list[int],
) -> None:
    with pytest.raises(
        CheckpointError, match="the members must be bilstm 7, transformer 7, in that order, got"
    ):
        combine([singles[number] for number in chosen], bars, CONFIG)
