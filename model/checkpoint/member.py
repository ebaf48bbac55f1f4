"""A member: one trained network of a checkpoint, with its weights and its temperature."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from model.networks.bilstm import DirectionNetwork
from model.networks.registry import made_network
from model.runtime import Precision, arithmetic, torch_threads

BATCH = 256
MOST_MEMBERS = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Member:
    """One trained network.

    architecture, network: its name and its config. weights: its tensors by name. seed: that of its initial weights.
    temperature: its logits are divided by it. metrics: its own scores. history: one entry an epoch.
    """

    architecture: str
    network: Any
    weights: dict[str, Tensor]
    seed: int
    temperature: float
    metrics: dict[str, float | None]
    history: list[dict[str, float | int]]

    @property
    def name(self) -> str:
        """The architecture with the seed."""
        return f"{self.architecture} {self.seed}"

    @property
    def course(self) -> str:
        """What training came to, in words."""
        best = min(self.history, key=lambda epoch: epoch["validation_loss"])
        return f"best epoch {best['epoch']:.0f} of {len(self.history)}, validation loss {best['validation_loss']:.4f}"

    def logits(self, windows: Tensor, precision: Precision = "fp32") -> NDArray[np.float64]:
        """Return the calibrated logits of "up": (n, rows, features) -> (n,)."""
        with torch_threads(1), torch.inference_mode(), arithmetic(precision):
            parts = [self._network(batch) for batch in torch.split(windows, BATCH)]
        calibrated: NDArray[np.float64] = torch.cat(parts).double().numpy() / self.temperature
        return calibrated

    @cached_property
    def _network(self) -> DirectionNetwork:
        with torch.random.fork_rng(
            devices=[]
        ):  # initial weights are drawn and thrown away: the caller's random state stays
            network = made_network(self.architecture, self.network)
        network.load_state_dict(self.weights)
        return network.eval().requires_grad_(False)


Rows = TypeVar("Rows", bound=NDArray[Any])


def cut_windows(rows: Rows, sequence_length: int) -> Rows:
    """Return the windows of feature rows: (n, 86) -> (n - sequence_length + 1, sequence_length, 86).

    They are views, so that a million of them need no memory, and as writable as the rows are.
    """
    windows = sliding_window_view(rows, sequence_length, axis=0, writeable=True)
    return cast(Rows, windows.transpose(0, 2, 1))


def probability_of(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of logits, without overflow."""
    from_logits: NDArray[np.float64] = 0.5 * np.tanh(0.5 * logits) + 0.5
    return from_logits
