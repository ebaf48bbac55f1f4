"""A small network for tests that train: known by the name "small" in every process that imports this."""

from dataclasses import dataclass

from model.architectures import register
from model.network import BiLSTMClassifier, NetworkConfig


@dataclass(frozen=True)
class SmallConfig(NetworkConfig):
    """Four cells instead of 128."""

    hidden: int = 4


class SmallClassifier(BiLSTMClassifier):
    """Reads as the large one does, from random weights."""

    def start(self, columns: object) -> None:
        pass


register("small", SmallClassifier, SmallConfig)
