"""A small causal Transformer: every bar of a window looks straight at those before it."""

import math
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from model.networks.bilstm import DirectionNetwork
from model.settings import number, require, whole


@dataclass(frozen=True)
class TransformerConfig:
    """What a Transformer is rebuilt from; kept in every checkpoint.

    Parameters
    ----------
    features
        Columns of a window.
    width
        Numbers that stand for a row between the layers; a multiple of twice the heads.
    layers
        Stacked encoder layers.
    heads
        What a layer looks for at once; they share the width.
    feed_forward
        Cells of the step after each look.
    dropout
        Share of activations dropped, in training only.

    Raises
    ------
    ValueError
        For a number that no network can have.

    Examples
    --------
    >>> TransformerConfig(width=64, heads=4, feed_forward=256)
    TransformerConfig(features=86, width=64, layers=2, heads=4, feed_forward=256, dropout=0.2)
    """

    features: int = 86
    width: int = 128
    layers: int = 2
    heads: int = 8
    feed_forward: int = 512
    dropout: float = 0.2

    def __post_init__(self) -> None:
        rules = {
            "features": whole(1, 1024),
            "width": whole(1, 2048),
            "layers": whole(1, 16),
            "heads": whole(1, 64),
            "feed_forward": whole(1, 8192),
            "dropout": number(0, below=1),
        }
        # Not vars: where a file has no field, msgspec leaves its default to the class.
        require(asdict(self), rules)
        # Heads share the width, and positions are told by pairs of a sine and a cosine.
        if self.width % (2 * self.heads):
            raise ValueError(
                "`width` must be a multiple of twice the heads, "
                f"got {self.width} and {self.heads} heads."
            )


class TransformerClassifier(DirectionNetwork):
    """Encoder layers with a causal mask over a window, and a linear head on its last row.

    Parameters
    ----------
    config
        Its size: columns, width, layers, heads, cells and dropout.

    Examples
    --------
    >>> TransformerClassifier(TransformerConfig(width=32))(torch.zeros(3, 50, 86)).shape
    torch.Size([3])
    """

    def __init__(self, config: TransformerConfig = TransformerConfig()) -> None:
        super().__init__(config)
        self.embedding = nn.Linear(config.features, config.width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.head = nn.Linear(config.width, 1)

    def forward(self, windows: Tensor) -> Tensor:
        embedded = self.embedding(windows)
        # No dropout here: what a single bar says must arrive whole.
        states = embedded + sinusoids(*embedded.shape[1:]).to(embedded.device)  # (batch, 50, width)
        for layer in self.layers[:-1]:
            states = layer(states, states)
        last = self.layers[-1](states[:, -1:], states)  # its other rows would be read by nobody
        logits: Tensor = self.head(last).flatten()
        return logits


class EncoderLayer(nn.Module):
    """Attention to the rows so far and a feed-forward step, each added to its input and normed."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.queries = nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.mixed = nn.Linear(width, width)
        self.wide = nn.Linear(width, config.feed_forward)
        self.narrow = nn.Linear(config.feed_forward, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = SequenceDropout(config.dropout)

    def forward(self, readers: Tensor, states: Tensor) -> Tensor:
        """Return the next states of the readers, the last rows of the states or all of them.

        Shapes: (batch, readers, width) and (batch, rows, width) -> (batch, readers, width).
        """
        read = self.norms[0](readers + self.dropout(self._attention(readers, states)))
        thought = self.narrow(self.dropout(relu(self.wide(read))))
        result: Tensor = self.norms[1](read + self.dropout(thought))
        return result

    def _attention(self, readers: Tensor, states: Tensor) -> Tensor:
        parts = self.queries(readers), *self.keys_values(states).chunk(2, dim=2)
        # (batch, rows, width) -> (batch, heads, rows, width per head)
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts
        )
        # Written out: torch's own kernel takes five times as long to train on a CPU.
        scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3])
        n_readers, n_rows = scores.shape[2:]
        past = torch.ones_like(scores[0, 0], dtype=torch.bool).tril(n_rows - n_readers)
        found = scores.masked_fill(~past, -math.inf).softmax(3).to(values.dtype) @ values
        mixed: Tensor = self.mixed(found.transpose(1, 2).flatten(2))
        return mixed


class SequenceDropout(nn.Module):
    """Dropout of the same numbers in every row of a window, in training only.

    Source: Gal and Ghahramani, A theoretically grounded application of dropout in recurrent neural
    networks, NeurIPS 2016.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Tensor) -> Tensor:
        if not self.training:
            return states
        batch, _, width = states.shape
        kept = torch.empty(batch, 1, width, device=states.device).bernoulli_(1 - self.share)
        return states * (kept / (1 - self.share)).to(states.dtype)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # or training could not use what serving computed first
def sinusoids(length: int, width: int) -> Tensor:
    """Return a pattern for each position that tells it from the others: (length, width).

    Source: Vaswani et al., Attention is all you need, NeurIPS 2017.
    """
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates  # (length, width / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
