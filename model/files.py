"""Writing files so that a reader finds the old content or the new one, never a part."""
import os
import time
from pathlib import Path


class OutputError(OSError):
    """A result cannot be written where it should go; the message says where, why and what to do."""

    exit_code = 6

    def __str__(self) -> str:
        return self.strerror or super().__str__()  # without the "[Errno 28]" that OSError puts in front


def write_atomically(path: str | Path, data: bytes) -> None:
    """Replace the file `path` by `data` in one step that survives a crash.

    Raises OutputError where the folder is missing, full or not writable; the old file then stands as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(error.errno, f"cannot write {path}: {error.strerror}. Choose another place or make room there") from error
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: str | Path) -> None:
    """Make the parent folder of `path` and try a real write in it, so that hours of work do not end in a refusal.

    Raises OutputError.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder. Name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(error.errno, f"cannot make the folder {path.parent}: {error.strerror}. Choose another place") from error
    probe = path.with_name(f".{path.name}.probe")
    write_atomically(probe, b"")
    probe.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:  # os.write may take less than it is given
            view = view[os.write(descriptor, view):]
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
