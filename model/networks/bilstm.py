"""Delay lines: initial weights with which an LSTM remembers a window bar by bar instead of starting as noise.

The first layer hands each bar on from cell to cell; half of the last layer reads only what the lines hold at the end.
Learning then moves the weights as it likes: architecture and number of parameters are those of the plain network.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# What each line carries: the bar's move, its place and its range, all in units of recent volatility.
LINES: tuple[Mapping[str, float], ...] = (
    {"bar_close_z": 0.8},
    {"bar_high_z": 0.5, "bar_low_z": 0.5},
    {"bar_high_z": 0.5, "bar_low_z": -0.5},
)
CANDIDATE = 2  # torch's order of gates: input, forget, candidate, output
LINE = (
    5.0,
    -6.0,
    0.0,
    5.0,
)  # biases of a line's gates: take up all of the cell before, keep nothing, show all
READER = (2.0, -4.0, 0.0, 2.0)
ORDINARY = (
    0.0,
    1.0,
    0.0,
    0.0,
)  # a forget gate that starts open; source: Jozefowicz et al., ICML 2015
HAND_ON = 1.04  # makes up for what a line's gates take from small values


@torch.no_grad()
def lay_delay_lines(lstm: nn.LSTM, columns: Sequence[str]) -> None:
    """Give the first layer three lines of a quarter of its cells each, and the last layer its readers.

    A line's first cell takes up the newest bar and each other cell what the one before it held, so cell j holds the bar
    j bars ago. columns: the names of the input columns.
    """
    quarter = lstm.hidden_size // (len(LINES) + 1)
    for suffix in ("", "_reverse"):
        _lay_lines(_Cells(lstm, f"l0{suffix}"), quarter, columns)
        if lstm.num_layers > 1:
            _Cells(lstm, f"l{lstm.num_layers - 1}{suffix}").make_readers(lstm.hidden_size // 2)


def _lay_lines(cells: "_Cells", length: int, columns: Sequence[str]) -> None:
    cells.make_orthogonal()
    for number, line in enumerate(LINES):
        start = number * length
        cells.make_line(slice(start, start + length))
        for column, weight in line.items():
            cells.inputs[CANDIDATE][start : start + length][:1, columns.index(column)] = weight


class _Cells:
    """The weights of one direction of a layer, by gate: each (cells, inputs), (cells, cells) or (cells,)."""

    def __init__(self, lstm: nn.LSTM, layer: str) -> None:
        def gates(kind: str) -> tuple[Tensor, ...]:
            tensor: Tensor = getattr(lstm, f"{kind}_{layer}")
            return tensor.chunk(4)

        self.inputs, self.states, self.biases, self.second_biases = map(
            gates, ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

    def make_orthogonal(self) -> None:
        for states, second in zip(self.states, self.second_biases):
            nn.init.orthogonal_(states)
            second.zero_()
        self._set_biases(slice(None), ORDINARY)

    def make_line(self, line: slice) -> None:
        """Make these cells hand on what they hold, and take up nothing else."""
        self._set_biases(line, LINE)
        for inputs, states in zip(self.inputs, self.states):
            inputs[line] = 0.0
            states[line] = 0.0
        self.states[CANDIDATE][line, line].diagonal(-1).fill_(HAND_ON)

    def make_readers(self, count: int) -> None:
        """Make the first cells forget all but the newest bar, the others remember."""
        self._set_biases(slice(None), ORDINARY)
        self._set_biases(slice(count), READER)
        for states in self.states:
            states[:count] = 0.0

    def _set_biases(self, cells: slice, values: Sequence[float]) -> None:
        for biases, value in zip(self.biases, values):
            biases[cells] = value


FIRST_LAYER_SHARE = 0.5  # of the learning rate: its delay lines are to be moved, not to be run over


class DirectionNetwork(nn.Module, ABC):
    """A network that says from a window whether the market rises; `model.register` makes one's own known.

    A subclass takes its config as the only argument, hands it to super().__init__ and defines `forward`; the rest it may
    leave as it is. Each window must be judged alone: what else is in the batch changes nothing.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits of "up", known at each window's last row: (batch, rows, features) -> (batch,)."""

    def start(self, columns: Sequence[str]) -> None:
        """Give the network the weights to start learning from; columns: the names of a window's columns."""

    def learning_shares(self) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """Yield groups of all parameters, each with its share of the learning rate."""
        yield 1.0, list(self.parameters())


@dataclass(frozen=True)
class NetworkConfig:
    """What is needed to rebuild a BiLSTM; kept in every checkpoint.

    features: columns of a window. hidden: cells per direction and layer. layers: stacked LSTM layers.
    dropout: share of activations dropped between layers and before the head, in training only.
    """

    features: int = 86
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        require_whole(self, {"features": 1024, "hidden": 2048, "layers": 16})
        require_dropout(self.dropout)


def require_whole(config: Any, limits: Mapping[str, int]) -> None:
    """Refuse a field that is no whole number from 1 to its limit with a ValueError."""
    for name, highest in limits.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
            raise ValueError(f"`{name}` must be a whole number from 1 to {highest}, got {value!r}.")


def require_dropout(dropout: Any) -> None:
    """Refuse what is no share of activations to drop with a ValueError."""
    if not isinstance(dropout, (int, float)) or not 0.0 <= dropout < 1.0:
        raise ValueError(
            f"`dropout` must be a number from 0 up to but not including 1, got {dropout!r}."
        )


class BiLSTMClassifier(DirectionNetwork):
    """A bidirectional LSTM over a window and a linear head on the final states of both directions."""

    def __init__(self, config: NetworkConfig = NetworkConfig()) -> None:
        super().__init__(config)
        between = config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(
            config.features,
            config.hidden,
            config.layers,
            batch_first=True,
            dropout=between,
            bidirectional=True,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.hidden, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits of "up": (batch, 50, features) -> (batch,)."""
        _, (states, _) = self.lstm(windows)  # (2 * layers, batch, hidden)
        # Both directions have read the whole window in their final states. The last step of the output would hold a
        # backward half that has read one bar only: the same number of parameters, most of the memory lost.
        final = torch.cat((states[-2], states[-1]), dim=1)  # (batch, 2 * hidden)
        logits: Tensor = self.head(self.dropout(final)).squeeze(1)
        return logits

    def start(self, columns: Sequence[str]) -> None:
        """Lay the delay lines."""
        lay_delay_lines(self.lstm, columns)

    def learning_shares(self) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """Yield the parameters with their share of the learning rate, less for the first layer."""
        first = [
            weights
            for name, weights in self.lstm.named_parameters()
            if name.removesuffix("_reverse").endswith("_l0")
        ]
        known = {id(weights) for weights in first}
        yield 1.0, [weights for weights in self.parameters() if id(weights) not in known]
        yield FIRST_LAYER_SHARE, first
