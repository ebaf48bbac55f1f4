"""The command of an installed package: each word leads to a module's command, with all it says."""

from importlib import import_module

import pandas as pd
import pytest

from backtests.console import COMMANDS, app
from model.cli import run


def left(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        run(app, arguments)
    return int(stopped.value.code or 0)


def test_its_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert left("--help") == 0
    printed = capsys.readouterr().out
    assert all(f"│ {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_the_flags_of_its_module(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left(name, "--help") == 0
    printed = capsys.readouterr().out
    assert f"Usage: backtrader-bilstm {name} [OPTIONS]" in printed
    flags = import_module(COMMANDS[name][0]).app.assemble_argument_collection()
    assert all(argument.names[0] in printed for argument in flags if argument.show)


def test_a_command_does_its_work(tmp_path, bars: pd.DataFrame, capsys) -> None:
    bars.to_csv(tmp_path / "bars.csv")
    assert left("doctor", str(tmp_path / "bars.csv")) == 0
    assert "2021-02-03" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tran"], 2, 'Unknown command "tran". Did you mean "train"?'),
        (["train", "--max-epochs", "0"], 2, "--max-epochs must be"),
        (["predict", "--checkpoint", "no.ckpt"], 4, "no.ckpt"),
        (["doctor", "no.csv"], 3, "no.csv"),
    ],
)
def test_a_fault_is_one_message_with_the_exit_code_of_its_module(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left(*arguments) == code
    assert message in " ".join(capsys.readouterr().err.split())
