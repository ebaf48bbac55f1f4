"""Architectures by name, and a network of one's own from training to trading."""

import re
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from model.checkpoint.checkpoint import Checkpoint
from model.errors import CheckpointError
from model.networks import registry as architectures
from model.networks.bilstm import DirectionNetwork, NetworkConfig
from model.networks.registry import (
    BUILT_IN,
    architecture,
    make_config,
    make_network_without_weights,
    members_of,
    register,
)
from model.networks.transformer import TransformerConfig
from model.training.config import TrainConfig
from model.training.fitting import fit
from tests.helpers.hosts import feed, host, traded
from tests.helpers.makers import SMALLS, random_checkpoint, random_member


@dataclass(frozen=True)
class LineConfig:
    """What a line is rebuilt from."""

    features: int = 86
    sequence_length: int = 50
    slope: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.features <= 1024:
            raise ValueError(f"`features` must be from 1 to 1024, got {self.features}.")


class LineClassifier(DirectionNetwork):
    """The smallest network there is: a straight line through the window."""

    def __init__(self, config: LineConfig = LineConfig()) -> None:
        super().__init__(config)
        self.head = nn.Linear(config.features * config.sequence_length, 1)

    def forward(self, windows: Tensor) -> Tensor:
        logits: Tensor = self.head(self.config.slope * windows.flatten(1)).squeeze(1)
        return logits


LINE = architectures.Architecture(LineClassifier, LineConfig)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """Settings for the line, which is known as long as a test runs."""
    monkeypatch.setattr(architectures, "_registered", {})
    register("line", LineClassifier, LineConfig)
    return TrainConfig(architecture="line", seeds=2, max_epochs=2, batch_size=32)


def test_a_network_of_ones_own_is_trained_saved_loaded_and_traded(
    training: TrainConfig, bars: pd.DataFrame, tmp_path: Path
) -> None:
    trained = fit(bars, training)
    trained.save(tmp_path / "line.ckpt")
    loaded = Checkpoint.load(tmp_path / "line.ckpt")
    pd.testing.assert_series_equal(loaded.probabilities(bars), trained.probabilities(bars))
    assert [member.name for member in loaded.members] == ["line 42", "line 43"]
    for runonce in (True, False):
        strategy = traded(
            host(feed(bars), runonce=runonce),
            checkpoint=str(tmp_path / "line.ckpt"),
            in_sample="trade",
            enter=0.5,
            exit=0.5,
        )
        shown = np.array([strategy.shown["data"][number] for number in range(150, 401)])
        np.testing.assert_allclose(shown, trained.probabilities(bars).to_numpy(), atol=1e-6)


def test_a_network_of_ones_own_learns(training: TrainConfig, bars: pd.DataFrame) -> None:
    torch.manual_seed(training.seed)
    before = LineClassifier().head.weight
    assert not torch.equal(fit(bars, training).members[0].weights["head.weight"], before)


def test_a_file_of_a_network_that_nobody_registered_is_refused(
    training: TrainConfig, bars: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(bars, training).save(tmp_path / "line.ckpt")
    monkeypatch.setattr(architectures, "_registered", {})
    message = (
        "line.ckpt cannot be used: a member's `architecture` must be one of bilstm, transformer, "
        "ensemble, got 'line'."
    )
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(tmp_path / "line.ckpt")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LineConfig(features=85), "must have 86 features, got 86 and 85"),
        (
            LineConfig(sequence_length=49),
            "sequence_length must be that of the network, got 50 and 49",
        ),
        (LineConfig(slope=float("inf")), "`float`, got `null`"),
        (NetworkConfig(), "missing, repeated or differently written entries"),
    ],
)
def test_a_network_of_ones_own_is_held_to_its_config(
    training: TrainConfig, bars: pd.DataFrame, config: Any, message: str
) -> None:
    member = random_member("line", network=LineConfig())
    other = random_checkpoint(bars, members=(replace(member, network=config),), golden=False)
    with pytest.raises(CheckpointError, match=message):
        assert other.digest


def test_an_installed_package_makes_its_networks_known(
    training: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(group: str, name: str) -> list[EntryPoint]:
        points = [EntryPoint("mine", f"{__name__}:LINE", architectures.GROUP)]
        return [point for point in points if (point.group, point.name) == (group, name)]

    monkeypatch.setattr(architectures, "entry_points", installed)
    assert (
        replace(training, architecture="mine").member == "mine 42" and architecture("mine") == LINE
    )
    with pytest.raises(ValueError, match="got 'other'"):
        replace(training, architecture="other")


REFUSED = architectures.Architecture(LineClassifier, dict)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (f"{__name__}:REFUSED", "`config` must be a dataclass, got <class 'dict'>. Mend that pack"),
        (f"{__name__}:ABSENT", "has no attribute 'ABSENT'. Mend that package."),
        ("nowhere.at_all:LINE", "No module named 'nowhere'. Mend that package."),
        (f"{__name__}:LineClassifier", "must be an iterable, not ABCMeta. Mend that package."),
    ],
)
def test_what_an_installed_package_offers_but_cannot_be_registered_is_said(
    training: TrainConfig,
    bars: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    reason: str,
) -> None:
    register("mine", LineClassifier, LineConfig)
    members = (random_member("mine", network=LineConfig()),)
    random_checkpoint(bars, members=members, golden=False).save(tmp_path / "mine.ckpt")
    monkeypatch.setattr(architectures, "_registered", {})
    offer = EntryPoint("mine", value, architectures.GROUP)
    monkeypatch.setattr(architectures, "entry_points", lambda group, name: [offer])
    message = (
        "mine.ckpt cannot be used: a member's `architecture` must be one that can be registered, "
        f"got 'mine', which an installed package has as {value}: "
    )
    with pytest.raises(CheckpointError, match=f"{re.escape(message)}.*{re.escape(reason)}") as told:
        Checkpoint.load(tmp_path / "mine.ckpt")
    assert "damaged" not in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("ensemble", LineClassifier, LineConfig),
            "`name` must be a plain word and not 'ensemble', got 'ensemble'. Choose another.",
        ),
        (
            ("my net", LineClassifier, LineConfig),
            "`name` must be a plain word and not 'ensemble', got 'my net'. Choose another.",
        ),
        (
            ("bilstm", LineClassifier, LineConfig),
            "`name` must be free, got 'bilstm', which is BiLSTMClassifier. Choose another.",
        ),
        (
            ("mine", nn.Linear, LineConfig),
            "`network` must be a class made from DirectionNetwork, got <class ",
        ),
        (("mine", LineClassifier, dict), "`config` must be a dataclass, got <class 'dict'>."),
    ],
)
def test_what_cannot_be_registered_is_refused(
    training: TrainConfig, arguments: Any, message: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        register(*arguments)
    assert str(refusal.value).startswith(message)


class Odd:
    """Dataclasses that a file cannot hold, or not give back as they were."""

    @dataclass(frozen=True)
    class Precision:
        """Holds what JSON cannot hold."""

        features: int = 86
        dtype: torch.dtype = torch.float32

    @dataclass(frozen=True)
    class Endless:
        """Comes back as None."""

        slope: float | None = float("inf")

    @dataclass(frozen=True)
    class Untyped:
        """Comes back as a list."""

        widths: Any = (1, 2)

    @dataclass(frozen=True)
    class Unordered:
        """Is written in another order by another process."""

        names: set[str] = field(default_factory=lambda: {"a", "b"})

    @dataclass(frozen=True)
    class Grown:
        """Changes what it is given."""

        width: int = 1

        def __post_init__(self) -> None:
            object.__setattr__(self, "width", self.width + 1)

    @dataclass(frozen=True)
    class Shaped:
        """Cannot be made without the shape of the windows."""

        features: int
        dtype: torch.dtype = torch.float32


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            Odd.Precision,
            (
                "`dtype` of Precision must be a number, a text or another value that a "
                "checkpoint's JSON gives back as it was, got torch.float32 (Encoding objects of "
                "type torch.dtype is unsupported). Keep it as a number or a text and make the "
                "object from it in the network."
            ),
        ),
        (Odd.Endless, "got inf (it would come back as None). Keep it as a number"),
        (Odd.Untyped, "got (1, 2) (it would come back as [1, 2])"),
        (Odd.Unordered, "(a set has no order)"),
        (Odd.Grown, "Grown must be made again, equal, from its fields, got "),
    ],
)
def test_a_config_that_a_file_cannot_hold_is_refused_when_it_is_registered(
    training: TrainConfig, config: type[Any], message: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        register("mine", LineClassifier, config)
    assert message in str(refusal.value)
    with pytest.raises(ValueError, match="got 'mine'"):
        architecture("mine")


class Rescaled(LineClassifier):
    """Keeps another config than the one it is given."""

    def __init__(self, config: LineConfig) -> None:
        super().__init__(config)
        self.config = NetworkConfig()


@pytest.mark.parametrize(
    ("network", "config", "message"),
    [
        (LineClassifier, Odd.Shaped, "`dtype` of Shaped must be a number, a text or another"),
        (
            Rescaled,
            LineConfig,
            "the network of 'mine' must hand the LineConfig it is given to super",
        ),
    ],
)
def test_a_config_that_shows_only_with_the_windows_is_refused_before_training(
    training: TrainConfig,
    bars: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    network: type[DirectionNetwork],
    config: type[Any],
    message: str,
) -> None:
    monkeypatch.setattr(LineClassifier, "__init__", made_of_anything)
    register("mine", network, config)
    epochs: list[Any] = []
    with pytest.raises(ValueError, match=re.escape(message)):
        fit(bars, replace(training, architecture="mine"), epochs.append)
    assert not epochs


def made_of_anything(self: LineClassifier, config: Any) -> None:
    DirectionNetwork.__init__(self, config)
    self.head = nn.Linear(86 * 50, 1)


def test_registering_twice_is_no_mistake(training: TrainConfig) -> None:
    register("line", LineClassifier, LineConfig)
    assert architecture("line") == (LineClassifier, LineConfig)


def test_an_unknown_architecture_is_refused_with_those_there_are() -> None:
    message = (
        "`architecture` must be one of bilstm, transformer, (small, )?ensemble, got 'gru'. "
        "Register a network of your own"
    )
    with pytest.raises(ValueError, match=message):
        TrainConfig(architecture="gru")


def test_an_ensemble_has_a_member_of_each_built_in_architecture(training: TrainConfig) -> None:
    assert members_of("ensemble") == tuple(BUILT_IN) == ("bilstm", "transformer")
    assert members_of("line") == ("line",)


def test_a_config_gets_the_windows_shape_as_far_as_it_asks_for_it(training: TrainConfig) -> None:
    assert make_config("bilstm", features=4, sequence_length=7) == NetworkConfig(features=4)
    assert make_config("line", features=4, sequence_length=7) == LineConfig(
        features=4, sequence_length=7
    )


LARGEST = {
    "bilstm": NetworkConfig(hidden=2048, layers=16),
    "transformer": TransformerConfig(width=2048, layers=16, feed_forward=8192),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_network_without_weights_has_shapes_without_memory_and_draws_no_random_numbers(
    name: str,
) -> None:
    state = torch.get_rng_state()
    largest = make_network_without_weights(name, LARGEST[name])
    assert sum(weights.numel() for weights in largest.parameters()) > 5 * 10**8
    assert all(weights.is_meta for weights in (*largest.parameters(), *largest.buffers()))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_architecture_can_be_asked_for_in_training(name: str) -> None:
    network = architecture(name).network(SMALLS[name])
    assert network(torch.zeros(3, 50, 86)).shape == (3,)
    assert sum(len(weights) for _, weights in network.learning_shares()) == len(
        list(network.parameters())
    )


class Future(DirectionNetwork):
    """Forgets that the first axis is the batch."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.lstm = torch.nn.LSTM(86, 2, bidirectional=True)
        self.head = torch.nn.Linear(4, 1)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.lstm(windows)[0][:, -1]).squeeze(1)
        return logits


def test_a_network_that_sees_other_windows_of_its_batch_is_refused(
    bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.fitting.make_network", lambda name, config: Future(config))
    monkeypatch.setattr(
        "model.checkpoint.member.make_network_without_weights", lambda name, config: Future(config)
    )
    with pytest.raises(
        ValueError, match="the network of bilstm 42 must judge each window by itself, but says"
    ):
        fit(bars, TrainConfig(max_epochs=1, batch_size=32))
