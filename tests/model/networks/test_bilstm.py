"""Delay lines: at the start the network remembers each bar of the window, whatever its noise."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.features.table import FEATURE_NAMES
from model.networks.bilstm import BiLSTMClassifier, NetworkConfig, lay_delay_lines

COLUMN = FEATURE_NAMES.index


def layer(hidden: int = 128) -> nn.LSTM:
    torch.manual_seed(0)
    lstm = nn.LSTM(86, hidden, batch_first=True, bidirectional=True)
    lay_delay_lines(lstm, FEATURE_NAMES)
    return lstm


def states(lstm: nn.LSTM, windows: Tensor) -> Tensor:
    with torch.no_grad():
        return lstm(windows)[0]


@pytest.mark.parametrize("lag", [0, 1, 12, 31])
def test_cell_j_of_the_first_line_holds_the_move_j_bars_ago(lag: int) -> None:
    windows = torch.zeros(1, 50, 86)
    windows[0, 40 - lag, COLUMN("bar_close_z")] = 1.0
    line = states(layer(), windows)[0, 40, :32]
    assert int(line.abs().argmax()) == lag and line[lag] > 0.15


@pytest.mark.parametrize("lag", [0, 1, 12, 31])
def test_the_backward_direction_holds_the_bars_that_follow(lag: int) -> None:
    windows = torch.zeros(1, 50, 86)
    windows[0, 5 + lag, COLUMN("bar_close_z")] = -1.0
    line = states(layer(), windows)[0, 5, 128:160]
    assert int(line.abs().argmax()) == lag and line[lag] < -0.15


def test_the_lines_carry_move_place_and_range() -> None:
    windows = torch.zeros(1, 50, 86)
    windows[0, 30, [COLUMN("bar_high_z"), COLUMN("bar_low_z")]] = torch.tensor([1.0, -1.0])
    held = states(layer(), windows)[0, 40]
    assert held[10].abs() < 1e-6 and held[42].abs() < 1e-6 and held[74] > 0.15


def test_other_columns_leave_the_lines_empty() -> None:
    windows = torch.randn(1, 50, 86, generator=torch.Generator().manual_seed(0))
    windows[:, :, [COLUMN(name) for name in ("bar_close_z", "bar_high_z", "bar_low_z")]] = 0.0
    assert states(layer(), windows)[0, :, :96].abs().max() == 0.0


def test_half_of_the_last_layer_reads_only_the_newest_bar() -> None:
    network = BiLSTMClassifier()
    network.start(FEATURE_NAMES)
    last = nn.LSTM(256, 128, batch_first=True)
    weights = network.lstm.state_dict().items()
    last.load_state_dict(
        {name.replace("_l1", "_l0"): tensor for name, tensor in weights if name.endswith("_l1")}
    )
    inputs = torch.randn(1, 20, 256, generator=torch.Generator().manual_seed(0))
    moved = (
        states(last, inputs) - states(last, torch.cat((-inputs[:, :10], inputs[:, 10:]), dim=1))
    )[0, 12].abs()
    assert moved[:64].max() < 1e-3 < moved[64:].mean()


def test_start_changes_neither_the_shapes_nor_their_number() -> None:
    network = BiLSTMClassifier()
    before = {name: tensor.shape for name, tensor in network.state_dict().items()}
    network.start(FEATURE_NAMES)
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == before


@pytest.mark.parametrize(
    "config",
    [NetworkConfig(hidden=2), NetworkConfig(hidden=6, layers=1), NetworkConfig(hidden=5, layers=3)],
)
def test_any_network_can_be_started(config: NetworkConfig) -> None:
    network = BiLSTMClassifier(config).eval()
    network.start(FEATURE_NAMES)
    assert bool(torch.isfinite(network(torch.ones(1, 50, 86))).all())


def test_the_same_seed_starts_alike() -> None:
    assert all(
        torch.equal(one, other) for one, other in zip(layer().parameters(), layer().parameters())
    )


def test_every_weight_learns_and_the_first_layer_half_as_fast() -> None:
    network = BiLSTMClassifier()
    groups = {share: weights for share, weights in network.learning_shares()}
    assert sum(len(weights) for weights in groups.values()) == len(list(network.parameters()))
    first = {id(weights) for name, weights in network.named_parameters() if "_l0" in name}
    assert {id(weights) for weights in groups[0.5]} == first


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
    # Forward ends at the last bar, backward at the first.
    final = torch.cat((outputs[:, -1, :3], outputs[:, 0, 3:]), dim=1)
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
