"""The command python -m model.predict."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.cli import run
from model.predict import app
from tests.helpers.makers import random_bars, with_spoilt_golden


@pytest.fixture
def data(bars: pd.DataFrame, tmp_path: Path) -> Path:
    """The bars as a CSV file."""
    path = tmp_path / "random.csv"
    bars.to_csv(path)
    return path


def outcome(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run(app, [str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_the_last_probability_and_its_model_are_printed(
    checkpoint: Checkpoint,
    checkpoint_path: str,
    bars: pd.DataFrame,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert outcome("--checkpoint", checkpoint_path, "--data", data) == 0
    printed = capsys.readouterr().out
    assert f"{checkpoint.probabilities(bars).iloc[-1]:.4f}" in printed
    assert f"{checkpoint.trained_until:%Y-%m-%d}" in printed
    assert f"close of {bars.index[-1]:%Y-%m-%d} " in printed and "00:00:00" not in printed


def test_bars_older_than_the_model_are_no_forecast(
    checkpoint: Checkpoint,
    bars: pd.DataFrame,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace(checkpoint, trained_until=bars.index[-1] + pd.Timedelta(days=9)).save(
        tmp_path / "late.ckpt"
    )
    assert outcome("--checkpoint", tmp_path / "late.ckpt", "--data", data) == 0
    said = capsys.readouterr()
    assert "this is no forecast" in said.err and "00:00:00" not in said.err
    assert "none, as this is no forecast" in said.out and "long" not in said.out


def test_another_instrument_is_said(
    checkpoint: Checkpoint, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(checkpoint, instrument="gold").save(tmp_path / "gold.ckpt")
    assert outcome("--checkpoint", tmp_path / "gold.ckpt", "--data", data) == 0
    assert "trained on gold, these bars are random" in capsys.readouterr().err


def test_another_interval_is_refused(
    checkpoint: Checkpoint, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(checkpoint, bar_interval=pd.Timedelta(hours=1)).save(tmp_path / "hourly.ckpt")
    assert outcome("--checkpoint", tmp_path / "hourly.ckpt", "--data", data) == 4
    assert "bars of 1 hour, got bars of 1 day" in capsys.readouterr().err


def test_a_folder_gives_the_newest_model_that_has_not_seen_the_future(
    checkpoint: Checkpoint,
    bars: pd.DataFrame,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "schedule"
    folder.mkdir()
    for name, days in (("old", -20), ("new", 0), ("future", 20)):
        replace(checkpoint, trained_until=bars.index[-1] + pd.Timedelta(days=days)).save(
            folder / f"{name}.ckpt"
        )
    assert outcome("--checkpoint", folder, "--data", data) == 0
    assert f"{bars.index[-1]:%Y-%m-%d}" in capsys.readouterr().out.split("trained until")[1]


def test_a_folder_of_models_that_have_all_seen_the_future_is_refused(
    checkpoint: Checkpoint,
    bars: pd.DataFrame,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "schedule"
    folder.mkdir()
    for name, days in (("near", 5), ("far", 20)):
        replace(checkpoint, trained_until=bars.index[-1] + pd.Timedelta(days=days)).save(
            folder / f"{name}.ckpt"
        )
    assert outcome("--checkpoint", folder, "--data", data) == 4
    said = capsys.readouterr()
    assert said.out == "" and said.err == (
        f"error: no checkpoint may decide at {bars.index[-1]:%Y-%m-%d}: the earliest, "
        f"{folder / 'near.ckpt'}, has seen prices until "
        f"{bars.index[-1] + pd.Timedelta(days=5):%Y-%m-%d}. "
        "Give newer bars or an older checkpoint.\n"
    )
    (folder / "far.ckpt").unlink()
    assert outcome("--checkpoint", folder, "--data", data) == 0
    assert "this is no forecast" in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--checkpoint", data, "--data", data) == 4
    assert "random.csv" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["features", "scores", "probability"])
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_a_model_that_does_not_serve_as_it_was_trained_is_refused(
    checkpoint: Checkpoint,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    part: str,
    folder: bool,
) -> None:
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "a.ckpt"
    with_spoilt_golden(checkpoint, part).save(path)
    assert outcome("--checkpoint", path.parent if folder else path, "--data", data) == 4
    said = capsys.readouterr()
    assert said.out == "" and said.err == (
        f"error: {path} does not serve as it was trained: its golden {part} come out 2e-05 off, "
        "at most 1e-05 is allowed. Use the version that wrote it, or train again.\n"
    )


def test_a_threshold_that_cannot_be_is_refused(
    checkpoint_path: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--checkpoint", checkpoint_path, "--data", data, "--enter", "1.7") == 2
    assert (
        "--enter must be a number from 0.5 up to but not including 1, got 1.7"
        in capsys.readouterr().err
    )


def test_as_json_it_is_one_object(
    checkpoint: Checkpoint,
    bars: pd.DataFrame,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = {"test_auc": 0.52, "test_windows": 400.0, "test_up_share": 0.5}
    until = bars.index[-1] - pd.Timedelta(days=9)
    replace(checkpoint, trained_until=until, metrics=metrics).save(tmp_path / "tested.ckpt")
    assert outcome("--checkpoint", tmp_path / "tested.ckpt", "--data", data, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["probability"] == pytest.approx(
        checkpoint.probabilities(bars).iloc[-1], abs=1e-6
    )
    assert printed["decided_at"] == str(bars.index[-1].date()) and printed["age"] == 9
    # Of 200 ups and 200 downs the standard error is sqrt(401 / (12 * 200 * 200)).
    assert (printed["test_auc"], printed["chance_auc"]) == (
        0.52,
        pytest.approx(0.5 + 1.6449 * (401 / 480_000) ** 0.5, abs=1e-5),
    )
    late = bars.index[-1] + pd.Timedelta(days=9)
    replace(checkpoint, trained_until=late).save(tmp_path / "late.ckpt")
    assert outcome("--checkpoint", tmp_path / "late.ckpt", "--data", data, "--json") == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen["probability"] is None and "no forecast" in seen["decision"]
    assert seen["test_auc"] is None


def test_age_and_test_auc_stand_beside_the_forecast(
    checkpoint: Checkpoint,
    bars: pd.DataFrame,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = {"test_auc": 0.52, "test_windows": 400.0, "test_up_share": 0.5}
    until = bars.index[-1] - pd.Timedelta(days=1)
    replace(checkpoint, trained_until=until, metrics=metrics).save(tmp_path / "tested.ckpt")
    assert outcome("--checkpoint", tmp_path / "tested.ckpt", "--data", data) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 bar interval of 1 day after that" in printed
    assert "the move from the next bar's open to the open 1 bar later" in printed
    assert "0.520; a coin toss has .500, and in 95 of 100 cases less than 0.548" in printed


def test_without_data_only_a_model_of_the_sample_is_asked(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(checkpoint, instrument="gold").save(tmp_path / "gold.ckpt")
    assert outcome("--checkpoint", tmp_path / "gold.ckpt") == 2
    said = capsys.readouterr()
    assert "--data must be given" in said.err and "was trained on gold" in " ".join(
        said.err.split()
    )


def test_without_data_no_model_of_other_instruments_is_asked(
    pooled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--checkpoint", pooled) == 2
    assert "was trained on 2 instruments" in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files of bars: one ended early, one is too short."""
    (tmp_path / "bars").mkdir()
    for number, name in enumerate(("a", "b", "ended", "short")):
        own = random_bars(300, seed=number)
        own = {"ended": own.iloc[:-3], "short": own.iloc[-100:]}.get(name, own)
        own.to_csv(tmp_path / "bars" / f"{name}.csv")
    return tmp_path / "bars"


@pytest.fixture
def pooled(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint that learnt from a and others."""
    learnt = {"a": "0" * 64, "x": "1" * 64}
    path = tmp_path / "pooled.ckpt"
    replace(checkpoint, outcome="relative", instrument=None, instruments=learnt).save(path)
    return path


def test_a_folder_of_files_is_ranked_for_the_bar_to_come(
    checkpoint: Checkpoint, pooled: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--checkpoint", pooled, "--data", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.replace("│", " ").split() for line in lines if line.startswith("│")]
    said = {
        name: checkpoint.probabilities(random_bars(300, seed=seed)).iloc[-1]
        for seed, name in enumerate("ab")
    }
    first, second = sorted(said, key=lambda name: -said[name])
    known = {"a": "yes", "b": "no"}
    assert rows == [
        ["1", first, f"{said[first]:.4f}", known[first]],
        ["2", second, f"{said[second]:.4f}", known[second]],
        ["-", "ended", "none:", "last", "bar", "2020-10-23"],
        ["-", "short", "none:", "100", "bars"],
    ]
    assert "decided at the close of 2020-10-26" in " ".join(lines)
    said = " ".join(" ".join(lines).split())
    assert "more than the median" in said
    assert "without bars: 1 instrument that it learnt from: x" in said


def test_a_folder_is_not_ranked_by_what_learnt_from_one(
    checkpoint: Checkpoint, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(checkpoint, instrument="gold").save(tmp_path / "one.ckpt")
    assert outcome("--checkpoint", tmp_path / "one.ckpt", "--data", folder) == 4
    message = "must have learnt from several instruments to rank them, got gold"
    assert message in capsys.readouterr().err


def test_faulty_files_of_a_ranking_are_refused_or_left_out_by_name(
    pooled: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.csv").write_text("nothing")
    (folder / "hourly.csv").write_text(random_bars(200, freq="h").to_csv())
    assert outcome("--checkpoint", pooled, "--data", folder, "--on-faulty", "drop") == 3
    assert "but not hourly.csv (1 hour)" in capsys.readouterr().err
    (folder / "hourly.csv").unlink()
    assert outcome("--checkpoint", pooled, "--data", folder) == 3
    assert "broken.csv" in capsys.readouterr().err
    assert outcome("--checkpoint", pooled, "--data", folder, "--on-faulty", "drop") == 0
    assert "left out broken.csv" in capsys.readouterr().err


def test_a_ranking_of_what_the_model_has_seen_is_no_forecast(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = pd.Timestamp("2021-01-01")
    learnt = {"a": "0" * 64, "x": "1" * 64}
    replace(checkpoint, trained_until=later, instruments=learnt).save(tmp_path / "late.ckpt")
    assert outcome("--checkpoint", tmp_path / "late.ckpt", "--data", folder, "--json") == 0
    said = capsys.readouterr()
    assert "this is no forecast" in said.err
    rows = json.loads(said.out)["ranking"]
    assert json.loads(said.out)["absent"] == ["x"]
    assert {row["why_none"] for row in rows} == {"seen in training"} and len(rows) == 4
    assert all(row["probability"] is None and row["rank"] is None for row in rows)


def test_a_folder_is_ranked_and_nothing_is_decided(
    pooled: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--checkpoint", pooled, "--data", folder, "--enter", "0.6") == 2
    assert "--enter must be left out for a folder, got 0.6" in capsys.readouterr().err


def test_a_relative_probability_of_one_instrument_is_no_decision(
    pooled: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--checkpoint", pooled, "--data", data) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "decision none: it ranks instruments" in printed
    assert "probability of more than the median" in printed
