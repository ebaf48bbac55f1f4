"""The networks: windows of scaled features in, one logit out."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.delay_lines import lay_delay_lines

FIRST_LAYER_SHARE = 0.5  # of the learning rate: its delay lines are to be moved, not to be run over


@dataclass(frozen=True)
class NetworkConfig:
    """What is needed to rebuild a network; kept in every checkpoint.

    features: columns of a window. hidden: cells per direction and layer. layers: stacked LSTM layers.
    dropout: share of activations dropped between layers and before the head, in training only.
    """

    features: int = 86
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for name, highest in (("features", 1024), ("hidden", 2048), ("layers", 16)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
                raise ValueError(f"`{name}` must be a whole number from 1 to {highest}, got {value!r}.")
        if not isinstance(self.dropout, (int, float)) or not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"`dropout` must be a number from 0 up to but not including 1, got {self.dropout!r}.")


class BiLSTMClassifier(nn.Module):
    """A bidirectional LSTM over a window and a linear head on the final states of both directions."""

    def __init__(self, config: NetworkConfig = NetworkConfig()) -> None:
        super().__init__()
        self.config = config
        between = config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(config.features, config.hidden, config.layers, batch_first=True, dropout=between, bidirectional=True)
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
        """Give the network the weights to start learning from; columns: the names of a window's columns."""
        lay_delay_lines(self.lstm, columns)

    def learning_shares(self) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """Yield groups of all parameters, each with its share of the learning rate."""
        first = [weights for name, weights in self.lstm.named_parameters() if name.removesuffix("_reverse").endswith("_l0")]
        known = {id(weights) for weights in first}
        yield 1.0, [weights for weights in self.parameters() if id(weights) not in known]
        yield FIRST_LAYER_SHARE, first


def unmade_network(config: NetworkConfig) -> BiLSTMClassifier:
    """Return a network that has shapes but neither memory nor values for its weights."""
    with torch.device("meta"):
        return BiLSTMClassifier(config)
