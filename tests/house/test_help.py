"""The help of each command is there at once: printing it loads none of the slow libraries."""

import json
import subprocess
import sys

import pytest

from backtests.console import COMMANDS
from tests.helpers.processes import ROOT

SLOW = {"torch", "arch", "scipy", "sklearn", "backtrader", "plotly", "matplotlib"}
SCRIPTS = [
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for package in ("model", "backtests")
    for path in sorted((ROOT / package).glob("*.py"))
    if "run(app)" in path.read_text(encoding="utf-8")
]
# One process for all, as what is loaded stays: the first command with a slow one is to blame.
HELPS = """
import json, sys
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from model.cli import run
slow, helps, found = set(json.loads(sys.argv[1])), json.loads(sys.argv[2]), {}
for module, arguments in helps:
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        run(import_module(module).app, [*arguments, "--help"])
    name = " ".join([module, *arguments])
    found[name] = [sorted(slow & set(sys.modules)), printed.getvalue()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[list[str], str]]:
    """Return what each help loaded, with all before it, and what it printed."""
    wanted = [(script, []) for script in SCRIPTS]
    wanted += [("backtests.console", [name]) for name in COMMANDS]
    command = [sys.executable, "-c", HELPS, json.dumps(sorted(SLOW)), json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    found: dict[str, tuple[list[str], str]] = json.loads(done.stdout)
    return found


def test_no_help_waits_for_a_slow_library(helps: dict[str, tuple[list[str], str]]) -> None:
    assert {"model.train", "backtests.run", "backtests.console walk"} <= set(helps)
    assert {name: loaded for name, (loaded, _) in helps.items() if loaded} == {}


def test_each_help_is_whole(helps: dict[str, tuple[list[str], str]]) -> None:
    assert all("Usage: " in printed and "--help" in printed for _, printed in helps.values())
