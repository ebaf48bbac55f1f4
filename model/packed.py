"""An LSTM that is asked for one window at a time: its weights are laid out once, as oneDNN wants them, and not at every call."""
from typing import NamedTuple

import torch
from torch import Tensor, nn

LSTM = 2  # the number of the kind of cell, as torch hands it to oneDNN


class Direction(NamedTuple):
    """The weights of one direction of a layer, on the input and on the state, and their biases."""

    on_input: Tensor
    on_state: Tensor
    input_bias: Tensor
    state_bias: Tensor
    backwards: bool


class PackedLSTM:
    """The same kernel on the same numbers as the LSTM that it is made of, so the same bits; in two thirds of the time.

    torch lays all weights out anew at every call, which costs as much as half of what one window takes. The LSTM must be
    bidirectional, in fp32, and learn no more.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        self._hidden = lstm.hidden_size
        self._nothing = torch.zeros(1, lstm.hidden_size)  # the state before the first row
        self._layers = [[self._packed(lstm, f"_l{layer}{suffix}") for suffix in ("", "_reverse")]
                        for layer in range(lstm.num_layers)]

    @staticmethod
    def is_possible() -> bool:
        """True where torch was built with oneDNN and knows how to lay weights out beforehand."""
        built = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        return built and hasattr(torch.ops.mkldnn, "_reorder_mkldnn_rnn_layer_weight")

    def __call__(self, window: Tensor) -> Tensor:
        """Return the final states of all directions, (1, rows, features) -> (2 * layers, 1, hidden)."""
        steps, states = window.transpose(0, 1), []
        for layer in self._layers:
            results = [self._run(steps, direction) for direction in layer]
            steps = torch.cat([outputs for outputs, _ in results], dim=-1)
            states += [state for _, state in results]
        return torch.cat(states).view(-1, 1, self._hidden)

    def _run(self, steps: Tensor, direction: Direction) -> tuple[Tensor, Tensor]:
        *weights, backwards = direction
        outputs, state, _, _ = torch.ops.aten.mkldnn_rnn_layer(
            steps, *weights, self._nothing, self._nothing, backwards, [], LSTM, self._hidden, 1, True, False, False, False)
        return outputs, state

    def _packed(self, lstm: nn.LSTM, suffix: str) -> Direction:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        on_input, on_state, input_bias, state_bias = (getattr(lstm, f"{kind}{suffix}") for kind in kinds)
        backwards = suffix.endswith("_reverse")
        packed = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(on_input, on_state, self._hidden, backwards, True, False)
        return Direction(packed[0], packed[1], input_bias, state_bias, backwards)
