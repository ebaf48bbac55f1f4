"""Saves that are disturbed: at whichever operation, the old or the new file stands whole."""

import errno
import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pandas as pd
import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.errors import OutputError
from tests.helpers import killing
from tests.helpers.makers import random_checkpoint
from tests.helpers.processes import environment


class Contents(NamedTuple):
    """Two checkpoints and the bytes of their files."""

    old: Checkpoint
    new: Checkpoint
    files: tuple[Path, Path]


@pytest.fixture(scope="module")
def contents(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    folder = tmp_path_factory.mktemp("contents")
    old, new = (random_checkpoint(bars, seed=seed) for seed in (1, 2))
    old.save(folder / "old.ckpt")
    new.save(folder / "new.ckpt")
    return Contents(old, new, (folder / "old.ckpt", folder / "new.ckpt"))


@pytest.fixture
def path(contents: Contents, tmp_path: Path) -> Path:
    """A file that holds the old checkpoint."""
    path = tmp_path / "result.ckpt"
    path.write_bytes(contents.files[0].read_bytes())
    return path


Operation = Callable[..., Any]


def watch(monkeypatch: pytest.MonkeyPatch, act: Callable[[str, Operation, int], Operation]) -> None:
    """Let `act`, told an operation's name and number, say what is done in its place."""
    calls = itertools.count(1)

    def watching(name: str, real: Operation) -> Operation:
        return lambda *arguments, **options: act(name, real, next(calls))(*arguments, **options)

    for name in killing.OPERATIONS:
        monkeypatch.setattr(os, name, watching(name, getattr(os, name)))


SAVE = ("open", "write", "fsync", "close", "replace", "unlink", "open", "fsync", "close")


def test_a_save_is_these_operations(
    contents: Contents, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def note(name: str, real: Operation, _: int) -> Operation:
        names.append(name)
        return real

    watch(monkeypatch, note)
    contents.new.save(path)
    assert tuple(names) == SAVE


def failing(fault: BaseException) -> Callable[[Operation], Operation]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise fault

    return lambda real: fail


def short(real: Operation) -> Operation:
    """Write a part only, as a system may."""
    return lambda descriptor, data: real(descriptor, data[:100])


FAULTS: dict[str, Callable[[Operation], Operation]] = {
    "ENOSPC": failing(OSError(errno.ENOSPC, "full")),
    "EIO": failing(OSError(errno.EIO, "broken")),
    "EACCES": failing(OSError(errno.EACCES, "denied")),
    "KeyboardInterrupt": failing(KeyboardInterrupt()),
    "MemoryError": failing(MemoryError()),
    "short write": short,
}


DISTURBED = [
    (fault, number)
    for fault in FAULTS
    for number, name in enumerate(SAVE)
    if fault != "short write" or name == "write"
]


@pytest.mark.parametrize(
    ("fault", "number"),
    DISTURBED,
    ids=[f"{fault} {number} {SAVE[number]}" for fault, number in DISTURBED],
)
def test_a_save_that_is_disturbed_leaves_the_old_or_the_new_checkpoint(
    contents: Contents, path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, number: int
) -> None:
    with monkeypatch.context() as patched, warnings.catch_warnings(action="ignore"):
        watch(patched, lambda _, real, call: FAULTS[fault](real) if call == number + 1 else real)
        with suppress(OutputError, KeyboardInterrupt, MemoryError):
            contents.new.save(path)
    renamed = number > SAVE.index("replace") or fault == "short write"
    assert Checkpoint.load(path).digest == (contents.new if renamed else contents.old).digest
    assert os.listdir(path.parent) == ["result.ckpt"]


def killed(count: int, writer: str, path: Path, contents: Contents) -> list[str]:
    """What the file held after each kill."""
    command = [
        sys.executable,
        "-m",
        killing.__name__,
        str(count),
        writer,
        str(path),
        *map(str, contents.files),
    ]
    return subprocess.run(
        command, capture_output=True, check=True, text=True, env=environment()
    ).stdout.split()


def test_a_save_killed_at_any_operation_leaves_the_old_or_the_new_file(
    contents: Contents, path: Path
) -> None:
    # The last one was not killed.
    assert killed(0, "atomic", path, contents) == ["old"] * 5 + ["new"] * 5
    contents.old.save(path)  # what the killed ones left behind is in nobody's way
    assert Checkpoint.load(path).digest == contents.old.digest


def test_no_kill_at_a_random_time_loses_a_file(contents: Contents, path: Path) -> None:
    found = killed(20, "atomic", path, contents)
    assert len(found) == 20 and set(found) == {"old", "new"}


@pytest.mark.slow
def test_none_of_a_thousand_kills_loses_a_file(contents: Contents, path: Path) -> None:
    found = killed(1_000, "atomic", path, contents)
    assert len(found) == 1_000 and set(found) == {"old", "new"}


def test_the_kills_do_lose_a_file_that_is_written_in_place(contents: Contents, path: Path) -> None:
    assert "damaged" in killed(40, "in place", path, contents)
