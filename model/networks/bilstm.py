"""The base class of all networks, and the BiLSTM, which remembers a window from the start.

An LSTM as torch makes it starts as noise and has to learn to remember before it can learn anything
of bars. Here the first layer starts with delay lines, which hand each bar on from cell to cell, and
half of the last layer reads only what the lines hold at the end. Learning then moves the weights as
it likes: architecture and number of parameters are those of the plain network.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model.settings import number, require, whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FIRST_LAYER_SHARE = 0.5  # of the learning rate: its delay lines are to be moved, not run over

# What each line carries: the bar's move, its place and its range, in units of volatility.
LINES: tuple[Mapping[str, float], ...] = (
    {"bar_close_z": 0.8},
    {"bar_high_z": 0.5, "bar_low_z": 0.5},
    {"bar_high_z": 0.5, "bar_low_z": -0.5},
)
HAND_ON = 1.04  # makes up for what a line's gates take from small values
CANDIDATE = 2  # torch's order of gates: input, forget, candidate, output
# Biases of the gates. A line takes up all of the cell before, keeps nothing and shows all.
LINE_BIASES = (5.0, -6.0, 0.0, 5.0)
READER_BIASES = (2.0, -4.0, 0.0, 2.0)
# A forget gate that starts open. Source: Jozefowicz et al., ICML 2015.
ORDINARY_BIASES = (0.0, 1.0, 0.0, 0.0)


class DirectionNetwork(nn.Module, ABC):
    """A network that says from a window of feature rows whether the price rises.

    A subclass takes its config as the only argument, hands it to super().__init__ and defines
    `forward`; the rest it may leave as it is. `model.register` makes it known. Each window must be
    judged alone: what else is in the batch changes nothing.

    Parameters
    ----------
    config
        A frozen dataclass of what the network is rebuilt from; kept in every checkpoint.

    Examples
    --------
    >>> class LastRow(DirectionNetwork):
    ...     def __init__(self, config: NetworkConfig) -> None:
    ...         super().__init__(config)
    ...         self.head = nn.Linear(config.features, 1)
    ...
    ...     def forward(self, windows: Tensor) -> Tensor:
    ...         return self.head(windows[:, -1]).squeeze(1)
    >>> LastRow(NetworkConfig())(torch.zeros(3, 50, 86)).shape
    torch.Size([3])
    """

    def __init__(self, config: "DataclassInstance") -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits of "up", as known at each window's last row.

        Parameters
        ----------
        windows
            Scaled feature rows, the newest last: (batch, rows, features).

        Returns
        -------
        Tensor
            (batch,), the log of the odds of "up".
        """

    def start(self, columns: Sequence[str]) -> None:
        """Give the network the weights to start learning from.

        Parameters
        ----------
        columns
            The names of a window's columns, in their order.
        """

    def learning_shares(self) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """Yield all parameters in groups, each with its share of the learning rate.

        Yields
        ------
        tuple of float and list of Parameter
            The share, 1 for the whole rate, and the weights that learn at it.
        """
        yield 1.0, list(self.parameters())


@dataclass(frozen=True)
class NetworkConfig:
    """What a BiLSTM is rebuilt from; kept in every checkpoint.

    Parameters
    ----------
    features
        Columns of a window.
    hidden
        Cells per direction and layer.
    layers
        Stacked LSTM layers.
    dropout
        Share of activations dropped between layers and before the head, in training only.

    Raises
    ------
    ValueError
        For a number that no network can have.

    Examples
    --------
    >>> NetworkConfig(hidden=64, dropout=0.0)
    NetworkConfig(features=86, hidden=64, layers=2, dropout=0.0)
    """

    features: int = 86
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        rules = {
            "features": whole(1, 1024),
            "hidden": whole(1, 2048),
            "layers": whole(1, 16),
            "dropout": number(0, below=1),
        }
        # Not vars: where a file has no field, msgspec leaves its default to the class.
        require(asdict(self), rules)


class BiLSTMClassifier(DirectionNetwork):
    """A bidirectional LSTM over a window, and a linear head on both directions' final states.

    Parameters
    ----------
    config
        Its size: columns, cells, layers and dropout.

    Examples
    --------
    >>> BiLSTMClassifier(NetworkConfig(hidden=16))(torch.zeros(3, 50, 86)).shape
    torch.Size([3])
    """

    def __init__(self, config: NetworkConfig = NetworkConfig()) -> None:
        super().__init__(config)
        self.lstm = nn.LSTM(
            config.features,
            config.hidden,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,  # between layers
            bidirectional=True,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.hidden, 1)

    def forward(self, windows: Tensor) -> Tensor:
        _, (states, _) = self.lstm(windows)  # (2 * layers, batch, hidden)
        # Both directions have read the whole window in their final states. The last step of the
        # output would hold a backward half that has read one bar only: the same number of
        # parameters, most of the memory lost.
        final = torch.cat((states[-2], states[-1]), dim=1)  # (batch, 2 * hidden)
        logits: Tensor = self.head(self.dropout(final)).squeeze(1)
        return logits

    def start(self, columns: Sequence[str]) -> None:
        lay_delay_lines(self.lstm, columns)

    def learning_shares(self) -> Iterator[tuple[float, list[nn.Parameter]]]:
        groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for name, weights in self.named_parameters():
            in_first_layer = name.removesuffix("_reverse").endswith("_l0")
            groups[in_first_layer].append(weights)
        yield 1.0, groups[False]
        yield FIRST_LAYER_SHARE, groups[True]


@torch.no_grad()
def lay_delay_lines(lstm: nn.LSTM, columns: Sequence[str]) -> None:
    """Give the first layer three lines of a quarter of its cells each, the last layer its readers.

    A line's first cell takes up the newest bar and each other cell what the one before it held, so
    cell j holds the bar j bars ago. Both directions get lines of their own. columns: the names of
    the input columns; a line that is to carry one that is not there is not laid.
    """
    lines = [line for line in LINES if line.keys() <= {*columns}]
    if not lines:
        return
    length = lstm.hidden_size // (len(LINES) + 1)
    for suffix in ("", "_reverse"):
        first = _Cells(lstm, f"l0{suffix}")
        for states, biases in zip(first.states, first.second_biases, strict=True):
            nn.init.orthogonal_(states)
            biases.zero_()
        first.set_biases(slice(None), ORDINARY_BIASES)
        for row, line in enumerate(lines):
            cells = slice(row * length, (row + 1) * length)
            first.make_line(cells)
            for column, weight in line.items():
                first.inputs[CANDIDATE][cells][:1, columns.index(column)] = weight
        if lstm.num_layers > 1:
            last = _Cells(lstm, f"l{lstm.num_layers - 1}{suffix}")
            last.make_readers(lstm.hidden_size // 2)


class _Cells:
    """The weights of one direction of a layer, a tensor per gate.

    inputs (cells, inputs), states (cells, cells) and both kinds of biases (cells,) are views:
    what is set in them is set in the layer.
    """

    def __init__(self, lstm: nn.LSTM, layer: str) -> None:
        self.inputs = getattr(lstm, f"weight_ih_{layer}").chunk(4)
        self.states = getattr(lstm, f"weight_hh_{layer}").chunk(4)
        self.biases = getattr(lstm, f"bias_ih_{layer}").chunk(4)
        self.second_biases = getattr(lstm, f"bias_hh_{layer}").chunk(4)

    def set_biases(self, cells: slice, values: Sequence[float]) -> None:
        for biases, value in zip(self.biases, values, strict=True):
            biases[cells] = value

    def make_line(self, cells: slice) -> None:
        """Make these cells hand on what they hold, and take up nothing else."""
        self.set_biases(cells, LINE_BIASES)
        for inputs, states in zip(self.inputs, self.states, strict=True):
            inputs[cells] = 0.0
            states[cells] = 0.0
        self.states[CANDIDATE][cells, cells].diagonal(-1).fill_(HAND_ON)

    def make_readers(self, count: int) -> None:
        """Make the first cells forget all but the newest bar, the others remember."""
        self.set_biases(slice(None), ORDINARY_BIASES)
        self.set_biases(slice(count), READER_BIASES)
        for states in self.states:
            states[:count] = 0.0
