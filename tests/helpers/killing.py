"""Saves that are killed, in a program of its own.

python -m tests.helpers.killing COUNT WRITER FILE OLD NEW.

A child writes the contents of OLD and NEW to FILE in turn until it is killed, COUNT times: after a
random time, or with COUNT 0 once at each operation of a save. Prints what FILE then holds, a line
each: old, new, or damaged.
"""

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from model.files import write_atomically

OPERATIONS = ("open", "write", "fsync", "close", "replace", "unlink")
SAVES = 8  # that a child has time for at the most

Writer = Callable[[Path, bytes], None]


def write_in_place(path: Path, data: bytes) -> None:
    """What a save must not be: the old content is gone before the new one is there."""
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), 4096):
            file.write(data[start : start + 4096])


WRITERS: dict[str, Writer] = {"atomic": write_atomically, "in place": write_in_place}


def save_for_ever(write: Writer, path: Path, contents: list[bytes]) -> NoReturn:
    for content in itertools.cycle(contents):
        write(path, content)
    raise AssertionError("a cycle does not end")


def suicidal(number: int) -> None:
    """Kill this process at its `number`-th operation on files, counted from 1."""
    calls = itertools.count(1)

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return operation

    for name in OPERATIONS:
        setattr(os, name, before(getattr(os, name)))


def child(act: Callable[[], object]) -> int:
    """Let a child do it; return its process number."""
    number = os.fork()
    if not number:
        act()
        os._exit(0)
    return number


def pace(write: Writer, path: Path, contents: list[bytes]) -> float:
    """Return the seconds that a save takes here and now."""
    start = time.monotonic()
    for content in contents:
        write(path, content)
    return (time.monotonic() - start) / len(contents)


def main(count: int, writer: str, path: Path, contents: list[bytes]) -> None:
    write, draw = WRITERS[writer], random.Random(0)
    for _ in range(count):
        longest = SAVES * pace(write, path, contents)
        victim = child(lambda: save_for_ever(write, path, contents))
        time.sleep(draw.uniform(0, longest))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        report(path, contents)
    for number in itertools.count(1) if not count else ():
        path.write_bytes(contents[0])
        victim = child(lambda: (suicidal(number), write(path, contents[1])))
        killed = os.waitpid(victim, 0)[1] == signal.SIGKILL
        report(path, contents)
        if not killed:
            break


def report(path: Path, contents: list[bytes]) -> None:
    data = path.read_bytes()
    print("old" if data == contents[0] else "new" if data == contents[1] else "damaged")


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[3:]]
    main(int(sys.argv[1]), sys.argv[2], files[0], [file.read_bytes() for file in files[1:]])
