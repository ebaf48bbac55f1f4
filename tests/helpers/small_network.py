"""A small network for tests that train.

Known by the name "small" in every process that imports this.
"""

from dataclasses import dataclass

from model.networks.bilstm import BiLSTMClassifier, NetworkConfig
from model.networks.registry import register


@dataclass(frozen=True)
class SmallConfig(NetworkConfig):
    """Four cells instead of 128."""

    hidden: int = 4


class SmallClassifier(BiLSTMClassifier):
    """Reads as the large one does, from random weights."""

    def start(self, columns: object) -> None:
        pass


register("small", SmallClassifier, SmallConfig)
