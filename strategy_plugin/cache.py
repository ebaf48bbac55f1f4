"""Forecasts of whole feeds, computed once for all the runs of a sweep.

They are shared within this process by memory, and among the processes of a pool by files.
"""

import hashlib
import multiprocessing
import os
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import __version__ as torch_version

from model.checkpoint.member import Forecast
from model.checkpoint.schedule import Schedule
from model.features.registry import identities
from model.files import locked, write_atomically
from model.provenance import code_digest

Forecasts = NDArray[np.float64]  # (3, bars): the rows of a Forecast

ROWS = len(Forecast._fields)
FEWEST_KEPT = 16  # arrays in memory, and files on disk
MOST_BYTES = 64_000_000  # as long as they take no more: a universe has hundreds of short ones
_memory: OrderedDict[str, Forecasts] = OrderedDict()


def cached_forecasts(
    schedule: Schedule,
    values: NDArray[np.float64],
    timestamps: NDArray[np.int64],
    most_kept: int | None = None,
) -> Forecasts:
    """Return `schedule.forecasts(values, timestamps)`, computed once for the same models and bars.

    The workers of a pool (`optstrategy`) share the result through a file in a folder of this
    user's own: the first computes, the others wait for it.

    most_kept: results that are kept; None for as many of this length as fit into `MOST_BYTES`.
    """
    if most_kept is None:
        most_kept = max(FEWEST_KEPT, MOST_BYTES // (ROWS * 8 * max(1, len(values))))
    key = _key(schedule, values, timestamps)
    forecasts = _memory.pop(key, None)
    if forecasts is None and multiprocessing.parent_process() is None:
        forecasts = schedule.forecasts(values, timestamps)
    elif forecasts is None:
        path = shared_folder() / f"{key}.f8"
        with locked(path.with_suffix(".lock")):
            # Another length is a file that was cut off or is not ours: computed anew.
            if path.exists() and path.stat().st_size == ROWS * 8 * len(values):
                forecasts = np.frombuffer(path.read_bytes()).reshape(ROWS, -1)
            else:
                forecasts = schedule.forecasts(values, timestamps)
                write_atomically(path, forecasts.tobytes())
                _remove_oldest(path.parent, most_kept)
    # Put at the end again: what was used last is dropped last.
    _memory[key] = forecasts
    while len(_memory) > most_kept:
        _memory.popitem(last=False)
    return forecasts


def shared_folder() -> Path:
    """Return the folder that the processes of this user share, made where it is missing.

    Raises PermissionError where it belongs to somebody else.
    """
    path = Path(tempfile.gettempdir()) / f"backtrader-bilstm-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    # In a folder that all may write to somebody else could have made it, to feed us forecasts.
    if path.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{path} must belong to this user, it belongs to user {path.stat().st_uid}. "
            "Remove it or set TMPDIR."
        )
    return path


def _remove_oldest(folder: Path, most_kept: int) -> None:
    files = sorted(folder.glob("*.f8"), key=lambda file: file.stat().st_mtime_ns)
    for old in files[:-most_kept]:
        old.unlink(missing_ok=True)
        old.with_suffix(".lock").unlink(missing_ok=True)


def _key(schedule: Schedule, values: NDArray[np.float64], timestamps: NDArray[np.int64]) -> str:
    """Return the digest of all that forecasts depend on, our own code included."""
    digest = hashlib.sha256(f"{torch_version} {code_digest('model')}".encode())
    for checkpoint in schedule.checkpoints:
        digest.update(checkpoint.digest.encode())
    # Of another source than in training a feature may have other values outside of the golden ones.
    digest.update(identities(schedule.engineer.own).encode())
    digest.update(
        f"{schedule.folder} {schedule.precision} {schedule.max_gap} {len(values)}".encode()
    )
    digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(timestamps).tobytes())
    return digest.hexdigest()
