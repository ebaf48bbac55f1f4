"""Delay lines: at the start the network remembers each bar of the window, whatever its noise."""

import pytest
import torch
from torch import Tensor, nn

from model.delay_lines import lay_delay_lines
from model.features import FEATURE_NAMES
from model.network import BiLSTMClassifier, NetworkConfig

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
