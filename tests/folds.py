"""What the tests of the walk-forward share."""
from collections.abc import Sequence
from pathlib import Path

from backtests.walk_forward import FoldModel


def save(models: Sequence[FoldModel], folder: Path) -> Path:
    """Write the models' checkpoints into a folder."""
    for model in models:
        if model.checkpoint:
            model.checkpoint.save(folder / model.name)
    return folder
