"""Fixtures that several test files share."""

import signal
from pathlib import Path

import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.networks.bilstm import NetworkConfig
from tests.helpers.commands import KEYS
from tests.helpers.hosts import BARS
from tests.helpers.makers import random_bars, random_checkpoint, random_member

# Of tests that run under nohup all processes would ignore a hangup, and those that test it fail.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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


@pytest.fixture(scope="session")
def model() -> Checkpoint:
    """A small network with random weights for `hosts.BARS`."""
    return random_checkpoint(BARS, seed=3)


@pytest.fixture(scope="session")
def model_path(model: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of `model`."""
    path = tmp_path_factory.mktemp("model") / "random.ckpt"
    model.save(path)
    return str(path)


@pytest.fixture
def exchange_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder to work in, and the keys of the tests' exchanges in the environment."""
    monkeypatch.chdir(tmp_path)
    for name, value in zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), KEYS):
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def small(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a checkpoint of about 10 kB, small enough to try every bit of it."""
    member = random_member(network=NetworkConfig(hidden=2, layers=1), temperature=0.2)
    path = tmp_path_factory.mktemp("small") / "small.ckpt"
    random_checkpoint(bars, members=(member,), golden=False).save(path)
    return path.read_bytes()
