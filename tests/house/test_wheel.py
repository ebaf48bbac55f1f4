"""An installed wheel is whole: an editable installation would hide what setup.cfg leaves out."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from backtests.console import COMMANDS
from tests.helpers.processes import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel made of this checkout installs."""
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy: in the clone, setuptools would take up what an earlier build left.
    ignored = shutil.ignore_patterns(
        ".git", "build", "*.egg-info", "__pycache__", "runs", ".*_cache"
    )
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(folder), str(folder / "source")], check=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_every_file_of_the_packages_is_in_it_and_nothing_else(installed: Path) -> None:
    def files(root: Path) -> set[str]:
        return {
            str(path.relative_to(root))
            for package in ("model", "strategy_plugin", "backtests")
            for path in (root / package).rglob("*")
            if path.is_file() and path.suffix in (".py", ".pyi", ".html", ".typed")
        }

    # The examples are scripts to read in a clone, in no package.
    expected = {name for name in files(ROOT) if "/examples/" not in name}
    assert files(installed) == expected
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {
        "backtests",
        "backtrader_bilstm",
        "model",
        "strategy_plugin",
    }


def test_its_console_command_leads_to_ours(installed: Path) -> None:
    [metadata] = installed.glob("*.dist-info")
    points = ConfigParser()
    points.read(metadata / "entry_points.txt")
    assert dict(points["console_scripts"]) == {"backtrader-bilstm": "backtests.console:main"}


# Runs one command line after the other, as the console command would; prints where `model` lies.
COMMAND_LINES = """
import contextlib, json, sys
import model
from backtests.console import app
from model.cli import run
print(model.__file__)
for words in json.loads(sys.argv[1]):
    try:
        run(app, words)
    except SystemExit as left:
        if left.code:
            raise
"""


def test_its_commands_work_where_the_clone_is_unseen(installed: Path, tmp_path: Path) -> None:
    small = ["--max-epochs", "1", "--folds", "2", "--train-blocks", "2", "--jobs", "1"]
    market = ["--market", "ar1", "--market-bars", "400"]
    lines = [
        *([name, "--help"] for name in COMMANDS),
        ["walk", *market, *small, "--out", "run", "--ledger", "trials"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND_LINES, json.dumps(lines)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(str(installed / "model" / "__init__.py"))
    assert all(f"Usage: backtrader-bilstm {name} [OPTIONS]" in done.stdout for name in COMMANDS)
    assert "</html>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
