"""Forecasts of whole feeds, computed once for all the runs of a sweep, in this process and in those of a pool."""

import fcntl
import hashlib
import multiprocessing
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import __version__ as torch_version

from model.checkpoint.checkpoint import Forecast
from model.checkpoint.schedule import Schedule
from model.files import write_atomically
from model.provenance import code_digest

Forecasts = NDArray[np.float64]

ROWS = len(Forecast._fields)
MOST_KEPT = 16  # arrays in memory, and files on disk
_memory: OrderedDict[str, Forecasts] = OrderedDict()


def remembered(
    schedule: Schedule, values: NDArray[np.float64], stamps: NDArray[np.int64]
) -> Forecasts:
    """Return `schedule.forecasts(values, stamps)`, computed at most once for the same models and bars.

    The workers of a pool (`optstrategy`) share the result through a file in a folder of this user's own: the first
    computes, the others wait for it.
    """
    key = _key(schedule, values, stamps)
    found = _memory.pop(key, None)
    if found is None:
        pooled = multiprocessing.parent_process() is not None
        found = (
            _shared(key, schedule, values, stamps) if pooled else schedule.forecasts(values, stamps)
        )
    _memory[key] = found
    while len(_memory) > MOST_KEPT:
        _memory.popitem(last=False)
    return found


def folder() -> Path:
    """Return the folder that the processes of this user share, made where it is missing."""
    path = Path(tempfile.gettempdir()) / f"backtrader-bilstm-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{path} must belong to this user, it belongs to user {path.stat().st_uid}. Remove it or set TMPDIR."
        )
    return path


def _shared(
    key: str, schedule: Schedule, values: NDArray[np.float64], stamps: NDArray[np.int64]
) -> Forecasts:
    path = folder() / f"{key}.f8"
    with _locked(path.with_suffix(".lock")):
        if path.exists() and path.stat().st_size == ROWS * 8 * len(values):
            return np.frombuffer(path.read_bytes()).reshape(ROWS, -1)
        found = schedule.forecasts(values, stamps)
        write_atomically(path, found.tobytes())
        _prune(path.parent)
        return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel frees when its process ends, however it ends."""
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prune(path: Path) -> None:
    """Remove the oldest results and the locks beside them."""
    for old in sorted(path.glob("*.f8"), key=lambda file: file.stat().st_mtime_ns)[:-MOST_KEPT]:
        old.unlink(missing_ok=True)
        old.with_suffix(".lock").unlink(missing_ok=True)


def _key(schedule: Schedule, values: NDArray[np.float64], stamps: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(f"{torch_version} {code_digest('model')}".encode())
    for checkpoint in schedule.checkpoints:
        digest.update(checkpoint.digest.encode())
    digest.update(
        f"{schedule.folder} {schedule.precision} {schedule.max_gap} {len(values)}".encode()
    )
    digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(stamps).tobytes())
    return digest.hexdigest()
