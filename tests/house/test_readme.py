"""The READMEs tell the truth: code runs, commands exist, tables are those of the project."""

import ast
import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from strategy_plugin import BiLSTMStrategy, BookStrategy
from strategy_plugin.trading import TradingStrategy
from tests.helpers.processes import ROOT, environment

TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for package in ("model", "strategy_plugin", "backtests", "tests", ".github")
    for path in sorted((ROOT / package).rglob("*.md"))
} | {"README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
README = TEXTS["README.md"]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    lines = "".join(block for text in TEXTS.values() for block in blocks(text, "sh")).splitlines()
    commands = [line.partition("#")[0].strip() for line in lines if line.startswith("python ")]
    return list(dict.fromkeys(commands))


def program(command: str) -> str:
    """Return what a command runs: a file, or after -m a module."""
    words = shlex.split(command)
    return words[2] if words[1] == "-m" else words[1]


# Runs each program with --help as a shell would; all in one process, since loading takes the time.
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


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if blocks(text, "python")])
def test_the_python_blocks_run_one_after_the_other(name: str, tmp_path: Path) -> None:
    (tmp_path / "readme.py").write_text("\n".join(blocks(TEXTS[name], "python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "readme.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if name == "README.md":
        promised = README.partition("prints\n\n```\n")[2].partition("```")[0].splitlines()
        printed = done.stdout.splitlines()
        for there, here in zip(promised, printed, strict=True):
            assert re.sub(r"[-0-9.,]+", "#", there) == re.sub(r"[-0-9.,]+", "#", here)
            # Another processor sums in another order.
            assert figures(there) == pytest.approx(figures(here), rel=0.02)


def figures(line: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*\.?\d*", line)]


def test_the_readmes_with_code_are_known() -> None:
    with_code = {name for name, text in TEXTS.items() if blocks(text, "python")}
    assert with_code >= {
        "README.md",
        "model/README.md",
        "model/bars/README.md",
        "strategy_plugin/README.md",
    }


def test_the_root_readme_is_read_in_minutes() -> None:
    lines = README.splitlines()
    assert len(README.encode()) <= 10_000 and len(lines) <= 190
    assert next(number for number, line in enumerate(lines, 1) if line == "```python") < 45


@pytest.mark.parametrize("command", command_lines())
def test_every_option_of_a_command_exists(options: dict[str, set[str]], command: str) -> None:
    used = {word for word in shlex.split(command) if word.startswith("--")}
    assert used | {"--help"} <= options[program(command)]


def test_the_set_up_commands_stand_there_once_and_whole() -> None:
    lines = "".join(blocks(README, "sh")).splitlines()
    assert "pip install -c tests/constraints.txt -e . && python backtests/run.py" in lines
    assert "pip install -c tests/constraints.txt -e '.[test]' && pytest -n logical" in lines


def test_the_folders_are_shown_with_their_own_phrases() -> None:
    shown = dict(re.findall(r"^\| \[`(\S+)/`\]\(\S+\) \| (.+) \|$", README, re.MULTILINE))
    folders = {
        str(path.parent.relative_to(ROOT)): path
        for package in ("model", "strategy_plugin", "backtests")
        for path in (ROOT / package).rglob("__init__.py")
    } | {"tests": ROOT / "tests" / "__init__.py"}
    phrases = {
        name: str(ast.get_docstring(ast.parse(path.read_text()))).split("\n\n")[0].rstrip(".")
        for name, path in folders.items()
    }
    assert shown.pop("strategy_plugin/examples")
    assert shown == phrases
    assert all(4 <= len(phrase.split()) <= 8 for phrase in phrases.values())


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", TEXTS[name])
    assert not [link for link in links if not (folder / link).exists()]


@pytest.mark.parametrize("strategy", [BiLSTMStrategy, BookStrategy], ids=lambda one: one.__name__)
def test_the_table_of_parameters_is_that_of_the_strategy(strategy: type[TradingStrategy]) -> None:
    _, _, table = TEXTS["strategy_plugin/README.md"].partition(
        f"| parameter of {strategy.__name__} | default | what it does |\n|---|---|---|\n"
    )
    rows = re.findall(r"^\| ([a-z_, ]+) \| ([^|]+) \|", table.partition("\n\n")[0], re.M)
    shown = {
        name: ast.literal_eval(default)
        for names, defaults in rows
        for name, default in zip(
            names.split(", "),
            defaults.split(", ")
            if len(names.split(", ")) == len(defaults.split(", "))
            else [defaults] * len(names.split(", ")),
            strict=True,
        )
    }
    expected = dict(strategy.params._getitems())
    if strategy is BookStrategy:
        # What both strategies have stands in the table of the first, but what differs.
        for name in set(TradingStrategy.params._getkeys()) - {"patience"}:
            del expected[name]
    assert shown == expected


def test_every_required_package_has_its_tested_version() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = (
        f"{setup['options']['install_requires']}\n{setup['options.extras_require']['test']}".split()
    )
    pinned = {
        line.partition("==")[0].lower()
        for line in (ROOT / "tests" / "constraints.txt").read_text().splitlines()
    }
    assert {re.split(r"[><=~]", line)[0].lower().replace("_", "-") for line in lines} <= pinned
