"""Twenty objects that write a file when they are unpickled, for the tests of loading."""

import operator
import os
import pickle
import shutil
import subprocess
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Payload:
    """Calls `function(*arguments)` when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


SCRIPT = "open({!r}, 'w').close()"
PAYLOADS: dict[str, Callable[[str], Payload]] = {
    "os.system": lambda canary: Payload(os.system, f"touch {canary}"),
    "os.mkdir": lambda canary: Payload(os.mkdir, canary),
    "os.makedirs": lambda canary: Payload(os.makedirs, canary),
    "os.mkfifo": lambda canary: Payload(os.mkfifo, canary),
    "os.mknod": lambda canary: Payload(os.mknod, canary),
    "os.symlink": lambda canary: Payload(os.symlink, "/", canary),
    "os.open": lambda canary: Payload(os.open, canary, os.O_CREAT),
    "subprocess.call": lambda canary: Payload(subprocess.call, ["touch", canary]),
    "subprocess.run": lambda canary: Payload(subprocess.run, ["touch", canary]),
    "subprocess.check_output": lambda canary: Payload(subprocess.check_output, ["touch", canary]),
    "exec": lambda canary: Payload(exec, SCRIPT.format(canary)),
    "eval": lambda canary: Payload(eval, SCRIPT.format(canary)),
    "timeit": lambda canary: Payload(
        timeit.timeit, SCRIPT.format(canary), "pass", time.perf_counter, 1
    ),
    "operator.call": lambda canary: Payload(operator.call, os.mkdir, canary),
    "pickle in a pickle": lambda canary: Payload(
        pickle.loads, pickle.dumps(Payload(os.mkdir, canary))
    ),
    "Path.touch": lambda canary: Payload(Path.touch, Path(canary)),
    "Path.write_text": lambda canary: Payload(Path.write_text, Path(canary), "x"),
    "shutil.copy": lambda canary: Payload(shutil.copy, "/etc/passwd", canary),
    "numpy.savetxt": lambda canary: Payload(np.savetxt, canary, [0.0]),
    "torch.save": lambda canary: Payload(torch.save, 1, canary),
}
