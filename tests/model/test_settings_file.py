"""Settings as a file: taken by every command, and written by what they made."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from backtests.judge import app as judge
from backtests.run import app as walk
from model.cli import run
from model.doctor import app as doctor
from model.train import app as train
from strategy_plugin.trade import app as trade

Commanded = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Commanded:
    """Run a command with arguments; return its exit code and what it printed on both streams."""

    def leave(app: object, *arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            run(app, [str(argument) for argument in arguments])  # type: ignore[arg-type]
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, " ".join(printed.err.split())

    return leave


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a file of settings, and return where."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "own.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(
    said: Commanded, file: Callable[[str], Path]
) -> None:
    path = file('folds = 3\nmax-epochs = 7\nanchored = true\n[columns]\nPrice = "close"\n')
    code, printed, _ = said(walk, "--config", path, "--max-epochs", 2, "--print-config")
    used = tomllib.loads(printed)
    assert (code, used["folds"], used["max_epochs"], used["train_blocks"]) == (0, 3, 2, 8)
    assert used["anchored"] is True and used["columns"] == {"Price": "close"}


@pytest.mark.parametrize(
    ("app", "arguments"),
    [
        (walk, ["--data", "bars.csv", "--accept", "a", "--columns.Price", "close", "--cash", 7]),
        (walk, ["--pooled", "--long", 10, "--keep", 2, "--rebalance", 5, "--no-fractional"]),
        (train, ["--deploy", "models", "--decimal", ",", "--horizon", 2]),
        (doctor, ["bars.csv"]),
        (trade, ["--symbols", "A", "--symbols", "B", "--checkpoint", "x.ckpt"]),
        (judge, ["bars.csv", "--neutral"]),
    ],
)
def test_what_is_printed_is_a_file_that_says_the_same(
    said: Commanded,
    file: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    app: object,
    arguments: list[object],
) -> None:
    _, printed, _ = said(app, *arguments, "--print-config")
    path = file(printed)
    # Paths in it are found from any folder.
    monkeypatch.chdir(path.parent)
    assert said(app, "--config", path, "--print-config") == (0, printed, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_epoch = 3", 'Unknown option: "[max_epoch]" from {}. Did you mean --max-epochs?'),
        ('[tool]\nname = "x"', 'Unknown option: "[tool][name]" from {}.'),
        ('max_epochs = "many"', "Invalid value for [max_epochs] from {}: unable to convert"),
        ('outcome = "closed"', 'Invalid value "closed" for [outcome] from {}'),
        ("max_epochs = ", "{} must be a file of settings in TOML: Invalid value"),
        ("seed = 1\nseed = 2", "{} must be a file of settings in TOML: Cannot overwrite a value"),
        (b"\xff\xfe", "{} must be a file of settings in TOML: 'utf-8' codec can't decode"),
        (
            "# Settings of backtests/search.py, which takes them with --config.\ntrials = 3",
            'Unknown option: "[trials]" from {}. The file has the settings of backtests/search.py',
        ),
        ('config = "x"', "{} must not hold config, which name the file itself. Take them out."),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_message(
    said: Commanded, file: Callable[[str | bytes], Path], text: str | bytes, message: str
) -> None:
    path = file(text)
    code, printed, error = said(train, "--config", path)
    assert (code, printed) == (3, "") and message.format(path) in error


@pytest.mark.parametrize(
    ("name", "reason"), [("none.toml", "No such file"), ("", "Is a directory")]
)
def test_a_file_that_is_not_there_is_said(
    said: Commanded, tmp_path: Path, name: str, reason: str
) -> None:
    code, _, error = said(train, "--config", tmp_path / name)
    assert code == 3 and f"{tmp_path / name} must be a file of settings in TOML: {reason}" in error


def test_a_value_of_a_file_keeps_the_rules_of_the_flag(
    said: Commanded, file: Callable[[str], Path]
) -> None:
    path = file("max_epochs = 1.5")
    assert said(train, "--config", path)[::2] == (
        3,
        f"error: max_epochs must be a whole number, got 1.5, from {path}.",
    )
    assert said(train, "--max-epochs", "1.5")[0] == 2
    code, _, error = said(train, "--config", file("max_epochs = 0"))
    assert code == 2 and "--max-epochs must be a whole number from 1, got 0." in error


def test_a_file_is_of_one_call_alone(said: Commanded, file: Callable[[str | bytes], Path]) -> None:
    path = file("patience = 3\n")
    assert "patience = 3" in said(train, "--config", path, "--print-config")[1]
    path.unlink()
    code, printed, _ = said(train, "--print-config")
    assert code == 0 and "patience = 10" in printed
