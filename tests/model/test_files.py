"""Writing files: the old content or the new one, whatever fails and wherever."""

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.errors import OutputError
from model.files import locked, require_writable, sweep, write_atomically

OLD, NEW = b"old" * 1000, b"new" * 2000
REMEDY = r"Choose another place or make room there\."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "result.ckpt"
    path.write_bytes(OLD)
    return path


def failing(times: int, fault: BaseException, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for an operation that raises at its `times`-th call and works otherwise."""
    calls = iter(range(1, 1000))

    def operation(*arguments: Any, **options: Any) -> Any:
        if next(calls) == times:
            raise fault
        return real(*arguments, **options)

    return operation


def test_a_file_is_made_or_replaced(path: Path) -> None:
    write_atomically(path, NEW)
    write_atomically(str(path.with_name("other")), b"")
    assert path.read_bytes() == NEW
    assert sorted(os.listdir(path.parent)) == ["other", "result.ckpt"]


def test_a_file_can_be_read_by_all_and_written_by_its_owner(path: Path) -> None:
    before = os.umask(0o002)
    try:
        write_atomically(path, NEW)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_system_that_writes_in_small_pieces_is_asked_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW


def test_data_are_on_the_disk_before_the_name_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any) -> Any:
            calls.append(name)
            return real(*arguments)

        return operation

    for name in ("open", "write", "fsync", "close", "replace"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    write_atomically(path, NEW)
    assert calls == ["open", "write", "fsync", "close", "replace", "open", "fsync", "close"]


FAULTS = [
    OSError(code, os.strerror(code))
    for code in (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT, errno.EROFS)
]


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: errno.errorcode[fault.errno])
def test_a_failing_operation_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, fault: OSError
) -> None:
    monkeypatch.setattr(os, operation, failing(1, fault, getattr(os, operation)))
    with pytest.raises(
        OutputError, match=f"^cannot write {path}: {fault.strerror}. {REMEDY}"
    ) as refusal:
        write_atomically(path, NEW)
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["result.ckpt"]
    assert (refusal.value.exit_code, refusal.value.errno) == (6, fault.errno)


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), MemoryError()], ids=["interrupt", "memory"])
def test_an_interruption_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, fault: BaseException
) -> None:
    monkeypatch.setattr(os, operation, failing(1, fault, getattr(os, operation)))
    with pytest.raises(type(fault)):
        write_atomically(path, NEW)
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["result.ckpt"]


@pytest.mark.parametrize("operation", ["open", "fsync", "close"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: errno.errorcode[fault.errno])
def test_after_the_rename_the_new_file_stands_and_only_its_durability_is_in_doubt(
    path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, fault: OSError
) -> None:
    monkeypatch.setattr(os, operation, failing(2, fault, getattr(os, operation)))
    with pytest.warns(
        UserWarning,
        match=f"{path} is written, but a loss of power may still undo it: {fault.strerror}",
    ) as said:
        write_atomically(path, NEW)
    assert said[0].filename == __file__  # who asked for it
    assert path.read_bytes() == NEW
    assert os.listdir(path.parent) == ["result.ckpt"]


def test_a_clean_up_that_fails_does_not_hide_the_first_fault(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for operation, code in (("fsync", errno.ENOSPC), ("unlink", errno.EIO)):
        monkeypatch.setattr(
            os, operation, failing(1, OSError(code, os.strerror(code)), getattr(os, operation))
        )
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(path, NEW)
    assert path.read_bytes() == OLD


KILLED = textwrap.dedent("""
    import os, signal, sys
    from model.files import write_atomically
    real, calls = getattr(os, sys.argv[2]), iter(range(1, 9))
    def killed(*arguments):
        if next(calls) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    setattr(os, sys.argv[2], killed)
    write_atomically(sys.argv[1], b"new" * 2000)
""")


@pytest.mark.parametrize(
    ("operation", "call", "content"),
    [
        ("open", 1, OLD),
        ("write", 1, OLD),
        ("fsync", 1, OLD),
        ("close", 1, OLD),
        ("replace", 1, OLD),
        ("open", 2, NEW),
        ("fsync", 2, NEW),
    ],
)
def test_a_killed_process_leaves_the_old_or_the_new_file(
    path: Path, operation: str, call: int, content: bytes
) -> None:
    finished = subprocess.run([sys.executable, "-c", KILLED, str(path), operation, str(call)])
    assert finished.returncode == -9
    assert path.read_bytes() == content
    write_atomically(path, NEW)  # what the killed one left behind is in nobody's way
    assert path.read_bytes() == NEW
    sweep(path.parent, path.name)
    assert os.listdir(path.parent) == ["result.ckpt"]


def test_what_a_killed_trial_of_a_place_left_is_swept(path: Path) -> None:
    probing = KILLED.replace("import write_atomically", "import require_writable").replace(
        'write_atomically(sys.argv[1], b"new" * 2000)', "require_writable(sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", probing, str(path), "fsync", "1"]).returncode == -9
    assert len(os.listdir(path.parent)) == 2
    sweep(path.parent)
    assert os.listdir(path.parent) == ["result.ckpt"]


@pytest.mark.parametrize(
    ("name", "swept"), [("", {".result.ckpt.7.12.tmp", ".[a].8.1.tmp"}), ("[a]", {".[a].8.1.tmp"})]
)
def test_only_what_was_half_written_is_swept(path: Path, name: str, swept: set[str]) -> None:
    names = {
        ".result.ckpt.7.12.tmp",
        ".[a].8.1.tmp",
        ".mine.tmp",
        "result.7.12.tmp",
        ".result.ckpt.7.12",
    }
    for stray in names:
        path.with_name(stray).touch()
    sweep(path.parent, name)
    assert names - set(os.listdir(path.parent)) == swept


def test_what_is_gone_before_it_is_swept_is_no_fault(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: [path.with_name("gone")])
    sweep(path.parent)


class Taken(RuntimeError):
    """Somebody else holds it."""


def test_one_holds_a_lock_and_the_next_one_is_refused(path: Path) -> None:
    lock, stray = path.with_name("lock"), path.with_name(".result.ckpt.7.12.tmp")
    stray.touch()
    with locked(lock, Taken()):
        assert stray.exists()
        with pytest.raises(Taken), locked(lock, Taken(), path.parent):
            pass
        assert stray.exists()  # it may be under way
    with pytest.raises(ZeroDivisionError), locked(lock, Taken(), path.parent):
        assert not stray.exists()
        raise ZeroDivisionError
    with locked(lock, Taken()):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from model.files import locked
with locked(Path(sys.argv[1])):
    print("holds it", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(lock: Path, seconds: float) -> "subprocess.Popen[str]":
    """Another process, once it holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(lock), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "holds it\n"
    return process


def test_a_lock_without_a_refusal_is_waited_for(tmp_path: Path) -> None:
    with holder(tmp_path / "lock", 0.5) as process, locked(tmp_path / "lock"):
        assert process.wait(10) == 0


def test_a_lock_is_free_once_its_process_was_killed(tmp_path: Path) -> None:
    with holder(tmp_path / "lock", 60) as process:
        with pytest.raises(Taken), locked(tmp_path / "lock", Taken()):
            pass
        process.kill()
        process.wait()
        with locked(tmp_path / "lock", Taken()):
            pass


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError,
        match=f"cannot write {tmp_path}/none/result: No such file or directory. {REMEDY}",
    ):
        write_atomically(tmp_path / "none" / "result", NEW)


def test_a_file_where_the_folder_should_be_is_said(path: Path) -> None:
    for write in (require_writable, lambda place: write_atomically(place, NEW)):
        with pytest.raises(
            OutputError,
            match=f"cannot write {path}/result: (Not a directory|File exists). {REMEDY}",
        ):
            write(path / "result")


def test_a_place_that_can_be_written_is_made_and_left_empty(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "folder" / "result.ckpt")
    assert os.listdir(tmp_path / "new" / "folder") == []


def test_trying_a_place_leaves_the_file_there_alone(path: Path) -> None:
    require_writable(path)
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["result.ckpt"]


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=f"^cannot write {tmp_path}: it is a folder. Name a file in it.$"
    ):
        require_writable(tmp_path)


@pytest.mark.parametrize("operation", ["mkdir", "open", "write", "fsync", "close"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: errno.errorcode[fault.errno])
def test_a_place_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, fault: OSError
) -> None:
    path = tmp_path / "new" / "result.ckpt"
    monkeypatch.setattr(os, operation, failing(1, fault, getattr(os, operation)))
    with pytest.raises(OutputError, match=f"^cannot write {path}: {fault.strerror}. {REMEDY}$"):
        require_writable(path)
    assert not list(tmp_path.rglob(".*"))


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        OutputError,
        match="pipe: it is a device or a pipe, and would be replaced by a file. Name a file",
    ):
        require_writable(tmp_path / "pipe")
