"""What a user's object says in a fresh process, as live it begins in one.

What a class or its module keeps from call to call agrees with itself wherever it was filled: of a
cache in which the first value stays, only a process that never saw the later bars tells another.
"""

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cloudpickle  # by value what a notebook defines, by name what lies in a module
import pandas as pd

from model.supplied import Kind, contents_loaded, load_content, made

COMMAND = "from model.fresh_process import answer; answer()"


class Replies:
    """What a fresh process made of bars, given out call by call as the object itself would."""

    def __init__(self, name: str, replies: Iterator[object]) -> None:
        self.name, self._replies = name, replies

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the next reply; raises what the object raised there."""
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply  # type: ignore[return-value]  # whatever it is, the caller looks at it


class Beginning(NamedTuple):
    """A user's object as it was before its first call.

    pickled: of the object, or of the class that makes it. fault: why it cannot be made elsewhere.
    """

    name: str
    kind: Kind
    pickled: bytes
    fault: str

    def replies(self, shown: Sequence[pd.DataFrame]) -> Replies:
        """Show bars to the object in a fresh process, one table after the other.

        Raises FeatureError, or LabelError, where it cannot be made there.
        """
        if self.fault:
            raise self._refusal(self.fault)
        files = [
            (name, *file)
            for name, file in contents_loaded().items()
            if name.encode() in self.pickled
        ]
        process = subprocess.run(
            [sys.executable, "-P", "-c", COMMAND],
            input=pickle.dumps((files, self.kind, self.pickled, list(shown))),
            capture_output=True,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
            check=False,
        )
        if process.returncode:
            lines = process.stderr.decode(errors="replace").strip().splitlines()
            raise self._refusal(lines[-1] if lines else f"exit code {process.returncode}")
        return Replies(self.name, iter(pickle.loads(process.stdout)))

    def _refusal(self, fault: str) -> ValueError:
        return self.kind.error(
            f"the {self.kind.word} {self.name!r} must be one that a fresh process can make, as "
            f"live it begins in one, got {fault.rstrip('.')}. Name its class in a file of its own, "
            "whose module makes what cannot be copied: a lock, an open file, a cache."
        )


def beginning_of(given: object, name: str, kind: Kind) -> Beginning:
    """Return an object, or its class, as it is now: to be taken before its first call."""
    try:
        return Beginning(name, kind, cloudpickle.dumps(given), "")
    except MemoryError:
        raise
    except Exception as error:  # whatever an attribute of somebody else's raises
        return Beginning(name, kind, b"", f"{type(error).__name__}: {error}")


def answer() -> None:
    """Make an object and show it bars: what the fresh process does.

    Reads from standard input what `Beginning.replies` wrote and writes the replies, pickled.
    """
    # What a module prints must not stand among the replies.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    files, kind, pickled, shown = pickle.load(sys.stdin.buffer)
    for name, path, content in files:
        load_content(name, path, content, kind)
    made_here = made(pickle.loads(pickled), kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told where it is asked in earnest
        replies = [_reply(made_here, bars) for bars in shown]
    pickle.dump(replies, out)
    out.close()


def _reply(asked: object, bars: pd.DataFrame) -> object:
    try:
        return asked.transform(bars)  # type: ignore[attr-defined]
    except Exception as error:  # whatever a class of somebody else's raises
        return RuntimeError(f"{type(error).__name__}: {error}")
