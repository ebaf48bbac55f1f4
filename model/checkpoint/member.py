"""A member: one trained network of a checkpoint, with its weights and its temperature."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks.bilstm import DirectionNetwork
from model.networks.registry import make_network, make_network_without_weights
from model.runtime import Precision, arithmetic, torch_threads, usual_torch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

BATCH = 256  # windows computed at once


class Batches(Protocol):
    """Windows, (n, rows, features), whose slices are batches: a tensor, or cut when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, batch: slice, /) -> Tensor: ...


class Forecast(NamedTuple):
    """What a checkpoint forecasts for windows.

    Parameters
    ----------
    probability
        (n,), of "up".
    disagreement
        (n,), how far the members disagree about it: the standard deviation of their own
        probabilities, 0 for a single one.
    out_of_range
        (n,), the share of a window's values outside of their usual range in training, 0 where that
        is not known.

    Examples
    --------
    >>> checkpoint = Checkpoint.load("nasdaq.ckpt")
    >>> features = FeatureEngineer().transform(bars).to_numpy()
    >>> probability, disagreement, out_of_range = checkpoint.forecast(features)
    >>> features.shape, probability.shape
    ((600, 86), (551,))
    """

    probability: NDArray[np.float64]
    disagreement: NDArray[np.float64]
    out_of_range: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Member:
    """One trained network.

    Parameters
    ----------
    architecture
        Its name, as registered.
    network
        Its config, of the class that the architecture has.
    weights
        Its tensors by name.
    seed
        That of its initial weights.
    temperature
        Its logits are divided by it.
    metrics
        Its own scores.
    history
        One entry for each epoch.
    """

    architecture: str
    network: "DataclassInstance"
    weights: dict[str, Tensor] = field(repr=False)
    seed: int
    temperature: float
    metrics: dict[str, float | None]
    history: list[dict[str, float | int]] = field(repr=False)

    @property
    def name(self) -> str:
        """The architecture with the seed."""
        return f"{self.architecture} {self.seed}"

    @property
    def summary(self) -> str:
        """What training came to, in words: the best epoch and its loss."""
        best = min(self.history, key=lambda epoch: epoch["validation_loss"])
        return (
            f"best epoch {best['epoch']:.0f} of {len(self.history)}, "
            f"validation loss {best['validation_loss']:.4f}"
        )

    def logits(self, windows: Batches, precision: Precision = "fp32") -> NDArray[np.float64]:
        """Return the calibrated logits of "up": (n, rows, features) -> (n,).

        One thread and batches of one size, so that the bits depend on the number of windows alone.
        """
        with usual_torch(), torch_threads(1), torch.inference_mode(), arithmetic(precision):
            starts = range(0, len(windows), BATCH)
            parts = [self._network(windows[start : start + BATCH]) for start in starts]
        return torch.cat(parts).double().numpy() / self.temperature

    @cached_property
    def _network(self) -> DirectionNetwork:
        network = make_network_without_weights(self.architecture, self.network)
        # Copies: those of a file may lie at any address, and sums of floats depend on it.
        weights = {name: tensor.clone() for name, tensor in self.weights.items()}
        network.load_state_dict(weights, assign=True)
        held = (*network.parameters(), *network.buffers())
        if any(tensor.is_meta for tensor in held):
            # It computes some of its tensors anew, which needs the real ones. Its initial weights
            # are drawn and thrown away: the caller's random state stays.
            with torch.random.fork_rng(devices=[]):
                network = make_network(self.architecture, self.network)
            network.load_state_dict(weights)
        return network.eval().requires_grad_(False)


def probability_of(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of logits, without overflow: no exponential is taken."""
    return 0.5 * np.tanh(0.5 * logits) + 0.5
