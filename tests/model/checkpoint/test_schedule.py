"""A file or a folder: which checkpoint decides, what cannot stand together, what changes live."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.errors import CheckpointError, CheckpointWarning
from tests.helpers.forging import JsonObject, forged
from tests.helpers.makers import fed, random_bars, random_checkpoint, with_spoilt_golden

BARS = random_bars(420)
TIMESTAMPS, VALUES = BARS.index.asi8, BARS.to_numpy()
BORDERS = [BARS.index[180], BARS.index[240], BARS.index[241]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three checkpoints with different weights, in force from bars 180, 240 and 241 on."""
    for number, border in enumerate(BORDERS):
        random_checkpoint(BARS, border, seed=number).save(tmp_path / f"{2 - number}.ckpt")
    return tmp_path


@pytest.mark.parametrize(
    "bar, name",
    [
        (179, None),
        (180, "2.ckpt"),
        (239, "2.ckpt"),
        (240, "1.ckpt"),
        (241, "0.ckpt"),
        (419, "0.ckpt"),
    ],
)
def test_of_a_folder_the_youngest_that_has_not_seen_the_bar_is_in_force(
    folder: Path, bar: int, name: str | None
) -> None:
    schedule = Schedule(str(folder))
    checkpoint = schedule.at(int(TIMESTAMPS[bar]))
    assert (checkpoint and schedule.name(checkpoint)) == name


def test_a_single_file_is_in_force_at_every_bar(
    checkpoint_path: str, checkpoint: Checkpoint, bars: pd.DataFrame
) -> None:
    schedule = Schedule(checkpoint_path)
    assert schedule.at(-1) is schedule.at(int(TIMESTAMPS[-1])) is schedule.checkpoints[0]
    expected = checkpoint.probabilities(bars)
    found = schedule.probabilities(bars.to_numpy(), bars.index.as_unit("ns").asi8)
    assert np.isnan(found[:149]).all() and np.abs(found[149:] - expected).max() < 1e-6


def test_all_bars_at_once_equal_each_bar_by_the_checkpoint_in_force(folder: Path) -> None:
    schedule = Schedule(str(folder))
    found = schedule.probabilities(VALUES, TIMESTAMPS)
    assert np.isnan(found[:180]).all() and np.isfinite(found[180:]).all()
    for bar in (180, 239, 240, 241, 242, 419):
        checkpoint = schedule.at(int(TIMESTAMPS[bar]))
        assert (
            checkpoint
            and abs(checkpoint.predict(fed(BARS.iloc[: bar + 1]).window)[0] - found[bar]) < 1e-6
        )


@pytest.mark.parametrize("count", [0, 1, 149, 150])
def test_a_short_history_gives_nan_where_the_window_is_not_whole(
    checkpoint_path: str, count: int
) -> None:
    found = Schedule(checkpoint_path).probabilities(VALUES[:count], TIMESTAMPS[:count])
    assert np.isfinite(found).sum() == max(0, count - 149)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"label": "close"}, "the same label, got open and close"),
        ({"horizon": 3}, "the same horizon, got 1 and 3"),
        ({"bar_interval": pd.Timedelta(hours=1)}, "the same bar_interval"),
        ({"sequence_length": 40, "golden": False}, "the same sequence_length, got 50 and 40"),
        ({"trained_until": BORDERS[-1]}, "must not both have trained_until 2020-08-29: which"),
    ],
)
def test_checkpoints_that_cannot_follow_each_other_are_refused(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    random_checkpoint(BARS, **({"trained_until": BARS.index[300]} | changes)).save(
        folder / "other.ckpt"
    )
    with pytest.raises(CheckpointError, match=words) as refusal:
        Schedule(str(folder))
    assert "other.ckpt" in str(refusal.value) and str(refusal.value).count(".ckpt") == 2


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="must hold at least one .ckpt file, got none. Train one"
    ):
        Schedule(str(tmp_path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing.ckpt"):
        Schedule(str(tmp_path / "nothing.ckpt"))


def test_a_damaged_file_in_a_folder_is_refused_at_the_start(folder: Path) -> None:
    (folder / "3.ckpt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="3.ckpt"):
        Schedule(str(folder))


def test_a_new_file_comes_into_force_when_the_folder_is_looked_at_again(folder: Path) -> None:
    schedule = Schedule(str(folder))
    assert schedule.refresh() is False
    random_checkpoint(BARS, BARS.index[300], seed=9).save(folder / "new.ckpt")
    assert schedule.refresh() is True
    assert [schedule.name(checkpoint) for checkpoint in schedule.checkpoints] == [
        "2.ckpt",
        "1.ckpt",
        "0.ckpt",
        "new.ckpt",
    ]


def test_a_damaged_new_file_is_refused_with_one_warning_and_the_old_stay(folder: Path) -> None:
    schedule = Schedule(str(folder))
    (folder / "new.ckpt").write_bytes(b"nothing")
    with pytest.warns(
        CheckpointWarning,
        match="a new checkpoint is refused, the old ones stay in force: .*new.ckpt",
    ):
        assert schedule.refresh() is False
    assert schedule.refresh() is False and len(schedule.checkpoints) == 3


def test_a_file_replaced_by_a_damaged_one_stays_in_force(folder: Path) -> None:
    schedule = Schedule(str(folder))
    (folder / "0.ckpt").write_bytes(b"nothing")
    with pytest.warns(CheckpointWarning, match="0.ckpt"):
        assert schedule.refresh() is False
    checkpoint = schedule.at(int(TIMESTAMPS[-1]))
    assert checkpoint and schedule.name(checkpoint) == "0.ckpt"


def test_a_damaged_file_that_is_mended_comes_into_force(folder: Path) -> None:
    schedule = Schedule(str(folder))
    (folder / "new.ckpt").write_bytes(b"nothing")
    with pytest.warns(CheckpointWarning):
        schedule.refresh()
    random_checkpoint(BARS, BARS.index[300]).save(folder / "new.ckpt")
    assert schedule.refresh() is True and len(schedule.checkpoints) == 4


def test_a_file_replaced_by_a_good_one_serves_the_new_content(folder: Path) -> None:
    schedule = Schedule(str(folder))
    random_checkpoint(BARS, BORDERS[-1], seed=9).save(folder / "0.ckpt")
    before = schedule.at(int(TIMESTAMPS[-1]))
    assert schedule.refresh() is True and schedule.at(int(TIMESTAMPS[-1])) is not before


def test_a_file_taken_away_leaves_the_schedule(folder: Path) -> None:
    schedule = Schedule(str(folder))
    (folder / "0.ckpt").unlink()
    assert schedule.refresh() is True and len(schedule.checkpoints) == 2


def test_a_folder_that_is_emptied_leaves_the_old_ones_in_force(folder: Path) -> None:
    schedule = Schedule(str(folder))
    for path in folder.iterdir():
        path.unlink()
    with pytest.warns(
        CheckpointWarning, match="holds no .ckpt file any more, the old ones stay in force"
    ):
        assert schedule.refresh() is False
    assert len(schedule.checkpoints) == 3 and schedule.refresh() is False


def test_the_old_ones_stay_where_all_files_are_replaced_by_a_damaged_one(folder: Path) -> None:
    schedule = Schedule(str(folder))
    for path in folder.iterdir():
        path.unlink()
    (folder / "new.ckpt").write_bytes(b"nothing")
    with pytest.warns(CheckpointWarning, match="the old ones stay in force: .*new.ckpt"):
        assert schedule.refresh() is False
    assert len(schedule.checkpoints) == 3


def test_a_refused_file_is_taken_up_when_what_it_could_not_follow_is_gone(tmp_path: Path) -> None:
    random_checkpoint(BARS, seed=1).save(tmp_path / "a.ckpt")
    schedule = Schedule(str(tmp_path))
    random_checkpoint(BARS, seed=2, horizon=2).save(tmp_path / "b.ckpt")
    with pytest.warns(CheckpointWarning, match="must have the same horizon"):
        assert schedule.refresh() is False
    (tmp_path / "a.ckpt").unlink()
    assert schedule.refresh() is True
    assert [one.horizon for one in schedule.checkpoints] == [2]


def test_hidden_files_are_nobodys_checkpoint(folder: Path) -> None:
    (folder / ".half-written.ckpt").write_bytes(b"nothing")
    assert len(Schedule(str(folder)).checkpoints) == 3


def test_schedules_over_the_same_file_share_the_network(checkpoint_path: str) -> None:
    one, other = Schedule(checkpoint_path), Schedule(checkpoint_path)
    assert one.checkpoints[0] is other.checkpoints[0]


@pytest.mark.parametrize(
    "trained_until, freq, whole",
    [("2020-05-01", "D", True), ("2020-05-01 16:00", "D", False), ("2020-01-05", "h", False)],
)
def test_timestamps_are_dates_where_training_saw_dates(
    tmp_path: Path, trained_until: str, freq: str, whole: bool
) -> None:
    random_checkpoint(random_bars(200, freq=freq), trained_until).save(tmp_path / "a.ckpt")
    assert Schedule(str(tmp_path / "a.ckpt")).whole_days is whole


@pytest.mark.parametrize("part", ["features", "scores", "probability"])
def test_a_golden_vector_that_comes_out_otherwise_is_refused(tmp_path: Path, part: str) -> None:
    with_spoilt_golden(random_checkpoint(BARS), part).save(tmp_path / "a.ckpt")
    with pytest.raises(
        CheckpointError,
        match=f"a.ckpt does not serve as it was trained: its golden {part} come out 2e-05 off",
    ):
        Schedule(str(tmp_path / "a.ckpt"))


GOLDEN_SHAPE = r"its golden window must have 150 timestamps, 150 bars of 5 values, 86 features"


def misshapen(golden: JsonObject, part: str) -> None:
    """Leave out what makes the part of another shape: a single value fits every array."""
    golden[part] = golden[part][:1]


def ragged(golden: JsonObject, part: str) -> None:
    golden[part] = [[1.0] * 4, *golden[part][1:]]


@pytest.mark.parametrize(
    ("part", "spoil", "found"),
    [
        ("stamps", misshapen, r"\(1, 150, 86, 86\) and bars of \[5\] values"),
        ("bars", misshapen, r"\(150, 1, 86, 86\)"),
        ("bars", ragged, r"\(150, 150, 86, 86\) and bars of \[4, 5\] values"),
        ("features", misshapen, r"\(150, 150, 1, 86\)"),
        ("scores", misshapen, r"\(150, 150, 86, 1\)"),
    ],
)
def test_a_golden_window_of_another_shape_is_refused_with_the_file(
    checkpoint_path: str,
    tmp_path: Path,
    part: str,
    spoil: Callable[[JsonObject, str], None],
    found: str,
) -> None:
    data = Path(checkpoint_path).read_bytes()
    path = tmp_path / "a.ckpt"
    path.write_bytes(forged(data, lambda record: spoil(record["golden"], part)))
    with pytest.raises(CheckpointError, match=f"a.ckpt cannot be used: {GOLDEN_SHAPE}.*{found}"):
        Schedule(str(path))


def test_a_golden_window_of_another_shape_is_never_written(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    assert checkpoint.golden is not None
    short = replace(checkpoint.golden, scores=checkpoint.golden.scores[:1])
    with pytest.raises(CheckpointError, match=f"cannot be written: {GOLDEN_SHAPE}"):
        replace(checkpoint, golden=short).save(tmp_path / "a.ckpt")
    assert not list(tmp_path.iterdir())


def test_golden_timestamps_that_no_bar_can_have_are_damage(
    checkpoint_path: str, tmp_path: Path
) -> None:
    data, path = Path(checkpoint_path).read_bytes(), tmp_path / "a.ckpt"
    late = forged(data, lambda record: record["golden"]["stamps"].__setitem__(0, 2**63))
    path.write_bytes(late)
    with pytest.raises(CheckpointError, match="a.ckpt cannot be used: it is damaged"):
        Schedule(str(path))


def test_a_file_that_was_refused_is_refused_again(tmp_path: Path) -> None:
    path = str(tmp_path / "a.ckpt")
    with_spoilt_golden(random_checkpoint(BARS), "probability").save(path)
    refusals = []
    for _ in range(2):
        with pytest.raises(CheckpointError, match="does not serve as it was trained") as refusal:
            Schedule(path)
        refusals.append(refusal)  # whoever holds the error holds the checkpoint it speaks of


@pytest.mark.parametrize("name", ["2.ckpt", "1.ckpt", "0.ckpt"])
def test_the_file_of_a_checkpoint_is_known(folder: Path, name: str) -> None:
    [checkpoint] = Schedule(str(folder / name)).checkpoints
    assert Schedule(str(folder / name)).file(checkpoint) == folder / name
    assert Schedule(str(folder)).file(checkpoint) == folder / name


def test_a_checkpoint_without_golden_vector_serves(tmp_path: Path) -> None:
    random_checkpoint(BARS, golden=False).save(tmp_path / "a.ckpt")
    assert len(Schedule(str(tmp_path / "a.ckpt")).checkpoints) == 1


@pytest.mark.filterwarnings("ignore:this processor has no instructions")
def test_a_schedule_serves_in_the_precision_asked_for(checkpoint_path: str) -> None:
    served = {
        precision: Schedule(checkpoint_path, precision=precision) for precision in ("fp32", "bf16")
    }
    at_once = {
        precision: schedule.probabilities(VALUES, TIMESTAMPS)[-1]
        for precision, schedule in served.items()
    }
    buffer = fed(BARS)
    live = {
        precision: schedule.newest(schedule.checkpoints[0], buffer)[0]
        for precision, schedule in served.items()
    }
    assert live["fp32"] == pytest.approx(at_once["fp32"], abs=1e-6) and live[
        "bf16"
    ] == pytest.approx(at_once["bf16"], abs=5e-3)
    assert live["bf16"] != live["fp32"] and at_once["bf16"] != at_once["fp32"]


@pytest.mark.parametrize(
    ("here", "n_warnings"), [("tiles", 0), ("vectors", 0), ("unknown", 0), ("none", 1)]
)
def test_bf16_where_it_is_slower_is_said(
    checkpoint_path: str, monkeypatch: pytest.MonkeyPatch, here: str, n_warnings: int
) -> None:
    monkeypatch.setattr("model.checkpoint.schedule.bf16_support", lambda: here)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Schedule(checkpoint_path, precision="bf16")
        Schedule(checkpoint_path)
    said = [str(each.message) for each in caught]
    assert len(said) == n_warnings and all(
        "this processor has no instructions for bf16" in message for message in said
    )


def test_an_unknown_precision_is_refused(checkpoint_path: str) -> None:
    with pytest.raises(ValueError, match="`precision` must be one of fp32, bf16, got 'fp64'"):
        Schedule(checkpoint_path, precision="fp64")  # type: ignore[arg-type]
