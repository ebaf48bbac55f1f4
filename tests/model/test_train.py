"""The command python -m model.train."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.cli import run
from model.precision import precision_hint
from model.train import app, compare_with_logistic
from tests.helpers import small_network  # noqa: F401  makes the architecture known
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


def test_the_settings_beside_a_checkpoint_make_it_again(data: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.ckpt", tmp_path / "again.ckpt"
    assert outcome("--data", data, "--out", first, *QUICK) == 0
    assert outcome("--config", tmp_path / "first.settings.toml", "--out", again) == 0
    assert again.read_bytes() == first.read_bytes()


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files of bars."""
    (tmp_path / "stocks").mkdir()
    for number, name in enumerate("abcd"):
        random_bars(260, seed=number).to_csv(tmp_path / "stocks" / f"{name}.csv")
    return tmp_path / "stocks"


SMALL = (*QUICK, "--architecture", "small", "--fewest-instruments", "4")


@pytest.mark.parametrize("way", ["folder", "files"])
def test_one_network_is_trained_on_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(folder.parent)
    files = sorted(folder.iterdir(), reverse=True)
    where = ["--data", folder] if way == "folder" else ["--data", *files]
    assert outcome(*where, "--pooled", "--outcome", "relative", *SMALL) == 0
    name = "stocks.ckpt" if way == "folder" else "universe.ckpt"
    checkpoint = Checkpoint.load(folder.parent / name)
    assert (checkpoint.outcome, list(checkpoint.instruments or ())) == ("relative", [*"abcd"])
    printed = capsys.readouterr().out
    for words in (
        "4 instruments: 1040 bars of 1 day from 2020-01-01 to 2020-09-16",
        "labels: above or below the median move of the others; the last 2 windows must wait",
        "purged: 1 date before each later part",
        "trained on 4 instruments until 2020-",
    ):
        assert words in printed


def test_the_network_of_a_universe_is_deployed(folder: Path, tmp_path: Path) -> None:
    assert outcome("--data", folder, "--pooled", "--deploy", tmp_path / "live", *SMALL) == 0
    [file] = (tmp_path / "live").glob("*.ckpt")
    assert file.name == "stocks-20200916T000000.ckpt"
    assert Checkpoint.load(file).parts["test"]["windows"] == 0


def test_faulty_files_of_a_universe_are_refused_or_left_out_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "e.csv").write_text("nothing")
    (folder / "f.csv").write_text("")
    given = ("--data", folder, "--pooled", "--out", tmp_path / "a.ckpt", *SMALL)
    assert outcome(*given) == 3
    said = capsys.readouterr().err
    assert "e.csv" in said and "f.csv" in said and "leave them out with --on-faulty drop" in said
    assert outcome(*given, "--on-faulty", "drop") == 0
    assert "left out e.csv" in capsys.readouterr().out


def same_name(folder: Path) -> None:
    (folder / "a.txt").write_bytes((folder / "b.csv").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "flags", "code", "messages"),
    [
        (
            lambda folder: [(folder / f"{name}.csv").unlink() for name in "bcd"],
            ["--pooled"],
            3,
            ["needs several files, got", "a.csv. Give more, or leave out --pooled."],
        ),
        (
            lambda folder: (folder / "d.csv").unlink(),
            ["--pooled"],
            3,
            ["at least 4 instruments, got 3: a.csv, b.csv, c.csv. Give more, or lower --fewest-"],
        ),
        (
            same_name,
            ["--pooled"],
            3,
            ["must have different names: all of them are called a", "a.txt, b.csv hold the same"],
        ),
        (
            lambda folder: random_bars(260, 9, "1990-01-01").to_csv(folder / "old.csv"),
            ["--pooled"],
            3,
            ["old.csv must have dates in common with others, and has none"],
        ),
        (
            lambda folder: folder.rename(folder.with_name("moved")),
            ["--pooled"],
            3,
            ["no such file or folder. Check the path."],
        ),
        (lambda folder: None, [], 2, ["--data must be one file without --pooled, got"]),
        (
            lambda folder: None,
            ["--outcome", "relative"],
            2,
            ["--data must be one file without --pooled, got"],
        ),
        (
            lambda folder: None,
            ["--pooled", "--instrument", "gold"],
            2,
            ["`ticker` must be left out with several files"],
        ),
    ],
)
def test_what_makes_no_universe_is_refused_by_name(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    flags: list[str],
    code: int,
    messages: list[str],
) -> None:
    spoil(folder)
    assert outcome("--data", folder, "--out", tmp_path / "a.ckpt", *SMALL, *flags) == code
    said = capsys.readouterr().err.replace("--ticker", "`ticker`")
    assert not [message for message in messages if message not in said]
    assert not (tmp_path / "a.ckpt").exists()


def test_one_instrument_has_no_relative_outcome(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--data", data, "--outcome", "relative", *QUICK) == 2
    assert "--outcome must be direction without --pooled" in capsys.readouterr().err
