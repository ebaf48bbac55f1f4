"""A small causal Transformer: every bar of a window looks straight at those before it, however far back."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from model.networks.bilstm import DirectionNetwork, require_dropout, require_whole


@dataclass(frozen=True)
class TransformerConfig:
    """What is needed to rebuild a Transformer; kept in every checkpoint.

    features: columns of a window. width: numbers that stand for a row between the layers. layers: stacked encoder layers.
    heads: what a layer looks for at once; they share the width. feed_forward: cells of the step after each look.
    dropout: share of activations dropped, in training only.
    """

    features: int = 86
    width: int = 128
    layers: int = 2
    heads: int = 8
    feed_forward: int = 512
    dropout: float = 0.2

    def __post_init__(self) -> None:
        require_whole(
            self, {"features": 1024, "width": 2048, "layers": 16, "heads": 64, "feed_forward": 8192}
        )
        require_dropout(self.dropout)
        if self.width % (2 * self.heads):
            raise ValueError(
                f"`width` must be a multiple of twice the heads, got {self.width} and {self.heads} heads."
            )


class TransformerClassifier(DirectionNetwork):
    """Encoder layers with a causal mask over a window and a linear head on its last row."""

    def __init__(self, config: TransformerConfig = TransformerConfig()) -> None:
        super().__init__(config)
        self.embedding = nn.Linear(config.features, config.width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.head = nn.Linear(config.width, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits of "up": (batch, 50, features) -> (batch,)."""
        embedded = self.embedding(windows)
        # No dropout here: what a single bar says must arrive whole.
        states = embedded + sinusoids(*embedded.shape[1:]).to(embedded.device)  # (batch, 50, width)
        for layer in self.layers[:-1]:
            states = layer(states, states)
        last = self.layers[-1](states[:, -1:], states)  # its other rows would be read by nobody
        logits: Tensor = self.head(last).flatten()
        return logits


class EncoderLayer(nn.Module):
    """Attention to the rows so far and a feed-forward step, each added to what there was and normed."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.queries, self.keys_values, self.mixed = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.wide, self.narrow = (
            nn.Linear(width, config.feed_forward),
            nn.Linear(config.feed_forward, width),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = SequenceDropout(config.dropout)

    def forward(self, readers: Tensor, states: Tensor) -> Tensor:
        """Return the next states of the readers, which are the last rows of the states or all of them."""
        read = self.norms[0](readers + self.dropout(self._attention(readers, states)))
        thought = self.narrow(self.dropout(relu(self.wide(read))))
        result: Tensor = self.norms[1](read + self.dropout(thought))
        return result

    def _attention(self, readers: Tensor, states: Tensor) -> Tensor:
        asked, offered = self.queries(readers), self.keys_values(states)
        queries, keys, values = (self._by_head(part) for part in (asked, *offered.chunk(2, dim=2)))
        # Written out: torch's own kernel takes five times as long to train on a CPU.
        scores = (
            queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3])
        )  # (batch, heads, readers, rows)
        past = torch.ones_like(scores[0, 0], dtype=torch.bool).tril(
            scores.shape[3] - scores.shape[2]
        )
        found = scores.masked_fill(~past, -math.inf).softmax(3).to(values.dtype) @ values
        mixed: Tensor = self.mixed(found.transpose(1, 2).flatten(2))
        return mixed

    def _by_head(self, states: Tensor) -> Tensor:
        """Return (batch, rows, width) as (batch, heads, rows, width per head)."""
        batch, rows, width = states.shape
        return states.view(batch, rows, self.heads, width // self.heads).transpose(1, 2)


class SequenceDropout(nn.Module):
    """Drops the same numbers of every row of a window, in training only.

    Source: Gal and Ghahramani, A theoretically grounded application of dropout in recurrent neural networks, NeurIPS 2016.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Tensor) -> Tensor:
        if not self.training:
            return states
        kept = torch.empty(states.shape[0], 1, states.shape[2], device=states.device).bernoulli_(
            1 - self.share
        )
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
