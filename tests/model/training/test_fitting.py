"""Training: what it refuses, what it remembers, and that the same seed gives the same bits."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from backtests.synthetic.markets import market
from model.checkpoint.checkpoint import Checkpoint
from model.errors import BarsError, OneClassError, TrainingDiverged
from model.labels import labelling
from model.training import loop
from model.training.config import TrainConfig
from model.training.fitting import fit
from model.training.loop import Epoch, TrainingState
from tests.helpers.makers import random_bars
from tests.helpers.small_network import SmallClassifier, SmallConfig

SHORT = TrainConfig(architecture="small", max_epochs=2, batch_size=32, seed=7)
LABELS = pytest.mark.parametrize(
    ("label", "horizon"), [("open", 1), ("open", 5), ("close", 1), ("close", 3)]
)


@pytest.fixture(scope="module")
def epochs() -> list[Epoch]:
    """What `on_epoch` was told while `trained` was fitted."""
    return []


@pytest.fixture(scope="module")
def trained(bars: pd.DataFrame, epochs: list[Epoch]) -> Checkpoint:
    """Two epochs on 400 random bars."""
    return fit(bars, SHORT, epochs.append)


def losses(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the validation losses be these whatever was learnt, and an epoch add 1 to a bias."""
    left = iter(values)

    def step(state: TrainingState, *_: Any) -> None:
        state.average.network.head.bias += 1
        state.count_batch(0.5, 0.0, 1)

    monkeypatch.setattr(loop, "_run_epoch", step)
    monkeypatch.setattr(loop, "_validation_loss", lambda *_: next(left))


def first_bias(config: TrainConfig) -> float:
    """The head's bias before the first epoch, which counts from there."""
    torch.manual_seed(config.seed)
    return SmallClassifier(SmallConfig()).head.bias.item()


def test_same_seed_gives_the_same_bits(bars: pd.DataFrame, trained: Checkpoint) -> None:
    torch.manual_seed(123)  # whatever the caller drew before
    assert fit(bars, SHORT).digest == trained.digest


def test_another_seed_gives_another_network(bars: pd.DataFrame, trained: Checkpoint) -> None:
    other = fit(bars, replace(SHORT, seed=8))
    assert not torch.equal(
        other.members[0].weights["head.weight"], trained.members[0].weights["head.weight"]
    )


def test_the_callers_randomness_and_threads_are_left_alone(bars: pd.DataFrame) -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    fit(bars, replace(SHORT, max_epochs=1))
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads


def test_each_epoch_is_told_and_kept(trained: Checkpoint, epochs: list[Epoch]) -> None:
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert [entry["validation_loss"] for entry in trained.members[0].history] == [
        epoch.validation_loss for epoch in epochs
    ]
    assert {"member", *trained.members[0].history[0]} == {field.name for field in fields(Epoch)}


def test_the_checkpoint_says_how_it_was_trained(trained: Checkpoint) -> None:
    assert trained.config["seed"] == 7 and trained.config["max_epochs"] == 2
    assert trained.versions["torch"] == torch.__version__
    assert trained.parts["train"]["windows"] == 173 and trained.parts["test"]["windows"] == 38


def test_a_saved_checkpoint_predicts_what_the_trained_one_does(
    trained: Checkpoint, bars: pd.DataFrame, tmp_path: Any
) -> None:
    trained.save(tmp_path / "a.ckpt")
    pd.testing.assert_series_equal(
        Checkpoint.load(tmp_path / "a.ckpt").probabilities(bars), trained.probabilities(bars)
    )


def test_the_weights_of_the_best_epoch_are_kept(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(monkeypatch, [0.9, 0.6, 0.8, 0.7])
    checkpoint = fit(bars, replace(SHORT, max_epochs=4))
    assert float(checkpoint.members[0].weights["head.bias"]) == pytest.approx(
        first_bias(SHORT) + 2, abs=1e-5
    )
    assert [entry["best_epoch"] for entry in checkpoint.members[0].history] == [1, 2, 2, 2]


def test_training_stops_when_patience_is_exhausted(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(monkeypatch, [0.9, 0.6, 0.8, 0.7, 0.1])
    assert len(fit(bars, replace(SHORT, max_epochs=5, patience=2)).members[0].history) == 4


def test_the_learning_rate_rises_step_by_step(bars: pd.DataFrame) -> None:
    # 6 steps an epoch.
    history = fit(bars, replace(SHORT, max_epochs=3, warm_up=12)).members[0].history
    assert [entry["learning_rate"] for entry in history] == pytest.approx(
        [7 / 12 * 1e-3, 1e-3, 1e-3]
    )


def test_the_learning_rate_falls_when_the_validation_loss_does_not(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(monkeypatch, [0.5] + [0.6] * 8)
    rates = [
        entry["learning_rate"]
        for entry in fit(bars, replace(SHORT, max_epochs=9)).members[0].history
    ]
    assert rates == [1e-3] * 7 + [5e-4] * 2


@LABELS
def test_without_a_test_part_training_has_seen_the_last_bar(
    bars: pd.DataFrame, label: Any, horizon: int
) -> None:
    checkpoint = fit(
        bars, replace(SHORT, label=label, horizon=horizon, max_epochs=1).without_test()
    )
    assert checkpoint.trained_until == bars.index[-1] and checkpoint.parts["test"]["windows"] == 0


@LABELS
def test_bars_after_trained_until_change_nothing(
    bars: pd.DataFrame, label: Any, horizon: int
) -> None:
    config = replace(SHORT, label=label, horizon=horizon, max_epochs=1)
    before = fit(bars, config)
    changed = bars.copy()
    changed.loc[changed.index > before.trained_until] *= 1.5
    after = fit(changed, config)
    assert (
        after.trained_until == before.trained_until
        and after.members[0].temperature == before.members[0].temperature
    )
    assert all(
        torch.equal(after.members[0].weights[name], tensor)
        for name, tensor in before.members[0].weights.items()
    )


@LABELS
def test_the_bar_at_trained_until_was_used(bars: pd.DataFrame, label: Any, horizon: int) -> None:
    config = replace(SHORT, label=label, horizon=horizon, max_epochs=1)
    before = fit(bars, config)
    changed = bars.copy()
    last = changed.index.get_loc(before.trained_until)
    changed.iloc[last, :4] = changed.iloc[last - horizon, :4] * (
        0.5 if labels_up(bars, before, last) else 2.0
    )
    assert (
        fit(changed, config).metrics["validation_log_loss"] != before.metrics["validation_log_loss"]
    )


def labels_up(bars: pd.DataFrame, checkpoint: Checkpoint, last: int) -> bool:
    """Whether the last validation label, known at bar number `last`, says up."""
    price = bars[checkpoint.label].to_numpy()
    return bool(price[last] > price[last - checkpoint.horizon])


def test_too_few_bars_are_refused_with_the_number_needed(bars: pd.DataFrame) -> None:
    with pytest.raises(
        BarsError,
        match=r"200 bars; at least 244 are needed \(for a training part of one batch of 64 windows",
    ):
        fit(bars.iloc[:200], TrainConfig())


def test_as_many_bars_as_needed_are_enough_for_the_network_of_616_705_weights(
    bars: pd.DataFrame,
) -> None:
    checkpoint = fit(bars.iloc[-244:], TrainConfig(max_epochs=1))
    assert checkpoint.parts["train"]["windows"] == 64
    assert sum(tensor.numel() for tensor in checkpoint.members[0].weights.values()) == 616_705


def test_one_class_is_refused_with_the_counts() -> None:
    bars = random_bars(300)
    bars[["open", "high", "low", "close"]] = np.linspace(100, 200, 300)[:, None] * [
        1.0,
        1.1,
        0.9,
        1.0,
    ]
    with pytest.raises(
        OneClassError,
        match="train part must hold at least 5 windows of each class, got 103 up and 0 not up",
    ):
        fit(bars, SHORT)


def test_divergence_is_told_with_epoch_step_and_what_to_do(bars: pd.DataFrame) -> None:
    message = (
        r"must stay finite, got nan and nan in epoch 1, step \d, at learning rate 1e\+30. "
        "Lower `learning_rate`"
    )
    with pytest.raises(TrainingDiverged, match=message):
        fit(bars, replace(SHORT, learning_rate=1e30))


def test_a_gradient_that_is_not_a_number_ends_training_before_the_step(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(network: Any, *rest: Any) -> torch.Tensor:
        # Its gradient is 0 times infinity.
        return whole(network, *rest) + 0 * torch.sqrt(network.head.bias * 0).sum()

    whole = loop._logits
    monkeypatch.setattr(loop, "_logits", broken)
    with pytest.raises(
        TrainingDiverged,
        match="loss and gradient norm must stay finite, got 0.[0-9]+ and nan in epoch 1, step 1",
    ):
        fit(bars, SHORT)


def test_a_validation_logit_that_is_not_a_number_ends_training(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        loop, "_logits", lambda _, windows, __: torch.full((len(windows),), float("nan"))
    )
    monkeypatch.setattr(loop, "_run_epoch", lambda *_: None)
    with pytest.raises(
        TrainingDiverged, match="the validation logits must stay finite, got 36 of 36 that are not"
    ):
        fit(bars, SHORT)


def test_the_validation_loss_is_the_one_after_calibration(trained: Checkpoint) -> None:
    best = min(entry["validation_loss"] for entry in trained.members[0].history)
    assert best == pytest.approx(trained.metrics["validation_log_loss"] or 0, abs=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learning_rate", 0.0, "`learning_rate` must be a finite number above 0, got 0.0"),
        ("max_epochs", -1, "`max_epochs` must be a whole number from 1, got -1"),
        ("weight_decay", -0.1, "`weight_decay` must be a finite number from 0, got -0.1"),
        ("label_softness", -1.0, "`label_softness` must be a finite number from 0, got -1.0"),
        (
            "averaging",
            1.0,
            "`averaging` must be a number from 0 up to but not including 1, got 1.0",
        ),
        ("precision", "fp16", "`precision` must be one of fp32, bf16, got 'fp16'"),
        ("seeds", 9, "`seeds` must be a whole number from 1 to 8, got 9"),
        ("architecture", "lstm", "`architecture` must be one of bilstm, transformer, "),
        ("label", "high", "`label` must be one of open, close, barrier, or one of your own as "),
        ("train", 0.9, "`train` and `validation` must be shares above 0 with a sum of at most 1"),
    ],
)
def test_wrong_settings_are_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TrainConfig(), **{field: value})


def test_several_wrong_settings_are_told_together() -> None:
    rule = "must be a whole number from 1, got 0"
    with pytest.raises(ValueError, match=f"`batch_size` {rule}. `patience` {rule}"):
        TrainConfig(batch_size=0, patience=0)


def test_from_shuffled_labels_it_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps on the same market as tests/test_controls.py needs to find its echo."""
    echoing = market("echo", 3_000, 1).bars
    order = np.random.default_rng(0).permutation(len(echoing) - 1)  # the last label is not known

    def shuffled(make: Any) -> Any:
        def labels(*arguments: Any) -> pd.Series:
            known = make(*arguments)
            return known.mask(
                known.notna(), pd.Series(np.append(known.to_numpy()[order], 0.0), known.index)
            )

        return labels

    for name in ("make_labels", "soft_targets"):
        monkeypatch.setattr(labelling, name, shuffled(getattr(labelling, name)))
    # 427 windows.
    assert (fit(echoing, TrainConfig(max_epochs=1)).metrics["test_auc"] or 1) == pytest.approx(
        0.5, abs=3 * 0.028
    )


def test_bars_out_of_order_or_in_a_zone_are_refused_before_any_training(bars: pd.DataFrame) -> None:
    for faulty in (bars[::-1], bars.tz_localize("UTC")):
        with pytest.raises(BarsError, match="read_bars"):
            fit(faulty, SHORT)


def test_further_columns_and_their_order_do_not_reach_the_checkpoint(bars: pd.DataFrame) -> None:
    turned = bars.assign(adjusted=1.0)[["adjusted", "volume", "close", "low", "high", "open"]]
    assert (
        fit(turned, replace(SHORT, max_epochs=1)).digest
        == fit(bars, replace(SHORT, max_epochs=1)).digest
    )


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"device": "bogus"}, "`device` must be one that torch can use here, got 'bogus'"),
        ({"seed": -1}, "`seed` must be a whole number from 0"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be a finite number above 0"),
        ({"batch_size": 1.5}, "`batch_size` must be a whole number from 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_once(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**setting)
