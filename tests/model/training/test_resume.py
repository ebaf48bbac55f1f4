"""Training that is broken off and goes on: the same bytes as if nothing had happened.

And other bytes without any one part of its state.
"""

import copy
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.errors import OutputInUse
from model.training import loop
from model.training.config import TrainConfig
from model.training.fitting import fit
from model.training.loop import Snapshot, TrainingState
from model.training.resume import StateFile, resumption
from tests.helpers import small_network  # noqa: F401  makes the architecture known
from tests.helpers.makers import walking_opens

EPOCHS = 6
STEPS = 7  # of an epoch
CONFIG = TrainConfig(
    architecture="small",
    max_epochs=EPOCHS,
    patience=EPOCHS,
    batch_size=32,
    learning_rate=0.1,
    warm_up=12,
    sequence_length=5,
    seed=3,
)
GOES_ON = "training goes on from .*small-3.state, after epoch {}. --fresh starts over."


class BrokenOff(BaseException):
    """Ends a training as a kill does: nothing more is written."""


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """The learning rate is halved after two epochs without a better loss: few epochs show it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "TrainingState", partial(TrainingState, plateau=1))
        yield


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """On these the loss falls, rises and falls again, so that all of a state matters."""
    return walking_opens()


@pytest.fixture(scope="module")
def whole(bars: pd.DataFrame) -> Checkpoint:
    """The checkpoint of a training that nothing disturbed."""
    return fit(bars, CONFIG)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return tmp_path / "small.ckpt"


def trained(
    result: Path, bars: pd.DataFrame, config: TrainConfig = CONFIG, **options: Any
) -> Checkpoint:
    """Train as the command does."""
    with resumption(result, bars, **options) as kept:
        checkpoint = fit(bars, config, None, kept)
        checkpoint.save(result)
        kept.finish()
    return checkpoint


@contextmanager
def break_off(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """Break training off after `step` batches, and keep the state of that moment."""
    learn, save_if_due, done = loop._learn, StateFile.save_if_due, 0

    def learned(*arguments: Any) -> Any:
        nonlocal done
        if done == step:
            raise BrokenOff
        done += 1
        return learn(*arguments)

    def saved(keeper: StateFile, state: TrainingState) -> None:
        keeper._seconds = -1.0 if done == step else 1e9
        save_if_due(keeper, state)

    with monkeypatch.context() as patched, pytest.raises(BrokenOff):
        patched.setattr(loop, "_learn", learned)
        patched.setattr(StateFile, "save_if_due", saved)
        yield


def test_in_this_training_the_rate_rises_and_is_halved_and_the_best_epoch_comes_early(
    whole: Checkpoint,
) -> None:
    history = whole.members[0].history
    assert whole.parts["train"]["windows"] == 204
    assert [epoch["learning_rate"] for epoch in history] == pytest.approx(
        [0.8 / 12, 0.1, 0.1, 0.1, 0.05, 0.05]
    )
    assert history[-1]["best_epoch"] == 2


SOME = [1, STEPS - 1, STEPS, 3 * STEPS + 4]
OTHERS = [step for step in range(2, STEPS * EPOCHS) if step not in SOME]


@pytest.mark.parametrize(
    "step", [*SOME, *(pytest.param(step, marks=pytest.mark.slow) for step in OTHERS)]
)
def test_broken_off_at_any_step_it_goes_on_to_the_same_bits(
    bars: pd.DataFrame, whole: Checkpoint, result: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with break_off(monkeypatch, step):
        trained(result, bars)
    with pytest.warns(UserWarning, match=GOES_ON.format(step // STEPS)):
        assert trained(result, bars).digest == whole.digest
    assert os.listdir(result.parent) == ["small.ckpt"]


def test_broken_off_before_anything_was_kept_it_starts_over(
    bars: pd.DataFrame, whole: Checkpoint, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with break_off(monkeypatch, 0):
        trained(result, bars)
    assert trained(result, bars).digest == whole.digest


def test_broken_off_in_validation_it_goes_on_to_the_same_bits(
    bars: pd.DataFrame, whole: Checkpoint, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(BrokenOff):
        patched.setattr(loop, "fit_temperature", broken_off)
        trained(result, bars, seconds=-1.0)
    with pytest.warns(UserWarning, match=GOES_ON.format(0)):
        assert trained(result, bars).digest == whole.digest


def broken_off(*_: Any) -> Any:
    raise BrokenOff


def test_broken_off_again_and_again_it_ends_with_the_same_bits(
    bars: pd.DataFrame, whole: Checkpoint, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings(action="ignore"):
        for step in (4, 9, 1, 14):
            with break_off(monkeypatch, step):
                trained(result, bars)
        assert trained(result, bars).digest == whole.digest


Access = tuple[Callable[[TrainingState], Any], Callable[[TrainingState, Any], None]]


def attribute(name: str) -> Access:
    return lambda state: getattr(state, name), lambda state, value: setattr(state, name, value)


def stateful(name: str) -> Access:
    return (
        lambda state: copy.deepcopy(getattr(state, name).state_dict()),
        lambda state, value: getattr(state, name).load_state_dict(value),
    )


PARTS: dict[str, Access] = {
    "network": stateful("network"),
    "optimizer": stateful("optimizer"),
    "warm_up": stateful("warm_up"),
    "plateau": stateful("plateau"),
    "history": attribute("history"),
    "batches": attribute("batches"),
    "loss": attribute("loss"),
    "windows": attribute("windows"),
    "norm": attribute("norm"),
    "random": attribute("random"),
    "averaged weights": (
        lambda state: copy.deepcopy(state.average.network.state_dict()),
        lambda state, value: state.average.network.load_state_dict(value),
    ),
    "averaged steps": (
        lambda state: state.average.steps,
        lambda state, value: setattr(state.average, "steps", value),
    ),
    "best loss": attribute("best_loss"),
    "best weights": (
        lambda state: copy.deepcopy(state.network.state_dict()),
        lambda state, value: setattr(state, "best_weights", value),
    ),
    "best epoch": attribute("best_epoch"),
}


@pytest.mark.parametrize("part", PARTS)
def test_without_any_one_part_of_its_state_it_does_not(
    bars: pd.DataFrame, whole: Checkpoint, result: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    restore, (get, put) = TrainingState.restore, PARTS[part]

    def forgetful(state: TrainingState, snapshot: Snapshot) -> None:
        before = get(state)
        restore(state, snapshot)
        put(state, before)

    with break_off(monkeypatch, 3 * STEPS + 6):
        trained(result, bars)
    monkeypatch.setattr(TrainingState, "restore", forgetful)
    with pytest.warns(UserWarning, match="goes on"):
        assert trained(result, bars).digest != whole.digest


def test_finished_networks_of_an_ensemble_are_not_trained_again(
    bars: pd.DataFrame, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, seeds=2, max_epochs=2)
    with break_off(monkeypatch, 3 * STEPS):
        trained(result, bars, config)
    steps, learn = [], loop._learn
    monkeypatch.setattr(loop, "_learn", lambda *arguments: steps.append(0) or learn(*arguments))
    with pytest.warns(UserWarning, match="goes on"):
        found = trained(result, bars, config)
    assert len(steps) == STEPS and found.digest == fit(bars, config).digest


def test_what_was_told_of_the_epochs_before_is_told_again(
    bars: pd.DataFrame, result: Path, whole: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with break_off(monkeypatch, 3 * STEPS):
        trained(result, bars)
    told: list[int] = []
    with resumption(result, bars) as kept, pytest.warns(UserWarning, match=GOES_ON.format(3)):
        fit(bars, CONFIG, lambda epoch: told.append(epoch.epoch), kept)
    assert told == [1, 2, 3, 4, 5, 6]


OTHER = "the state of an interrupted training, .*small-3.state, {}: training starts over."
OTHER_TRAINING = "is of other bars, settings, versions or code"


@pytest.mark.parametrize(
    ("why", "config", "cut"),
    [
        pytest.param(OTHER_TRAINING, replace(CONFIG, max_epochs=5), None, id="other settings"),
        pytest.param("is damaged", CONFIG, slice(-1), id="the last byte missing"),
        pytest.param("is damaged", CONFIG, slice(0), id="nothing in it"),
    ],
)
def test_what_is_damaged_or_of_another_training_is_not_gone_on_with(
    bars: pd.DataFrame,
    result: Path,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
    config: TrainConfig,
    cut: slice | None,
) -> None:
    with break_off(monkeypatch, 2 * STEPS):
        trained(result, bars)
    if cut:
        path = result.with_name("small.ckpt.part") / "small-3.state"
        path.write_bytes(path.read_bytes()[cut])
    with pytest.warns(UserWarning, match=OTHER.format(why)):
        assert trained(result, bars, config).digest == fit(bars, config).digest


def test_with_other_bars_it_starts_over(
    bars: pd.DataFrame, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with break_off(monkeypatch, 2 * STEPS):
        trained(result, bars)
    with pytest.warns(UserWarning, match="is of other bars"):
        trained(result, bars.iloc[1:])


def test_fresh_starts_over_without_a_word(
    bars: pd.DataFrame, whole: Checkpoint, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with break_off(monkeypatch, 2 * STEPS):
        trained(result, bars)
    assert trained(result, bars, fresh=True).digest == whole.digest


def test_what_a_killed_save_left_is_swept(bars: pd.DataFrame, result: Path) -> None:
    result.with_name("small.ckpt.part").mkdir()
    names = ("small.ckpt.part/.small-3.state.1.2.tmp", ".small.ckpt.1.2.tmp", ".other.1.2.tmp")
    strays = [result.parent / name for name in names]
    for stray in strays:
        stray.touch()
    with resumption(result, bars):
        assert [stray.exists() for stray in strays] == [False, False, True]


def test_two_trainings_of_one_result_are_refused(bars: pd.DataFrame, result: Path) -> None:
    message = "small.ckpt must not be written by two trainings"
    with (
        resumption(result, bars),
        pytest.raises(OutputInUse, match=message) as refused,
        resumption(result, bars),
    ):
        pass
    assert refused.value.exit_code == 7
