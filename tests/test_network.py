"""The network: its size, its shapes, and what its head reads."""

from typing import Any

import pytest
import torch
from torch import Tensor

from model.network import BiLSTMClassifier, NetworkConfig


@pytest.fixture(scope="module")
def network() -> BiLSTMClassifier:
    torch.manual_seed(0)
    return BiLSTMClassifier(NetworkConfig(features=4, hidden=3, layers=2)).eval()


@pytest.fixture(scope="module")
def windows() -> Tensor:
    return torch.randn(5, 50, 4, generator=torch.Generator().manual_seed(1))


def test_the_default_network_has_616705_trainable_parameters() -> None:
    assert (
        sum(weights.numel() for weights in BiLSTMClassifier().parameters() if weights.requires_grad)
        == 616_705
    )


@pytest.mark.parametrize("batch", [1, 7])
def test_a_batch_of_windows_becomes_one_logit_each(batch: int) -> None:
    assert BiLSTMClassifier()(torch.zeros(batch, 50, 86)).shape == (batch,)


def test_the_head_reads_the_final_states_of_both_directions(
    network: BiLSTMClassifier, windows: Tensor
) -> None:
    outputs, _ = network.lstm(windows)
    final = torch.cat(
        (outputs[:, -1, :3], outputs[:, 0, 3:]), dim=1
    )  # forward ends at the last bar, backward at the first
    assert torch.allclose(network(windows), network.head(final).squeeze(1), atol=1e-7)
    assert not torch.allclose(network(windows), network.head(outputs[:, -1]).squeeze(1), atol=1e-3)


def test_the_backward_half_of_the_head_remembers_the_first_bar(
    network: BiLSTMClassifier, windows: Tensor
) -> None:
    backward_only = BiLSTMClassifier(network.config).eval()
    backward_only.load_state_dict(network.state_dict())
    with torch.no_grad():
        backward_only.head.weight[:, :3] = 0
    changed = windows.clone()
    changed[:, 0] += 1
    assert ((backward_only(changed) - backward_only(windows)).abs() > 1e-4).all()


def test_each_window_of_a_batch_is_judged_alone(network: BiLSTMClassifier, windows: Tensor) -> None:
    alone = torch.cat([network(window[None]) for window in windows])
    assert torch.allclose(network(windows), alone, atol=1e-6)


def test_dropout_works_in_training_only(network: BiLSTMClassifier, windows: Tensor) -> None:
    assert torch.equal(network(windows), network(windows))
    training = BiLSTMClassifier(NetworkConfig(features=4, hidden=3, dropout=0.5)).train()
    assert not torch.equal(training(windows), training(windows))


def test_one_layer_needs_no_warning_about_dropout() -> None:
    assert BiLSTMClassifier(NetworkConfig(hidden=2, layers=1)).lstm.dropout == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": 0}, "`features` must be a whole number from 1 to 1024, got 0."),
        ({"features": 1025}, "`features` must be a whole number from 1 to 1024, got 1025."),
        ({"hidden": 200_000}, "`hidden` must be a whole number from 1 to 2048, got 200000."),
        ({"hidden": 1.5}, "`hidden` must be a whole number from 1 to 2048, got 1.5."),
        ({"layers": 17}, "`layers` must be a whole number from 1 to 16, got 17."),
        ({"layers": True}, "`layers` must be a whole number from 1 to 16, got True."),
        ({"dropout": 1.0}, "`dropout` must be a number from 0 up to but not including 1, got 1.0."),
        (
            {"dropout": -0.1},
            "`dropout` must be a number from 0 up to but not including 1, got -0.1.",
        ),
        (
            {"dropout": float("nan")},
            "`dropout` must be a number from 0 up to but not including 1, got nan.",
        ),
        (
            {"dropout": "0.2"},
            "`dropout` must be a number from 0 up to but not including 1, got '0.2'.",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        NetworkConfig(**changes)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "changes", [{"features": 1}, {"hidden": 2048}, {"layers": 16}, {"dropout": 0}]
)
def test_the_bounds_themselves_are_allowed(changes: dict[str, Any]) -> None:
    assert all(getattr(NetworkConfig(**changes), name) == value for name, value in changes.items())
