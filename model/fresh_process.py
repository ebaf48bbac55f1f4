"""Runs a user's object in a fresh process, as live it begins in one.

A cache that keeps its first value agrees with itself wherever later bars filled it; only a process
that never saw them shows the difference.
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

from model.supplied import Kind, contents_loaded, load_content, made, told

COMMAND = "from model.fresh_process import serve; serve()"
# Exit codes of a process that the system killed, as for its memory, and of one that had none left.
KILLED, NO_MEMORY = -9, 9


class Window(NamedTuple):
    """Bars to be shown: those from start to before stop of the table at a position."""

    table: int
    start: int
    stop: int


class Replies:
    """What a fresh process made of bars, given out call by call as the object itself would."""

    def __init__(self, name: str, tables: Sequence[pd.DataFrame]) -> None:
        self.name, self._tables = name, iter(tables)

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the next table, whatever the bars are."""
        return next(self._tables)


class Beginning(NamedTuple):
    """A user's object as it was when it was handed over.

    pickled: of the object, or of the class that makes it: by name where that lies in a module, with
    all that it holds where it does not. fault: why it cannot be made elsewhere.
    """

    name: str
    kind: Kind
    pickled: bytes
    fault: str

    def replies(self, tables: Sequence[pd.DataFrame], windows: Sequence[Window]) -> Replies:
        """Show windows of bars to the object in a fresh process, one after the other.

        Raises FeatureError, or LabelError, where it cannot be made there, or gives no table of one.
        """
        if self.fault:
            raise self._refusal(self.fault)
        files = [
            (name, *file)
            for name, file in contents_loaded().items()
            if name.encode() in self.pickled
        ]
        places = [place or os.curdir for place in sys.path if isinstance(place, str)]
        process = subprocess.run(
            [sys.executable, "-P", "-c", COMMAND],
            input=pickle.dumps((files, self.kind, self.pickled, list(tables), list(windows))),
            capture_output=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
            check=False,
        )
        if process.returncode in (KILLED, NO_MEMORY):
            raise MemoryError
        replies = pickle.loads(process.stdout or pickle.dumps(f"exit code {process.returncode}"))
        if isinstance(replies, str):
            raise self._refusal(replies)
        for reply, window in zip(replies, windows, strict=True):
            if isinstance(reply, str):
                last = tables[window.table].index[window.stop - 1]
                raise self.kind.error(
                    f"the {self.kind.word} {self.name!r} must give a row for every bar in a fresh "
                    f"process, too, got {reply}, for the bars that end at {last}. Mend its "
                    "transform."
                )
        return Replies(self.name, replies)

    def require_kept(self, given: object) -> None:
        """Require an object that was called since to be as it was.

        Of one that Python code hands over nobody knows what calls before have left in it: only what
        no call changes is as a fresh process would have it.
        """
        if not self.fault and cloudpickle.dumps(given) != self.pickled:
            kind = given if isinstance(given, type) else type(given)
            raise self.kind.error(
                f"the {self.kind.word} {self.name!r} must hold nothing that its calls change, got "
                "an object, or a class of a notebook or script, that was changed by one: what "
                "earlier calls left in it would come back. Put its class in a file of its own and "
                f"name that, as my_{self.kind.word}s.py:{kind.__name__}."
            )

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


def serve() -> None:
    """Make an object and show it bars: what the fresh process does.

    Reads from standard input what `Beginning.replies` wrote, and writes the replies: a table, or
    words on what there is in its place; or words on why there are none.
    """
    # What a module prints must not stand among the replies.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    files, kind, pickled, tables, windows = pickle.load(sys.stdin.buffer)
    try:
        for name, path, content in files:
            load_content(name, path, content, kind)
        instance = made(pickle.loads(pickled), kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told where it is asked in earnest
            replies: object = list(_replies(instance, tables, windows))
    except MemoryError:
        sys.exit(NO_MEMORY)
    except (Exception, SystemExit) as error:  # whatever a module of somebody else's raises
        replies = f"{type(error).__name__}: {error}"
    out.write(pickle.dumps(replies))
    out.close()


def _replies(
    instance: object, tables: Sequence[pd.DataFrame], windows: Sequence[Window]
) -> Iterator[pd.DataFrame | str]:
    for window in windows:
        # A copy: what a transform does to its bars reaches no other window.
        bars = tables[window.table].iloc[window.start : window.stop].copy()
        try:
            found = instance.transform(bars)  # type: ignore[attr-defined]
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # whatever a class of somebody else's raises
            yield told(error, instance)
            continue
        if isinstance(found, pd.DataFrame):
            found.attrs = {}  # which may hold what cannot be sent
            yield found
        else:
            yield f"{type(found).__name__} in the place of a DataFrame"
