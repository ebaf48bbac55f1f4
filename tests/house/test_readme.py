"""The README tells the truth: its code runs, its commands exist, its tree and tables are those of the project."""

import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    lines = "".join(blocks("sh")).splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.startswith("python ")]


def program(command: str) -> str:
    """Return what a command runs: the file of python backtests/run.py, the module of python -m model.train."""
    words = shlex.split(command)
    return words[2] if words[1] == "-m" else words[1]


# Runs each program with --help as a shell would; all in one process, for what takes time is that it loads the libraries.
HELP = """
import contextlib, io, json, os, runpy, sys
programs, shown = sys.argv[1:], {}
for program in programs:
    sys.argv, sys.path[0] = [program, "--help"], os.path.dirname(program)
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        start = runpy.run_path if program.endswith(".py") else runpy.run_module
        start(program, run_name="__main__")
    shown[program] = printed.getvalue()
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options that each program's own help names."""
    programs = sorted(set(map(program, command_lines())))
    done = subprocess.run(
        [sys.executable, "-c", HELP, *programs],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        name: set(re.findall(r"--[a-z][a-z-]*", printed))
        for name, printed in json.loads(done.stdout).items()
    }


def test_the_python_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "readme.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "readme.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "short.ckpt").exists()


@pytest.mark.parametrize("command", command_lines())
def test_every_option_of_a_command_exists(options: dict[str, set[str]], command: str) -> None:
    used = {word for word in shlex.split(command) if word.startswith("--")}
    assert used | {"--help"} <= options[program(command)]


def test_the_set_up_commands_stand_there_once_and_whole() -> None:
    lines = "".join(blocks("sh")).splitlines()
    assert "pip install -c tests/constraints.txt -e . && python backtests/run.py" in lines
    assert "pip install -c tests/constraints.txt -e '.[test]' && pytest -n logical" in lines


def test_every_required_package_has_its_tested_version() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = (
        f"{setup['options']['install_requires']}\n{setup['options.extras_require']['test']}".split()
    )
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "tests" / "constraints.txt").read_text().splitlines()
    }
    assert {re.split(r"[><=~]", line)[0].lower().replace("_", "-") for line in lines} <= pinned
