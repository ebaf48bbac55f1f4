"""Delay lines: initial weights with which an LSTM remembers a window bar by bar instead of starting as noise.

The first layer hands each bar on from cell to cell; half of the last layer reads only what the lines hold at the end.
Learning then moves the weights as it likes: architecture and number of parameters are those of the plain network.
"""

from collections.abc import Mapping, Sequence

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
