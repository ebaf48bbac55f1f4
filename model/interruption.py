"""Signals during work that can be kept: the first one asks to stop, a second one is obeyed at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(RuntimeError):
    """A signal stopped work that can go on later; the exit code is the one that the signal gives."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Wish:
    """number: the signal that asked to stop, 0 while none did."""

    number = 0

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """Note the first signal instead of obeying it; nothing is done inside the handler. A signal that was ignored stays so.

    Signals come to the main thread alone: in any other one nothing is changed, and no wish is heard.
    """
    wish = Wish()
    before = _handlers() if threading.current_thread() is threading.main_thread() else {}

    def note(number: int, _: FrameType | None) -> None:
        wish.number = number
        put_back()

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        put_back()


def _handlers() -> dict[signal.Signals, Any]:
    """Return the handlers in place, without those of ignored signals and those that only C knows and nobody could put back."""
    found = {number: signal.getsignal(number) for number in SIGNALS}
    return {
        number: handler
        for number, handler in found.items()
        if handler not in (signal.SIG_IGN, None)
    }
