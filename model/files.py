"""Writing files so that a reader finds the old content or the new one, never a part."""

import glob
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from model.errors import OutputError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Replace the file `path` by `data` in one step that survives a crash.

    Raises OutputError where the folder is missing, full or not writable; the old file then stands as it was. Warns where
    the new file is in place but the system would not say that it is on the disk.
    """
    path = Path(os.path.realpath(path))  # a link stays one, and its file is replaced
    temporary = _temporary(path)
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        with suppress(
            OSError
        ):  # gone after the rename; and a failing clean-up must not hide the first fault
            os.unlink(temporary)
    try:
        _sync_folder(path.parent)
    except OSError as error:
        warnings.warn(
            f"{path} is written, but a loss of power may still undo it: {error.strerror}.",
            stacklevel=2,
        )


def require_writable(path: str | Path) -> None:
    """Make the parent folder of `path` and try a real write in it, so that hours of work do not end in a refusal.

    Raises OutputError.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder. Name a file in it.")
    if path.exists() and not path.is_file():
        raise OutputError(
            f"cannot write {path}: it is a device or a pipe, and would be replaced by a file. Name a file."
        )
    probe = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(probe, b"probe")  # not empty: a full disk still makes empty files
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        with suppress(OSError):
            os.unlink(probe)


@contextmanager
def locked(path: Path, refusal: Exception, *folders: Path) -> Iterator[None]:
    """Hold the lock file `path` against other processes; `refusal` at once where one holds it. The lock ends with its process.

    The folders, in which whoever holds the lock writes alone, are swept.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise refusal from error
    try:
        for folder in folders:
            sweep(folder)
        yield
    finally:
        lock.release()


def sweep(folder: Path, name: str = "") -> None:
    """Remove what a process that was killed while it wrote left half written in a folder, of one file or of any.

    Only for who holds a lock against all others that write there.
    """
    for path in folder.glob(f".{glob.escape(name) or '*'}.[0-9]*.[0-9]*.tmp"):
        path.unlink(missing_ok=True)  # another process tries the place, and has removed its own


def _temporary(path: Path) -> Path:
    """Return a name beside `path` that nobody else has, and `sweep` knows."""
    return path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(
        error.errno,
        f"cannot write {path}: {error.strerror}. Choose another place or make room there.",
    )


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:  # os.write may take less than it is given
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable: it lives in the folder, not in the file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
