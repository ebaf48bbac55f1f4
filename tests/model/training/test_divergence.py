"""Numbers that stop being numbers: training ends, and what it had learnt before is kept.

No such number reaches the disk.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model import train, training
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.format import tensors_in
from model.cli import run
from model.files import write_atomically
from model.training import loop, resume
from model.training.loop import TrainingState
from tests.helpers import small_network  # noqa: F401  makes the architecture known
from tests.helpers.makers import random_bars

STEPS, EPOCHS = 5, 6
SETTINGS = (
    "--architecture",
    "small",
    "--max-epochs",
    str(EPOCHS),
    "--batch-size",
    "32",
    "--sequence-length",
    "10",
    "--averaging",
    "0",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("divergence") / "bars.csv"
    random_bars(300).to_csv(path)
    return path


@pytest.fixture(autouse=True)
def finite_states(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The states written, each of which holds finite numbers alone."""
    written: list[Path] = []

    def checked(path: Path, data: bytes) -> None:
        tensors = tensors_in(data[resume.DIGEST_LENGTH :])
        assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
        written.append(path)
        write_atomically(path, data)

    monkeypatch.setattr(resume, "write_atomically", checked)
    monkeypatch.setattr(training, "resumption", partial(resume.resumption, seconds=-1.0))
    yield written


def put(value: float) -> Callable[[TrainingState, Tensor], None]:
    """Put a value into the newest row of a window."""

    def act(_: TrainingState, windows: Tensor) -> None:
        windows[0, -1, 0] = value

    return act


def put_weight(value: float) -> Callable[[TrainingState, Tensor], None]:
    """Put a value into a weight, as a step that is far too large would."""

    def act(state: TrainingState, _: Tensor) -> None:
        state.network.head.bias.data[0] = value

    return act


def race(state: TrainingState, _: Tensor) -> None:
    """Learn at a rate of 100 from here on."""
    for group in state.optimizer.param_groups:
        group["lr"] = 100.0


FAULTS = {
    "NaN": put(math.nan),
    "infinity": put(math.inf),
    "1e38": put(1e38),
    "rate of 100": race,
    "weight of 1e38": put_weight(1e38),
    "weight of infinity": put_weight(math.inf),
}
ENDS = ("NaN", "infinity", "weight of infinity")  # these end training, the others may


def trained(data: Path, out: Path, fault: str, step: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Train with a fault at a step, counted from 0; return the exit code."""
    learn, steps = loop._learn, iter(range(10**6))

    def learned(state: TrainingState, windows: Tensor, targets: Tensor) -> Any:
        windows = windows.clone()
        if next(steps) == step:
            FAULTS[fault](state, windows)
        return learn(state, windows, targets)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as left:
        patched.setattr(loop, "_learn", learned)
        run(train.app, ["--data", str(data), "--out", str(out), *SETTINGS])
    return int(left.value.code or 0)


def require_kept(
    data: Path, out: Path, fault: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Require the best epoch before the fault on the disk, whole and finite, and nothing else."""
    code = trained(data, out, fault, step, monkeypatch)
    assert code == 5 if fault in ENDS else code in (0, 5)
    before = step // STEPS
    # Others let the epoch end.
    assert out.exists() if code == 0 or before else not (out.exists() and fault in ENDS)
    if out.exists():  # loading refuses what is not finite
        history = Checkpoint.load(out).members[0].history
        assert len(history) == before if fault in ENDS else before <= len(history) <= EPOCHS
        assert history[-1]["best_epoch"] == 1 + min(
            range(len(history)), key=lambda number: history[number]["validation_loss"]
        )
    assert not out.with_name(out.name + ".part").exists()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", [2, 13])
def test_a_fault_ends_training_and_the_best_epoch_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, step: int
) -> None:
    require_kept(data, tmp_path / "a.ckpt", fault, step, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", range(20))
def test_a_fault_at_any_of_twenty_steps_ends_training_and_the_best_epoch_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, step: int
) -> None:
    require_kept(data, tmp_path / "a.ckpt", fault, step, monkeypatch)


def test_what_is_kept_and_why_training_ended_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(data, tmp_path / "a.ckpt", "infinity", 11, monkeypatch)
    said = capsys.readouterr().err
    assert (
        "loss and gradient norm must stay finite, got" in said
        and "in epoch 3, step 2, at learning rate" in said
    )
    assert f"The best epoch before that is kept in {tmp_path / 'a.ckpt'}." in said


def test_an_old_checkpoint_stands_where_no_epoch_was_finished(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"old")
    assert trained(data, tmp_path / "a.ckpt", "NaN", 1, monkeypatch) == 5
    assert (tmp_path / "a.ckpt").read_bytes() == b"old" and "is kept" not in capsys.readouterr().err
