"""Fixtures that several test files share."""
import pandas as pd
import pytest
from makers import random_bars, random_checkpoint

from model.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """400 random daily bars."""
    return random_bars()


@pytest.fixture(scope="session")
def checkpoint(bars: pd.DataFrame) -> Checkpoint:
    """A small network with random weights that counts as trained until the first of `bars`."""
    return random_checkpoint(bars)


@pytest.fixture(scope="session")
def checkpoint_path(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of `checkpoint`."""
    path = tmp_path_factory.mktemp("checkpoint") / "random.ckpt"
    checkpoint.save(path)
    return str(path)
