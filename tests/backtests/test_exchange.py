"""The command that is an exchange in a box."""

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from backtests.exchange import app
from tests.helpers import commands
from tests.helpers.makers import random_bars
from tests.helpers.processes import ROOT, environment


@pytest.fixture
def file(tmp_path: Path) -> Path:
    random_bars(300, start="2022-01-03", freq="B").to_csv(tmp_path / "spy.csv")
    return tmp_path / "spy.csv"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--speed", "slow"], 2, '--speed must be "real", a factor above 0 or "lockstep"'),
        (["--live-from", "soon"], 2, "--live-from must be a date or a time"),
        (["--live-from", "1999-01-01"], 3, "--live-from must lie after the first bar"),
        (["--faults", "none.toml"], 3, "none.toml must be a script of faults in TOML"),
        (["--port", "0"], 2, "--port must be a whole number from 1 to 65535, got 0"),
        (["--fault-rate", "2"], 2, "--fault-rate must be a number above 0"),
        (["--data", "none.csv"], 3, "none.csv"),
    ],
)
def test_bad_input_is_one_message_and_one_code(
    words: list[str], code: int, message: str, file: Path, capsys: Any
) -> None:
    data = [] if "--data" in words else ["--data", file]
    found, _, err = commands.ended(app, capsys, *data, *words)
    assert (found, err.count("error:")) == (code, 1) and message in err.replace("\n", " ")


def test_a_port_in_use_is_said(file: Path, capsys: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = commands.ended(app, capsys, "--data", file, "--port", port)
    assert code == 6 and f"--port must be free, got {port}: " in err


def test_it_serves_until_a_signal_comes(file: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "backtests" / "exchange.py"), "--data", str(file)]
    keys = {"APCA_API_KEY_ID": "mine", "APCA_API_SECRET_KEY": "hidden"}
    process = subprocess.Popen(
        [*command, "--port", str(port)], env=environment(**keys), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "SPY, bars of 1Day, 240 of history, 60 live" in said and "hidden" not in said
    headers = {"APCA-API-KEY-ID": "mine", "APCA-API-SECRET-KEY": "hidden"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/v2/account", headers=headers)
    with urllib.request.urlopen(asked, timeout=20) as answer:  # it serves before it says so
        assert b'"cash": "100000.0"' in answer.read()
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0
