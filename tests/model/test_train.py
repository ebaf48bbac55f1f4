"""The command python -m model.train."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.cli import run
from model.runtime import precision_hint
from model.train import app, compare_with_logistic
from tests.helpers.makers import random_bars

QUICK = ("--max-epochs", "1", "--sequence-length", "5", "--batch-size", "32")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """300 random bars as a CSV file."""
    path = tmp_path / "random.csv"
    random_bars(300).to_csv(path)
    return path


def outcome(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run(app, [str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_a_checkpoint_is_saved_and_its_place_and_scores_are_printed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new folder" / "random.ckpt"
    assert outcome("--data", data, "--out", out, *QUICK) == 0
    printed = capsys.readouterr().out
    assert str(out) in printed and Checkpoint.load(out).digest in printed
    assert precision_hint("fp32") in printed
    assert f"trained until {Checkpoint.load(out).trained_until:%Y-%m-%d}\n" in printed
    assert "00:00:00" not in printed
    for word in (
        "the last 2 windows must wait for one",
        "purged: 1 window before each later part",
        "up-share",
        "best epoch",
        "auc",
        "base rate",
        "mcc",
        "learning rate",
    ):
        assert word in printed


def test_every_event_is_one_json_line(data: Path, tmp_path: Path) -> None:
    assert (
        outcome(
            "--data",
            data,
            "--out",
            tmp_path / "a.ckpt",
            "--log-json",
            tmp_path / "log.json",
            *QUICK,
        )
        == 0
    )
    events = [json.loads(line) for line in (tmp_path / "log.json").read_text().splitlines()]
    assert [event["event"] for event in events] == ["epoch", "trained"]
    assert (
        events[0]["epoch"] == 1
        and events[1]["digest"] == Checkpoint.load(tmp_path / "a.ckpt").digest
    )


def test_deploy_trains_up_to_the_last_bar_and_names_the_file_by_it(
    data: Path, tmp_path: Path
) -> None:
    assert outcome("--data", data, "--deploy", tmp_path / "schedule", *QUICK) == 0
    last = pd.read_csv(data, index_col=0, parse_dates=True).index[-1]
    model = Checkpoint.load(tmp_path / "schedule" / f"random-{last:%Y%m%dT%H%M%S}.ckpt")
    assert model.trained_until == last and model.parts["test"]["windows"] == 0


def test_an_unwritable_place_is_said_before_any_training(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--data", data, "--out", data / "inside a file.ckpt", *QUICK) == 6
    captured = capsys.readouterr()
    assert "random.csv" in captured.err and "epoch" not in captured.out


def test_an_unwritable_place_is_said_before_the_bars_are_read_and_within_a_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    start = time.process_time()
    assert outcome("--data", tmp_path / "missing.csv", "--out", tmp_path / "file" / "a.ckpt") == 6
    assert time.process_time() - start < 1 and "missing.csv" not in capsys.readouterr().err


def test_out_and_deploy_exclude_each_other(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--data", data, "--out", "a.ckpt", "--deploy", "b") == 2
    assert "exclude each other" in capsys.readouterr().err


def test_bars_that_never_move_are_refused_with_the_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = random_bars(300)
    flat.loc[:, ["open", "high", "low", "close"]] = np.float64(100)
    flat.to_csv(tmp_path / "flat.csv")
    assert outcome("--data", tmp_path / "flat.csv", "--out", tmp_path / "a.ckpt", *QUICK) == 3
    assert not (
        tmp_path / "a.ckpt"
    ).exists() and "never changes" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("network", "logistic", "said"),
    [
        (0.68, 0.69, "is better than"),
        (0.69, 0.69, "is no better than"),
        (0.7, 0.69, "is no better than"),
    ],
)
def test_the_summary_says_whether_logistic_regression_does_better(
    network: float, logistic: float, said: str
) -> None:
    assert said in compare_with_logistic(
        {"validation_log_loss": network, "validation_logistic_log_loss": logistic}
    )


def test_too_few_bars_are_refused_with_the_number_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_bars(1).to_csv(tmp_path / "one.csv")
    assert outcome("--data", tmp_path / "one.csv", "--out", tmp_path / "a.ckpt") == 3
    assert "1 bar; at least 244 are needed" in capsys.readouterr().err


def test_a_column_is_named_and_a_missing_price_dropped_by_flags(data: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(data).rename(columns={"close": "Settle"})
    frame.loc[7, "Settle"] = np.nan
    frame.to_csv(tmp_path / "settle.csv", index=False)
    arguments = (
        "--data",
        tmp_path / "settle.csv",
        "--out",
        tmp_path / "a.ckpt",
        "--columns.Settle",
        "close",
        *QUICK,
    )
    assert (outcome(*arguments), outcome(*arguments, "--on-missing", "drop")) == (3, 0)
