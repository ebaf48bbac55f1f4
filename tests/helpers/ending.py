"""A command that is ended in several ways, in a program of its own.

python -m tests.helpers.ending CASE..., or with --help.

A CASE is "refuse" or the name of a signal, with "nohup " before it where a hangup is to be ignored.
Each is a child of this process, for what takes time is to load the libraries. Prints one line of
JSON: by case the exit code and what was said on stdout and stderr.
"""

import json
import os
import signal
import sys
import tempfile
import warnings
from typing import IO

from cyclopts import App

from model.cli import run
from model.errors import BarsError, BarsWarning

app = App(name="command")


@app.default
def command(*, act: str) -> None:
    warnings.warn(BarsWarning("2 bars were repaired."), stacklevel=2)
    if act == "refuse":
        raise BarsError("bars.csv has 3 bars.")
    print("before", flush=True)
    os.kill(os.getpid(), getattr(signal, act))
    if signal.getsignal(getattr(signal, act)) is not signal.SIG_IGN:
        signal.pause()
    print("after")


def ended(words: list[str], *streams: IO[bytes]) -> int:
    """Run the command in a child with these as stdout and stderr; return its exit code."""
    number = os.fork()
    if not number:
        for stream, file in enumerate(streams, start=1):
            os.dup2(file.fileno(), stream)
        if words[0] == "nohup":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run(app, ["--act", words[-1]])
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def main(cases: list[str]) -> None:
    # A process started in the background inherits that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = {}
    for case in cases:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = ended(case.split(), out, err)
            found[case] = [
                code,
                *(os.pread(file.fileno(), 9_999, 0).decode() for file in (out, err)),
            ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:]) if sys.argv[1] != "--help" else run(app)
