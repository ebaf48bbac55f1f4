"""Where the parallel work of a run is done: in processes of this machine, or on a Dask cluster."""
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from joblib import parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

distributed: Any
try:
    distributed = import_module("distributed")
except ImportError:  # an optional extra
    distributed = None

# What joblib raises when the process that did a task is gone.
WORKER_DEATHS: tuple[type[Exception], ...] = (TerminatedWorkerError,)
if distributed is not None:
    WORKER_DEATHS += (distributed.KilledWorker,)
CONNECT_WITHIN = "10s"
MISSING = ("`dask` needs the packages dask and distributed, on this machine and on the cluster's: "
           "pip install 'backtrader-bilstm[dask]'.")


@contextmanager
def workers(address: str | None) -> Iterator[None]:
    """Send all joblib tasks in the body to the Dask scheduler at `address`; None keeps them on this machine.

    The cluster's workers must have this project installed in the same versions: then a fold is the same wherever it is
    trained. Raises ValueError where Dask is missing or nothing answers at the address.
    """
    if address is None:
        yield
        return
    with _client(address), parallel_config(backend="dask"):
        yield


@contextmanager
def _client(address: str) -> Iterator[None]:
    if distributed is None:
        raise ValueError(MISSING)
    try:
        client = distributed.Client(address, timeout=CONNECT_WITHIN)
    except OSError as error:
        raise ValueError(f"`dask` must be the address of a Dask scheduler, like tcp://host:8786, got {address!r}: "
                         f"{error}.") from error
    with client:
        yield
