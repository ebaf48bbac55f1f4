"""What a walk-forward is asked for by flags: refused with one message, or explained by the help."""

import re
import shlex

import pytest

from backtests.run import app
from backtests.walk_forward.store import lock_folder
from model.cli import run
from tests.helpers.makers import random_bars

QUICK = shlex.split("--folds 2 --train-blocks 2 --max-epochs 1 --jobs 1")


@pytest.fixture
def bars_file(tmp_path):
    random_bars(400).to_csv(tmp_path / "smoke.csv")
    return tmp_path / "smoke.csv"


def walk(*arguments):
    """The exit code of the command in this process."""
    with pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in arguments])
    return left.value.code


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--folds", "0"], 2, "--folds must be a whole number from 1, got 0."),
        (
            ["--market-bars", "0", "--market-seed", "-1"],
            2,
            "--market-bars must be a whole number from 1, got 0. --market-seed must be a whole",
        ),
        (["--jobs", "0"], 2, "--jobs must be a whole number from 1, got 0."),
        (["--commission", "-1"], 2, "--commission must be a number of basis points from 0"),
        (["--train", "0.5"], 2, "--train"),
        (["--exit-by", "barrier"], 2, "--exit-by must be 'probability' with label='open', got"),
        (["--label", "barrier"], 2, "--take-profit or --stop-loss must be given with label="),
        (["--label", "opne"], 3, "--label must be one of open, close, barrier, or one of your own"),
        (["--label", "none.py:Rise"], 3, "--label must name a file that can be read, got none.py"),
        (["--folds", "80"], 3, "bars; at least"),
        (["--data", "missing.csv"], 3, "missing.csv"),
        (["--market", "walk"], 2, "--data and --market exclude each other"),
        (
            ["--train-blocks", "34"],
            3,
            "the test blocks must hold at least 50 decisions in all, got 40: fewer show nothing.",
        ),
        (["--out", "/proc/none"], 6, "/proc/none"),
    ],
)
def test_a_fault_is_one_message_and_an_exit_code(
    bars_file, tmp_path, capfd, arguments, code, message
):
    given = {"--data": bars_file, "--out": tmp_path, "--ledger": tmp_path / "trials"} | dict(
        zip(arguments[::2], arguments[1::2])
    )
    assert walk(*(word for pair in given.items() for word in pair)) == code
    assert message in " ".join(capfd.readouterr().err.split())


def test_a_market_s_best_forecast_is_of_the_next_bar_only(tmp_path, capfd):
    assert walk("--market", "echo", "--horizon", 3, "--out", tmp_path, *QUICK) == 2
    assert "--horizon must be 1 with --market, got 3" in capfd.readouterr().err


def test_an_unknown_market_is_named_with_the_nearest(tmp_path, capfd):
    assert walk("--market", "ecko", "--out", tmp_path, *QUICK) == 2
    assert "echo" in capfd.readouterr().err


def test_a_second_run_in_the_folder_leaves_with_its_own_code(bars_file, tmp_path, capfd):
    with lock_folder(tmp_path):
        assert walk("--data", bars_file, "--out", tmp_path, *QUICK) == 7
    assert "must not be used by two runs at once" in " ".join(capfd.readouterr().err.split())


def test_an_empty_name_is_not_the_current_folder(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert walk("--data", "", *QUICK) == 2
    assert "--data must not be empty, got ''" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_help_says_what_the_costs_are(capsys):
    assert walk("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--commission" in text and "basis points" in text


def test_the_help_has_a_panel_for_each_kind_of_setting(capsys):
    """Each flag stands in the panel of its kind, none in one of the command line's own."""
    assert walk("--help") == 0
    _, *panels = re.split(r"╭─ ", capsys.readouterr().out)
    flags = {panel.partition(" ─")[0]: panel for panel in panels}
    assert list(flags) == [
        "Commands",
        "Data",
        "Folds",
        "Account and costs",
        "A book, with --pooled",
        "Training",
        "Running",
        "Settings",
    ]
    for name, those in {
        "Data": ("--data", "--timezone", "--market"),
        "Folds": ("--folds", "--validation-share"),
        "Account and costs": ("--cash", "--commission"),
        "A book, with --pooled": ("--long", "--keep", "--rebalance", "--borrow"),
        "Training": ("--learning-rate", "--architecture"),
        "Running": ("--out", "--jobs", "--ledger", "--fresh"),
        "Settings": ("--config", "--print-config"),
    }.items():
        assert all(f"{flag} " in flags[name] for flag in those), name
