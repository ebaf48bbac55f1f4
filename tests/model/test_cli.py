"""What all commands share: one clean message, distinct exit codes, one line a warning."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args

import pytest
from cyclopts import App, Parameter
from rich.console import Console

from backtests.audit import app as audit
from backtests.benchmark import app as benchmark
from backtests.controls import app as controls
from backtests.false_alarms import app as verdicts
from backtests.run import app as walk
from model import BarsError, BarsWarning, CheckpointError, TrainingDiverged
from model.cli import run
from model.doctor import app as doctor
from model.errors import OutputError
from model.predict import app as predict
from model.train import app as train
from tests.helpers import ending
from tests.helpers.processes import ROOT, environment


@dataclass(frozen=True)
class Settings:
    """Settings of a command."""

    max_epochs: int = 3
    label: Literal["open", "close"] = "open"
    shuffle: bool = False
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.max_epochs < 1:
            raise ValueError(f"`max_epochs` must be above 0, got {self.max_epochs}.")


@pytest.fixture(autouse=True)
def callers_handlers() -> Iterator[None]:
    """Whatever `run` sets for a whole process is put back."""
    shown, handlers = (
        warnings.showwarning,
        {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)},
    )
    yield
    warnings.showwarning = shown
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command whose body is `body` with arguments.

    Return its exit code and what it said on stderr.
    """

    def leave(body: Callable[[Settings], object], *arguments: str) -> tuple[int, str]:
        app = App(name="command")

        @app.default
        def command(*, settings: Annotated[Settings, Parameter(name="*")] = Settings()) -> object:
            return body(settings)

        with pytest.raises(SystemExit) as left:
            run(app, arguments)
        return left.value.code, capsys.readouterr().err  # type: ignore[return-value]

    return leave


def raising(error: BaseException) -> Callable[[Settings], object]:
    def body(_: Settings) -> NoReturn:
        raise error

    return body


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (8, 8), ("text", 0)])
def test_a_command_leaves_with_the_code_it_returns(
    said: Callable[..., tuple[int, str]], result: object, code: int
) -> None:
    assert said(lambda settings: result) == (code, "")


FULL = "the memory is used up. Give fewer bars, or a smaller --batch-size, or more memory."


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("`enter` must be below 1, got 2."), 2, "`enter` must be below 1, got 2."),
        (
            ValueError("`max_epochs` must be 1 with `market`."),
            2,
            "--max-epochs must be 1 with `market`.",
        ),
        (BarsError("bars.csv has 3 bars"), 3, "bars.csv has 3 bars"),
        (CheckpointError("x.ckpt cannot be used"), 4, "x.ckpt cannot be used"),
        (TrainingDiverged("loss must stay finite"), 5, "loss must stay finite"),
        (
            OutputError(28, "cannot write x: No space left on device."),
            6,
            "cannot write x: No space left on device.",
        ),
        (
            PermissionError(13, "Permission denied", "log.json"),
            6,
            "[Errno 13] Permission denied: 'log.json'",
        ),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C."),
        (MemoryError(), 9, FULL),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
            ),
            9,
            FULL,
        ),
        (BarsError("a [bold]name[/] with brackets [x]"), 3, "a [bold]name[/] with brackets [x]"),
    ],
)
def test_a_known_fault_is_one_message_and_its_code(
    said: Callable[..., tuple[int, str]], error: BaseException, code: int, message: str
) -> None:
    assert said(raising(error)) == (code, f"error: {message}\n")


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf8", b"x", 0, 1, "bad"),
        RuntimeError("shape mismatch"),
        KeyError("date"),
        ZeroDivisionError(),
    ],
)
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    app = App(name="command")
    app.default(lambda: raising(error)(Settings()))
    with pytest.raises(type(error)):
        run(app, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--max-epoch", "5"),
            "Unknown option: --max-epoch. Did you mean --max-epochs? See --help.",
        ),
        (("--lable", "open"), "Unknown option: --lable. Did you mean --label? See --help."),
        (("--suffle",), "Unknown option: --suffle. Did you mean --shuffle? See --help."),
        (
            ("--label", "opn"),
            'Invalid value "opn" for --label. Choose from: "open", "close". '
            'Did you mean "open"? See --help.',
        ),
        (
            ("--max-epochs", "many"),
            'Invalid value for --max-epochs: unable to convert "many" into int. See --help.',
        ),
        (("--max-epochs",), "Parameter --max-epochs requires an argument. See --help."),
        (("--max-epochs", "0"), "--max-epochs must be above 0, got 0."),
        (("file.csv",), "Unused Tokens: ['file.csv']. See --help."),
    ],
)
def test_wrong_use_is_said_in_one_line_with_the_likely_meaning(
    said: Callable[..., tuple[int, str]], arguments: tuple[str, ...], message: str
) -> None:
    assert said(lambda settings: None, *arguments) == (2, f"error: {message}\n")


def test_flags_are_the_fields_of_the_settings(said: Callable[..., tuple[int, str]]) -> None:
    seen: list[Settings] = []
    assert said(seen.append, "--max-epochs", "7", "--label", "close", "--shuffle") == (0, "")
    assert seen == [Settings(7, "close", True)]


def test_a_warning_is_one_line_and_the_command_goes_on(
    said: Callable[..., tuple[int, str]],
) -> None:
    def body(_: Settings) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning(BarsWarning("3 bars were [dropped]."), BarsWarning, "file", 1)
        return 0

    assert said(body) == (0, "note: 3 bars were [dropped].\n")


NOTE = "note: 2 bars were repaired.\n"
ENDS = {
    "refuse": (3, "", f"{NOTE}error: bars.csv has 3 bars.\n"),
    "SIGTERM": (143, "before\n", f"{NOTE}error: stopped by SIGTERM.\n"),
    "SIGHUP": (129, "before\n", f"{NOTE}error: stopped by SIGHUP.\n"),
    "SIGINT": (130, "before\n", f"{NOTE}error: stopped by Ctrl-C.\n"),
    "nohup SIGHUP": (0, "before\nafter\n", NOTE),
}


@pytest.fixture(scope="module")
def ends() -> dict[str, list[object]]:
    """The exit code of a process in each case, and what it said on stdout and stderr."""
    finished = subprocess.run(
        [sys.executable, "-m", ending.__name__, *ENDS],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    found: dict[str, list[object]] = json.loads(finished.stdout)
    return found


@pytest.mark.parametrize("case", ENDS)
def test_a_process_ends_without_a_traceback(ends: dict[str, list[object]], case: str) -> None:
    """And under nohup a hangup changes nothing."""
    assert tuple(ends[case]) == ENDS[case]


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word() -> None:
    command = f"{sys.executable} -m {ending.__name__} --help | true"
    finished = subprocess.run(
        command,
        shell=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    assert finished.stderr == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("opened, code", [(os.pipe, 0), (os.pipe, 8), (os.openpty, 0)])
def test_work_goes_on_where_nobody_reads_what_it_says(
    stream: str,
    opened: Callable[[], tuple[int, int]],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = opened()
    monkeypatch.setattr(sys, stream, os.fdopen(writer, "w"))
    app = App(name="command")

    @app.default
    def command() -> int:
        print("the first line", file=getattr(sys, stream), flush=True)
        os.close(reader)
        for _ in range(2):
            Console(stderr=stream == "stderr").print("a line for nobody")
        print("left in the buffer", file=getattr(sys, stream))
        (tmp_path / "result").touch()
        return code

    with pytest.raises(SystemExit) as left:
        run(app, [])
    assert (left.value.code, (tmp_path / "result").exists()) == (code, True)
    getattr(sys, stream).close()


def test_a_full_disk_under_stdout_is_said(
    said: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        suppress(OSError),
        open("/dev/full", "w", buffering=1) as full,
    ):  # closing it fails once more
        monkeypatch.setattr(sys, "stdout", full)
        assert said(lambda settings: print("a line")) == (
            6,
            "error: [Errno 28] No space left on device\n",
        )


def test_a_closed_stdout_harms_no_command(
    said: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert said(lambda settings: Console().print("a line for nobody")) == (0, "")


COMMANDS = (train, predict, doctor, audit, benchmark, controls, walk, verdicts)
OLD_NAMES = {("--fresh", controls.name)}


def kinds_of_flags() -> dict[str, set[frozenset[object]]]:
    """Return the types that each flag has in the commands, None left out."""
    kinds: dict[str, set[frozenset[object]]] = {}
    for command in COMMANDS:
        for argument in command.assemble_argument_collection():
            for flag in {name for name in argument.names if name != "*"}:
                if (flag, command.name) not in OLD_NAMES:
                    kind = frozenset(get_args(argument.hint) or (argument.hint,)) - {type(None)}
                    literals = (get_args(each) or (each,) for each in kind)
                    kinds.setdefault(flag, set()).add(
                        frozenset(each for parts in literals for each in parts)
                    )
    return kinds


def test_a_flag_takes_the_same_in_all_commands() -> None:
    kinds = kinds_of_flags()
    assert len(kinds) > 50
    assert {flag: found for flag, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize("command", [controls, walk, verdicts])
def test_jobs_are_all_cores_in_every_command_that_has_them(
    command: App, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(command, ["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (
        "--jobs INT Processes that work at the same time; default: one per usable core. "
        "The result does not depend on it." in text
    )


def test_the_list_of_exit_codes_names_every_error_that_carries_one() -> None:
    text = (ROOT / "model" / "cli.py").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^#   (\d+) +(.*(?:\n# {5,}.*)*)", text, re.MULTILINE))
    carriers = {
        node.name: str(statement.value.value)
        for package in ("model", "strategy_plugin", "backtests")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "exit_code"
        if isinstance(statement.value, ast.Constant)
    }
    assert len(carriers) > 8
    assert {name for name, code in carriers.items() if name not in listed[code]} == set()


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        (train, ["--max-epochs", "1.5"], "--max-epochs must be a whole number, got 1.5."),
        (train, ["--seeds=2.5"], "--seeds must be a whole number, got 2.5."),
        (walk, ["--folds", "1.5"], "--folds must be a whole number, got 1.5."),
        (
            verdicts,
            ["--grid", "--decisions", "60", "--decisions", "70.5"],
            "--decisions must be a whole number, got 70.5.",
        ),
        (
            doctor,
            ["--date-format", "%d", "--adjust"],
            "--data must name a file where --date-format, --adjust is given",
        ),
        (
            walk,
            ["--market", "echo", "--timezone", "UTC"],
            "--data must name a file where --timezone is given",
        ),
    ],
)
def test_what_would_be_rounded_or_do_nothing_is_refused(
    command: App,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    if command is walk:
        arguments = [*arguments, "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as left:
        run(command, arguments)
    assert left.value.code == 2 and words in capsys.readouterr().err


def test_a_whole_number_may_be_written_with_a_point(capsys: pytest.CaptureFixture[str]) -> None:
    app = App(name="command")

    @app.default
    def command(*, count: int = 0, share: float = 0.0) -> int:
        assert (count, share) == (3, 0.5)
        return 0

    with pytest.raises(SystemExit) as left:
        run(app, ["--count", "3.0", "--share", "0.5"])
    assert left.value.code == 0
