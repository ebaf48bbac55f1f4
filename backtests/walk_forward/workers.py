"""Where the parallel work of a run is done: in processes of this machine, or on a Dask cluster."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from threading import Thread
from types import ModuleType

from joblib import delayed, parallel_config
from joblib.externals.loky.backend.reduction import dumps
from joblib.externals.loky.process_executor import TerminatedWorkerError

from model.runtime import give_back_freed_memory

distributed: ModuleType | None
try:
    distributed = import_module("distributed")
except ImportError:  # an optional extra
    distributed = None

# What joblib raises when the process that did a task is gone.
WORKER_DEATHS: tuple[type[Exception], ...] = (TerminatedWorkerError,)
if distributed is not None:
    WORKER_DEATHS += (distributed.KilledWorker,)
JoblibTask = tuple[Callable[..., object], tuple[object, ...], dict[str, object]]
CONNECT_WITHIN = "10s"
LOOK_EVERY = 1.0  # seconds between looks at whether the parent lives
MISSING = (
    "`dask` needs the packages dask and distributed, on this machine and on the cluster's: "
    "pip install 'backtrader-bilstm[dask]'."
)


@contextmanager
def workers(address: str | None) -> Iterator[None]:
    """Do all joblib tasks in the body on the Dask cluster at `address`; None: on this machine.

    The cluster's workers must have this project installed in the same versions: then a fold is the
    same wherever it is trained. Raises ValueError where Dask is missing or nothing answers at the
    address.
    """
    if address is None:
        yield
        return
    if distributed is None:
        raise ValueError(MISSING)
    try:
        client = distributed.Client(address, timeout=CONNECT_WITHIN)
    except (OSError, ValueError) as error:  # nobody there, or no address
        raise ValueError(
            "`dask` must be the address of a Dask scheduler, like tcp://host:8786, "
            f"got {address!r}: {error}."
        ) from error
    with client, parallel_config(backend="dask"):
        yield


class Unsendable(RuntimeError):
    """What a task gave cannot be sent to the process that asked for it."""


def here() -> tuple[str, int]:
    """Return what tells this process from those of all machines."""
    return platform.node(), os.getpid()


def require_sendable(result: object, owner: tuple[str, int]) -> None:
    """Raise Unsendable for a result that cannot be sent to the process that owns the task.

    Left to itself, joblib on Dask would wait for it for ever. owner: what `here` gives there.
    """
    if owner == here():
        return
    # As joblib pickles it; the bytes are thrown away, which costs little beside a training.
    try:
        dumps(result)
    except Exception as error:  # whatever an object of somebody else's raises when it is pickled
        raise Unsendable(
            "what it gave must be possible to pickle, so that another process can send it: "
            f"{error}. Mend that, or train with --jobs 1 and without --dask."
        ) from error


def dies_with_parent(function: Callable[..., object], *given: object) -> JoblibTask:
    """Return the call as a joblib task whose process ends when this one does.

    Left alone, a process of joblib's would wait for ever when what asked for its work was killed.
    """
    task: JoblibTask = delayed(_call)(os.getpid(), function, *given)
    return task


def _call(owner: int, function: Callable[..., object], *given: object) -> object:
    if os.getppid() != owner:  # no process of joblib's, but this one itself or a cluster's
        return function(*given)
    _watch(owner)
    try:
        return function(*given)
    finally:
        # joblib takes memory that a training leaves to the next for a leak, and would say so and
        # end the process.
        give_back_freed_memory()


@cache
def _watch(owner: int) -> None:
    """Let this process end when its parent has."""

    # Cached, so that one thread looks, rather than one for each task that this process does.
    def look() -> None:
        # An orphan gets another parent.
        while os.getppid() == owner:
            time.sleep(LOOK_EVERY)
        os._exit(1)

    Thread(target=look, daemon=True).start()
