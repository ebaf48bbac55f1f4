"""Files: written so that a reader finds the old content or the new one, and the lock on a file.

A process may be killed, and the power may fail, at any moment.
"""

import glob
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from model.errors import OutputError

ENDINGS = re.compile(
    r"(\.(csv|txt|tsv|dat|parquet|pq|feather|arrow|gz|zip|bz2|xz|zst))+$", re.IGNORECASE
)


def write_atomically(path: str | Path, data: bytes) -> None:
    """Replace a file in one step that survives a crash.

    Raises OutputError where the folder is missing, full or not writable; the old file then stands
    as it was. Warns where the new file is in place but the system would not say that it is on the
    disk.
    """
    path = Path(os.path.realpath(path))  # a link stays one, and its file is replaced
    temporary = _temporary(path)
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        # It is gone after the rename; and a failing clean-up must not hide the first fault.
        with suppress(OSError):
            os.unlink(temporary)
    try:
        # The rename itself lives in the folder, not in the file.
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        warnings.warn(
            f"{path} is written, but a loss of power may still undo it: {error.strerror}.",
            stacklevel=2,
        )


def require_writable(path: str | Path) -> None:
    """Make the folder of a file and try a write in it, before hours of work end in a refusal.

    Raises OutputError.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder. Name a file in it.")
    if path.exists() and not path.is_file():
        raise OutputError(
            f"cannot write {path}: it is a device or a pipe, and would be replaced by a file. "
            "Name a file."
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


def as_file_name(text: str) -> str:
    """Return a text as it may stand in the name of a file: EUR/USD as EUR-USD."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "bars"


def bare_name(path: Path) -> str:
    """Return the name of a file of bars without its endings: spy of data/spy.csv.gz."""
    return ENDINGS.sub("", path.name)


@contextmanager
def locked(path: Path, refusal: Exception | None = None, *folders: Path) -> Iterator[None]:
    """Hold a lock file against other processes.

    The kernel frees it when its process ends, however it ends. What a killed one left half written
    in the folders is removed: whoever holds the lock writes there alone.

    refusal: raised at once where another process holds the lock; without one this waits for it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=refusal is None)
    except Timeout as error:
        raise refusal or error from error
    try:
        for folder in folders:
            sweep(folder)
        yield
    finally:
        lock.release()


def sweep(folder: Path, name: str = "") -> None:
    """Remove what killed processes left half written in a folder, of one file or of any.

    Only for who holds a lock against all others that write there.
    """
    for path in folder.glob(f".{glob.escape(name) or '*'}.[0-9]*.[0-9]*.tmp"):
        # Another process that only tries the place has removed its own in the meantime.
        path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """Return a name beside `path` that nobody else has, and `sweep` knows."""
    return path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:  # os.write may take less than it is given
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(
        error.errno,
        f"cannot write {path}: {error.strerror}. Choose another place or make room there.",
    )
